use super::Identity;

/// Says "no" or "perhaps": a Bloom filter in blocks of one cache line, so that a question costs one
/// miss. With 16 bits an identity, "perhaps" is wrong about once in 600.
pub(super) struct Filter(Box<[[u64; 8]]>);

const BITS_AN_IDENTITY: usize = 16;

impl Filter {
    pub(super) fn for_count(count: usize) -> Self {
        Self(vec![[0; 8]; (count * BITS_AN_IDENTITY).div_ceil(512).max(1)].into())
    }

    pub(super) fn insert(&mut self, identity: &Identity) {
        let block = self.block(identity);
        let mut bits = identity.low();
        for word in &mut self.0[block] {
            *word |= 1 << (bits & 63);
            bits >>= 6;
        }
    }

    pub(super) fn may_hold(&self, identity: &Identity) -> bool {
        let mut bits = identity.low();
        self.0[self.block(identity)].iter().all(|word| {
            let set = word >> (bits & 63) & 1 == 1;
            bits >>= 6;
            set
        })
    }

    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// Spreads the upper half evenly over the blocks, without a division.
    fn block(&self, identity: &Identity) -> usize {
        let wide = u128::from(identity.high()) * self.0.len() as u128;
        usize::try_from(wide >> 64).expect("below the number of blocks, which is a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    fn identity(number: u32) -> Identity {
        let hash = Sha256::digest(number.to_be_bytes());
        Identity::from_bytes(hash[..16].try_into().unwrap())
    }

    #[test]
    fn never_denies_what_it_holds_and_is_seldom_wrong() {
        let mut filter = Filter::for_count(20_000);
        (0..20_000).for_each(|number| filter.insert(&identity(number)));
        assert!((0..20_000).all(|number| filter.may_hold(&identity(number))));
        let wrong = (20_000..120_000).filter(|number| filter.may_hold(&identity(*number))).count();
        assert!(wrong < 400, "{wrong} of 100,000");
        assert_eq!(filter.memory(), 40_000);
    }
}
