//! Which open events wait for their next delivery, and how much longer: written beside the cursor, so
//! that what failed is not tried at once after a restart.
//!
//! Layout, in sealed [numbers](super::numbers): version 1, the moment of writing in milliseconds since
//! 1970, the number of events; for each the distance to the one before, and the milliseconds that were
//! left.
//!
//! What is left is told, and not until when: however the clock was set in between, nothing waits longer
//! than was meant. A wait that cannot be read is over.

use std::time::Duration;

use super::numbers::{put, seal, take, unseal};
use crate::Seq;

const VERSION: u64 = 1;

/// The waits of one subscription at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    /// Milliseconds since 1970.
    pub(super) at: i64,
    /// What waits and how much longer, in the order of places.
    pub(super) left: Vec<(Seq, Duration)>,
}

impl Waits {
    /// `None` where nothing waits.
    pub(crate) fn to_bytes(&self) -> Option<Vec<u8>> {
        if self.left.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(16 + 5 * self.left.len());
        let head = [VERSION, self.at.cast_unsigned(), self.left.len() as u64];
        head.into_iter().for_each(|number| put(&mut out, number));
        let mut before = 0;
        for (seq, left) in &self.left {
            put(&mut out, seq.get() - before);
            put(&mut out, u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
            before = seq.get();
        }
        seal(&mut out);
        Some(out)
    }

    /// Reads what was written; `None` if it is damaged.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let input = &mut unseal(bytes)?;
        if take(input)? != VERSION {
            return None;
        }
        let mut waits = Self { at: take(input)?.cast_signed(), left: Vec::new() };
        let mut before = 0_u64;
        for _ in 0..take(input)? {
            before = before.checked_add(take(input)?)?;
            waits.left.push((Seq::new(before), Duration::from_millis(take(input)?)));
        }
        input.is_empty().then_some(waits)
    }

    /// What still waits at `now`, in milliseconds since 1970, and how much longer.
    pub(crate) fn at(&self, now: i64) -> impl Iterator<Item = (Seq, Duration)> {
        let passed = Duration::from_millis(u64::try_from(now.saturating_sub(self.at)).unwrap_or(0));
        let left = self.left.iter().map(move |(seq, left)| (*seq, left.saturating_sub(passed)));
        left.filter(|(_, left)| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waits() -> impl Strategy<Value = Waits> {
        let left = prop::collection::btree_map(any::<u64>(), any::<u64>(), 1..20);
        (any::<i64>(), left).prop_map(|(at, left)| {
            let left = left.into_iter();
            let left = left.map(|(seq, left)| (Seq::new(seq), Duration::from_millis(left)));
            Waits { at, left: left.collect() }
        })
    }

    #[test]
    fn nothing_waits_longer_than_was_meant() {
        let seconds = |number| Duration::from_secs(number);
        let waits =
            Waits { at: 1_000, left: vec![(Seq::new(2), seconds(1)), (Seq::new(5), seconds(60))] };
        let check = |now: i64, expected: &[(u64, u64)]| {
            let expected: Vec<_> =
                expected.iter().map(|(seq, left)| (Seq::new(*seq), seconds(*left))).collect();
            assert_eq!(waits.at(now).collect::<Vec<_>>(), expected, "{now}");
        };
        check(1_000, &[(2, 1), (5, 60)]);
        check(2_000, &[(5, 59)]);
        check(61_000, &[]);
        // The clock was set back.
        check(-500_000, &[(2, 1), (5, 60)]);
    }

    proptest! {
        #[test]
        fn reads_back(waits in waits()) {
            prop_assert_eq!(Waits::from_bytes(&waits.to_bytes().unwrap()), Some(waits));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Waits::from_bytes(&bytes);
            let mut sealed = bytes;
            seal(&mut sealed);
            let _ = Waits::from_bytes(&sealed);
        }

        #[test]
        fn one_bit_is_noticed(waits in waits(), at: prop::sample::Index, bit in 0..8) {
            let mut bytes = waits.to_bytes().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(Waits::from_bytes(&bytes), None);
        }
    }
}
