use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::bury::cut_short;
use super::outputs::{AckError, Acknowledged, Outputs};
use super::shared::Shared;
use crate::dead_letters::Tried;
use crate::hub::Hub;
use crate::job::{Job, Transaction};
use crate::keys::{self, KeyChange};
use crate::publish::{self, Prepared};
use crate::{Notice, Seq, WriteError, lock};

/// What a member says of an event that it has.
pub(super) enum Verdict {
    Done,
    /// It is delivered again then, or as the retry policy says.
    Failed {
        until: Option<Duration>,
        reason: String,
    },
    GivenUp {
        reason: String,
    },
    /// It is as if it had never been handed out, and delivered again then.
    PutBack {
        until: Duration,
    },
}

pub(super) type Outcome = Result<Acknowledged, AckError>;

/// The end of a delivery on its way: verdict and outputs in one transaction.
pub(super) struct SettleJob {
    shared: Arc<Shared>,
    hub: Arc<Hub>,
    seq: Seq,
    token: u64,
    events: Vec<Prepared>,
    keys: Vec<KeyChange>,
    verdict: Verdict,
    done: Outcome,
    begun: bool,
    /// When it is delivered again, if it is and that is to last.
    due: Option<Duration>,
    /// Whether it went to the dead letters.
    buried: bool,
    /// Who waits; nobody where the delivery was handed over with the verdict.
    answer: Option<oneshot::Sender<Outcome>>,
}

impl SettleJob {
    /// Makes outputs ready.
    ///
    /// Verdicts do not wait for room in the queue: what they may bring is bounded by what is in
    /// flight, and room is made by writing, which they are part of.
    pub(super) fn prepare(
        hub: &Arc<Hub>,
        shared: &Arc<Shared>,
        (seq, token): (Seq, u64),
        verdict: Verdict,
        outputs: Outputs,
        answer: Option<oneshot::Sender<Outcome>>,
    ) -> Result<Self, AckError> {
        let events = hub.preparation.all(outputs.events);
        Ok(Self {
            shared: Arc::clone(shared),
            hub: Arc::clone(hub),
            seq,
            token,
            events: events.map_err(|error| AckError::Refused(error.reason))?,
            keys: outputs.keys,
            verdict,
            done: Err(AckError::Expired),
            begun: false,
            due: None,
            buried: false,
            answer,
        })
    }

    /// Takes over in memory what is on disk.
    fn settled(&mut self, now: Duration) {
        let mut state = lock(&self.shared.state);
        match &mut self.verdict {
            _ if self.buried => state.settle(self.seq, false),
            Verdict::Done | Verdict::GivenUp { .. } => state.settle(self.seq, true),
            Verdict::Failed { .. } => state.fail(self.seq, self.due, now),
            Verdict::PutBack { until } => state.take_back(self.seq, *until),
        }
        drop(state);
        if let Verdict::Failed { reason, .. } | Verdict::GivenUp { reason } = &mut self.verdict
            && self.buried
        {
            self.hub.notice(Notice::DeadLettered {
                subscription: self.shared.name.clone(),
                seq: self.seq,
                reason: std::mem::take(reason),
            });
        }
    }

    /// Whoever had it is gone and cannot give it back any more.
    fn give_back(&self, now: Duration) {
        let mut state = lock(&self.shared.state);
        match self.verdict {
            Verdict::Failed { until, .. } if state.holds(self.seq, self.token) => {
                state.fail(self.seq, until, now);
            }
            Verdict::PutBack { until } => state.put_back(self.seq, self.token, until),
            _ => state.interrupt(self.seq, self.token, None, now),
        }
    }
}

impl Job for SettleJob {
    fn bytes(&self) -> usize {
        publish::bytes(&self.events) + keys::bytes(&self.keys)
    }

    fn events(&self) -> usize {
        self.events.len()
    }

    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        self.buried = false;
        let mut state = lock(&self.shared.state);
        let attempts = state.options.retry.attempts.max(1);
        let now = self.hub.clock.elapsed();
        let begun = state.begin(self.seq, self.token);
        let begun = begun.map(|pending| (pending.deliveries, pending.failures, pending.revived));
        self.due = match (&self.verdict, begun) {
            (Verdict::Failed { until, .. }, Some((_, failures, _))) => {
                Some(until.unwrap_or_else(|| state.retry_at(self.seq, failures + 1, now)))
            }
            (Verdict::PutBack { until }, _) => Some(*until),
            _ => None,
        };
        let replay = state.is_replay(self.seq);
        drop(state);
        self.begun = begun.is_some();
        let Some((deliveries, failures, revived)) = begun else {
            self.done = Err(AckError::Expired);
            return Ok(());
        };
        let mut done = Acknowledged::default();
        if let Some(conflict) = transaction.put(&self.events, &self.keys, &mut done)? {
            self.done = Err(AckError::Conflict(conflict));
            return Ok(());
        }
        let (connection, id, seq) = (transaction.connection, self.shared.id, self.seq);
        let (failures, reason) = match &mut self.verdict {
            Verdict::Done | Verdict::PutBack { .. } => (failures, None),
            Verdict::Failed { reason, .. } => {
                (failures + 1, Some(reason).filter(|_| failures + 1 >= attempts))
            }
            Verdict::GivenUp { reason } => (failures, Some(reason)),
        };
        if let Some(reason) = reason {
            cut_short(reason);
            let tried = Tried { deliveries, failures, replay };
            crate::dead_letters::bury(transaction, id, seq, tried, reason)?;
            self.buried = true;
        } else if revived && matches!(self.verdict, Verdict::Done) {
            crate::dead_letters::forget(connection, id, seq)?;
        }
        let change = transaction.touch(&self.shared);
        match self.verdict {
            Verdict::Failed { .. } if !self.buried => change.failed.push(seq),
            Verdict::PutBack { .. } => change.taken_back.push(seq),
            _ => change.settled.push(seq),
        }
        change.waiting.extend(self.due.filter(|_| !self.buried).map(|due| (seq, due)));
        self.done = Ok(done);
        Ok(())
    }

    fn finish(mut self: Box<Self>, outcome: Result<(), &WriteError>) {
        let now = self.hub.clock.elapsed();
        let done = std::mem::replace(&mut self.done, Err(AckError::Expired));
        let outcome = match outcome {
            Ok(()) => done,
            Err(error) => Err(AckError::Write(error.clone())),
        };
        let failed = outcome.is_err();
        if !failed {
            self.settled(now);
        } else if self.begun {
            lock(&self.shared.state).resume(self.seq, now);
        }
        let answered = self.answer.take().is_some_and(|answer| answer.send(outcome).is_ok());
        if failed && !answered {
            self.give_back(now);
        }
        self.shared.wake.notify_one();
    }
}
