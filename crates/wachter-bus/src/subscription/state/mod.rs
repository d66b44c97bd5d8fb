//! The state of one subscription: synchronous, given the time, doing nothing by itself.

mod intake;
mod leases;
mod place;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::cursor::{Again, Jump, Open};
use super::pending::{Pending, Phase};
use super::{Cursor, SubscriptionOptions};
use crate::Seq;
use crate::stored::Stored;
use intake::Ahead;
pub(crate) use place::CursorChange;

/// Bytes of events that are held, besides one.
const MOST_BYTES: usize = 4 << 20;
/// Events that are read at once of those that only the cursor told of.
const MISSING_AT_ONCE: usize = 64;

pub(super) struct State {
    pub(super) options: SubscriptionOptions,
    /// How often options were given: what was read under older ones is read again.
    pub(super) declared: u64,
    /// Events up to here were looked at; those to settle are in `pending`. While it is live, all that
    /// was offered counts as looked at too: see `catch_up`.
    pub(super) position: Seq,
    pub(super) replay_to: Seq,
    /// Where the replay ends, or ended.
    jump: Option<Jump>,
    /// The last event that was ever handed out; what is settled is not beyond it.
    handed_to: Seq,
    pub(super) pending: BTreeMap<Seq, Pending>,
    /// Which of them are known by their number alone.
    unread: BTreeSet<Seq>,
    /// Which of them can be delivered as soon as they are read.
    ready: BTreeSet<Seq>,
    waiting: BTreeSet<(Duration, Seq)>,
    leased: BTreeSet<(Duration, Seq)>,
    /// With [`Order::Key`](super::Order::Key): open events of each key, of which only the first may be
    /// out.
    lanes: HashMap<Arc<str>, BTreeSet<Seq>>,
    bytes: usize,
    in_flight: usize,
    next_token: u64,
    /// Deliveries that are still to be written down before they are made.
    careful: usize,
    pub(super) members: usize,
    /// Whether the writer feeds it.
    pub(super) live: bool,
    /// Whether the reader is at work for it.
    pub(super) reading: bool,
    /// What was offered since then, if it is not too much.
    ahead: Option<Ahead>,
    /// Not before this: the last reading failed, and would again at once.
    pub(super) read_after: Option<Duration>,
    pub(super) skipped: u64,
    pub(super) lost: u64,
    pub(super) delivered: u64,
    pub(super) acknowledged: u64,
    /// Changes of what the cursor says that no transaction made.
    changes: u64,
    /// How many of them are on disk.
    written: u64,
    /// The position on disk.
    written_position: Seq,
    pub(super) removed: bool,
}

/// What can be done for a member that waits.
pub(super) enum Step {
    /// Give it this.
    Deliver(Leased),
    /// Write down that this is about to be delivered.
    Record,
    /// Put this to the dead letters.
    Bury { seq: Seq, reason: &'static str },
    /// Read these events, and what follows the position if there is room.
    Read { missing: Vec<Seq>, room: usize },
    /// Wait, at most until then.
    Wait(Option<Duration>),
}

pub(super) struct Leased {
    pub(super) stored: Stored,
    pub(super) deliveries: u32,
    pub(super) failures: u32,
    pub(super) token: u64,
    pub(super) replay: bool,
}

impl State {
    pub(super) fn new(options: SubscriptionOptions, cursor: Cursor, careful: bool) -> Self {
        let mut state = Self {
            declared: 0,
            position: cursor.position,
            replay_to: cursor.replay_to,
            jump: cursor.jump,
            handed_to: cursor.position,
            pending: BTreeMap::new(),
            unread: BTreeSet::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            leased: BTreeSet::new(),
            lanes: HashMap::new(),
            bytes: 0,
            in_flight: 0,
            next_token: 1,
            careful: if careful { options.in_flight + cursor.open.len() } else { 0 },
            members: 0,
            live: false,
            reading: false,
            ahead: None,
            read_after: None,
            skipped: cursor.skipped,
            lost: cursor.lost,
            delivered: 0,
            acknowledged: 0,
            changes: 0,
            written: 0,
            written_position: cursor.position,
            removed: false,
            options,
        };
        for open in cursor.open {
            state.tell_of(open);
        }
        state
    }

    /// What to do next for a member.
    pub(super) fn step(&mut self, now: Duration) -> Step {
        self.expire(now);
        let limit = if self.careful > 0 { 1 } else { self.options.in_flight.max(1) };
        if self.in_flight < limit {
            let candidate = self.ready.iter().copied().find(|seq| {
                let pending = &self.pending[seq];
                pending.stored.is_some() && self.is_next(*seq, pending)
            });
            if let Some(seq) = candidate {
                return self.hand_out(seq, now);
            }
        }
        let read_after = self.read_after.filter(|at| *at > now);
        if !self.reading && read_after.is_none() {
            // All that the cursor told of comes before anything new is looked for.
            // What waits is read too: later ones of its key go on only after it.
            let missing: Vec<_> = self.unread.iter().copied().take(MISSING_AT_ONCE).collect();
            let room = if missing.is_empty() && !self.live { self.room() } else { 0 };
            // Reading a few at a time, as soon as a few were settled, would read page after page.
            let room =
                if room >= self.options.window() / 4 || self.ready.is_empty() { room } else { 0 };
            if (!missing.is_empty() && self.bytes <= MOST_BYTES) || room > 0 {
                self.reading = true;
                self.ahead = (room > 0).then(Ahead::default);
                return Step::Read { missing, room };
            }
        }
        let due = [self.leased.first(), self.waiting.first()].into_iter().flatten();
        Step::Wait(due.map(|(at, _)| *at).chain(read_after).min())
    }

    /// Takes other options from now on. `offered` was offered under the old ones. Called by the writer,
    /// which offers nothing meanwhile: so what is at the end already is fed from now on, and does not
    /// have to read its way to an end that moves.
    pub(super) fn declare(&mut self, options: SubscriptionOptions, offered: Seq) {
        self.catch_up(offered);
        self.options = options;
        self.declared += 1;
        self.live |= self.position == offered;
    }

    /// Puts an event back that was among the dead letters.
    pub(super) fn revive(&mut self, seq: Seq, owed: bool) {
        if self.pending.contains_key(&seq) {
            return;
        }
        self.tell_of(Open { seq, deliveries: 0, failures: 0, revived: true, owed });
    }

    fn tell_of(&mut self, open: Open) {
        self.pending.insert(open.seq, Pending::told_of(open));
        self.unread.insert(open.seq);
        self.ready.insert(open.seq);
    }

    /// Lets go of what is held ahead; it is read again when a member comes.
    pub(super) fn idle(&mut self, offered: Seq) {
        let cursor = self.cursor(offered, &CursorChange::default());
        self.stand_at(&cursor);
    }

    /// Gives a part of the past again, and then goes on where it is. What is out or waits to be tried
    /// again stays as it is. Returns what is given again: after the first place, up to the second.
    pub(super) fn set_back(&mut self, again: Again, offered: Seq) -> (Seq, Seq) {
        let change = CursorChange { again: Some(again), ..CursorChange::default() };
        let cursor = self.cursor(offered, &change);
        self.stand_at(&cursor);
        self.replay_to = cursor.replay_to;
        self.jump = cursor.jump;
        self.handed_to = cursor.position;
        for open in &cursor.open {
            if let Some(pending) = self.pending.get_mut(&open.seq) {
                pending.owed = open.owed;
            }
        }
        self.changes += 1;
        cursor.again()
    }

    /// Holds no more than a cursor tells of.
    fn stand_at(&mut self, cursor: &Cursor) {
        self.live = false;
        self.ahead = None;
        self.position = cursor.position;
        let keep: BTreeSet<_> = cursor.open.iter().map(|open| open.seq).collect();
        let gone: Vec<_> = self
            .pending
            .iter()
            .filter(|(seq, pending)| pending.phase == Phase::Ready && !keep.contains(seq))
            .map(|(seq, _)| *seq)
            .collect();
        for seq in gone {
            self.remove(seq);
        }
    }

    /// Forgets everything; leases end.
    pub(super) fn clear(&mut self) {
        let cursor = Cursor { skipped: self.skipped, lost: self.lost, ..Cursor::default() };
        let fresh = Self::new(self.options.clone(), cursor, false);
        *self = Self {
            declared: self.declared,
            members: self.members,
            reading: self.reading,
            next_token: self.next_token,
            delivered: self.delivered,
            acknowledged: self.acknowledged,
            changes: self.changes + 1,
            written: self.written,
            ..fresh
        };
    }

    fn remove(&mut self, seq: Seq) -> Option<Pending> {
        let pending = self.pending.remove(&seq)?;
        self.bytes -= pending.bytes();
        self.unread.remove(&seq);
        self.ready.remove(&seq);
        if let Phase::Waiting { due, .. } = pending.phase {
            self.waiting.remove(&(due, seq));
        }
        if let Some(key) = pending.key()
            && let Some(lane) = self.lanes.get_mut(&key)
        {
            lane.remove(&seq);
            if lane.is_empty() {
                self.lanes.remove(&key);
            }
        }
        Some(pending)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
