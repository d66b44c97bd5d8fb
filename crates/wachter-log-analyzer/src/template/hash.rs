use std::hash::{BuildHasher as _, RandomState};

/// A keyed hash of tokens and of their places.
///
/// Who writes logs may be an attacker. The key is drawn for each process and never stored, so lines that fall together
/// cannot be made up ahead. If two do, the comparison that follows each lookup tells them apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed {
    start: u64,
    factor: u64,
    place: u64,
}

impl Keyed {
    /// A key of its own, from the system's source of randomness.
    pub(crate) fn random() -> Self {
        let state = RandomState::new();
        Self { start: state.hash_one(0), factor: state.hash_one(1) | 1, place: state.hash_one(2) }
    }

    /// The hash of some bytes.
    #[inline]
    pub(crate) fn bytes(self, bytes: &[u8]) -> u64 {
        let mut hash = self.start ^ (bytes.len() as u64).wrapping_mul(0xE703_7ED1_A0B4_28DB);
        let mut rest = bytes;
        while let Some((head, tail)) = rest.split_first_chunk::<8>() {
            hash = folded(hash ^ u64::from_le_bytes(*head), self.factor);
            rest = tail;
        }
        // The length is part of the hash, so that filling up with zeros is no collision.
        let last = match *rest {
            [] => 0,
            [a] => u64::from(a),
            [a, b] => word([a, b, 0, 0, 0, 0, 0, 0]),
            [a, b, c] => word([a, b, c, 0, 0, 0, 0, 0]),
            [a, b, c, d] => word([a, b, c, d, 0, 0, 0, 0]),
            [a, b, c, d, e] => word([a, b, c, d, e, 0, 0, 0]),
            [a, b, c, d, e, f] => word([a, b, c, d, e, f, 0, 0]),
            [a, b, c, d, e, f, g, ..] => word([a, b, c, d, e, f, g, 0]),
        };
        folded(hash ^ last, self.factor)
    }

    /// What a token adds to the hash of its line: of the token's hash and its place. It is a sum, so that one token can
    /// be exchanged without hashing the others again.
    #[inline]
    pub(crate) const fn at(self, hash: u64, place: usize) -> u64 {
        folded(hash ^ (place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15), self.place | 1)
    }

    /// The hash of a line, of the sum over its tokens, their number, and where the line comes from.
    #[inline]
    pub(crate) const fn line(self, sum: u64, tokens: usize, origin: u16) -> u64 {
        folded(sum ^ self.start, self.factor) ^ ((tokens as u64) << 16 | origin as u64)
    }
}

#[inline]
const fn word(bytes: [u8; 8]) -> u64 {
    u64::from_le_bytes(bytes)
}

/// Both halves of the product, so that every bit of the factors reaches every bit of the result.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the two halves are taken apart")]
const fn folded(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_differ() {
        let key = Keyed::random();
        let mut seen = std::collections::BTreeSet::new();
        for length in 0..40 {
            for byte in [0, 1, b'a'] {
                let mut bytes = vec![0; length];
                if let Some(last) = bytes.last_mut() {
                    *last = byte;
                } else if byte > 0 {
                    continue;
                }
                assert!(seen.insert(key.bytes(&bytes)), "{length} {byte}");
            }
        }
    }

    #[test]
    fn keys_differ() {
        assert_ne!(Keyed::random().bytes(b"sshd"), Keyed::random().bytes(b"sshd"));
    }
}
