use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wachter_bus::{
    Bus, Delivery, Order, Retry, Subscription, SubscriptionName, SubscriptionOptions,
};
use wachter_config::{Agent, Scope, Spread};
use wachter_model::{AgentName, Digest, Event, NodeName, RunId, chain};
use wachter_protocol::{Grant, Manifest};

use super::condition;
use super::run::{Failures, LEASE};
use super::wake::{Sources, Wake};
use crate::schedule::{
    Change, Priority, RestartOptions, Restarts, Standing, Times, Work, has_effects,
};
use crate::{Deployment, ModuleStanding, RunRecord};

/// Deliveries of an agent that may wait here beside those that run; the others stay in the journal.
const AHEAD: usize = 8;

/// How often an event may be delivered besides its failures: nodes stop, launchers die.
const INTERRUPTIONS: u32 = 10;

/// An agent at work: its subscription, and how it does.
pub(super) struct Worker {
    pub(super) agent: Arc<Agent>,
    pub(super) standing: Standing,
    pub(super) counts: Counts,
    pub(super) failures: Failures,
    restarts: Restarts,
    name: SubscriptionName,
    errors: Arc<AtomicU64>,
    /// Ends when this is dropped.
    _listening: Listening,
}

/// What an agent did since the node started.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) runs: u64,
    pub(super) failures: u64,
    pub(super) last: Option<Box<RunRecord>>,
}

/// A module that may run.
pub(super) struct ReadyModule {
    pub(super) digest: Digest,
    pub(super) manifest: Manifest,
    pub(super) grant: Grant,
}

/// Ends with who holds it; a delivery on its way is given back.
struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Worker {
    /// Makes the subscription what the agent says, and begins to listen. `old` is the agent as it was
    /// before: how it does goes on.
    pub(super) async fn declare(
        agent: &Agent,
        node: &NodeName,
        sources: &Sources,
        bus: &Bus,
        deliveries: mpsc::Sender<(AgentName, Delivery)>,
        restarts: RestartOptions,
        old: Option<Self>,
    ) -> Result<Self, String> {
        let name: SubscriptionName =
            format!("agents/{}", agent.name).parse().map_err(|error| format!("{error}"))?;
        let errors = old.as_ref().map(|old| Arc::clone(&old.errors)).unwrap_or_default();
        let spread = Spread::of_node(node, &agent.name);
        let limit = usize::try_from(agent.concurrency.limit.get()).unwrap_or(usize::MAX);
        let options = SubscriptionOptions {
            filter: condition::filter(agent, sources, &errors),
            order: Order::Any,
            in_flight: limit.saturating_add(AHEAD),
            ack_within: LEASE,
            // Failures are counted where they happen; this bounds what a node that dies each time
            // can do to an event.
            retry: Retry {
                attempts: agent.retry.attempts().saturating_add(INTERRUPTIONS),
                ..Retry::default()
            },
            ..SubscriptionOptions::new(name.clone())
        };
        let subscription = bus.subscribe(options).await.map_err(|error| chain(&error))?;
        let listening = tokio::spawn(listen(agent.name.clone(), subscription, deliveries));
        let restarts = Restarts::new(restarts, spread);
        let (standing, counts, failures, restarts) = match old {
            Some(old) => (old.standing, old.counts, old.failures, old.restarts),
            None => (Standing::default(), Counts::default(), Failures::default(), restarts),
        };
        let agent = Arc::new(agent.clone());
        let listening = Listening(listening);
        Ok(Self {
            agent,
            standing,
            counts,
            failures,
            restarts,
            name,
            errors,
            _listening: listening,
        })
    }

    pub(super) fn subscription(&self) -> SubscriptionName {
        self.name.clone()
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

    /// Why it may not run, where it may not.
    pub(super) fn held(&self, deployment: &Deployment) -> Option<String> {
        self.module(deployment).err()
    }

    /// Its module, for a run that begins now.
    pub(super) fn ready(
        &mut self,
        deployment: &Deployment,
    ) -> Result<(Arc<Agent>, ReadyModule, Failures), String> {
        let (digest, manifest, grant) = self.module(deployment)?;
        let module = ReadyModule { digest, manifest: manifest.clone(), grant: grant.clone() };
        self.apply(Change::Began);
        Ok((Arc::clone(&self.agent), module, self.failures.clone()))
    }

    fn module<'d>(
        &self,
        deployment: &'d Deployment,
    ) -> Result<(Digest, &'d Manifest, &'d Grant), String> {
        match deployment.modules.get(&self.agent.module).map(|module| &module.standing) {
            Some(ModuleStanding::Ready { digest, manifest, grant }) => {
                Ok((*digest, manifest, grant))
            }
            Some(ModuleStanding::Refused(reason)) => Err(reason.clone()),
            None => Err(format!("there is no module `{}`", self.agent.module)),
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

    /// Whether it failed so often that its next try is later.
    pub(super) fn is_held_back(&mut self, now: Timestamp) -> bool {
        let held = self.restarts.next_try(now) > now;
        if !held && !self.restarts.is_degraded(now) {
            self.apply(Change::Recovered);
        }
        held
    }

    /// A run is over.
    pub(super) fn ended(&mut self, record: &RunRecord, now: Timestamp) {
        self.apply(Change::Ended);
        self.counts.runs += 1;
        self.counts.last = Some(Box::new(record.clone()));
        if record.succeeded() {
            self.restarts.succeeded();
            self.apply(Change::Recovered);
            return;
        }
        self.counts.failures += 1;
        let next = self.restarts.failed(now);
        if self.restarts.is_degraded(now) {
            let failures = self.restarts.failures();
            self.apply(Change::CrashLooped(format!(
                "failed {failures} times in a row; the next try is at {next}"
            )));
        }
    }

    /// Takes note of a change; one that is none is passed over.
    pub(super) fn apply(&mut self, change: Change) {
        // What cannot have happened changes nothing: it was recovered, and recovers.
        let _ = self.standing.apply(change);
    }
}

async fn listen(
    agent: AgentName,
    subscription: Subscription,
    deliveries: mpsc::Sender<(AgentName, Delivery)>,
) {
    loop {
        match subscription.next().await {
            Ok(delivery) => {
                if deliveries.send((agent.clone(), delivery)).await.is_err() {
                    return;
                }
            }
            Err(wachter_bus::ReadError::Closed) => return,
            // The bus says by itself that it cannot be read, and tries again.
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}
