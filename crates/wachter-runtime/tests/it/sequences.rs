//! Random sequences of all that can happen to a node's agents: deployments, ticks, events, people,
//! launchers that go, kills and restarts. Whatever the sequence, nothing that an agent was to do is
//! lost, and nothing is done twice that was not cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::watch;
use wachter_bus::{Bus, Clock as _, DeadLetterId, Options};
use wachter_runtime::RunRequest;
use wachter_runtime::dispatch::{AgentReport, HandleError, Ran, Runner, RunnerGone};

use crate::support::{Node, Setup, TestClock, record};

/// Ways that an agent may be declared. All have the same schedule, so that ticks go on.
const WAYS: [Way; 3] = [
    Way { rest: "role: monitoring\nscope: node", topics: "['work.>']", limit: 1 },
    Way { rest: "role: remediation\nscope: node", topics: "['work.>']", limit: 3 },
    Way { rest: "role: monitoring\nscope: fleet", topics: "[work.a]", limit: 2 },
];
const NAMES: [&str; 3] = ["one", "two", "three"];
/// The most runs at one time, of all agents.
const MOST: usize = 4;
const SETTINGS: &str = "scheduler: { concurrency: 4, crash_loop: { failures: 1000 } }";
/// How often a delivery may be cut off and still come again.
const INTERRUPTIONS: usize = 9;

struct Way {
    rest: &'static str,
    topics: &'static str,
    limit: usize,
}

impl Way {
    fn text(&self) -> String {
        let Self { rest, topics, limit } = self;
        format!(
            "{rest}\non: {{ events: {topics}, schedule: {{ cron: '0 * * * *', missed: run-all }} }}\n\
             retry: {{ attempts: 5, backoff: constant, initial: 1ms, max: 1ms }}\n\
             concurrency: {{ limit: {limit} }}"
        )
    }

    fn wants(&self, topic: &str) -> bool {
        topic == "work.a" || (topic == "work.b" && self.topics.contains('>'))
    }
}

/// What happens.
#[derive(Clone)]
enum Step {
    /// A deployment: which way each agent is declared, if at all.
    Deploy([Option<usize>; 3]),
    /// An event, and how its runs go.
    Tell(&'static str, Fate),
    /// So many minutes pass, and the node sees them.
    Pass(u64),
    /// So many minutes pass while the node is down, after it was stopped or killed.
    Away(u64, End),
    Pause(usize),
    Resume(usize),
    Freeze,
    Thaw,
    /// The launcher goes when it is next asked for a run.
    LauncherGoes,
    /// Runs that hang come to their end.
    Release,
}

/// A line for each step, also where a sequence that failed is shown.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deploy(ways) => write!(f, "Deploy({ways:?})"),
            Self::Tell(topic, fate) => write!(f, "Tell({topic:?}, {fate:?})"),
            Self::Pass(minutes) => write!(f, "Pass({minutes})"),
            Self::Away(minutes, end) => write!(f, "Away({minutes}, {end:?})"),
            Self::Pause(agent) => write!(f, "Pause({agent})"),
            Self::Resume(agent) => write!(f, "Resume({agent})"),
            Self::Freeze => f.write_str("Freeze"),
            Self::Thaw => f.write_str("Thaw"),
            Self::LauncherGoes => f.write_str("LauncherGoes"),
            Self::Release => f.write_str("Release"),
        }
    }
}

/// How runs for an event go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Fate {
    Succeed,
    /// Twice, and then they succeed.
    FailTwice,
    /// Until the test releases them; until then they are there to be cut off.
    Hang,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Stop,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let way = || prop_oneof![3 => (0..3_usize).prop_map(Some), 1 => Just(None)];
    let fate = prop_oneof![
        3 => Just(Fate::Succeed),
        1 => Just(Fate::FailTwice),
        2 => Just(Fate::Hang),
    ];
    let topic = prop_oneof![Just("work.a"), Just("work.b"), Just("rest.a")];
    let end = prop_oneof![Just(End::Stop), Just(End::Kill)];
    prop_oneof![
        3 => [way(), way(), way()].prop_map(Step::Deploy),
        6 => (topic, fate).prop_map(|(topic, fate)| Step::Tell(topic, fate)),
        3 => (1..150_u64).prop_map(Step::Pass),
        4 => (0..200_u64, end).prop_map(|(minutes, end)| Step::Away(minutes, end)),
        1 => (0..3_usize).prop_map(Step::Pause),
        2 => (0..3_usize).prop_map(Step::Resume),
        1 => Just(Step::Freeze),
        1 => Just(Step::Thaw),
        1 => Just(Step::LauncherGoes),
        2 => Just(Step::Release),
    ]
}

/// The stand-in for the launcher: what runs there are and were.
#[derive(Debug, Default)]
struct Stage {
    /// Runs under way, with their agents.
    running: BTreeMap<String, String>,
    /// How many there may be of an agent.
    limits: BTreeMap<String, usize>,
    failed: BTreeMap<String, u32>,
    /// In which life of the node a run for a key succeeded.
    succeeded: BTreeSet<(String, usize)>,
    life: usize,
    launcher_goes: bool,
    /// What must not be.
    wrong: Vec<String>,
}

/// A run that is under way until this is dropped, also by a kill.
struct UnderWay(Arc<Mutex<Stage>>, String);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().unwrap().running.remove(&self.1);
    }
}

impl Stage {
    fn begin(stage: &Arc<Mutex<Self>>, request: &RunRequest) -> Result<UnderWay, RunnerGone> {
        let mut this = stage.lock().unwrap();
        if std::mem::take(&mut this.launcher_goes) {
            return Err(RunnerGone);
        }
        let (agent, run) = (request.cause.agent().unwrap().to_string(), request.run.to_string());
        let others = this.running.values().filter(|other| **other == agent).count();
        if others >= this.limits[&agent] || this.running.len() >= MOST {
            let wrong = format!("{agent} begins beside {others} of its own: {:?}", this.running);
            this.wrong.push(wrong);
        }
        this.running.insert(run.clone(), agent);
        Ok(UnderWay(Arc::clone(stage), run))
    }

    fn runner(stage: &Arc<Mutex<Self>>, released: &watch::Receiver<u64>) -> Runner {
        let (stage, released) = (Arc::clone(stage), released.clone());
        Arc::new(move |request, cancel| {
            let (stage, mut released) = (Arc::clone(&stage), released.clone());
            Box::pin(async move {
                let _under_way = Self::begin(&stage, &request)?;
                let (key, life) = (request.idempotency_key.to_string(), stage.lock().unwrap().life);
                let event = request.event.as_ref();
                let fate =
                    event.and_then(|event| serde_json::from_value(event["data"].clone()).ok());
                if fate == Some(Fate::Hang) {
                    let begun = *released.borrow();
                    tokio::select! {
                        _ = released.wait_for(|now| *now > begun || *now == u64::MAX) => {}
                        () = cancel.cancelled() => {
                            let record = record(&request, "cancelled", None);
                            return Ok(Ran { record, state: None });
                        }
                    }
                }
                let mut this = stage.lock().unwrap();
                if fate == Some(Fate::FailTwice) {
                    let failed = this.failed.entry(key.clone()).or_default();
                    *failed += 1;
                    if *failed <= 2 {
                        let record = record(&request, "failed", Some("on purpose"));
                        return Ok(Ran { record, state: None });
                    }
                }
                if !this.succeeded.insert((key.clone(), life)) {
                    this.wrong.push(format!("{key} succeeded twice, and nothing cut it off"));
                }
                Ok(Ran { record: record(&request, "succeeded", None), state: None })
            })
        })
    }
}

/// A node under test, and what should be true of it.
struct World<'f> {
    folder: &'f Path,
    clock: Arc<TestClock>,
    stage: Arc<Mutex<Stage>>,
    release: watch::Sender<u64>,
    node: Option<Node>,
    agents: BTreeMap<&'static str, usize>,
    paused: BTreeSet<&'static str>,
    frozen: bool,
    /// Agents with the ids of what they are to carry out.
    owed: BTreeSet<(String, String)>,
    ticks: BTreeMap<&'static str, BTreeSet<Timestamp>>,
    /// Where schedules stand.
    last: BTreeMap<&'static str, Timestamp>,
    interruptions: usize,
}

impl<'f> World<'f> {
    fn new(folder: &'f Path) -> Self {
        let mut world = Self {
            folder,
            clock: TestClock::new("2026-11-22T12:30:00Z"),
            stage: Arc::default(),
            release: watch::Sender::new(0),
            node: None,
            agents: BTreeMap::new(),
            paused: BTreeSet::new(),
            frozen: false,
            owed: BTreeSet::new(),
            ticks: BTreeMap::new(),
            last: BTreeMap::new(),
            interruptions: 0,
        };
        world.declare([Some(0), None, None]);
        world.start(None);
        world
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    fn files(&self) -> Vec<(&'static str, String)> {
        self.agents.iter().map(|(name, way)| (*name, WAYS[*way].text())).collect()
    }

    fn start(&mut self, bus: Option<Bus>) {
        self.stage.lock().unwrap().life += 1;
        let bus = bus.unwrap_or_else(|| Bus::open(Options::new(self.folder)).unwrap());
        let setup = Setup {
            clock: self.clock.clone(),
            frozen: self.frozen,
            settings: SETTINGS,
            ..Setup::default()
        };
        let files = self.files();
        let agents: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let runner = Stage::runner(&self.stage, &self.release.subscribe());
        self.node = Some(Node::start_with(bus, setup, &agents, runner));
    }

    /// Begins again where the launcher went, as the node does.
    fn revive(&mut self) {
        self.interruptions += 1;
        let bus = self.node.take().map(|node| node.bus.clone());
        self.start(bus);
    }

    /// Asks the node, and begins it again where it has ended.
    async fn ask<T>(&mut self, ask: impl AsyncFn(&Node) -> Result<T, HandleError>) -> T {
        loop {
            match ask(self.node()).await {
                Ok(answer) => return answer,
                Err(HandleError::Away) => self.revive(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The node has seen the clock and the deployment.
    async fn look(&mut self) {
        for _ in 0..1_000 {
            let reports = self.ask(async |node| node.handle.report().await).await;
            let found: BTreeMap<String, usize> = reports
                .iter()
                .map(|report| {
                    let limit = report.agent.concurrency.limit.get();
                    (report.agent.name.to_string(), usize::try_from(limit).unwrap())
                })
                .collect();
            let expected: BTreeMap<String, usize> = self
                .agents
                .iter()
                .map(|(name, way)| (name.to_string(), WAYS[*way].limit))
                .collect();
            if found == expected {
                // What was answered first may have been asked before the clock went on.
                self.ask(async |node| node.handle.report().await).await;
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the deployment is not taken up");
    }

    /// The ticks that are to be there by now.
    fn tick(&mut self) {
        let now = self.clock.now();
        for name in self.agents.keys().filter(|name| !self.paused.contains(*name)) {
            let last = self.last.get_mut(name).unwrap();
            let hour = Duration::from_secs(3_600);
            let seconds = last.as_second().div_euclid(3_600) * 3_600;
            let mut next = Timestamp::from_second(seconds).unwrap() + hour;
            while next <= now {
                self.ticks.entry(name).or_default().insert(next);
                self.owed.insert((name.to_string(), format!("{name}@{next}")));
                *last = next;
                next += hour;
            }
        }
    }

    fn declare(&mut self, ways: [Option<usize>; 3]) {
        let now = self.clock.now();
        for (name, way) in NAMES.into_iter().zip(ways) {
            match way {
                None => {
                    self.agents.remove(name);
                    self.last.remove(name);
                    self.owed.retain(|(agent, _)| agent != name);
                }
                Some(way) => {
                    let before = self.agents.insert(name, way);
                    self.last.entry(name).or_insert(now);
                    // What it wants no more may have been taken already, or not.
                    if before.is_some_and(|before| before != way) && !WAYS[way].wants("work.b") {
                        self.owed.retain(|(agent, id)| agent != name || !id.starts_with("work.b"));
                    }
                    let limits = &mut self.stage.lock().unwrap().limits;
                    let limit = limits.entry(name.to_owned()).or_default();
                    *limit = WAYS[way].limit.max(*limit);
                }
            }
        }
    }

    async fn deploy(&mut self, ways: [Option<usize>; 3]) {
        self.declare(ways);
        let files = self.files();
        let agents: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        self.node().deploy(&agents, true);
        self.look().await;
        // From now on it is only what is declared.
        let limits = &mut self.stage.lock().unwrap().limits;
        for (name, way) in &self.agents {
            limits.insert(name.to_string(), WAYS[*way].limit);
        }
    }

    async fn tell(&mut self, number: usize, topic: &str, fate: Fate) {
        let event =
            wachter_model::Event::builder("/outside".parse().unwrap(), &topic.parse().unwrap())
                .id(format!("{topic}-{number}").parse().unwrap())
                .json(&json!(fate))
                .build()
                .unwrap();
        for (name, _) in self.agents.iter().filter(|(_, way)| WAYS[**way].wants(topic)) {
            self.owed.insert((name.to_string(), event.id().to_string()));
        }
        self.node().bus.publish(vec![event]).await.unwrap();
    }

    async fn pass(&mut self, minutes: u64) {
        for _ in 0..minutes.div_ceil(10) {
            self.clock.advance(Duration::from_secs(600));
            self.look().await;
            self.tick();
        }
    }

    async fn away(&mut self, minutes: u64, end: End) {
        // A stop in good order cuts nothing off.
        self.interruptions += usize::from(matches!(end, End::Kill));
        let node = self.node.take().unwrap();
        match end {
            // That the launcher went just then is no matter.
            End::Stop => drop(node.stop().await),
            End::Kill => node.kill().await,
        }
        self.clock.advance(Duration::from_secs(60 * minutes));
        self.start(None);
        self.look().await;
        self.tick();
    }

    async fn pause(&mut self, name: &'static str) {
        if self.agents.contains_key(name) {
            let pause = async |node: &Node| {
                node.handle.pause(name.parse().unwrap(), "for a test".to_owned()).await
            };
            self.ask(pause).await;
            self.paused.insert(name);
        }
    }

    async fn resume(&mut self, name: &'static str) {
        if self.agents.contains_key(name) && self.paused.contains(name) {
            self.ask(async |node| node.handle.resume(name.parse().unwrap()).await).await;
            self.paused.remove(name);
            self.last.insert(name, self.clock.now());
        }
    }

    async fn take(&mut self, number: usize, step: Step) {
        match step {
            Step::Away(_, End::Kill) | Step::LauncherGoes
                if self.interruptions >= INTERRUPTIONS => {}
            Step::Deploy(ways) => self.deploy(ways).await,
            Step::Tell(topic, fate) => self.tell(number, topic, fate).await,
            Step::Pass(minutes) => self.pass(minutes).await,
            Step::Away(minutes, end) => self.away(minutes, end).await,
            Step::Pause(agent) => self.pause(NAMES[agent]).await,
            Step::Resume(agent) => self.resume(NAMES[agent]).await,
            Step::Freeze => {
                self.frozen = true;
                self.ask(async |node| node.handle.freeze().await).await;
            }
            Step::Thaw => {
                self.frozen = false;
                self.ask(async |node| node.handle.thaw().await).await;
            }
            Step::LauncherGoes => {
                self.interruptions += 1;
                self.stage.lock().unwrap().launcher_goes = true;
            }
            Step::Release => self.release.send_modify(|number| *number += 1),
        }
        self.look().await;
    }

    /// Which events were carried out with success, by agent, and how often.
    async fn done(&self) -> BTreeMap<(String, String), usize> {
        let mut done = BTreeMap::new();
        for event in self.node().events("run.finished").await {
            if event.data().to_json().unwrap()["outcome"] == json!("succeeded") {
                let agent = event.subject().unwrap().to_owned();
                let cause = event.causation_id().unwrap().to_owned();
                *done.entry((agent, cause)).or_default() += 1;
            }
        }
        done
    }

    /// Where agents and what was given up stand, in few words.
    async fn standing(&self, reports: &[AgentReport]) -> String {
        let mut standing = String::new();
        for AgentReport { agent, state, running, queued, waits_for, .. } in reports {
            let (name, waits) = (&agent.name, waits_for.as_ref());
            let _ = write!(standing, "{name} {state:?}, {running} run, {queued} wait {waits:?}; ");
        }
        let first = DeadLetterId::new(0);
        for letter in self.node().bus.dead_letters(None, first, 100).await.unwrap() {
            let (subscription, seq, reason) = (letter.subscription, letter.seq, letter.reason);
            let _ = write!(standing, "{subscription} gave up {seq:?}: {reason}; ");
        }
        standing
    }

    /// Lets all come to its end, and looks whether it is as it should be.
    async fn check(mut self) {
        self.release.send_replace(u64::MAX);
        self.stage.lock().unwrap().launcher_goes = false;
        self.frozen = false;
        self.ask(async |node| node.handle.thaw().await).await;
        for name in NAMES {
            self.resume(name).await;
        }
        let owed = self.owed.clone();
        for round in 0.. {
            self.look().await;
            let done = self.done().await;
            let left: Vec<_> = owed.iter().filter(|owed| !done.contains_key(owed)).collect();
            let waits = self.ask(async |node| node.handle.report().await).await;
            let quiet =
                waits.iter().all(|report| report.running + report.queued == 0)
                    && self.node().bus.subscriptions().iter().all(|subscription| {
                        subscription.in_flight == 0 && subscription.retrying == 0
                    });
            if left.is_empty() && quiet {
                break;
            }
            assert!(round < 6_000, "not carried out: {left:?}; {}", self.standing(&waits).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let twice: Vec<_> = self.done().await.into_iter().filter(|(_, times)| *times > 1).collect();
        assert_eq!(twice, [], "carried out more than once");
        for name in NAMES {
            let ticks = self.node().ticks(name).await;
            let expected: Vec<_> = self.ticks.get(name).into_iter().flatten().copied().collect();
            assert_eq!(ticks, expected, "ticks of {name}");
        }
        assert_eq!(self.stage.lock().unwrap().wrong, [] as [String; 0]);
        self.node.take().unwrap().stop().await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // More by PROPTEST_CASES; each is a journal on disk.
        cases: std::env::var("PROPTEST_CASES").map_or(24, |cases| cases.parse().unwrap()),
        max_shrink_iters: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_is_lost_and_nothing_done_twice(steps in prop::collection::vec(step(), 1..25)) {
        carry_out(steps);
    }
}

fn carry_out(steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::new(folder.path());
        world.look().await;
        for (number, step) in steps.into_iter().enumerate() {
            world.take(number, step).await;
        }
        world.check().await;
    });
}

/// However often a node is stopped in good order, or an agent declared anew, while it has work.
#[test]
fn stops_and_deployments_use_up_nothing() {
    let work = [Step::Tell("work.a", Fate::Hang), Step::Tell("work.a", Fate::Succeed)];
    let round = [
        Step::Away(0, End::Stop),
        Step::Deploy([None, None, Some(0)]),
        Step::Deploy([Some(1), None, None]),
        Step::Deploy([Some(0), None, None]),
    ];
    let stops = round.iter().cloned().cycle().filter(|step| matches!(step, Step::Away(..)));
    carry_out(work.iter().cloned().chain(stops.take(30)).collect());
    let changes = round.iter().cloned().cycle().take(60);
    carry_out(work.iter().cloned().cycle().zip(changes).flat_map(<[_; 2]>::from).collect());
}
