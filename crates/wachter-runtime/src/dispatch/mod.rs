//! Keeps the agents of a node going: what wakes them, what may run when, and what comes of it.
//!
//! ```text
//!  timetable ── agent.due ──►┐                                   ┌─► run.finished, events, findings,
//!  people ── agent.requested ┼─► journal ─► one subscription ─► admission ─► run ─► ack │   state: one write
//!  anything ── other events ─┘             an agent               └─► skipped, put off
//! ```
//!
//! Everything that makes an agent run is an event in the journal first, and is settled together with
//! what came of it. So nothing is lost when the node dies at any point, and what was under way is
//! delivered again, under the same identity.
//!
//! # Invariants
//! - One task owns all of this state; what it does not own is asked of it by [`Handle`].
//! - One code path takes up a deployment: at the start, after a change, after a crash of the launcher.
//! - A delivery is held by exactly one of: what waits, what is put off, a run.

mod condition;
mod handle;
mod outputs;
mod run;
mod wake;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wachter_bus::{Bus, Delivery, Expect, KeyChange, Outputs};
use wachter_config::SchedulerSettings;
use wachter_model::{AgentName, Event, NodeName, RunId, chain};

pub use handle::{AgentReport, Handle, HandleError};
pub use outputs::{RUN_FINISHED, STATE_BUCKET};
pub use run::{Ran, Runner, RunnerGone, Running};
pub use wake::{AGENT_DUE, AGENT_REQUESTED, RunRequested, Sources, request_event};

use handle::Command;
use run::{Admitted, LEASE, Settled};
use wake::Wake;
use worker::Worker;

use crate::schedule::{
    Admission, AdmissionLimits, AgentTimes, Change, Offered, RestartOptions, Timetable, TurnedAway,
    Work,
};
use crate::{Cause, Deployment, NodeEvent, RunRequest};

/// The bucket of schedules: where each agent's stood, by agent.
const TIMES_BUCKET: &str = "agent-times";

/// How long the task waits at most before it looks at the clock again, which may have been set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What agents need.
#[derive(Clone)]
pub struct DispatcherOptions {
    /// The node.
    pub node: NodeName,
    /// Where events are.
    pub bus: Bus,
    /// Who carries runs out.
    pub runner: Runner,
    /// How much at one time.
    pub scheduler: SchedulerSettings,
}

/// The agents at work. See the [module](self).
pub struct Dispatcher {
    options: DispatcherOptions,
    sources: Sources,
    timetable: Timetable,
    admission: Admission,
    workers: BTreeMap<AgentName, Worker>,
    deployment: Option<Arc<Deployment>>,
    /// Deliveries that were admitted and wait for their turn.
    waiting: HashMap<RunId, (Wake, Delivery)>,
    /// Deliveries that could not even wait; offered again when something changes.
    put_off: Vec<(AgentName, Wake, Delivery)>,
    running: HashMap<RunId, Underway>,
    runs: JoinSet<(RunId, AgentName, Settled)>,
    /// Ticks that the journal has not taken yet.
    untold: Vec<Event>,
    deliveries: mpsc::Sender<(AgentName, Delivery)>,
    delivered: mpsc::Receiver<(AgentName, Delivery)>,
    commands: mpsc::Receiver<Command>,
    handle: mpsc::Sender<Command>,
    shutdown: CancellationToken,
}

struct Underway {
    cancel: CancellationToken,
    replaced: Arc<AtomicBool>,
}

impl Dispatcher {
    /// Without agents; they come with the first deployment.
    #[must_use]
    pub fn new(options: DispatcherOptions, shutdown: CancellationToken) -> Self {
        let (deliveries, delivered) = mpsc::channel(1);
        let (handle, commands) = mpsc::channel(16);
        let limits = limits(&options.scheduler);
        Self {
            sources: Sources::new(options.node.clone()),
            timetable: Timetable::new(options.scheduler.catch_up.get()),
            admission: Admission::new(limits),
            options,
            workers: BTreeMap::new(),
            deployment: None,
            waiting: HashMap::new(),
            put_off: Vec::new(),
            running: HashMap::new(),
            runs: JoinSet::new(),
            untold: Vec::new(),
            deliveries,
            delivered,
            commands,
            handle,
            shutdown,
        }
    }

    /// Asks and tells the dispatcher while it works.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.handle.clone())
    }

    /// Works until shutdown, then gives back what is under way and ends.
    ///
    /// # Errors
    /// Who starts modules is gone. What was under way was given back; make a new dispatcher.
    pub async fn run(
        mut self,
        mut deployments: watch::Receiver<Option<Arc<Deployment>>>,
        mut observe: impl FnMut(NodeEvent),
    ) -> Result<(), RunnerGone> {
        let mut open = true;
        let mut extend = tokio::time::interval(LEASE / 4);
        let mut again = tokio::time::interval(Duration::from_secs(1));
        let shutdown = self.shutdown.clone();
        loop {
            let deployment = deployments.borrow_and_update().clone();
            if deployment.as_ref().map(Arc::as_ptr) != self.deployment.as_ref().map(Arc::as_ptr)
                && let Some(deployment) = deployment
            {
                self.take_up(deployment, &mut observe).await;
            }
            let wait = self.tell_ticks().await;
            tokio::select! {
                changed = deployments.changed(), if open => open = changed.is_ok(),
                Some((agent, delivery)) = self.delivered.recv() => {
                    self.offer(agent, delivery, &mut observe).await;
                }
                Some(ended) = self.runs.join_next() => match ended {
                    Ok((run, agent, settled)) => self.ended(run, &agent, settled, &mut observe).await?,
                    // The panic of a run's task gave its delivery back; whose it was is not known, so
                    // all is begun anew.
                    Err(_) => return Err(RunnerGone),
                },
                Some(command) = self.commands.recv() => self.carry_out(command, &mut observe).await,
                _ = extend.tick() => self.extend(),
                // A pause of an agent that kept failing may be over.
                _ = again.tick(), if !self.put_off.is_empty() => self.offer_again(&mut observe).await,
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => break,
            }
        }
        self.give_back(&mut observe).await
    }

    /// Makes the subscriptions and schedules those of `deployment`. What is under way goes on.
    async fn take_up(&mut self, deployment: Arc<Deployment>, observe: &mut impl FnMut(NodeEvent)) {
        self.options.scheduler = deployment.catalogue.settings().scheduler.clone();
        let started = self.admission.limit(limits(&self.options.scheduler));
        let gone: Vec<AgentName> = self
            .workers
            .keys()
            .filter(|name| deployment.catalogue.agent(name).is_none())
            .cloned()
            .collect();
        for name in gone {
            self.forget(&name).await;
        }
        self.deployment = Some(Arc::clone(&deployment));
        for agent in deployment.catalogue.agents() {
            let unchanged =
                self.workers.get(&agent.name).is_some_and(|worker| *worker.agent == *agent);
            if unchanged {
                continue;
            }
            if let Err(reason) = self.declare(agent).await {
                observe(NodeEvent::Held { agent: agent.name.clone(), reason });
            }
        }
        self.judge_modules(observe);
        self.start_all(started, observe).await;
        self.offer_again(observe).await;
    }

    /// Says of each agent whether its module may run.
    fn judge_modules(&mut self, observe: &mut impl FnMut(NodeEvent)) {
        let Some(deployment) = self.deployment.clone() else { return };
        for (name, worker) in &mut self.workers {
            match worker.held(&deployment) {
                Some(reason) => {
                    if worker.standing.reason() != Some(&reason) {
                        worker.apply(Change::Stopped(reason.clone()));
                        observe(NodeEvent::Held { agent: name.clone(), reason });
                    }
                }
                None => worker.apply(Change::Restored),
            }
        }
    }

    async fn declare(&mut self, agent: &wachter_config::Agent) -> Result<(), String> {
        let (bus, name, now) = (&self.options.bus, &agent.name, Timestamp::now());
        let crash_loop = &self.options.scheduler.crash_loop;
        let restarts = RestartOptions {
            failures: crash_loop.failures,
            within: crash_loop.within,
            pause: crash_loop.pause,
            max: crash_loop.max,
        };
        let kept = bus.key(TIMES_BUCKET, name.as_str()).await.map_err(|error| chain(&error))?;
        let kept: Option<AgentTimes> =
            kept.and_then(|entry| serde_json::from_slice(&entry.value).ok());
        let old = self.workers.remove(name);
        let worker = Worker::declare(
            agent,
            &self.options.node,
            &self.sources,
            bus,
            self.deliveries.clone(),
            restarts,
            old,
        );
        let worker = worker.await?;
        match worker.times(&self.options.node) {
            Some(times) => self.timetable.declare(name.clone(), times, kept, now),
            None => drop(self.timetable.forget(name)),
        }
        if self.timetable.is_paused(name) == Some(true) {
            self.admission.pause(name.clone());
        }
        self.workers.insert(name.clone(), worker);
        self.keep_times(std::slice::from_ref(name)).await;
        Ok(())
    }

    /// An agent that the configuration has no more: what waits for it goes with it.
    async fn forget(&mut self, name: &AgentName) {
        self.timetable.forget(name);
        let queued: Vec<RunId> = self.admission.queued_of(name).map(|work| work.run).collect();
        for run in queued {
            self.admission.withdraw(run);
            self.waiting.remove(&run);
        }
        self.put_off.retain(|(agent, ..)| agent != name);
        if let Some(worker) = self.workers.remove(name) {
            // A subscription that could not be removed keeps its place and is found at the next start.
            let _ = self.options.bus.unsubscribe(worker.subscription()).await;
        }
    }

    /// Publishes what is due, and says how long nothing will be.
    async fn tell_ticks(&mut self) -> Duration {
        let now = Timestamp::now();
        let mut agents = Vec::new();
        if self.untold.is_empty() {
            let due = self.timetable.due(now);
            for tick in &due.ticks {
                if let Ok(event) = wake::tick_event(&self.sources, tick, now) {
                    self.untold.push(event);
                }
                agents.push(tick.agent.clone());
            }
            agents.extend(due.passed.iter().map(|passed| passed.agent.clone()));
        }
        if !self.untold.is_empty() {
            match self.options.bus.publish(std::mem::take(&mut self.untold)).await {
                Ok(_) => {}
                Err(error) => {
                    // The journal says by itself why it takes nothing.
                    self.untold = error.batch;
                    return Duration::from_secs(1);
                }
            }
        }
        // Only after the ticks are safe: who dies in between tells them again, under the same names.
        if !agents.is_empty() {
            self.keep_times(&agents).await;
        }
        let next = self.timetable.next_wake(now);
        let wait = next.map(|next| next.duration_since(Timestamp::now()));
        let wait = wait.map(|wait| Duration::try_from(wait).unwrap_or(Duration::ZERO));
        wait.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    async fn keep_times(&self, agents: &[AgentName]) {
        let changes = agents.iter().filter_map(|name| {
            let kept = self.timetable.kept(name)?;
            Some(KeyChange {
                bucket: TIMES_BUCKET.to_owned(),
                key: name.to_string(),
                value: serde_json::to_vec(&kept).ok(),
                expect: Expect::Anything,
                lasts: None,
            })
        });
        // What is not kept is told again after a crash, and told from what was.
        let _ = self.options.bus.change_keys(changes.collect()).await;
    }

    async fn offer(
        &mut self,
        name: AgentName,
        delivery: Delivery,
        observe: &mut impl FnMut(NodeEvent),
    ) {
        let Some(wake) = Wake::of(delivery.event(), &self.sources) else {
            return Self::skip(delivery).await;
        };
        self.consider(name, wake, delivery, observe).await;
    }

    async fn consider(
        &mut self,
        name: AgentName,
        wake: Wake,
        delivery: Delivery,
        observe: &mut impl FnMut(NodeEvent),
    ) {
        // Dropped, it is given back; of an agent that is no more, nobody takes it.
        let Some(worker) = self.workers.get_mut(&name) else { return };
        if worker.is_held_back(Timestamp::now()) {
            return self.put_off.push((name, wake, delivery));
        }
        let work = match worker.work(&wake, delivery.event()) {
            Ok(work) => work,
            Err(reason) => {
                observe(NodeEvent::Held { agent: name, reason: reason.clone() });
                let _ = delivery.dead_letter(reason).await;
                return;
            }
        };
        let run = work.run;
        match self.admission.offer(work) {
            Offered::Start => self.start(run, &name, wake, delivery, observe).await,
            Offered::Queued { .. } => drop(self.waiting.insert(run, (wake, delivery))),
            Offered::TurnedAway(TurnedAway::Overlap | TurnedAway::Known) => {
                Self::skip(delivery).await;
            }
            Offered::TurnedAway(_) => self.put_off.push((name, wake, delivery)),
            Offered::Replaces { end, given_up, start } => {
                for run in given_up {
                    if let Some((_, delivery)) = self.waiting.remove(&run) {
                        Self::skip(delivery).await;
                    }
                }
                if let Some(underway) = end.and_then(|run| self.running.get(&run)) {
                    underway.replaced.store(true, Ordering::Relaxed);
                    underway.cancel.cancel();
                }
                if start {
                    self.start(run, &name, wake, delivery, observe).await;
                } else {
                    self.waiting.insert(run, (wake, delivery));
                }
            }
        }
    }

    /// What will not run is done with.
    async fn skip(mut delivery: Delivery) {
        // What could not be written comes again and is skipped again.
        let _ = delivery.ack(Outputs::default()).await;
    }

    async fn start(
        &mut self,
        run: RunId,
        name: &AgentName,
        wake: Wake,
        delivery: Delivery,
        observe: &mut impl FnMut(NodeEvent),
    ) {
        let ready = match (&self.deployment, self.workers.get_mut(name)) {
            (Some(deployment), Some(worker)) => worker.ready(deployment),
            _ => Err("its agent is gone".to_owned()),
        };
        let (agent, module, failures) = match ready {
            Ok(ready) => ready,
            Err(reason) => {
                let started = self.admission.finished(run);
                observe(NodeEvent::Held { agent: name.clone(), reason: reason.clone() });
                // A tick comes again by itself; an event waits for a person who grants what is missing.
                match wake {
                    Wake::Due => Self::skip(delivery).await,
                    Wake::Requested(_) | Wake::Event => drop(delivery.dead_letter(reason).await),
                }
                return Box::pin(self.start_all(started, observe)).await;
            }
        };
        let has_effects = self.workers.get(name).is_some_and(Worker::has_effects);
        let dry_run = matches!(&wake, Wake::Requested(request) if request.dry_run)
            || (delivery.is_replay() && has_effects);
        let event = delivery.event();
        let cause = match &wake {
            Wake::Due => Cause::Schedule { agent: name.clone() },
            Wake::Requested(request) => {
                Cause::Requested { agent: name.clone(), by: request.by.clone() }
            }
            Wake::Event => Cause::Event {
                agent: name.clone(),
                source: event.source().to_string(),
                id: event.id().to_string(),
            },
        };
        let handed_in =
            (wake == Wake::Event).then(|| serde_json::from_slice(&event.to_json()).ok()).flatten();
        let request = RunRequest {
            run,
            cause,
            digest: module.digest,
            manifest: module.manifest,
            grant: module.grant,
            input: wake::input(&agent, &wake),
            event: handed_in,
            state: serde_json::Value::Null,
            dry_run,
        };
        let (cancel, replaced) = (self.shutdown.child_token(), Arc::new(AtomicBool::new(false)));
        let underway = Underway { cancel: cancel.clone(), replaced: Arc::clone(&replaced) };
        self.running.insert(run, underway);
        let admitted = Admitted { agent, wake, delivery, request, cancel, failures, replaced };
        let (bus, sources, runner, name) = (
            self.options.bus.clone(),
            self.sources.clone(),
            Arc::clone(&self.options.runner),
            name.clone(),
        );
        self.runs.spawn(async move { (run, name, admitted.carry_out(bus, sources, runner).await) });
    }

    async fn ended(
        &mut self,
        run: RunId,
        name: &AgentName,
        settled: Settled,
        observe: &mut impl FnMut(NodeEvent),
    ) -> Result<(), RunnerGone> {
        self.running.remove(&run);
        let started = self.admission.finished(run);
        let worker = self.workers.get_mut(name);
        match settled {
            Settled::Finished(record) => {
                if let Some(worker) = worker {
                    worker.ended(&record, Timestamp::now());
                }
                observe(NodeEvent::Finished(record));
            }
            Settled::NotKept(reason) => {
                if let Some(worker) = worker {
                    worker.apply(Change::Ended);
                }
                observe(NodeEvent::NotKept { agent: name.clone(), reason });
            }
            Settled::Gone => return Err(RunnerGone),
        }
        self.start_all(started, observe).await;
        self.offer_again(observe).await;
        Ok(())
    }

    async fn start_all(&mut self, started: Vec<Work>, observe: &mut impl FnMut(NodeEvent)) {
        for work in started {
            match self.waiting.remove(&work.run) {
                Some((wake, delivery)) => {
                    self.start(work.run, &work.agent, wake, delivery, observe).await;
                }
                None => {
                    let more = self.admission.finished(work.run);
                    Box::pin(self.start_all(more, observe)).await;
                }
            }
        }
    }

    async fn offer_again(&mut self, observe: &mut impl FnMut(NodeEvent)) {
        for (agent, wake, delivery) in std::mem::take(&mut self.put_off) {
            self.consider(agent, wake, delivery, observe).await;
        }
    }

    /// What waits is not taken for lost.
    fn extend(&mut self) {
        let waiting = self.waiting.values_mut().map(|(_, delivery)| delivery);
        let put_off = self.put_off.iter_mut().map(|(.., delivery)| delivery);
        for delivery in waiting.chain(put_off) {
            // Of one that is held no more, settling says so.
            let _ = delivery.extend(LEASE);
        }
    }

    /// Ends what is under way; what is not done is delivered again after the next start.
    async fn give_back(mut self, observe: &mut impl FnMut(NodeEvent)) -> Result<(), RunnerGone> {
        self.waiting.clear();
        self.put_off.clear();
        while let Some(ended) = self.runs.join_next().await {
            if let Ok((_, _, Settled::Finished(record))) = ended {
                observe(NodeEvent::Finished(record));
            }
        }
        Ok(())
    }
}

fn limits(scheduler: &SchedulerSettings) -> AdmissionLimits {
    let size = |number: std::num::NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
    let (running, queued) = (size(scheduler.concurrency), size(scheduler.queue));
    AdmissionLimits { running, running_per_agent: running, queued, queued_per_agent: queued }
}
