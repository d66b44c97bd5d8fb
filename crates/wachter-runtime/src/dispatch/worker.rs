use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use tokio::sync::mpsc;
use wachter_bus::{Clock, Delivery, Subscription};
use wachter_config::{Agent, Overlap, Scope, Spread};
use wachter_model::{AgentName, Digest, Event, NodeName, RunId, chain};
use wachter_protocol::{Grant, Manifest};

use super::input::allow_request;
use super::listening::Listening;
use super::report::LastRun;
use super::wake::Wake;
use super::{Pause, condition};
use crate::schedule::{
    AgentTimes, FailureRow, Priority, RestartOptions, Restarts, Standing, Times, Work, has_effects,
};
use crate::{Deployment, ModuleStanding, RunRecord};

/// An agent at work: its subscription, and how it does.
pub(super) struct Worker {
    pub(super) agent: Arc<Agent>,
    pub(super) standing: Standing,
    pub(super) counts: Counts,
    pub(super) pause: Option<Pause>,
    /// When it is in the order of reviews.
    pub(super) review_at: Option<Timestamp>,
    /// Where its schedule stood when its module began to wait: until that is over, no tick is due.
    pub(super) withheld: Option<Withheld>,
    pub(super) restarts: Restarts,
    /// How many failures in a row were told last.
    told: u32,
    errors: Arc<AtomicU64>,
    listening: Listening,
}

/// What an agent did since the node started.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) runs: u64,
    pub(super) failures: u64,
    pub(super) last: Option<LastRun>,
}

/// A schedule whose ticks are not counted, and where it stood; none where it was new.
#[derive(Debug, Default)]
pub(super) struct Withheld(pub(super) Option<AgentTimes>);

/// A module that may run.
pub(super) struct ReadyModule {
    pub(super) digest: Digest,
    pub(super) manifest: Manifest,
    pub(super) grant: Grant,
}

/// What became of the row of an agent's failures.
pub(super) enum Row {
    /// There is none: it succeeded, or was ended by us.
    None,
    /// It is not long enough to be told.
    Short,
    /// It is so long that it is held back.
    Degraded { failures: u32, next: Timestamp, tell: bool },
}

impl Worker {
    /// Of an agent, and the subscription that was made for it.
    pub(super) fn new(
        agent: &Agent,
        errors: Arc<AtomicU64>,
        subscription: Subscription,
        deliveries: mpsc::Sender<(AgentName, Delivery)>,
        restarts: Restarts,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let listening = Listening::new(agent.name.clone(), subscription, deliveries, clock);
        Self {
            agent: Arc::new(agent.clone()),
            standing: Standing::default(),
            counts: Counts::default(),
            pause: None,
            review_at: None,
            withheld: None,
            restarts,
            told: 0,
            errors,
            listening,
        }
    }

    /// Becomes another agent of the same name; how it does goes on, and so does its subscription.
    pub(super) fn become_another(&mut self, agent: &Agent) {
        self.agent = Arc::new(agent.clone());
    }

    /// Has it take deliveries, or none.
    pub(super) fn listen(&self, open: bool) {
        self.listening.open(open);
    }

    /// What counts conditions that could not be worked out.
    pub(super) fn errors(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.errors)
    }

    /// Conditions that could not be worked out.
    pub(super) fn condition_errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Its ticks; none where it has no schedule.
    pub(super) fn times(&self, node: &NodeName) -> Option<Times> {
        let schedule = self.agent.on.schedule.clone()?;
        let spread = match self.agent.scope {
            Scope::Fleet => Spread::of_fleet(&self.agent.name),
            Scope::Node => Spread::of_node(node, &self.agent.name),
        };
        Some(Times::new(schedule, self.agent.window.clone(), spread))
    }

    /// Its module, for a run that begins now, or why it may not run.
    pub(super) fn module(&self, deployment: &Deployment) -> Result<ReadyModule, String> {
        match deployment.modules.get(&self.agent.module).map(|module| &module.standing) {
            Some(ModuleStanding::Ready { digest, manifest, grant }) => Ok(ReadyModule {
                digest: *digest,
                manifest: manifest.as_ref().clone(),
                grant: grant.as_ref().clone(),
            }),
            Some(ModuleStanding::Refused(reason) | ModuleStanding::Waiting { reason, .. }) => {
                Err(reason.clone())
            }
            None => Err(format!("there is no module `{}`", self.agent.module)),
        }
    }

    /// What its module waits for, where it does.
    pub(super) fn waits_for<'d>(&self, deployment: &'d Deployment) -> Option<&'d str> {
        deployment.modules.get(&self.agent.module)?.waits_for()
    }

    /// Why its module may not run, where it may not.
    pub(super) fn stopped_by(&self, deployment: &Deployment) -> Option<String> {
        match deployment.modules.get(&self.agent.module) {
            Some(module) => module.reason().map(str::to_owned),
            None => Some(format!("there is no module `{}`", self.agent.module)),
        }
    }

    /// Whether its module takes what it would be told. What configuration says was checked with that;
    /// a request may be older than both.
    pub(super) fn allow(&self, wake: &Wake, deployment: Option<&Deployment>) -> Result<(), String> {
        match (wake, deployment) {
            (Wake::Requested(request), Some(deployment)) => {
                allow_request(&self.agent, &deployment.catalogue, request)
                    .map_err(|refused| refused.to_string())
            }
            _ => Ok(()),
        }
    }

    /// What is to be admitted.
    pub(super) fn work(&self, wake: &Wake, event: &Event) -> Result<Work, String> {
        let agent = &self.agent;
        let key = agent.concurrency.key.as_ref();
        // A tick and a request have no key of their own to look at.
        let key = key.filter(|_| *wake == Wake::Event).map(|key| condition::key(key, event));
        let key =
            key.transpose().map_err(|error| format!("`concurrency.key`: {}", chain(&error)))?;
        Ok(Work {
            run: RunId::new(),
            agent: agent.name.clone(),
            role: agent.role,
            key,
            limit: agent.concurrency.limit,
            overlap: agent.concurrency.overlap,
            priority: match wake {
                Wake::Requested(_) => Priority::High,
                Wake::Due | Wake::Event => Priority::Normal,
            },
        })
    }

    /// Whether it changes something outside of Wachter.
    pub(super) fn has_effects(&self) -> bool {
        has_effects(self.agent.role)
    }

    /// Whether two of its runs can be under way at one time.
    pub(super) fn is_parallel(&self) -> bool {
        let concurrency = &self.agent.concurrency;
        concurrency.limit.get() > 1
            || concurrency.key.is_some()
            || concurrency.overlap == Overlap::Allow
    }

    /// Whether it fails so often that a person should know.
    pub(super) fn is_degraded(&self, now: Timestamp) -> bool {
        self.restarts.is_degraded(now)
    }

    /// Goes by other settings from the next failure on.
    pub(super) fn configure(&mut self, restarts: RestartOptions) {
        self.restarts.configure(restarts);
    }

    /// How often it failed in a row.
    pub(super) fn row(&self) -> Option<FailureRow> {
        self.restarts.row()
    }

    /// Goes on with failures of an earlier life, which were told then; why it is held back, where it
    /// failed so often.
    pub(super) fn go_on_with(&mut self, row: FailureRow, now: Timestamp) -> Option<String> {
        self.restarts.go_on_with(row);
        let failures = self.restarts.failures();
        self.restarts.is_degraded(now).then(|| {
            self.told = failures;
            held_back(failures, self.restarts.next_try(now))
        })
    }

    /// A run is over.
    pub(super) fn count(&mut self, record: &RunRecord, now: Timestamp) -> Row {
        self.counts.runs += 1;
        self.counts.last = Some(LastRun::from(record));
        if record.succeeded() {
            self.restarts.succeeded();
            self.told = 0;
            return Row::None;
        }
        self.counts.failures += 1;
        // Who ended it was not the module.
        if record.outcome == "cancelled" {
            return Row::Short;
        }
        let next = self.restarts.failed(now);
        let failures = self.restarts.failures();
        if !self.restarts.is_degraded(now) {
            self.told = 0;
            return Row::Short;
        }
        let tell = failures >= self.told.saturating_mul(2);
        if tell {
            self.told = failures;
        }
        Row::Degraded { failures, next, tell }
    }
}

/// Why an agent that fails over and over is held back.
pub(super) fn held_back(failures: u32, next: Timestamp) -> String {
    format!("failed {failures} times in a row; the next try is at {next}")
}
