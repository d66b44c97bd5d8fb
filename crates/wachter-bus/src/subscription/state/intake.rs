//! How events come in.

use std::collections::BTreeSet;

use super::{MOST_BYTES, State};
use crate::Seq;
use crate::stored::Stored;
use crate::subscription::Order;
use crate::subscription::filter::Judgement;
use crate::subscription::pending::Pending;

impl State {
    /// How many more events may be held.
    pub(in crate::subscription) fn room(&self) -> usize {
        if self.bytes > MOST_BYTES {
            0
        } else {
            self.options.window().saturating_sub(self.pending.len())
        }
    }

    /// Takes in what the writer committed and the topics of this subscription may mean, in the order
    /// of places. Returns whether there is more to hand out.
    pub(in crate::subscription) fn offer<'a>(
        &mut self,
        events: impl Iterator<Item = &'a Stored>,
        offered: Seq,
    ) -> bool {
        self.catch_up(offered);
        if !self.live {
            return false;
        }
        let before = self.ready.len();
        for stored in events {
            if self.room() == 0 {
                // What it did not take it reads later.
                self.live = false;
                self.pass(Seq::new(stored.seq.get() - 1));
                break;
            }
            self.look_at(stored);
        }
        self.ready.len() > before
    }

    /// Looks at an event that follows the position.
    pub(in crate::subscription) fn look_at(&mut self, stored: &Stored) {
        if stored.seq <= self.position {
            return;
        }
        if self.pending.contains_key(&stored.seq) {
            return self.pass(stored.seq);
        }
        match self.options.filter.judge(&stored.event) {
            Judgement::Other => {}
            Judgement::Skipped => self.skipped += 1,
            Judgement::Wanted => {
                let pending = Pending::new(stored.clone());
                self.bytes += pending.bytes();
                self.enter_lane(stored.seq, &pending);
                self.pending.insert(stored.seq, pending);
                self.ready.insert(stored.seq);
            }
        }
        self.pass(stored.seq);
    }

    /// Takes all up to `seq` as looked at.
    pub(in crate::subscription) fn pass(&mut self, seq: Seq) {
        if seq > self.position {
            self.position = seq;
            self.changes += 1;
        }
        // It is remembered: until what comes before is handed out, what is written stands before it.
        if let Some(jump) = self.jump.filter(|jump| (jump.after..jump.to).contains(&self.position))
        {
            self.position = jump.to;
            self.changes += 1;
        }
    }

    /// Takes in an event that only the cursor told of; `None`: it is nowhere any more.
    pub(in crate::subscription) fn supply(&mut self, seq: Seq, found: Option<Stored>) {
        let Some(pending) = self.pending.get_mut(&seq).filter(|pending| pending.stored.is_none())
        else {
            return;
        };
        match found {
            Some(stored) => {
                self.bytes += stored.bytes;
                self.unread.remove(&seq);
                pending.stored = Some(stored);
                if let Some(key) = pending.key().filter(|_| self.options.order == Order::Key) {
                    self.lanes.entry(key).or_default().insert(seq);
                }
            }
            None => {
                self.remove(seq);
                self.lost += 1;
                self.changes += 1;
            }
        }
    }

    fn enter_lane(&mut self, seq: Seq, pending: &Pending) {
        if let Some(key) = pending.key().filter(|_| self.options.order == Order::Key) {
            self.lanes.entry(key).or_default().insert(seq);
        }
    }

    /// Whether its key, if it has one, is free.
    pub(super) fn is_next(&self, seq: Seq, pending: &Pending) -> bool {
        self.options.order == Order::Any
            || pending.key().is_none_or(|key| {
                self.lanes.get(&key).and_then(BTreeSet::first).is_none_or(|first| *first == seq)
            })
    }
}
