//! How events are handed out, and what becomes of them then.

use std::time::Duration;

use super::{Leased, State, Step};
use crate::Seq;
use crate::dead_letters::Tried;
use crate::subscription::pending::{Pending, Phase};

/// How long what could not be put to the dead letters waits before that is tried again.
const BURY_PAUSE: Duration = Duration::from_secs(1);

impl State {
    /// Ends leases that ran out, which are failures, and waits that are over.
    pub(super) fn expire(&mut self, now: Duration) {
        while let Some((deadline, seq)) = self.leased.first().copied().filter(|(at, _)| *at <= now)
        {
            self.leased.remove(&(deadline, seq));
            self.fail(seq, None, now);
            self.changes += 1;
        }
        while let Some((due, seq)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.remove(&(due, seq));
            if let Some(pending) = self.pending.get_mut(&seq) {
                pending.phase = Phase::Ready;
                self.ready.insert(seq);
            }
        }
    }

    pub(super) fn hand_out(&mut self, seq: Seq, now: Duration) -> Step {
        let spent = self.spent(seq);
        let pending = self.pending.get_mut(&seq).expect("what is ready is pending");
        if let Some(reason) = spent.filter(|_| pending.phase != Phase::Recorded) {
            self.ready.remove(&seq);
            pending.phase = Phase::Burying;
            return Step::Bury { seq, reason };
        }
        if self.careful > 0 && pending.phase != Phase::Recorded {
            self.ready.remove(&seq);
            self.in_flight += 1;
            self.handed_to = self.handed_to.max(seq);
            pending.deliveries += 1;
            pending.phase = Phase::Recording;
            return Step::Record;
        }
        if pending.phase == Phase::Recorded {
            self.careful = self.careful.saturating_sub(1);
        } else {
            pending.deliveries += 1;
        }
        let token = self.next_token;
        let deadline = now + self.options.ack_within;
        pending.phase = Phase::Leased(token, deadline);
        self.handed_to = self.handed_to.max(seq);
        let stored = pending.stored.clone().expect("only what was read is handed out");
        let (deliveries, failures) = (pending.deliveries, pending.failures);
        self.ready.remove(&seq);
        self.leased.insert((deadline, seq));
        self.next_token += 1;
        self.in_flight += 1;
        self.delivered += 1;
        let replay = self.is_replay(seq);
        Step::Deliver(Leased { deliveries, failures, token, replay, stored })
    }

    /// Whether a delivery of it repeats what the subscription had done with.
    pub(in crate::subscription) fn is_replay(&self, seq: Seq) -> bool {
        let owed = self.pending.get(&seq).is_some_and(|pending| pending.owed);
        seq <= self.replay_to && !owed
    }

    /// Why an event that is not out is not handed out again, if it is not.
    fn spent(&self, seq: Seq) -> Option<&'static str> {
        let pending = self.pending.get(&seq)?;
        let retry = self.options.retry;
        if pending.failures >= retry.attempts.max(1) {
            Some("its last attempt failed, or was not settled within its deadline")
        } else if pending.deliveries.saturating_sub(pending.failures) >= retry.interruptions.max(1)
        {
            Some("it was interrupted too often: its worker or the node went down with it each time")
        } else {
            None
        }
    }

    /// The deliveries that were to be written down are, or could not be.
    pub(in crate::subscription) fn recorded(&mut self, written: bool) {
        for (seq, pending) in &mut self.pending {
            if pending.phase == Phase::Recording {
                self.in_flight -= 1;
                if written {
                    pending.phase = Phase::Recorded;
                } else {
                    pending.deliveries -= 1;
                    pending.phase = Phase::Ready;
                }
                self.ready.insert(*seq);
            }
        }
    }

    /// Begins to settle what a member has. `None` if it is not that member's any more.
    pub(in crate::subscription) fn begin(&mut self, seq: Seq, token: u64) -> Option<&Pending> {
        let pending = self.pending.get_mut(&seq)?;
        match pending.phase {
            Phase::Leased(held, deadline) if held == token => {
                pending.phase = Phase::Settling(token);
                self.leased.remove(&(deadline, seq));
                Some(pending)
            }
            // The group is tried again.
            Phase::Settling(held) if held == token => Some(pending),
            _ => None,
        }
    }

    /// It was not settled after all: the member has it still, as long again.
    pub(in crate::subscription) fn resume(&mut self, seq: Seq, now: Duration) {
        if let Some(pending) = self.pending.get_mut(&seq)
            && let Phase::Settling(token) = pending.phase
        {
            let deadline = now + self.options.ack_within;
            pending.phase = Phase::Leased(token, deadline);
            self.leased.insert((deadline, seq));
        }
    }

    /// What a member had is done with: acknowledged, or among the dead letters.
    pub(in crate::subscription) fn settle(&mut self, seq: Seq, acknowledged: bool) {
        if self.remove(seq).is_some() {
            self.in_flight -= 1;
            self.acknowledged += u64::from(acknowledged);
        }
    }

    /// What a member had failed. It waits until then, or as the retry policy says. After its last
    /// attempt, which should have been buried, the next step buries it.
    pub(in crate::subscription) fn fail(
        &mut self,
        seq: Seq,
        until: Option<Duration>,
        now: Duration,
    ) {
        let retry = self.options.retry;
        let Some(pending) = self.pending.get_mut(&seq) else { return };
        pending.failures += 1;
        let failures = pending.failures;
        let due = match until {
            _ if failures >= retry.attempts.max(1) => now,
            Some(until) => until,
            None => self.retry_at(seq, failures, now),
        };
        self.wait(seq, due, true);
    }

    /// When what failed or was interrupted now for the `times`th time is delivered again, if nobody says.
    pub(in crate::subscription) fn retry_at(
        &self,
        seq: Seq,
        times: u32,
        now: Duration,
    ) -> Duration {
        now + self.options.retry.wait(seq, times)
    }

    /// What a member had was interrupted, if that member has it still; which is no failure.
    pub(in crate::subscription) fn interrupt(
        &mut self,
        seq: Seq,
        token: u64,
        until: Option<Duration>,
        now: Duration,
    ) {
        if !self.holds(seq, token) {
            return;
        }
        let Some(pending) = self.pending.get(&seq) else { return };
        let times = pending.deliveries.saturating_sub(pending.failures);
        let due = until.unwrap_or_else(|| self.retry_at(seq, times, now));
        self.wait(seq, due, until.is_some());
        self.changes += 1;
    }

    /// What a member had is as if it had not been handed out, if that member has it still.
    pub(in crate::subscription) fn put_back(&mut self, seq: Seq, token: u64, until: Duration) {
        if self.holds(seq, token) {
            self.take_back(seq, until);
            self.changes += 1;
        }
    }

    /// What a member had is as if it had not been handed out. It waits until then.
    pub(in crate::subscription) fn take_back(&mut self, seq: Seq, until: Duration) {
        let Some(pending) = self.pending.get_mut(&seq) else { return };
        pending.deliveries = pending.deliveries.saturating_sub(1);
        self.wait(seq, until, true);
    }

    /// Has what is open wait as before a restart.
    pub(in crate::subscription) fn put_off(
        &mut self,
        waits: impl Iterator<Item = (Seq, Duration)>,
        now: Duration,
    ) {
        for (seq, left) in waits {
            if self.ready.remove(&seq)
                && let Some(pending) = self.pending.get_mut(&seq)
            {
                let due = now.saturating_add(left);
                pending.phase = Phase::Waiting { due, lasts: true };
                self.waiting.insert((due, seq));
            }
        }
    }

    fn wait(&mut self, seq: Seq, due: Duration, lasts: bool) {
        let Some(pending) = self.pending.get_mut(&seq) else { return };
        if let Phase::Leased(_, deadline) = pending.phase {
            self.leased.remove(&(deadline, seq));
        }
        pending.phase = Phase::Waiting { due, lasts };
        self.waiting.insert((due, seq));
        self.in_flight -= 1;
    }

    /// How what is being put to the dead letters was tried; `None` if it is not any more.
    pub(in crate::subscription) fn burying(&self, seq: Seq) -> Option<Tried> {
        let pending = self.pending.get(&seq)?;
        (pending.phase == Phase::Burying).then_some(Tried {
            deliveries: pending.deliveries,
            failures: pending.failures,
            replay: self.is_replay(seq),
        })
    }

    /// What was being put to the dead letters is there, or could not be put there: that is tried again
    /// in a while.
    pub(in crate::subscription) fn buried(&mut self, seq: Seq, written: bool, now: Duration) {
        if self.burying(seq).is_none() {
        } else if written {
            self.remove(seq);
        } else if let Some(pending) = self.pending.get_mut(&seq) {
            let due = now + BURY_PAUSE;
            pending.phase = Phase::Waiting { due, lasts: false };
            self.waiting.insert((due, seq));
        }
    }

    /// Whether `token` still has the event.
    pub(in crate::subscription) fn holds(&self, seq: Seq, token: u64) -> bool {
        self.pending
            .get(&seq)
            .is_some_and(|pending| matches!(pending.phase, Phase::Leased(held, _) if held == token))
    }

    /// Gives a member more time; `false` if the event is not its any more.
    pub(in crate::subscription) fn extend(
        &mut self,
        seq: Seq,
        token: u64,
        until: Duration,
    ) -> bool {
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
}
