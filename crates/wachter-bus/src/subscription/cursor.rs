//! What of a subscription is written: how far it looked, and what before that is open.
//!
//! Layout, in sealed [numbers](super::numbers): version 3, position, the place up
//! to which deliveries are a replay, the two ends of the jump (0 and 0 without one), events skipped,
//! events lost; the number of open events; for each the distance to the one before,
//! `deliveries << 2 | owed << 1 | revived`, and failures.
//!
//! Older versions are read too. Version 2 had no jump, and `deliveries << 1 | revived`: what came back
//! from the dead letters counts as owed. Version 1 had no failures either: of its deliveries all but the
//! last, which may have been under way when it was written, are taken for failures, as they were counted
//! then.

use super::numbers::{put, seal, take, unseal};
use crate::Seq;

/// How far a subscription is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// All events up to this one were looked at, and are settled but for `open`.
    pub(crate) position: Seq,
    /// Deliveries up to this one are marked as a replay, but for those that are owed.
    pub(crate) replay_to: Seq,
    /// Where a replay ends before the place that it began from.
    pub(crate) jump: Option<Jump>,
    /// Events that the predicate turned down.
    pub(crate) skipped: u64,
    /// Events that were dropped before they were delivered.
    pub(crate) lost: u64,
    /// Events that are not settled, in order: up to `position`, and, while a replay is given, those
    /// beyond it that were open when it began.
    pub(crate) open: Vec<Open>,
}

/// Once the position is at `after`, it is at `to`: what lies between was had, and is not wanted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jump {
    pub(crate) after: Seq,
    pub(crate) to: Seq,
}

/// A part of the past that is to be given again: what comes after `after`, up to `to`, or to where the
/// subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    pub(crate) after: Seq,
    pub(crate) to: Option<Seq>,
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
    /// Whether its delivery is no replay, although it lies where a replay is: it was not settled when
    /// that began, and the subscription never had done with it.
    pub(crate) owed: bool,
}

const VERSION: u64 = 3;
/// The version of schema 2.
const WITHOUT_JUMP: u64 = 2;
/// The version of schema 1.
const WITHOUT_FAILURES: u64 = 1;

impl Cursor {
    /// The last event before which nothing is open.
    pub(crate) fn floor(&self) -> Seq {
        let before = |open: &Open| Seq::new(open.seq.get().saturating_sub(1));
        self.open.first().map_or(self.position, |open| before(open).min(self.position))
    }

    /// The same, set back: a part of what was had is given again, and then it goes on where it was.
    /// What is open stays open, and is no part of the replay. One that is under way ends.
    pub(crate) fn set_back(mut self, again: Again) -> Self {
        let had = self.position.max(self.replay_to);
        for open in &mut self.open {
            open.owed |= open.seq > self.replay_to;
        }
        let end = again.to.map_or(had, |to| to.min(had));
        self.position = if again.after < end { again.after } else { had };
        self.jump = (self.position < had && end < had).then_some(Jump { after: end, to: had });
        self.replay_to = had;
        self
    }

    /// Where it jumps to, if it is to jump.
    pub(crate) fn jumps_to(&self) -> Seq {
        self.jump.map_or(Seq::ZERO, |jump| jump.to)
    }

    /// The places that are still to be given again: after the first, up to the second.
    pub(crate) fn again(&self) -> (Seq, Seq) {
        let end = self.jump.map_or(self.replay_to, |jump| jump.after);
        (self.position.min(end), end)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + 3 * self.open.len());
        let (after, to) = self.jump.map_or((0, 0), |jump| (jump.after.get(), jump.to.get()));
        let (position, replay_to) = (self.position.get(), self.replay_to.get());
        let head = [VERSION, position, replay_to, after, to, self.skipped, self.lost];
        head.into_iter().for_each(|number| put(&mut out, number));
        put(&mut out, self.open.len() as u64);
        let mut before = 0;
        for open in &self.open {
            put(&mut out, open.seq.get() - before);
            let flags = u64::from(open.owed) << 1 | u64::from(open.revived);
            put(&mut out, u64::from(open.deliveries) << 2 | flags);
            put(&mut out, u64::from(open.failures));
            before = open.seq.get();
        }
        seal(&mut out);
        out
    }

    /// Reads a cursor; `None` if it is damaged.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let input = &mut unseal(bytes)?;
        let version = take(input)?;
        if ![WITHOUT_FAILURES, WITHOUT_JUMP, VERSION].contains(&version) {
            return None;
        }
        let (position, replay_to) = (Seq::new(take(input)?), Seq::new(take(input)?));
        let jump = match version {
            VERSION => Jump { after: Seq::new(take(input)?), to: Seq::new(take(input)?) },
            _ => Jump { after: Seq::ZERO, to: Seq::ZERO },
        };
        let mut cursor = Self {
            position,
            replay_to,
            jump: Some(jump).filter(|jump| jump.to != Seq::ZERO),
            skipped: take(input)?,
            lost: take(input)?,
            open: Vec::new(),
        };
        let mut before = 0_u64;
        for _ in 0..take(input)? {
            let seq = before.checked_add(take(input)?)?;
            let begun = take(input)?;
            let revived = begun & 1 == 1;
            let (deliveries, owed) = match version {
                VERSION => (begun >> 2, begun & 2 == 2),
                _ => (begun >> 1, revived),
            };
            let deliveries = u32::try_from(deliveries).ok()?;
            let failures = match version {
                WITHOUT_FAILURES => deliveries.saturating_sub(1),
                _ => u32::try_from(take(input)?).ok()?,
            };
            cursor.open.push(Open { seq: Seq::new(seq), deliveries, failures, revived, owed });
            before = seq;
        }
        input.is_empty().then_some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cursors() -> impl Strategy<Value = Cursor> {
        let open =
            proptest::collection::btree_map(any::<u64>(), any::<(u32, u32, bool, bool)>(), 0..20);
        let jump = proptest::option::of((any::<u64>(), 1..u64::MAX));
        (any::<[u64; 4]>(), jump, open).prop_map(
            |([position, replay_to, skipped, lost], jump, open)| Cursor {
                position: Seq::new(position),
                replay_to: Seq::new(replay_to),
                jump: jump.map(|(after, to)| Jump { after: Seq::new(after), to: Seq::new(to) }),
                skipped,
                lost,
                open: open
                    .into_iter()
                    .map(|(seq, (deliveries, failures, revived, owed))| Open {
                        seq: Seq::new(seq),
                        deliveries,
                        failures,
                        revived,
                        owed,
                    })
                    .collect(),
            },
        )
    }

    fn open(seq: u64, deliveries: u32, failures: u32, revived: bool) -> Open {
        Open { seq: Seq::new(seq), deliveries, failures, revived, owed: revived }
    }

    #[test]
    fn older_versions_are_read() {
        let check = |mut bytes: Vec<u8>, expected: Vec<Open>| {
            seal(&mut bytes);
            let expected =
                Cursor { position: Seq::new(5), skipped: 1, open: expected, ..Cursor::default() };
            assert_eq!(Cursor::from_bytes(&bytes), Some(expected));
        };
        // Position 5, no replay, 1 skipped, none lost; open are 2 with three attempts, and 4, which
        // came back and was never delivered.
        let expected = vec![open(2, 3, 2, false), open(4, 0, 0, true)];
        check(vec![1, 5, 0, 1, 0, 2, 2, 3 << 1, 2, 1], expected);
        // The same, and of the three attempts one failed.
        let expected = vec![open(2, 3, 1, false), open(4, 0, 0, true)];
        check(vec![2, 5, 0, 1, 0, 2, 2, 3 << 1, 1, 2, 1, 0], expected);
    }

    #[test]
    fn a_cursor_is_set_back_and_skips_nothing_that_it_had_not() {
        let check =
            |(position, replay_to): (u64, u64), (after, to): (u64, Option<u64>), expected| {
                let cursor = Cursor {
                    position: Seq::new(position),
                    replay_to: Seq::new(replay_to),
                    ..Cursor::default()
                };
                let back = cursor.set_back(Again { after: Seq::new(after), to: to.map(Seq::new) });
                let jump = back.jump.map(|jump| (jump.after.get(), jump.to.get()));
                assert_eq!((back.position.get(), jump, back.replay_to.get()), expected);
            };
        check((9, 0), (3, None), (3, None, 9));
        check((9, 0), (3, Some(5)), (3, Some((5, 9)), 9));
        check((9, 0), (3, Some(9)), (3, None, 9));
        check((9, 0), (3, Some(20)), (3, None, 9));
        // There is nothing between, or nothing that it had.
        check((9, 0), (5, Some(5)), (9, None, 9));
        check((9, 0), (20, None), (9, None, 9));
        check((9, 0), (20, Some(30)), (9, None, 9));
        // In the midst of another replay.
        check((4, 9), (6, Some(7)), (6, Some((7, 9)), 9));
        check((4, 9), (20, None), (9, None, 9));
    }

    #[test]
    fn what_is_open_is_owed_and_what_was_repeated_is_not() {
        let mut cursor = Cursor {
            position: Seq::new(9),
            replay_to: Seq::new(4),
            open: vec![open(3, 1, 1, false), open(7, 1, 1, false)],
            ..Cursor::default()
        };
        cursor = cursor.set_back(Again { after: Seq::ZERO, to: None });
        let owed: Vec<bool> = cursor.open.iter().map(|open| open.owed).collect();
        assert_eq!(owed, [false, true]);
        assert_eq!(cursor.floor(), Seq::ZERO);
        assert_eq!(Cursor::from_bytes(&cursor.to_bytes()), Some(cursor));
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
