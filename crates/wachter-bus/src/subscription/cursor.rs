//! What of a subscription is written: how far it looked, and what before that is open.
//!
//! Layout, all numbers as base-128 varints, least significant first: version 2, position, the place up
//! to which deliveries are a replay, events skipped, events lost; the number of open events; for each
//! the distance to the one before, `deliveries << 1 | revived`, and failures. At the end four bytes
//! of SHA-256 over all before: a cursor that was damaged must not pass for a place.
//!
//! Version 1 is read too. It had no failures: of its deliveries all but the last, which may have been
//! under way when it was written, are taken for failures, as they were counted then.

use sha2::{Digest as _, Sha256};

use crate::Seq;

/// How far a subscription is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// All events up to this one were looked at, and are settled but for `open`.
    pub(crate) position: Seq,
    /// Deliveries up to this one are marked as a replay.
    pub(crate) replay_to: Seq,
    /// Events that the predicate turned down.
    pub(crate) skipped: u64,
    /// Events that were dropped before they were delivered.
    pub(crate) lost: u64,
    /// Events up to `position` that are not settled, in order.
    pub(crate) open: Vec<Open>,
}

/// An event that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) seq: Seq,
    /// Deliveries that were begun.
    pub(crate) deliveries: u32,
    /// Those of them that failed.
    pub(crate) failures: u32,
    /// Whether it came back from the dead letters, and is still among them.
    pub(crate) revived: bool,
}

const VERSION: u64 = 2;
/// The version of schema 1.
const WITHOUT_FAILURES: u64 = 1;

impl Cursor {
    /// The last event before which nothing is open.
    pub(crate) fn floor(&self) -> Seq {
        self.open.first().map_or(self.position, |open| Seq::new(open.seq.get().saturating_sub(1)))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + 3 * self.open.len());
        let head = [VERSION, self.position.get(), self.replay_to.get(), self.skipped, self.lost];
        head.into_iter().for_each(|number| put(&mut out, number));
        put(&mut out, self.open.len() as u64);
        let mut before = 0;
        for open in &self.open {
            put(&mut out, open.seq.get() - before);
            put(&mut out, u64::from(open.deliveries) << 1 | u64::from(open.revived));
            put(&mut out, u64::from(open.failures));
            before = open.seq.get();
        }
        let check = Sha256::digest(&out);
        out.extend_from_slice(&check[..4]);
        out
    }

    /// Reads a cursor; `None` if it is damaged.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (mut rest, check) = bytes.split_last_chunk::<4>()?;
        if Sha256::digest(rest)[..4] != check[..] {
            return None;
        }
        let input = &mut rest;
        let version = take(input)?;
        if ![WITHOUT_FAILURES, VERSION].contains(&version) {
            return None;
        }
        let mut cursor = Self {
            position: Seq::new(take(input)?),
            replay_to: Seq::new(take(input)?),
            skipped: take(input)?,
            lost: take(input)?,
            open: Vec::new(),
        };
        let mut before = 0_u64;
        for _ in 0..take(input)? {
            let seq = before.checked_add(take(input)?)?;
            let begun = take(input)?;
            let deliveries = u32::try_from(begun >> 1).ok()?;
            let failures = match version {
                WITHOUT_FAILURES => deliveries.saturating_sub(1),
                _ => u32::try_from(take(input)?).ok()?,
            };
            let revived = begun & 1 == 1;
            cursor.open.push(Open { seq: Seq::new(seq), deliveries, failures, revived });
            before = seq;
        }
        input.is_empty().then_some(cursor)
    }
}

pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(low(number) | 0x80);
        number >>= 7;
    }
    out.push(low(number));
}

/// The lowest seven bits.
fn low(number: u64) -> u8 {
    u8::try_from(number & 0x7f).expect("seven bits fit into eight")
}

pub(super) fn take(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cursors() -> impl Strategy<Value = Cursor> {
        let open = proptest::collection::btree_map(any::<u64>(), any::<(u32, u32, bool)>(), 0..20);
        (any::<[u64; 4]>(), open).prop_map(|([position, replay_to, skipped, lost], open)| Cursor {
            position: Seq::new(position),
            replay_to: Seq::new(replay_to),
            skipped,
            lost,
            open: open
                .into_iter()
                .map(|(seq, (deliveries, failures, revived))| Open {
                    seq: Seq::new(seq),
                    deliveries,
                    failures,
                    revived,
                })
                .collect(),
        })
    }

    #[test]
    fn the_version_without_failures_is_read() {
        // Position 5, no replay, 1 skipped, none lost; open are 2 with three attempts, and 4, which
        // came back and was never delivered.
        let mut bytes = vec![1, 5, 0, 1, 0, 2, 2, 3 << 1, 2, 1];
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check[..4]);
        let open = |seq, deliveries, failures, revived| Open {
            seq: Seq::new(seq),
            deliveries,
            failures,
            revived,
        };
        let expected = Cursor {
            position: Seq::new(5),
            skipped: 1,
            open: vec![open(2, 3, 2, false), open(4, 0, 0, true)],
            ..Cursor::default()
        };
        assert_eq!(Cursor::from_bytes(&bytes), Some(expected));
    }

    proptest! {
        #[test]
        fn reads_back(cursor in cursors()) {
            prop_assert_eq!(Cursor::from_bytes(&cursor.to_bytes()), Some(cursor));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Cursor::from_bytes(&bytes);
        }

        #[test]
        fn one_bit_is_noticed(cursor in cursors(), at: prop::sample::Index, bit in 0..8) {
            let mut bytes = cursor.to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(Cursor::from_bytes(&bytes), None);
        }
    }
}
