use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wachter_bus::{Bus, Clock, EventFilter, Options, Query, SystemClock};
use wachter_config::Catalogue;
use wachter_model::{Digest, Event, ModuleName, NodeName};
use wachter_protocol::{Grant, Manifest};
use wachter_runtime::dispatch::{
    AgentReport, Dispatcher, DispatcherOptions, Handle, Ran, RunRequested, Runner, RunnerGone,
    Sources, request_event,
};
use wachter_runtime::{
    Deployment, ModuleStanding, NodeEvent, RunRecord, RunRequest, StandingModule,
};

/// What the stand-in does with a run.
pub(crate) type Act = Arc<dyn Fn(&RunRequest) -> Doing + Send + Sync>;

/// How a run goes.
#[derive(Clone, Debug)]
pub(crate) enum Doing {
    Succeed {
        output: Value,
        state: Option<Value>,
        emit: Vec<&'static str>,
    },
    Fail(&'static str),
    /// Until it is cancelled.
    Hang,
    /// Until the test lets it: then it succeeds, and leaves this.
    Until(Arc<Semaphore>, Option<Value>),
    LauncherGoes,
}

pub(crate) fn succeed() -> Doing {
    Doing::Succeed { output: Value::Null, state: None, emit: Vec::new() }
}

const MANIFEST: &str = "name: probe
version: 1.0.0
capabilities: [probe.run]
runtime: { kind: process, entrypoint: ./run }
emits: [probe.done]
";

/// What the module says of its input; what it does not name it takes as it comes.
const INPUT_SCHEMA: &str =
    r#"{ "properties": { "percent": { "type": "integer", "maximum": 100 } } }"#;

/// A node without a launcher.
pub(crate) struct Node {
    pub(crate) bus: Bus,
    pub(crate) handle: Handle,
    pub(crate) begun: Arc<Mutex<Vec<RunRequest>>>,
    pub(crate) seen: Arc<Mutex<Vec<NodeEvent>>>,
    name: NodeName,
    settings: &'static str,
    deployments: watch::Sender<Option<Arc<Deployment>>>,
    shutdown: CancellationToken,
    work: JoinHandle<Result<(), RunnerGone>>,
}

/// How a node is to be.
pub(crate) struct Setup {
    pub(crate) node: &'static str,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether the bus goes by `clock`, too: leases in keys, retries and deliveries.
    pub(crate) bus_clock: bool,
    pub(crate) frozen: bool,
    /// Whether its module waits for something at first.
    pub(crate) waits: bool,
    /// `config/wachter.yaml`.
    pub(crate) settings: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            node: "one",
            clock: Arc::new(SystemClock::new()),
            bus_clock: false,
            frozen: false,
            waits: false,
            settings: "",
        }
    }
}

/// A clock that a test is the master of; unlike the bus's own one it can be set, also back.
#[derive(Debug)]
pub(crate) struct TestClock {
    now: Mutex<Timestamp>,
    elapsed: watch::Sender<Duration>,
}

impl TestClock {
    pub(crate) fn new(now: &str) -> Arc<Self> {
        let now = Mutex::new(now.parse().unwrap());
        Arc::new(Self { now, elapsed: watch::Sender::new(Duration::ZERO) })
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        *self.now.lock().unwrap() += by;
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }

    /// Changes the hour of the day, and nothing else: who waits goes on waiting.
    pub(crate) fn set(&self, now: &str) {
        *self.now.lock().unwrap() = now.parse().unwrap();
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.borrow()
    }

    fn wait_until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut elapsed = self.elapsed.subscribe();
        Box::pin(async move {
            let _ = elapsed.wait_for(|elapsed| *elapsed >= moment).await;
        })
    }
}

pub(crate) fn node_name() -> NodeName {
    "one".parse().unwrap()
}

pub(crate) fn sources() -> Sources {
    Sources::new(node_name())
}

fn deployment_on(
    node: &NodeName,
    settings: &str,
    agents: &[(&str, &str)],
    may_run: bool,
) -> Arc<Deployment> {
    let module: ModuleName = "probe".parse().unwrap();
    let mut files: Vec<(String, String)> = agents
        .iter()
        .map(|(name, rest)| {
            (format!("config/agents/{name}.yaml"), format!("name: {name}\nmodule: probe\n{rest}\n"))
        })
        .collect();
    files.push(("config/wachter.yaml".to_owned(), settings.to_owned()));
    let described = wachter_config::Module {
        input_schema: Some(INPUT_SCHEMA.to_owned()),
        ..wachter_config::Module::default()
    };
    let read = wachter_config::Sources {
        files: files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect(),
        host: Some(node.clone()),
        labels: BTreeMap::from([("role".to_owned(), "web".to_owned())]),
        modules: BTreeMap::from([(module.clone(), described)]),
        ..wachter_config::Sources::default()
    };
    let catalogue = Catalogue::load(&read).unwrap();
    let manifest = Manifest::read(MANIFEST).unwrap();
    let digest = Digest::of(b"probe");
    let grant = Grant::decide(digest, &manifest, None).unwrap();
    let standing = if may_run {
        ModuleStanding::Ready { digest, manifest: Box::new(manifest), grant: Box::new(grant) }
    } else {
        ModuleStanding::Refused("it asks for more than this host grants".to_owned())
    };
    let module_standing = StandingModule { version: "1.0.0".to_owned(), standing };
    Arc::new(Deployment {
        sequence: 1,
        trust_serial: 1,
        modules: BTreeMap::from([(module, module_standing)]),
        catalogue,
    })
}

/// What the module of [`waiting`] waits for.
pub(crate) const WAITS_FOR: &str = "its environment is being built";

/// The same deployment, while its modules wait.
fn waiting(deployment: &Deployment) -> Arc<Deployment> {
    let mut waiting = deployment.clone();
    for module in waiting.modules.values_mut() {
        if let ModuleStanding::Ready { digest, manifest, grant } = module.standing.clone() {
            let reason = WAITS_FOR.to_owned();
            module.standing =
                ModuleStanding::Waiting { digest, manifest, grant, reason, failing: false };
        }
    }
    Arc::new(waiting)
}

pub(crate) fn record(request: &RunRequest, outcome: &str, message: Option<&str>) -> RunRecord {
    let value = json!({
        "version": 1, "run": request.run, "idempotency_key": request.idempotency_key, "cause": request.cause, "module": "probe",
        "module_digest": request.digest, "grant": request.grant.id(),
        "input_digest": Digest::of(b""), "dry_run": request.dry_run,
        "started": Timestamp::now(), "outcome": outcome, "message": message, "changed": false,
        "output": null, "events": [], "findings": [], "metrics": [], "connections": null,
        "usage": wachter_protocol::launcher::Usage::default(),
    });
    serde_json::from_value(value).unwrap()
}

fn runner(act: Act, begun: Arc<Mutex<Vec<RunRequest>>>) -> Runner {
    Arc::new(move |request, cancel| {
        let doing = act(&request);
        begun.lock().unwrap().push(request.clone());
        Box::pin(async move {
            Ok(match doing {
                Doing::Succeed { output, state, emit } => {
                    let mut record = record(&request, "succeeded", None);
                    record.output = output;
                    record.events = emit
                        .iter()
                        .map(|kind| {
                            serde_json::from_value(json!({ "type": kind, "data": 1 })).unwrap()
                        })
                        .collect();
                    Ran { record, state }
                }
                Doing::Fail(why) => {
                    Ran { record: record(&request, "failed", Some(why)), state: None }
                }
                Doing::Hang => {
                    cancel.cancelled().await;
                    Ran { record: record(&request, "cancelled", None), state: None }
                }
                Doing::Until(gate, state) => {
                    tokio::select! {
                        permit = gate.acquire() => permit.unwrap().forget(),
                        () = cancel.cancelled() => {
                            let record = record(&request, "cancelled", None);
                            return Ok(Ran { record, state: None });
                        }
                    }
                    Ran { record: record(&request, "succeeded", None), state }
                }
                Doing::LauncherGoes => return Err(RunnerGone),
            })
        })
    })
}

impl Node {
    /// Over the journal in `folder`, which is made if it is missing.
    pub(crate) fn start(folder: &Path, agents: &[(&str, &str)], act: Act) -> Self {
        Self::start_as(Setup::default(), folder, agents, act)
    }

    pub(crate) fn start_as(setup: Setup, folder: &Path, agents: &[(&str, &str)], act: Act) -> Self {
        let mut options = Options::new(folder);
        if setup.bus_clock {
            options.clock = Arc::clone(&setup.clock);
        }
        Self::start_over(Bus::open(options).unwrap(), setup, agents, act)
    }

    pub(crate) fn start_over(bus: Bus, setup: Setup, agents: &[(&str, &str)], act: Act) -> Self {
        let begun = Arc::<Mutex<Vec<RunRequest>>>::default();
        let node = Self::start_with(bus, setup, agents, runner(act, Arc::clone(&begun)));
        Self { begun, ..node }
    }

    pub(crate) fn start_with(
        bus: Bus,
        setup: Setup,
        agents: &[(&str, &str)],
        runner: Runner,
    ) -> Self {
        let name: NodeName = setup.node.parse().unwrap();
        let mut deployment = deployment_on(&name, setup.settings, agents, true);
        if setup.waits {
            deployment = waiting(&deployment);
        }
        let scheduler = deployment.catalogue.settings().scheduler.clone();
        let (begun, seen) = (Arc::default(), Arc::<Mutex<Vec<NodeEvent>>>::default());
        let options = DispatcherOptions {
            clock: setup.clock,
            frozen: setup.frozen,
            ..DispatcherOptions::new(name.clone(), bus.clone(), runner, scheduler)
        };
        let shutdown = CancellationToken::new();
        let dispatcher = Dispatcher::new(options, shutdown.clone());
        let handle = dispatcher.handle();
        let (deployments, following) = watch::channel(Some(deployment));
        let watching = Arc::clone(&seen);
        let work = tokio::spawn(
            dispatcher.run(following, move |event| watching.lock().unwrap().push(event)),
        );
        let settings = setup.settings;
        Self { bus, handle, begun, seen, name, settings, deployments, shutdown, work }
    }

    pub(crate) fn deploy(&self, agents: &[(&str, &str)], may_run: bool) {
        let deployment = deployment_on(&self.name, self.settings, agents, may_run);
        self.deployments.send_replace(Some(deployment));
    }

    /// The same, with a module that waits.
    pub(crate) fn deploy_waiting(&self, agents: &[(&str, &str)]) {
        let deployment = deployment_on(&self.name, self.settings, agents, true);
        self.deployments.send_replace(Some(waiting(&deployment)));
    }

    /// Ends in order, as by SIGTERM.
    pub(crate) async fn stop(self) -> Result<(), RunnerGone> {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(LONG, self.work).await.unwrap().unwrap();
        self.bus.close();
        ended
    }

    /// The same, and the bus stays.
    pub(crate) async fn stop_beside(self) -> Bus {
        self.shutdown.cancel();
        tokio::time::timeout(LONG, self.work).await.unwrap().unwrap().unwrap();
        self.bus
    }

    /// Ends without order: whatever is under way is forgotten where it is.
    pub(crate) async fn kill(self) {
        self.work.abort();
        let _ = self.work.await;
        self.bus.close();
    }

    /// The same, and the bus stays.
    pub(crate) async fn kill_beside(self) {
        self.work.abort();
        let _ = self.work.await;
    }

    pub(crate) async fn ended(self) -> Result<(), RunnerGone> {
        let ended = tokio::time::timeout(LONG, self.work).await.unwrap().unwrap();
        self.bus.close();
        ended
    }

    pub(crate) async fn request(&self, agent: &str, request: RunRequested) {
        let agent = agent.parse().unwrap();
        let event = request_event(&sources(), &agent, &request, Timestamp::now()).unwrap();
        self.bus.publish(vec![event]).await.unwrap();
    }

    /// An event from outside.
    pub(crate) async fn tell(&self, topic: &str, data: Value) -> Event {
        let source = "/outside".parse().unwrap();
        let event = Event::builder(source, &topic.parse().unwrap()).json(&data).build().unwrap();
        self.bus.publish(vec![event.clone()]).await.unwrap();
        event
    }

    /// Events of a topic, in order.
    pub(crate) async fn events(&self, topic: &str) -> Vec<Event> {
        events(&self.bus, topic).await
    }

    pub(crate) async fn until(&self, what: &str, condition: impl AsyncFn(&Self) -> bool) {
        let wait = async {
            while !condition(self).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(LONG, wait).await.is_ok(), "in vain: {what}; {:?}", self.seen);
    }

    pub(crate) async fn until_finished(&self, count: usize) {
        self.until(&format!("{count} runs"), async |node| {
            node.events("run.finished").await.len() >= count
        })
        .await;
    }

    /// Waits until so many agents are at work.
    pub(crate) async fn until_agents(&self, count: usize) {
        self.until(&format!("{count} agents"), async |node| {
            node.handle.report().await.is_ok_and(|reports| reports.len() == count)
        })
        .await;
    }

    pub(crate) async fn report_of(&self, agent: &str) -> AgentReport {
        let reports = self.handle.report().await.unwrap();
        reports.into_iter().find(|report| report.agent.name.as_str() == agent).unwrap()
    }

    /// The times that ticks of an agent were for, in order.
    pub(crate) async fn ticks(&self, agent: &str) -> Vec<Timestamp> {
        let due = self.events("agent.due").await.into_iter();
        due.filter(|event| event.target() == Some(agent))
            .map(|event| {
                let data = event.data().to_json().unwrap();
                serde_json::from_value(data["scheduled_for"].clone()).unwrap()
            })
            .collect()
    }

    pub(crate) fn begun(&self) -> usize {
        self.begun.lock().unwrap().len()
    }
}

pub(crate) async fn events(bus: &Bus, topic: &str) -> Vec<Event> {
    let filter = EventFilter { topics: vec![topic.parse().unwrap()], ..EventFilter::default() };
    let mut found = Vec::new();
    let mut replay = bus.replay(Query { filter, ..Query::default() });
    while let Some(stored) = replay.next().await {
        let stored = stored.unwrap();
        found.push(stored.event.as_ref().clone());
    }
    found
}

pub(crate) fn sources_of(events: &[Event]) -> BTreeSet<String> {
    events.iter().map(|event| event.source().to_string()).collect()
}

/// A long time; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(60);
