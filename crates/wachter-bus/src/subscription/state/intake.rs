//! How events come in.

use std::collections::BTreeSet;

use super::{MOST_BYTES, State};
use crate::Seq;
use crate::stored::Stored;
use crate::subscription::Order;
use crate::subscription::filter::Judgement;
use crate::subscription::pending::Pending;

/// What was offered while the database was looked at.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    events: Vec<Stored>,
    bytes: usize,
}

/// Events and bytes of them that are kept meanwhile.
const MOST_AHEAD: (usize, usize) = (256, 1 << 20);

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
            self.keep_ahead(events);
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

    /// Keeps what is offered while the database is looked at, so that the writer feeds it from then on
    /// even where the end that was looked for has moved on meanwhile.
    fn keep_ahead<'a>(&mut self, events: impl Iterator<Item = &'a Stored>) {
        for stored in events {
            let Some(ahead) = &mut self.ahead else { return };
            ahead.bytes += stored.bytes;
            ahead.events.push(stored.clone());
            if ahead.events.len() > MOST_AHEAD.0 || ahead.bytes > MOST_AHEAD.1 {
                self.ahead = None;
            }
        }
    }

    /// The database was looked at; if `to` is given, up to there, where the end was when the look
    /// began or later. What was offered since follows, and so does what is offered from now on.
    pub(in crate::subscription) fn join(&mut self, to: Option<Seq>) {
        let ahead = self.ahead.take();
        if let (Some(to), Some(ahead)) = (to, ahead)
            && self.members > 0
        {
            self.pass(to);
            self.live = true;
            self.offer(ahead.events.iter(), Seq::ZERO);
        }
    }

    /// Looks at an event that follows the position.
    pub(in crate::subscription) fn look_at(&mut self, stored: &Stored) {
        // What lies between may be nothing that it wants, so that nobody looked at it.
        if let Some(jump) = self.jump.filter(|jump| stored.seq > jump.after) {
            self.pass(jump.after);
        }
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
