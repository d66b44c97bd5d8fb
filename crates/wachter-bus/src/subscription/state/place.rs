//! How far a subscription is, and what of that is written.

use std::collections::BTreeMap;
use std::time::Duration;

use super::State;
use crate::Seq;
use crate::subscription::cursor::{Again, Open};
use crate::subscription::pending::{Pending, Phase};
use crate::subscription::{Cursor, Waits};

/// How far a position on disk may lag behind over events that a subscription does not want: after a
/// crash it looks through so many again.
const MOST_BEHIND: u64 = 4_096;

/// What one transaction does to the place of one subscription.
#[derive(Debug, Default)]
pub(crate) struct CursorChange {
    /// What it acknowledges or puts to the dead letters.
    pub(crate) settled: Vec<Seq>,
    /// What it notes one more failure of.
    pub(crate) failed: Vec<Seq>,
    /// Of what it notes one delivery less.
    pub(crate) taken_back: Vec<Seq>,
    /// What is to wait from it on, and until when.
    pub(crate) waiting: Vec<(Seq, Duration)>,
    /// What it takes back from the dead letters, and whether that is owed.
    pub(crate) revived: Vec<(Seq, bool)>,
    /// What it has given again.
    pub(crate) again: Option<Again>,
}

impl State {
    /// Takes all up to `offered` as looked at, if the writer feeds it: what it was not given of that
    /// it does not want. Nothing is counted as changed by this; so a commit costs nothing to those
    /// that do not want what was committed.
    pub(in crate::subscription) fn catch_up(&mut self, offered: Seq) {
        if self.live {
            self.position = self.position.max(offered);
        }
    }

    /// What is to be written with `change`: events at the end that were never delivered stay beyond
    /// the position. What is in flight, or being settled by another transaction, is open.
    pub(in crate::subscription) fn cursor(
        &mut self,
        offered: Seq,
        change: &CursorChange,
    ) -> Cursor {
        self.catch_up(offered);
        let mut settled = change.settled.clone();
        settled.sort_unstable();
        let is_settled = |seq: &Seq| settled.binary_search(seq).is_ok();
        let is_fresh = |pending: &Pending| {
            let named = pending.revived || pending.owed;
            pending.deliveries == 0 && !named && pending.stored.is_some()
        };
        let mut position = self.position;
        let mut kept = self.pending.len();
        for (seq, pending) in self.pending.iter().rev() {
            if *seq <= self.handed_to || !is_fresh(pending) {
                break;
            }
            position = Seq::new(seq.get() - 1);
            kept -= 1;
        }
        let open = self.pending.iter().take(kept).filter(|(seq, _)| !is_settled(seq));
        let mut open: Vec<_> = open.map(|(seq, pending)| pending.open(*seq)).collect();
        for seq in &change.failed {
            if let Ok(place) = open.binary_search_by_key(seq, |open| open.seq) {
                open[place].failures += 1;
            }
        }
        for seq in &change.taken_back {
            if let Ok(place) = open.binary_search_by_key(seq, |open| open.seq) {
                open[place].deliveries = open[place].deliveries.saturating_sub(1);
            }
        }
        for (seq, owed) in change.revived.iter().copied() {
            if let Err(place) = open.binary_search_by_key(&seq, |open| open.seq) {
                open.insert(place, Open { seq, deliveries: 0, failures: 0, revived: true, owed });
            }
        }
        let cursor = Cursor {
            position,
            replay_to: self.replay_to,
            jump: self.jump.filter(|jump| position < jump.after),
            skipped: self.skipped,
            lost: self.lost,
            open,
        };
        match change.again {
            Some(again) => cursor.set_back(again),
            None => cursor,
        }
    }

    /// What is to be written beside the cursor with `change`: the waits that last. `at` is now, in
    /// milliseconds since 1970.
    pub(in crate::subscription) fn waits(
        &self,
        change: &CursorChange,
        now: Duration,
        at: i64,
    ) -> Waits {
        let waiting = self.waiting.iter().filter(|(_, seq)| {
            let pending = self.pending.get(seq);
            pending.is_some_and(|one| matches!(one.phase, Phase::Waiting { lasts: true, .. }))
        });
        let waiting = waiting.map(|(due, seq)| (*seq, *due)).chain(change.waiting.iter().copied());
        let left = waiting.map(|(seq, due)| (seq, due.saturating_sub(now)));
        let left: BTreeMap<_, _> = left.filter(|(_, left)| !left.is_zero()).collect();
        Waits { at, left: left.into_iter().collect() }
    }

    /// Names what the cursor says now, for [`written`](Self::written).
    pub(in crate::subscription) fn version(&self) -> u64 {
        self.changes
    }

    /// A cursor with this position, made at this version, is on disk.
    pub(in crate::subscription) fn written(&mut self, version: u64, position: Seq) {
        self.written = self.written.max(version);
        self.written_position = position;
    }

    /// Whether the cursor on disk says something else, by more than is worth a write if it is not
    /// the last one.
    pub(in crate::subscription) fn is_unwritten(&mut self, offered: Seq, last: bool) -> bool {
        self.catch_up(offered);
        let behind = self.position.get().saturating_sub(self.written_position.get());
        self.changes != self.written || behind > if last { 0 } else { MOST_BEHIND }
    }

    /// The last event before which nothing is open.
    pub(in crate::subscription) fn floor(&mut self, offered: Seq) -> Seq {
        self.catch_up(offered);
        let first = self.pending.first_key_value().map(|(seq, _)| Seq::new(seq.get() - 1));
        first.map_or(self.position, |first| first.min(self.position))
    }

    /// Events up to `last` that are held by their number alone.
    fn known_by_number(&self, last: Seq) -> Vec<Seq> {
        let held = self.pending.iter().take_while(|(seq, _)| **seq <= last);
        held.filter(|(_, pending)| pending.stored.is_none() && !pending.revived)
            .map(|(seq, _)| *seq)
            .collect()
    }

    /// How many events would be lost if all up to `last` were dropped.
    pub(in crate::subscription) fn would_lose(&mut self, last: Seq, offered: Seq) -> u64 {
        self.catch_up(offered);
        let ahead = last.get().saturating_sub(self.position.get());
        // What a replay passes over is not wanted again.
        let passed = self.jump.map_or(0, |jump| {
            let end = jump.to.min(last).get();
            end.saturating_sub(jump.after.max(self.position).get())
        });
        // What is known by its number and lies ahead was counted with that, unless it was passed over.
        let counted = |seq: &Seq| {
            *seq > self.position
                && self.jump.is_none_or(|jump| *seq <= jump.after || *seq > jump.to)
        };
        let known = self.known_by_number(last).into_iter().filter(|seq| !counted(seq)).count();
        known as u64 + ahead - passed
    }

    /// All up to `last` was dropped: what is not held is lost.
    pub(in crate::subscription) fn give_up(&mut self, last: Seq, offered: Seq) {
        self.lost += self.would_lose(last, offered);
        for seq in self.known_by_number(last) {
            self.remove(seq);
            self.changes += 1;
        }
        self.pass(last);
    }
}
