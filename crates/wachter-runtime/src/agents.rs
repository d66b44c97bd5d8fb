//! Keeps the agents of the present deployment going.
//!
//! Each agent has a time at which it is next due. A deployment that is taken up keeps those of agents
//! that stay; a run that is under way goes on with what it was begun with. An agent that is due while
//! its last run is under way is passed over until that has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wachter_config::Agent;
use wachter_model::AgentName;
use wachter_protocol::Egress;
use wachter_sandbox::{Launcher, LauncherGone, RunReport, carry_out};

use crate::{Cause, Deployment, ModuleStanding, RunRecord, RunRequest, RunStore, order};

/// Runs under way at one time, of all agents together.
const MOST_RUNS: usize = 16;

/// What the agents of a node need.
#[derive(Clone, Debug)]
pub struct AgentsOptions {
    /// Who starts modules.
    pub launcher: Launcher,
    /// Who remembers runs.
    pub store: RunStore,
    /// What may leave the host.
    pub egress: Egress,
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
                        self.finish(agent, outcome?, &mut observe);
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
                        (name, carry_out_request(&options, request, &shutdown).await)
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
        let module = deployment.modules.get(&agent.module).map(|module| &module.standing);
        match module {
            Some(ModuleStanding::Ready { digest, manifest, grant }) => Ok(RunRequest {
                cause: Cause::Schedule { agent: agent.name.clone() },
                digest: *digest,
                manifest: manifest.as_ref().clone(),
                grant: grant.as_ref().clone(),
                input: agent.with.clone(),
                state: self.options.store.state(&agent.name),
                dry_run: false,
            }),
            Some(ModuleStanding::Refused(reason)) => Err(reason.clone()),
            None => Err(format!("there is no module `{}`", agent.module)),
        }
    }

    fn finish(&self, agent: AgentName, finished: Finished, observe: &mut impl FnMut(NodeEvent)) {
        let Finished { record, report } = finished;
        let state = report.result.as_ref().and_then(|result| result.state.as_ref());
        match self.options.store.keep(&record, state.filter(|_| record.succeeded())) {
            Ok(()) => observe(NodeEvent::Finished(Box::new(record))),
            Err(error) => observe(NodeEvent::NotKept { agent, reason: error.to_string() }),
        }
    }
}

struct Finished {
    record: RunRecord,
    report: RunReport,
}

async fn carry_out_request(
    options: &AgentsOptions,
    request: RunRequest,
    shutdown: &CancellationToken,
) -> Result<Finished, LauncherGone> {
    let (egress, started) = (options.egress.clone(), Timestamp::now());
    let prepared = tokio::task::spawn_blocking(move || {
        let order = order(&request, &egress, started);
        (request, order)
    });
    // Only a shutdown of the runtime itself ends that task early.
    let Ok((request, order)) = prepared.await else { return Err(LauncherGone) };
    let report = carry_out(&options.launcher, order, shutdown, |_| {}).await?;
    let record = RunRecord::new(&request, started, &report);
    Ok(Finished { record, report })
}
