//! One delivery, from its start to its settling.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wachter_bus::{Delivery, Expect};
use wachter_config::Agent;
use wachter_model::{AgentName, Event, RunId, chain};

use super::DispatcherOptions;
use super::journal::{Stuck, StuckRun};
use super::outputs::STATE_BUCKET;
use super::settle::TROUBLE;
use super::wake::{Sources, Wake};
use crate::{RunRecord, RunRequest};

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
    /// Set while it is over and waits for the journal.
    pub(super) stuck: Option<StuckRun>,
}

/// Where a run's work goes.
pub(super) struct Rim {
    pub(super) options: DispatcherOptions,
    pub(super) sources: Sources,
    pub(super) stuck: Stuck,
    /// What the state must be for it to be changed: what the run has read.
    pub(super) state: Expect,
}

impl Admitted {
    /// Runs the module and settles the delivery.
    pub(super) async fn carry_out(
        self,
        options: DispatcherOptions,
        sources: Sources,
        stuck: Stuck,
    ) -> Ended {
        let (run, agent) = (self.request.run, self.agent.name.clone());
        let cause = Arc::clone(self.delivery.event());
        let mut rim = Rim { options, sources, stuck, state: Expect::Absent };
        let (settled, keeps_state) = self.run(&mut rim).await;
        let keeps_state = keeps_state || rim.state != Expect::Absent;
        Ended { run, agent, cause, settled, keeps_state }
    }

    /// Says how it ended, and whether there is a state now.
    async fn run(mut self, rim: &mut Rim) -> (Settled, bool) {
        match rim.options.bus.key(STATE_BUCKET, self.agent.name.as_str()).await {
            Ok(Some(entry)) => {
                self.request.state = serde_json::from_slice(&entry.value).unwrap_or(Value::Null);
                rim.state = Expect::Revision(entry.revision);
            }
            Ok(None) => {}
            Err(error) => {
                // Nothing has run, and the event is not what is wrong.
                self.delivery.put_back(TROUBLE);
                let reason = format!("its state cannot be read: {}", chain(&error));
                return (Settled::NotKept(reason), false);
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
}
