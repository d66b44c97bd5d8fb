//! Keeps the agents of the present deployment going.
//!
//! Each agent has a time at which it is next due. A deployment that is taken up keeps those of agents
//! that stay; a run that is under way goes on with what it was begun with. An agent that is due while
//! its last run is under way is passed over until that has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wachter_config::{Agent, Retry, Scope, Trigger};
use wachter_model::{AgentName, RunId, chain};
use wachter_protocol::module::IdempotencyKey;
use wachter_protocol::{Egress, LimitsAsked};
use wachter_sandbox::{Launcher, LauncherGone, carry_out};

use crate::{
    Cause, Deployment, ModuleStanding, RunRecord, RunRequest, RunStore, StoreError, order,
};

/// Runs under way at one time, of all agents together.
const MOST_RUNS: usize = 16;

/// What the agents of a node need.
#[derive(Clone, Debug)]
pub struct AgentsOptions {
    /// Who starts modules.
    pub launcher: Launcher,
    /// Who remembers runs.
    pub store: RunStore,
    /// What may leave the host; a run has what held when it was begun.
    pub egress: watch::Receiver<Egress>,
}

/// Something that a person who watches a node wants to see.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// A run is over and kept.
    Finished(Box<RunRecord>),
    /// An agent was due, and its module may not run: why.
    Held {
        /// The agent.
        agent: AgentName,
        /// Why.
        reason: String,
    },
    /// A run is over and could not be kept: why.
    NotKept {
        /// The agent.
        agent: AgentName,
        /// Why.
        reason: String,
    },
}

/// The agents at work.
#[derive(Debug)]
pub struct Agents {
    options: AgentsOptions,
    due: BTreeMap<AgentName, Instant>,
    busy: BTreeSet<AgentName>,
    held: BTreeMap<AgentName, String>,
}

impl Agents {
    /// None yet: [`run`](Self::run) takes them from the deployment.
    #[must_use]
    pub const fn new(options: AgentsOptions) -> Self {
        Self { options, due: BTreeMap::new(), busy: BTreeSet::new(), held: BTreeMap::new() }
    }

    /// Works until `shutdown`, which ends runs under way, or until the launcher is gone.
    ///
    /// # Errors
    /// The launcher is gone; start it and call this again with the same deployment.
    pub async fn run(
        mut self,
        mut deployments: watch::Receiver<Option<Arc<Deployment>>>,
        shutdown: CancellationToken,
        mut observe: impl FnMut(NodeEvent),
    ) -> Result<(), LauncherGone> {
        let mut runs: JoinSet<(AgentName, Result<Finished, LauncherGone>)> = JoinSet::new();
        let mut open = true;
        let mut taken: Option<Arc<Deployment>> = None;
        loop {
            let deployment = deployments.borrow_and_update().clone();
            if deployment.as_ref().map(Arc::as_ptr) != taken.as_ref().map(Arc::as_ptr) {
                // What a run is granted is worked out on both sides; both must have read the same.
                self.options.launcher.reload().await?;
                taken.clone_from(&deployment);
            }
            if let Some(deployment) = &deployment {
                self.take_up(deployment);
                if !shutdown.is_cancelled() {
                    self.start_due(deployment, &mut runs, &shutdown, &mut observe);
                }
            }
            if shutdown.is_cancelled() && runs.is_empty() {
                return Ok(());
            }
            let next = self.next_due();
            tokio::select! {
                changed = deployments.changed(), if open => open = changed.is_ok(),
                Some(ended) = runs.join_next() => {
                    // A panic of one run's task is a fault of ours and costs that run alone.
                    if let Ok((agent, outcome)) = ended {
                        self.busy.remove(&agent);
                        observe(outcome?.event(agent));
                    } else {
                        self.busy.clear();
                    }
                }
                () = tokio::time::sleep_until(next), if !shutdown.is_cancelled() => {}
                () = shutdown.cancelled(), if !shutdown.is_cancelled() => {}
                () = self.options.launcher.gone() => return Err(LauncherGone),
            }
        }
    }

    /// Forgets agents that are no more, and makes new ones due: at once, or when the time since their
    /// last start, in an earlier life of this process, is over.
    fn take_up(&mut self, deployment: &Deployment) {
        let exists =
            |name: &AgentName| deployment.catalogue.agents().any(|agent| agent.name == *name);
        self.due.retain(|name, _| exists(name));
        self.held.retain(|name, _| exists(name));
        for agent in deployment.catalogue.agents() {
            let longest = Instant::now() + agent.every.to_std();
            let store = &self.options.store;
            let due = self.due.entry(agent.name.clone()).or_insert_with(|| {
                let since = store
                    .last_started(&agent.name)
                    .map(|last| Timestamp::now().duration_since(last));
                // A clock that went back must not put an agent to sleep.
                let since = since.map_or(Duration::MAX, |since| {
                    Duration::try_from(since).unwrap_or(Duration::MAX)
                });
                Instant::now() + agent.every.to_std().saturating_sub(since)
            });
            *due = (*due).min(longest);
        }
    }

    fn next_due(&self) -> Instant {
        let waiting = self.due.iter().filter(|(name, _)| !self.busy.contains(*name));
        waiting
            .map(|(_, due)| *due)
            .min()
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600))
    }

    fn start_due(
        &mut self,
        deployment: &Deployment,
        runs: &mut JoinSet<(AgentName, Result<Finished, LauncherGone>)>,
        shutdown: &CancellationToken,
        observe: &mut impl FnMut(NodeEvent),
    ) {
        let now = Instant::now();
        for agent in deployment.catalogue.agents() {
            let due = self.due.get(&agent.name).is_some_and(|due| *due <= now);
            if !due || self.busy.contains(&agent.name) || runs.len() >= MOST_RUNS {
                continue;
            }
            self.due.insert(agent.name.clone(), now + agent.every.to_std());
            match self.request(agent, deployment) {
                Ok(request) => {
                    self.held.remove(&agent.name);
                    self.busy.insert(agent.name.clone());
                    let (options, shutdown, name) =
                        (self.options.clone(), shutdown.clone(), agent.name.clone());
                    runs.spawn(async move {
                        let finished = carry_out_request(&options, &name, request, &shutdown).await;
                        (name, finished)
                    });
                }
                Err(reason) => {
                    // Said once, until it changes.
                    if self.held.get(&agent.name) != Some(&reason) {
                        self.held.insert(agent.name.clone(), reason.clone());
                        observe(NodeEvent::Held { agent: agent.name.clone(), reason });
                    }
                }
            }
        }
    }

    fn request(&self, agent: &Agent, deployment: &Deployment) -> Result<RunRequest, String> {
        if let Some(key) = not_carried_out(agent) {
            return Err(format!("`{key}` is not carried out by this version; take it out"));
        }
        let module = deployment.modules.get(&agent.module).map(|module| &module.standing);
        match module {
            Some(ModuleStanding::Ready { digest, manifest, grant }) => {
                let run = RunId::new();
                Ok(RunRequest {
                    run,
                    idempotency_key: IdempotencyKey::of_run(run),
                    cause: Cause::Schedule { agent: agent.name.clone() },
                    digest: *digest,
                    manifest: manifest.as_ref().clone(),
                    grant: grant.as_ref().clone(),
                    input: agent.with.clone(),
                    event: None,
                    // Read from disk later, by the run's own task.
                    state: Value::Null,
                    dry_run: false,
                })
            }
            Some(ModuleStanding::Refused(reason)) => Err(reason.clone()),
            None => Err(format!("there is no module `{}`", agent.module)),
        }
    }
}

/// What an agent is declared with and this version would pass over: it runs agents by intervals.
fn not_carried_out(agent: &Agent) -> Option<&'static str> {
    let schedule = agent.on.schedule.as_ref();
    let is_cron =
        schedule.is_some_and(|schedule| matches!(schedule.trigger(), Trigger::Cron { .. }));
    let has_jitter = schedule.is_some_and(|schedule| schedule.jitter().as_millis() > 0);
    if is_cron {
        Some("on.schedule.cron")
    } else if has_jitter {
        Some("on.schedule.jitter")
    } else if !agent.on.events.is_empty() {
        Some("on.events")
    } else if agent.window.is_some() {
        Some("window")
    } else if agent.concurrency.key.is_some() || agent.concurrency.limit.get() > 1 {
        Some("concurrency")
    } else if agent.scope == Scope::Fleet && schedule.is_some() {
        Some("scope: fleet")
    } else if agent.retry != Retry::default() {
        Some("retry")
    } else if agent.limits != LimitsAsked::default() {
        Some("modules.<name>.limits")
    } else {
        None
    }
}

/// A run that is over, and whether it was kept.
struct Finished {
    record: RunRecord,
    kept: Result<(), StoreError>,
}

impl Finished {
    fn event(self, agent: AgentName) -> NodeEvent {
        match self.kept {
            Ok(()) => NodeEvent::Finished(Box::new(self.record)),
            Err(error) => NodeEvent::NotKept { agent, reason: chain(&error) },
        }
    }
}

/// One run from its state to its record. Disk and `/proc` are not for an asynchronous thread: syncing
/// a file can take a second on a busy disk, and every other agent would wait for it.
async fn carry_out_request(
    options: &AgentsOptions,
    agent: &AgentName,
    mut request: RunRequest,
    shutdown: &CancellationToken,
) -> Result<Finished, LauncherGone> {
    let (egress, started) = (options.egress.borrow().clone(), Timestamp::now());
    let (store, name) = (options.store.clone(), agent.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        request.state = store.state(&name);
        let order = order(&request, &egress, started);
        (request, order)
    });
    // Only a shutdown of the runtime itself ends that task early.
    let Ok((request, order)) = prepared.await else { return Err(LauncherGone) };
    let report = carry_out(&options.launcher, order, shutdown, |_| {}).await?;
    let (record, store) = (RunRecord::new(&request, started, &report), options.store.clone());
    let kept = tokio::task::spawn_blocking(move || {
        let state = report.result.as_ref().and_then(|result| result.state.as_ref());
        let kept = store.keep(&record, state.filter(|_| record.succeeded()));
        Finished { record, kept }
    });
    kept.await.map_err(|_| LauncherGone)
}
