//! One delivery, from its start to its settling.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wachter_bus::{AckError, Acknowledged, Delivery, Expect, Outputs};
use wachter_config::{Agent, Spread};
use wachter_model::{AgentName, Event, RunId, chain};

use super::DispatcherOptions;
use super::findings;
use super::outputs::{self, STATE_BUCKET};
use super::wake::{Sources, Wake};
use crate::{Aftermath, RunRecord, RunRequest};

/// How long a delivery is held without a sign of life from its run.
pub(super) const LEASE: Duration = Duration::from_secs(600);

/// Carries a run out: the launcher, or a stand-in for tests.
pub type Runner = Arc<dyn Fn(RunRequest, CancellationToken) -> Running + Send + Sync>;
/// A run under way.
pub type Running = Pin<Box<dyn Future<Output = Result<Ran, RunnerGone>> + Send>>;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its record.
    pub record: RunRecord,
    /// The module's new state, where it gave one.
    pub state: Option<Value>,
}

/// Who starts modules is gone. Nothing is known of what it was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the launcher is gone")]
pub struct RunnerGone;

/// A run that is over.
pub(super) struct Ended {
    pub(super) run: RunId,
    pub(super) agent: AgentName,
    /// What woke the agent.
    pub(super) cause: Arc<Event>,
    pub(super) settled: Settled,
    /// Whether its module is known to remember something from run to run.
    pub(super) keeps_state: bool,
}

/// How a delivery ended.
#[derive(Debug)]
pub(super) enum Settled {
    /// The run is over and kept.
    Finished(Box<RunRecord>),
    /// The run is over and could not be kept: why. It is done again, under the same key.
    NotKept(String),
    /// It was not carried out: the launcher went away. It is done again.
    Gone,
}

/// A run that was admitted.
pub(super) struct Admitted {
    pub(super) agent: Arc<Agent>,
    pub(super) wake: Wake,
    pub(super) delivery: Delivery,
    pub(super) request: RunRequest,
    pub(super) cancel: CancellationToken,
    /// Set before `cancel`, when another run takes its place: then it is not done again.
    pub(super) replaced: Arc<AtomicBool>,
}

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

/// Where a run's work goes.
struct Rim {
    options: DispatcherOptions,
    sources: Sources,
    /// What the state must be for it to be changed: what the run has read.
    state: Expect,
}

impl Admitted {
    /// Runs the module and settles the delivery.
    pub(super) async fn carry_out(self, options: DispatcherOptions, sources: Sources) -> Ended {
        let (run, agent) = (self.request.run, self.agent.name.clone());
        let cause = Arc::clone(self.delivery.event());
        let mut rim = Rim { options, sources, state: Expect::Absent };
        let (settled, keeps_state) = self.settle(&mut rim).await;
        let keeps_state = keeps_state || rim.state != Expect::Absent;
        Ended { run, agent, cause, settled, keeps_state }
    }

    /// Says how it ended, and whether there is a state now.
    async fn settle(mut self, rim: &mut Rim) -> (Settled, bool) {
        match rim.options.bus.key(STATE_BUCKET, self.agent.name.as_str()).await {
            Ok(Some(entry)) => {
                self.request.state = serde_json::from_slice(&entry.value).unwrap_or(Value::Null);
                rim.state = Expect::Revision(entry.revision);
            }
            Ok(None) => {}
            Err(error) => {
                let reason = format!("its state cannot be read: {}", chain(&error));
                return (self.not_kept(reason), false);
            }
        }
        let clock = Arc::clone(&rim.options.clock);
        let mut running = (rim.options.runner)(self.request.clone(), self.cancel.clone());
        let ran = loop {
            tokio::select! {
                ran = &mut running => break ran,
                () = clock.wait_until(clock.elapsed() + LEASE / 4) => {
                    // If it is held no more, settling says so.
                    let _ = self.delivery.extend(LEASE);
                }
            }
        };
        let ran = ran.map(|mut ran| {
            ran.record.shorten_message();
            ran
        });
        match ran {
            Ok(ran) if ran.record.succeeded() => {
                // A dry run has no state to speak of: nothing was done.
                let state = ran.state.filter(|_| !ran.record.dry_run);
                let keeps_state = state.is_some();
                (self.keep(rim, ran.record, state).await, keeps_state)
            }
            Ok(ran) => (self.fail(rim, ran.record).await, false),
            Err(RunnerGone) => {
                self.delivery.give_back(Some(Duration::ZERO));
                (Settled::Gone, false)
            }
        }
    }

    async fn keep(mut self, rim: &Rim, mut record: RunRecord, state: Option<Value>) -> Settled {
        let (name, now) = (&self.agent.name, rim.options.clock.now());
        let state = state.as_ref().map(|state| (state, rim.state));
        let keys = match findings::changes(&rim.options.bus, name, &record, now).await {
            Ok(keys) => keys,
            Err(error) => {
                return self.not_kept(format!("its findings cannot be read: {}", chain(&error)));
            }
        };
        let cause = self.delivery.event();
        let outputs = outputs::of_success(&rim.sources, name, cause, &record, state, keys, now);
        let refused = match outputs {
            Ok(outputs) => match self.delivery.ack(outputs).await {
                Ok(_) => return Settled::Finished(Box::new(record)),
                Err(AckError::Refused(reason)) => chain(&reason),
                Err(AckError::Conflict(_)) => {
                    // Another run of the agent was quicker, and this one has not seen what it left.
                    self.delivery.give_back(Some(Duration::ZERO));
                    return Settled::NotKept("another run changed its state meanwhile".to_owned());
                }
                Err(error) => return self.not_kept(chain(&error)),
            },
            Err(error) => error.to_string(),
        };
        // What the module emitted is no event; that is its failure, and it will be no other way again.
        record.outcome = "failed".to_owned();
        record.message = Some(format!("what it emitted cannot be taken: {refused}"));
        self.fail(rim, record).await
    }

    /// Keeps the record, and has the event delivered again, in one write: as `retry` says, or at once
    /// where the run was ended by us. A tick is not given up into the dead letters: the next one comes
    /// by itself.
    async fn fail(mut self, rim: &Rim, mut record: RunRecord) -> Settled {
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
                Err(error) => return self.not_kept(error.to_string()),
            };
            let reason = record.message.clone().unwrap_or_else(|| record.outcome.clone());
            match self.hand_over(fate, events, reason).await {
                Ok(_) => return Settled::Finished(Box::new(record)),
                // The journal takes smaller events than others do.
                Err(AckError::Refused(_)) if !cut => {
                    record.leave_out();
                    cut = true;
                }
                Err(error) => return self.not_kept(chain(&error)),
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

    /// Not the module's fault: it is done again.
    fn not_kept(self, reason: String) -> Settled {
        self.delivery.give_back(None);
        Settled::NotKept(reason)
    }
}
