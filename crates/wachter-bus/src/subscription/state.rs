//! The state of one subscription: synchronous, given the time, doing nothing by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::cursor::Open;
use super::filter::Judgement;
use super::pending::{Pending, Phase};
use super::{Cursor, Order, SubscriptionOptions};
use crate::Seq;
use crate::stored::Stored;

/// Bytes of events that are held, besides one.
const MOST_BYTES: usize = 4 << 20;

pub(super) struct State {
    pub(super) options: SubscriptionOptions,
    /// Events up to here were looked at; those to settle are in `pending`.
    pub(super) position: Seq,
    pub(super) replay_to: Seq,
    /// The last event that was ever handed out; what is settled is not beyond it.
    handed_to: Seq,
    pub(super) pending: BTreeMap<Seq, Pending>,
    /// Which of them can be delivered as soon as they are read.
    ready: BTreeSet<Seq>,
    waiting: BTreeSet<(Duration, Seq)>,
    leased: BTreeSet<(Duration, Seq)>,
    /// With [`Order::Key`]: open events of each key, of which only the first may be out.
    lanes: HashMap<Arc<str>, BTreeSet<Seq>>,
    bytes: usize,
    in_flight: usize,
    next_token: u64,
    /// Deliveries that are still to be written down before they are made.
    pub(super) careful: usize,
    pub(super) members: usize,
    /// Whether the writer feeds it.
    pub(super) live: bool,
    /// Whether the reader is at work for it.
    pub(super) reading: bool,
    /// Not before this: the last reading failed, and would again at once.
    pub(super) read_after: Option<Duration>,
    pub(super) skipped: u64,
    pub(super) lost: u64,
    pub(super) delivered: u64,
    pub(super) acknowledged: u64,
    /// Whether the cursor has moved since it was written.
    pub(super) moved: bool,
    pub(super) removed: bool,
}

/// What can be done for a member that waits.
pub(super) enum Step {
    /// Give it this.
    Deliver(Leased),
    /// Write down that this is about to be delivered.
    Record,
    /// Put this to the dead letters: its attempts are used up.
    Bury(Seq),
    /// Read these events, and what follows the position if there is room.
    Read { missing: Vec<Seq>, room: usize },
    /// Wait, at most until then.
    Wait(Option<Duration>),
}

pub(super) struct Leased {
    pub(super) stored: Stored,
    pub(super) attempt: u32,
    pub(super) token: u64,
    pub(super) replay: bool,
}

impl State {
    pub(super) fn new(options: SubscriptionOptions, cursor: Cursor, careful: bool) -> Self {
        let mut state = Self {
            position: cursor.position,
            replay_to: cursor.replay_to,
            handed_to: cursor.position,
            pending: BTreeMap::new(),
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
            read_after: None,
            skipped: cursor.skipped,
            lost: cursor.lost,
            delivered: 0,
            acknowledged: 0,
            moved: false,
            removed: false,
            options,
        };
        for open in cursor.open {
            let Open { seq, attempts, revived } = open;
            let pending = Pending { stored: None, attempts, revived, phase: Phase::Ready };
            state.pending.insert(seq, pending);
            state.ready.insert(seq);
        }
        state
    }

    /// What is to be written: events at the end that were never delivered stay beyond the position.
    pub(super) fn cursor(&self) -> Cursor {
        let settled =
            |pending: &Pending| matches!(pending.phase, Phase::Settling(_) | Phase::Burying);
        let fresh = |pending: &Pending| {
            pending.attempts == 0
                && !pending.revived
                && !settled(pending)
                && pending.stored.is_some()
        };
        let mut position = self.position;
        let mut kept = self.pending.len();
        for (seq, pending) in self.pending.iter().rev() {
            if *seq <= self.handed_to || !fresh(pending) {
                break;
            }
            position = Seq::new(seq.get() - 1);
            kept -= 1;
        }
        let open = self.pending.iter().take(kept).filter(|(_, pending)| !settled(pending));
        Cursor {
            position,
            replay_to: self.replay_to,
            skipped: self.skipped,
            lost: self.lost,
            open: open
                .map(|(seq, pending)| Open {
                    seq: *seq,
                    attempts: pending.attempts,
                    revived: pending.revived,
                })
                .collect(),
        }
    }

    /// The last event before which nothing is open.
    pub(super) fn floor(&self) -> Seq {
        self.pending.first_key_value().map_or(self.position, |(seq, _)| Seq::new(seq.get() - 1))
    }

    /// How many more events may be held.
    pub(super) fn room(&self) -> usize {
        if self.bytes > MOST_BYTES {
            0
        } else {
            self.options.window().saturating_sub(self.pending.len())
        }
    }

    /// Looks at an event that follows the position.
    pub(super) fn look_at(&mut self, stored: &Stored) {
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
    pub(super) fn pass(&mut self, seq: Seq) {
        if seq > self.position {
            self.position = seq;
            self.moved = true;
        }
    }

    /// Takes in an event that only the cursor told of; `None`: it is nowhere any more.
    pub(super) fn supply(&mut self, seq: Seq, found: Option<Stored>) {
        let Some(pending) = self.pending.get_mut(&seq).filter(|pending| pending.stored.is_none())
        else {
            return;
        };
        match found {
            Some(stored) => {
                self.bytes += stored.bytes;
                pending.stored = Some(stored);
                if let Some(key) = pending.key().filter(|_| self.options.order == Order::Key) {
                    self.lanes.entry(key).or_default().insert(seq);
                }
            }
            None => {
                self.remove(seq);
                self.lost += 1;
            }
        }
    }

    fn enter_lane(&mut self, seq: Seq, pending: &Pending) {
        if let Some(key) = pending.key().filter(|_| self.options.order == Order::Key) {
            self.lanes.entry(key).or_default().insert(seq);
        }
    }

    /// Whether its key, if it has one, is free.
    fn is_next(&self, seq: Seq, pending: &Pending) -> bool {
        self.options.order == Order::Any
            || pending.key().is_none_or(|key| {
                self.lanes.get(&key).and_then(BTreeSet::first).is_none_or(|first| *first == seq)
            })
    }

    /// Ends leases that ran out and waits that are over.
    fn expire(&mut self, now: Duration) -> Option<Seq> {
        while let Some((deadline, seq)) = self.leased.first().copied().filter(|(at, _)| *at <= now)
        {
            self.leased.remove(&(deadline, seq));
            if self.fail(seq, None, now) {
                return Some(seq);
            }
        }
        while let Some((due, seq)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.remove(&(due, seq));
            if let Some(pending) = self.pending.get_mut(&seq) {
                pending.phase = Phase::Ready;
                self.ready.insert(seq);
            }
        }
        None
    }

    /// What to do next for a member.
    pub(super) fn step(&mut self, now: Duration) -> Step {
        if let Some(seq) = self.expire(now) {
            return Step::Bury(seq);
        }
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
            let missing: Vec<_> = self
                .ready
                .iter()
                .copied()
                .filter(|seq| self.pending[seq].stored.is_none())
                .take(64)
                .collect();
            let room = if missing.is_empty() && !self.live { self.room() } else { 0 };
            // Reading a few at a time, as soon as a few were settled, would read page after page.
            let room =
                if room >= self.options.window() / 4 || self.ready.is_empty() { room } else { 0 };
            if (!missing.is_empty() && self.bytes <= MOST_BYTES) || room > 0 {
                self.reading = true;
                return Step::Read { missing, room };
            }
        }
        let due = [self.leased.first(), self.waiting.first()].into_iter().flatten();
        Step::Wait(due.map(|(at, _)| *at).chain(read_after).min())
    }

    fn hand_out(&mut self, seq: Seq, now: Duration) -> Step {
        let most = self.options.retry.attempts.max(1);
        let pending = self.pending.get_mut(&seq).expect("what is ready is pending");
        if pending.attempts >= most && pending.phase != Phase::Recorded {
            // Its last attempt was begun and never ended: the node went down with it.
            self.ready.remove(&seq);
            pending.phase = Phase::Burying;
            return Step::Bury(seq);
        }
        if self.careful > 0 && pending.phase != Phase::Recorded {
            self.ready.remove(&seq);
            self.in_flight += 1;
            self.handed_to = self.handed_to.max(seq);
            pending.attempts += 1;
            pending.phase = Phase::Recording;
            return Step::Record;
        }
        if pending.phase == Phase::Recorded {
            self.careful = self.careful.saturating_sub(1);
        } else {
            pending.attempts += 1;
        }
        let token = self.next_token;
        let deadline = now + self.options.ack_within;
        pending.phase = Phase::Leased(token, deadline);
        self.handed_to = self.handed_to.max(seq);
        let stored = pending.stored.clone().expect("only what was read is handed out");
        let attempt = pending.attempts;
        self.ready.remove(&seq);
        self.leased.insert((deadline, seq));
        self.next_token += 1;
        self.in_flight += 1;
        self.delivered += 1;
        Step::Deliver(Leased { attempt, token, replay: seq <= self.replay_to, stored })
    }

    /// The attempts that were to be written down are, or could not be.
    pub(super) fn recorded(&mut self, written: bool) {
        for (seq, pending) in &mut self.pending {
            if pending.phase == Phase::Recording {
                self.in_flight -= 1;
                if written {
                    pending.phase = Phase::Recorded;
                } else {
                    pending.attempts -= 1;
                    pending.phase = Phase::Ready;
                }
                self.ready.insert(*seq);
            }
        }
    }

    /// Begins to settle what a member has; `false` if it is not that member's any more.
    pub(super) fn begin(&mut self, seq: Seq, token: u64) -> bool {
        match self.pending.get_mut(&seq) {
            Some(pending) => match pending.phase {
                Phase::Leased(held, deadline) if held == token => {
                    pending.phase = Phase::Settling(token);
                    self.leased.remove(&(deadline, seq));
                    true
                }
                // The group is tried again.
                Phase::Settling(held) => held == token,
                _ => false,
            },
            None => false,
        }
    }

    /// It was not settled after all: the member has it still, as long again.
    pub(super) fn resume(&mut self, seq: Seq, now: Duration) {
        if let Some(pending) = self.pending.get_mut(&seq)
            && let Phase::Settling(token) = pending.phase
        {
            let deadline = now + self.options.ack_within;
            pending.phase = Phase::Leased(token, deadline);
            self.leased.insert((deadline, seq));
        }
    }

    /// It is settled.
    pub(super) fn settle(&mut self, seq: Seq) {
        if self.remove(seq).is_some() {
            self.in_flight -= 1;
            self.acknowledged += 1;
        }
    }

    /// Takes what a member has to be put to the dead letters; `false` if it is not its any more.
    pub(super) fn begin_burying(&mut self, seq: Seq, token: u64) -> bool {
        let held = self.begin(seq, token);
        if held && let Some(pending) = self.pending.get_mut(&seq) {
            pending.phase = Phase::Burying;
            self.in_flight -= 1;
        }
        held
    }

    /// It is among the dead letters.
    pub(super) fn buried(&mut self, seq: Seq) {
        self.remove(seq);
    }

    fn remove(&mut self, seq: Seq) -> Option<Pending> {
        let pending = self.pending.remove(&seq)?;
        self.moved = true;
        self.bytes -= pending.bytes();
        self.ready.remove(&seq);
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

    /// A delivery failed. It waits for its next attempt, unless it has had its last: then it is to be
    /// buried, and `true` is returned.
    pub(super) fn fail(&mut self, seq: Seq, delay: Option<Duration>, now: Duration) -> bool {
        let retry = self.options.retry;
        let Some(pending) = self.pending.get_mut(&seq) else { return false };
        if let Phase::Leased(_, deadline) = pending.phase {
            self.leased.remove(&(deadline, seq));
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        if pending.attempts >= retry.attempts.max(1) {
            pending.phase = Phase::Burying;
            return true;
        }
        let due = now + delay.unwrap_or_else(|| retry.wait(seq, pending.attempts));
        pending.phase = Phase::Waiting(due);
        self.waiting.insert((due, seq));
        false
    }

    /// It could not be put to the dead letters; this is tried again in a while.
    pub(super) fn unbury(&mut self, seq: Seq, now: Duration) {
        if let Some(pending) = self.pending.get_mut(&seq) {
            let due = now + Duration::from_secs(1);
            pending.phase = Phase::Waiting(due);
            self.waiting.insert((due, seq));
        }
    }

    /// Whether `token` still has the event.
    pub(super) fn holds(&self, seq: Seq, token: u64) -> bool {
        self.pending
            .get(&seq)
            .is_some_and(|pending| matches!(pending.phase, Phase::Leased(held, _) if held == token))
    }

    /// Gives a member more time; `false` if the event is not its any more.
    pub(super) fn extend(&mut self, seq: Seq, token: u64, until: Duration) -> bool {
        if !self.holds(seq, token) {
            return false;
        }
        if let Some(pending) = self.pending.get_mut(&seq)
            && let Phase::Leased(_, deadline) = pending.phase
        {
            self.leased.remove(&(deadline, seq));
            self.leased.insert((until, seq));
            pending.phase = Phase::Leased(token, until);
        }
        true
    }

    /// Puts an event back that was among the dead letters.
    pub(super) fn revive(&mut self, seq: Seq) {
        let fresh = || Pending { stored: None, attempts: 0, revived: true, phase: Phase::Ready };
        if self.pending.contains_key(&seq) {
            return;
        }
        self.pending.insert(seq, fresh());
        self.ready.insert(seq);
        self.moved = true;
    }

    /// Lets go of what is held ahead; it is read again when a member comes.
    pub(super) fn idle(&mut self) {
        let cursor = self.cursor();
        self.live = false;
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

    /// Starts over after `position`; leases end.
    pub(super) fn reset(&mut self, position: Seq, replay_to: Seq) {
        let options = self.options.clone();
        let (members, reading, token) = (self.members, self.reading, self.next_token);
        let cursor = Cursor {
            position,
            replay_to,
            skipped: self.skipped,
            lost: self.lost,
            open: Vec::new(),
        };
        *self = Self::new(options, cursor, false);
        (self.members, self.reading, self.next_token) = (members, reading, token);
        self.moved = true;
    }

    /// Events up to `last` that are held by their number alone.
    fn known_by_number(&self, last: Seq) -> Vec<Seq> {
        let held = self.pending.iter().take_while(|(seq, _)| **seq <= last);
        held.filter(|(_, pending)| pending.stored.is_none() && !pending.revived)
            .map(|(seq, _)| *seq)
            .collect()
    }

    /// How many events would be lost if all up to `last` were dropped.
    pub(super) fn would_lose(&self, last: Seq) -> u64 {
        let ahead = last.get().saturating_sub(self.position.get());
        self.known_by_number(last).len() as u64 + ahead
    }

    /// All up to `last` was dropped: what is not held is lost.
    pub(super) fn give_up(&mut self, last: Seq) {
        self.lost += self.would_lose(last);
        for seq in self.known_by_number(last) {
            self.remove(seq);
        }
        self.pass(last);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
