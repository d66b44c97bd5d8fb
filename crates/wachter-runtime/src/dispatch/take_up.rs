//! From a deployment to agents at work: the one way, at the start, after a change and after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use wachter_bus::{Subscription, WriteError};
use wachter_config::{Agent, Spread};
use wachter_model::{AgentName, Digest, RunId, chain};

use super::listening::{subscription, subscription_of};
use super::news::{AGENT_HELD, AGENT_REGISTERED, AGENT_REMOVED};
use super::outbox::{TIMES_BUCKET, set_key};
use super::outputs::STATE_BUCKET;
use super::registry::{Registry, definition};
use super::turn::PAUSE;
use super::worker::{Withheld, Worker};
use super::{Dispatcher, Pause};
use crate::schedule::{AgentState, AgentTimes, Change, Restarts};
use crate::{Deployment, NodeEvent};

/// What is kept of agents, read at once for those that are taken up.
struct Kept {
    times: BTreeMap<AgentName, AgentTimes>,
    pauses: BTreeMap<AgentName, Pause>,
}

impl Dispatcher {
    /// Makes the subscriptions and schedules those of `deployment`. What is under way goes on.
    pub(super) async fn take_up(&mut self, deployment: Arc<Deployment>) {
        self.options.scheduler = deployment.catalogue.settings().scheduler.clone();
        let restarts = self.options.restarts();
        self.workers.values_mut().for_each(|worker| worker.configure(restarts));
        self.deployment = Some(deployment);
        self.missing.clear();
        self.complete().await;
        let started = self.admission.limit(self.options.limits());
        self.start_all(started).await;
        self.offer_again().await;
    }

    /// Does what is left of taking up the deployment; what the journal does not let it do is tried
    /// again in a while.
    pub(super) async fn complete(&mut self) {
        let Some(deployment) = self.deployment.clone() else { return };
        // Where schedules stand is read below, for those that change hands.
        self.tell().await;
        self.beats.complete = None;
        let again = self.options.clock.elapsed() + PAUSE;
        if self.registry.is_none() {
            match Registry::read(&self.options.bus).await {
                Ok(registry) => self.registry = Some(registry),
                // The bus says by itself that it cannot be read.
                Err(_) => return self.beats.complete = Some(again),
            }
        }
        self.remove_agents(&deployment).await;
        let changed = |agent: &&Agent| {
            self.workers.get(&agent.name).is_none_or(|worker| *worker.agent != **agent)
        };
        let changed: Vec<Agent> = deployment.catalogue.agents().filter(changed).cloned().collect();
        if !changed.is_empty() && self.declare(changed).await.is_err() {
            self.beats.complete = Some(again);
        }
        self.judge_modules(&deployment);
        self.wait_for_modules(&deployment);
        // New agents need not wait for the next beat.
        self.hold_leases().await;
        self.tell().await;
    }

    /// Gives up agents that the configuration has no more, whenever it lost them.
    async fn remove_agents(&mut self, deployment: &Deployment) {
        let registered = self.registry.iter().flat_map(Registry::names).cloned();
        let subscribed = self.options.bus.subscriptions().into_iter();
        let subscribed = subscribed
            .filter_map(|status| status.name.as_str().strip_prefix("agents/")?.parse().ok());
        let known: BTreeSet<AgentName> =
            registered.chain(self.workers.keys().cloned()).chain(subscribed).collect();
        for name in known {
            if deployment.catalogue.agent(&name).is_none() && !self.leaving.contains_key(&name) {
                self.remove(&name).await;
            }
        }
    }

    /// What waits for the agent goes with it; its runs come to their end.
    async fn remove(&mut self, name: &AgentName) {
        self.timetable.forget(name);
        // One that comes back is new: what fell into its absence is not made up for.
        let _ = self.options.bus.change_keys(vec![set_key(TIMES_BUCKET, name, None)]).await;
        self.release_lease(name).await;
        let queued: Vec<RunId> = self.admission.queued_of(name).map(|work| work.run).collect();
        for run in queued {
            self.admission.withdraw(run);
            if let Some((_, delivery)) = self.waiting.remove(&run) {
                delivery.put_back(Duration::ZERO);
            }
        }
        self.admission.forget(name);
        for (_, delivery) in self.put_off.remove(name).unwrap_or_default() {
            delivery.put_back(Duration::ZERO);
        }
        self.reviews.retain(|(_, agent)| agent != name);
        if let Some(worker) = self.workers.remove(name) {
            worker.listen(false);
            self.leaving.insert(name.clone(), worker);
        }
        if self.registry.as_mut().is_some_and(|registry| registry.remove(name)) {
            self.announce(AGENT_REMOVED, name, None, &json!({}));
        }
        self.finish_leaving(name).await;
    }

    /// Removes the subscription of an agent that is no more, once nothing of it is under way.
    pub(super) async fn finish_leaving(&mut self, name: &AgentName) {
        if self.workers.contains_key(name) || self.admission.running_of(name) > 0 {
            return;
        }
        self.leaving.remove(name);
        // What could not be removed keeps its place, and is found when a deployment is taken up next.
        let _ = self.options.bus.unsubscribe(subscription_of(name)).await;
    }

    /// Makes agents' subscriptions, all at once, and then everything else that they need.
    ///
    /// # Errors
    /// Some could not be made; those are missing.
    async fn declare(&mut self, agents: Vec<Agent>) -> Result<(), ()> {
        let Ok(kept) = self.kept_of(&agents).await else { return Err(()) };
        let mut subscribing: JoinSet<(Agent, _, Result<Subscription, WriteError>)> = JoinSet::new();
        for agent in agents {
            let known = self.workers.get(&agent.name).or_else(|| self.leaving.get(&agent.name));
            let errors = known.map(Worker::errors).unwrap_or_default();
            let options = subscription(&agent, &self.sources, &errors);
            let bus = self.options.bus.clone();
            subscribing.spawn(async move { (agent, errors, bus.subscribe(options).await) });
        }
        let mut all = Ok(());
        for (agent, errors, subscribed) in subscribing.join_all().await {
            match subscribed {
                Ok(subscribed) => {
                    self.missing.remove(&agent.name);
                    let kept_times = kept.times.get(&agent.name).cloned();
                    let pause = kept.pauses.get(&agent.name).cloned();
                    let known = self.workers.remove(&agent.name);
                    let worker = match known.or_else(|| self.leaving.remove(&agent.name)) {
                        // It has its subscription, which has become what it is to be.
                        Some(mut known) => {
                            known.become_another(&agent);
                            let concurrency = &agent.concurrency;
                            self.admission.revise(
                                &agent.name,
                                concurrency.limit,
                                concurrency.overlap,
                            );
                            known
                        }
                        None => {
                            let spread = Spread::of_node(&self.options.node, &agent.name);
                            let restarts = Restarts::new(self.options.restarts(), spread);
                            let clock = Arc::clone(&self.options.clock);
                            let deliveries = self.deliveries.clone();
                            Worker::new(&agent, errors, subscribed, deliveries, restarts, clock)
                        }
                    };
                    self.enter(worker, kept_times, pause).await;
                }
                Err(error) => {
                    all = Err(());
                    let reason = chain(&error);
                    let known = self.missing.insert(agent.name.clone(), reason.clone());
                    if known.as_ref() != Some(&reason) {
                        self.notes.push(NodeEvent::Held { agent: agent.name, reason });
                    }
                }
            }
        }
        all
    }

    async fn kept_of(&self, agents: &[Agent]) -> Result<Kept, wachter_bus::ReadError> {
        let wanted: BTreeSet<&AgentName> = agents.iter().map(|agent| &agent.name).collect();
        let times = self.options.bus.keys(TIMES_BUCKET, "").await?.into_iter();
        let times = times.filter_map(|entry| {
            let agent: AgentName = entry.key.parse().ok()?;
            wanted.contains(&agent).then_some(())?;
            Some((agent, serde_json::from_slice(&entry.value).ok()?))
        });
        Ok(Kept { times: times.collect(), pauses: Pause::all(&self.options.bus).await? })
    }

    /// Puts an agent to work.
    async fn enter(&mut self, mut worker: Worker, kept: Option<AgentTimes>, pause: Option<Pause>) {
        let (agent, name) = (Arc::clone(&worker.agent), worker.agent.name.clone());
        let parallel = worker.is_parallel();
        // Whoever waits from the start is due for nothing in between.
        let waits = self.deployment.as_deref().and_then(|deployment| worker.waits_for(deployment));
        worker.withheld = waits.map(|_| Withheld::default());
        self.workers.insert(name.clone(), worker);
        self.declare_times(&name, kept);
        match pause {
            Some(pause) => self.hold_back(&name, &pause),
            // What the times say of a pause is not what counts.
            None => drop(self.timetable.resume(&name, self.now())),
        }
        // Whether its runs build on each other matters only where there can be two.
        if parallel
            && self
                .options
                .bus
                .key(STATE_BUCKET, name.as_str())
                .await
                .is_ok_and(|entry| entry.is_some())
        {
            self.admission.run_alone(name.clone());
        }
        let told = definition(&agent);
        let digest = Digest::of(told.to_string().as_bytes());
        if self.registry.as_mut().is_some_and(|registry| registry.register(&name, digest)) {
            self.announce(AGENT_REGISTERED, &name, None, &told);
        }
        self.outbox.keep_times(&name);
        self.go_on_failing(&name);
        self.review(&name);
    }

    /// An agent that failed over and over before this life began is held back as it was.
    fn go_on_failing(&mut self, name: &AgentName) {
        let now = self.now();
        let row = self.registry.as_ref().and_then(|registry| registry.of(name)?.row);
        let worker = self.workers.get_mut(name).filter(|worker| worker.row().is_none());
        let reason = worker.zip(row).and_then(|(worker, row)| worker.go_on_with(row, now));
        if let Some(reason) = reason {
            self.apply(name, Change::CrashLooped(reason), None);
        }
    }

    /// Has an agent's ticks counted, if they are this node's.
    pub(super) fn declare_times(&mut self, name: &AgentName, kept: Option<AgentTimes>) {
        let Some(worker) = self.workers.get_mut(name) else { return };
        match worker.times(&self.options.node).filter(|_| self.leases.has(&worker.agent)) {
            Some(_) if let Some(withheld) = &mut worker.withheld => {
                withheld.0 = self.timetable.forget(name).or(kept);
            }
            Some(times) => {
                self.timetable.declare(name.clone(), times, kept, self.options.clock.now());
            }
            None => drop(self.timetable.forget(name)),
        }
    }

    /// Says of each agent whether its module may run.
    fn judge_modules(&mut self, deployment: &Deployment) {
        let judged: Vec<(AgentName, Option<String>)> = self
            .workers
            .iter()
            .map(|(name, worker)| (name.clone(), worker.stopped_by(deployment)))
            .collect();
        for (name, reason) in judged {
            let Some(worker) = self.workers.get(&name) else { continue };
            let known = worker.standing.reason_of(AgentState::Stopped);
            let told = self.registry.as_ref().and_then(|registry| registry.of(&name)?.held.clone());
            match reason {
                Some(reason) if known != Some(&reason) => {
                    self.apply(&name, Change::Stopped(reason.clone()), None);
                    if told.as_ref() != Some(&reason) {
                        self.announce(AGENT_HELD, &name, None, &json!({ "reason": reason }));
                    }
                    if let Some(registry) = &mut self.registry {
                        registry.change(&name, |told| told.held = Some(reason.clone()));
                    }
                    self.notes.push(NodeEvent::Held { agent: name, reason });
                }
                None if known.is_some() || told.is_some() => {
                    let now = self.now();
                    self.recover(&name, Change::Restored, None, now);
                }
                _ => {}
            }
        }
    }
}
