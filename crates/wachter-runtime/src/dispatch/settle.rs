//! The end of a run: what came of it is kept, and its delivery settled, in one write.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use wachter_bus::{AckError, Acknowledged, Outputs, WriteError};
use wachter_config::Spread;
use wachter_model::{Event, chain};

use super::run::{Admitted, LEASE, Rim, Settled};
use super::turn::PAUSE;
use super::wake::Wake;
use super::{findings, outputs};
use crate::{Aftermath, RunRecord};

/// How long a run waits for a journal that says nothing of its disk.
const LONGEST_DOUBT: Duration = Duration::from_secs(60);

/// How long an event is left alone that could not be worked on through no fault of its own.
pub(super) const TROUBLE: Duration = Duration::from_secs(5);

/// What becomes of the event of a run that did not succeed.
#[derive(Clone, Copy)]
enum Fate {
    /// A node that stops, or a person, ended the run: it begins again.
    PutBack,
    /// It is tried again after this time.
    Retried(Duration),
    /// Nothing more is tried, and nobody has to see to it.
    Done,
    /// A person has to see to it.
    GivenUp,
}

impl Admitted {
    /// Keeps what came of a run that succeeded.
    pub(super) async fn keep(
        mut self,
        rim: &Rim,
        mut record: RunRecord,
        state: Option<Value>,
    ) -> Settled {
        let (agent, now) = (Arc::clone(&self.agent), rim.options.clock.now());
        let (name, state) = (&agent.name, state.as_ref().map(|state| (state, rim.state)));
        let keys = match findings::changes(&rim.options.bus, name, &record, now).await {
            Ok(keys) => keys,
            Err(error) => {
                self.delivery.give_back(None);
                let reason = format!("its findings cannot be read: {}", chain(&error));
                return Settled::NotKept(reason);
            }
        };
        let refused = loop {
            let (cause, keys) = (self.delivery.event(), keys.clone());
            let outputs = outputs::of_success(&rim.sources, name, cause, &record, state, keys, now);
            let outputs = match outputs {
                Ok(outputs) => outputs,
                Err(error) => break error.to_string(),
            };
            match self.delivery.ack(outputs).await {
                Ok(_) => return Settled::Finished(Box::new(record)),
                Err(AckError::Refused(reason)) => break chain(&reason),
                Err(AckError::Conflict(_)) => {
                    // Another run of the agent was quicker, and this one has not seen what it left.
                    self.delivery.give_back(Some(Duration::ZERO));
                    return Settled::NotKept("another run changed its state meanwhile".to_owned());
                }
                Err(AckError::Write(error)) if self.is_worth_a_wait(rim, &error).await => {}
                Err(error) => return self.not_kept(&error),
            }
        };
        // What the module emitted is no event; that is its failure, and it will be no other way again.
        record.outcome = "failed".to_owned();
        record.message = Some(format!("what it emitted cannot be taken: {refused}"));
        self.fail(rim, record).await
    }

    /// Keeps the record, and has the event delivered again, in one write: as `retry` says, or at once
    /// where the run was ended by us. A tick is not given up into the dead letters: the next one comes
    /// by itself.
    pub(super) async fn fail(mut self, rim: &Rim, mut record: RunRecord) -> Settled {
        let (agent, now) = (Arc::clone(&self.agent), rim.options.clock.now());
        let name = &agent.name;
        let failed = self.delivery.failures().saturating_add(1);
        let delay = agent.retry.delay(failed, Spread::of_fleet(name), self.delivery.seq().get());
        // That it was ended by us is no failure of its.
        let fate = match delay {
            _ if record.outcome == "cancelled" && !self.replaced.load(Ordering::Relaxed) => {
                Fate::PutBack
            }
            _ if record.outcome == "cancelled" => Fate::Done,
            Some(delay) => Fate::Retried(delay.to_std()),
            None if self.wake == Wake::Due => Fate::Done,
            None => Fate::GivenUp,
        };
        record.aftermath = match fate {
            Fate::Done => Aftermath::Settled,
            Fate::GivenUp => Aftermath::GivenUp,
            Fate::PutBack => Aftermath::Retried(now),
            Fate::Retried(delay) => Aftermath::Retried(now.saturating_add(delay).unwrap_or(now)),
        };
        let mut cut = false;
        loop {
            let cause = self.delivery.event();
            let events = match outputs::of_failure(&rim.sources, name, cause, &record, now) {
                Ok(events) => events,
                Err(error) => {
                    self.delivery.give_back(None);
                    return Settled::NotKept(error.to_string());
                }
            };
            let reason = record.message.clone().unwrap_or_else(|| record.outcome.clone());
            match self.hand_over(fate, events, reason).await {
                Ok(_) => return Settled::Finished(Box::new(record)),
                // The journal takes smaller events than others do.
                Err(AckError::Refused(_)) if !cut => {
                    record.leave_out();
                    cut = true;
                }
                Err(AckError::Write(error)) if self.is_worth_a_wait(rim, &error).await => {}
                Err(error) => return self.not_kept(&error),
            }
        }
    }

    /// Settles the delivery of a run that did not succeed, and keeps what there is to say of it.
    async fn hand_over(
        &mut self,
        fate: Fate,
        events: Vec<Event>,
        reason: String,
    ) -> Result<Acknowledged, AckError> {
        let outputs = Outputs { events, ..Outputs::default() };
        match fate {
            // Handed back by a node that stops, it begins at once under the next.
            Fate::PutBack => self.delivery.put_back_with(outputs, Duration::ZERO).await,
            Fate::Done => self.delivery.ack(outputs).await,
            Fate::Retried(delay) => self.delivery.nak_with(outputs, Some(delay), reason).await,
            Fate::GivenUp => self.delivery.dead_letter_with(outputs, reason).await,
        }
    }

    /// The journal takes nothing now: what came of the run is kept here until it does, since to do it
    /// again would be to do its effects again. Says whether to try again; not where the node stops, or
    /// a person ended the run.
    async fn is_worth_a_wait(&mut self, rim: &Rim, error: &WriteError) -> bool {
        // Of one that is held no more, settling says so.
        let _ = self.delivery.extend(LEASE);
        let clock = &rim.options.clock;
        let elapsed = clock.elapsed();
        let since = self.stuck.get_or_insert_with(|| rim.stuck.one(elapsed)).since;
        let passes = match error {
            WriteError::DiskFull | WriteError::ReadOnly | WriteError::Disk(_) => true,
            // It may be this very record: others are not to wait for it for ever.
            WriteError::Other(_) => elapsed.saturating_sub(since) < LONGEST_DOUBT,
            WriteError::Damaged(_) | WriteError::Closed => false,
        };
        passes
            && tokio::select! {
                () = clock.wait_until(elapsed + PAUSE) => true,
                () = self.cancel.cancelled() => false,
            }
    }

    /// Not the module's fault: it is done again.
    fn not_kept(self, error: &AckError) -> Settled {
        match error {
            // Nor is anything wrong with the event.
            AckError::Write(error) if !matches!(error, WriteError::Other(_)) => {
                self.delivery.put_back(TROUBLE);
            }
            _ => self.delivery.give_back(None),
        }
        Settled::NotKept(chain(error))
    }
}
