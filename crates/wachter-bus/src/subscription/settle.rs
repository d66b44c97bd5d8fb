use std::sync::Arc;

use tokio::sync::oneshot;
use wachter_model::Event;

use super::shared::Shared;
use crate::hub::Hub;
use crate::job::{Job, Transaction};
use crate::keys::{KeyChange, KeyConflict};
use crate::publish::{self, Prepared};
use crate::{Notice, PublishReason, Published, Seq, WriteError, lock};

/// What comes of the work on an event, committed together with its settling.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// Events. One that had been accepted before is not written again.
    pub events: Vec<Event>,
    /// Changes of keys; if one does not meet what it expects, nothing is committed.
    pub keys: Vec<KeyChange>,
}

/// What became of the outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Of each event, where it stands.
    pub events: Vec<Published>,
    /// Of each change of a key, its new revision; of a removal, 0.
    pub revisions: Vec<u64>,
}

/// Why a delivery was not settled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AckError {
    /// The deadline was past, and the event has been given to somebody else, or the subscription was
    /// set back or removed.
    #[error(
        "the delivery is not held any more: its deadline was past, or its subscription changed"
    )]
    Expired,
    /// A key is not as was expected.
    #[error(transparent)]
    Conflict(KeyConflict),
    /// An output may not be published.
    #[error("an output was refused")]
    Refused(#[source] PublishReason),
    /// It could not be written.
    #[error(transparent)]
    Write(WriteError),
}

pub(crate) enum Outcome {
    Done(Acknowledged),
    Failed(AckError),
}

/// An acknowledgement on its way.
pub(crate) struct SettleJob {
    shared: Arc<Shared>,
    hub: Arc<Hub>,
    seq: Seq,
    token: u64,
    events: Vec<Prepared>,
    keys: Vec<KeyChange>,
    done: Result<Acknowledged, AckError>,
    begun: bool,
    answer: oneshot::Sender<Outcome>,
}

impl SettleJob {
    /// Makes outputs ready.
    ///
    /// Acknowledgements do not wait for room in the queue: what they may bring is bounded by what is
    /// in flight, and room is made by writing, which they are part of.
    pub(super) fn prepare(
        hub: &Arc<Hub>,
        shared: &Arc<Shared>,
        seq: Seq,
        token: u64,
        outputs: Outputs,
        answer: oneshot::Sender<Outcome>,
    ) -> Result<Self, AckError> {
        let events = hub.preparation.all(outputs.events);
        Ok(Self {
            shared: Arc::clone(shared),
            hub: Arc::clone(hub),
            seq,
            token,
            events: events.map_err(|error| AckError::Refused(error.reason))?,
            keys: outputs.keys,
            done: Err(AckError::Expired),
            begun: false,
            answer,
        })
    }
}

impl Job for SettleJob {
    fn bytes(&self) -> usize {
        publish::bytes(&self.events) + self.keys.iter().map(KeyChange::bytes).sum::<usize>()
    }

    fn events(&self) -> usize {
        self.events.len()
    }

    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        self.begun = lock(&self.shared.state).begin(self.seq, self.token);
        if !self.begun {
            self.done = Err(AckError::Expired);
            return Ok(());
        }
        if let Some(conflict) = transaction.first_conflict(&self.keys)? {
            self.done = Err(AckError::Conflict(conflict));
            return Ok(());
        }
        let mut done = Acknowledged::default();
        for prepared in &self.events {
            done.events.push(transaction.append(prepared)?);
        }
        for change in &self.keys {
            done.revisions.push(transaction.change_key(change)?);
        }
        if lock(&self.shared.state).pending.get(&self.seq).is_some_and(|pending| pending.revived) {
            crate::dead_letters::forget(transaction.connection, self.shared.id, self.seq)?;
        }
        transaction.touch(&self.shared);
        self.done = Ok(done);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), &WriteError>) {
        let this = *self;
        let now = this.hub.clock.elapsed();
        let outcome = match (outcome, this.done) {
            (Ok(()), Ok(done)) => Outcome::Done(done),
            (Ok(()), Err(error)) => Outcome::Failed(error),
            (Err(error), _) => Outcome::Failed(AckError::Write(error.clone())),
        };
        let mut state = lock(&this.shared.state);
        let done = matches!(outcome, Outcome::Done(_));
        if done {
            state.settle(this.seq);
        } else if this.begun {
            state.resume(this.seq, now);
        }
        drop(state);
        let answered = this.answer.send(outcome).is_ok();
        if !answered && !done && this.begun {
            // Whoever had it is gone and cannot give it back any more.
            let mut state = lock(&this.shared.state);
            let exhausted = state.holds(this.seq, this.token) && state.fail(this.seq, None, now);
            drop(state);
            if exhausted {
                let reason = "its acknowledgement could not be written";
                this.hub.submit(Box::new(BuryJob::new(
                    &this.shared,
                    this.seq,
                    reason.into(),
                    None,
                )));
            }
        }
        this.shared.wake.notify_one();
    }
}

/// Writes a cursor with the attempts that are about to be made.
pub(super) struct MarkJob(Arc<Shared>);

impl MarkJob {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }
}

impl Job for MarkJob {
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        transaction.touch(&self.0);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), &WriteError>) {
        lock(&self.0.state).recorded(outcome.is_ok());
        self.0.wake.notify_one();
    }
}

/// Puts an event to the dead letters.
pub(super) struct BuryJob {
    shared: Arc<Shared>,
    seq: Seq,
    reason: String,
    answer: Option<oneshot::Sender<Result<(), WriteError>>>,
}

/// What is kept of a reason; it may come from a module.
const LONGEST_REASON: usize = 1_024;

impl BuryJob {
    pub(super) fn new(
        shared: &Arc<Shared>,
        seq: Seq,
        mut reason: String,
        answer: Option<oneshot::Sender<Result<(), WriteError>>>,
    ) -> Self {
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        Self { shared: Arc::clone(shared), seq, reason, answer }
    }
}

impl Job for BuryJob {
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        let attempts =
            lock(&self.shared.state).pending.get(&self.seq).map(|pending| pending.attempts);
        if let Some(attempts) = attempts {
            crate::dead_letters::bury(
                transaction,
                self.shared.id,
                self.seq,
                attempts,
                &self.reason,
            )?;
        }
        transaction.touch(&self.shared);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), &WriteError>) {
        let hub = self.shared.hub.upgrade();
        let mut state = lock(&self.shared.state);
        match outcome {
            Ok(()) => state.buried(self.seq),
            Err(_) => {
                let now = hub.as_ref().map_or(std::time::Duration::ZERO, |hub| hub.clock.elapsed());
                state.unbury(self.seq, now);
            }
        }
        drop(state);
        if let (Ok(()), Some(hub)) = (outcome, hub) {
            hub.notice(Notice::DeadLettered {
                subscription: self.shared.name.clone(),
                seq: self.seq,
                reason: self.reason,
            });
        }
        if let Some(answer) = self.answer {
            let _ = answer.send(outcome.map_err(Clone::clone));
        }
        self.shared.wake.notify_one();
    }
}
