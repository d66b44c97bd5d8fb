use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wachter_bus::{Bus, EventFilter, Options, Query};
use wachter_config::Catalogue;
use wachter_model::{Digest, Event, ModuleName, NodeName};
use wachter_protocol::{Grant, Manifest};
use wachter_runtime::dispatch::{
    Dispatcher, DispatcherOptions, Handle, Ran, RunRequested, Runner, RunnerGone, Sources,
    request_event,
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

/// A node without a launcher.
pub(crate) struct Node {
    pub(crate) bus: Bus,
    pub(crate) handle: Handle,
    pub(crate) begun: Arc<Mutex<Vec<RunRequest>>>,
    pub(crate) seen: Arc<Mutex<Vec<NodeEvent>>>,
    deployments: watch::Sender<Option<Arc<Deployment>>>,
    shutdown: CancellationToken,
    work: JoinHandle<Result<(), RunnerGone>>,
}

pub(crate) fn node_name() -> NodeName {
    "one".parse().unwrap()
}

pub(crate) fn sources() -> Sources {
    Sources::new(node_name())
}

pub(crate) fn deployment(agents: &[(&str, &str)], may_run: bool) -> Arc<Deployment> {
    let module: ModuleName = "probe".parse().unwrap();
    let files: Vec<(String, String)> = agents
        .iter()
        .map(|(name, rest)| {
            (format!("config/agents/{name}.yaml"), format!("name: {name}\nmodule: probe\n{rest}\n"))
        })
        .collect();
    let files = files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    let catalogue = Catalogue::read(files, std::slice::from_ref(&module)).unwrap();
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

fn record(request: &RunRequest, outcome: &str, message: Option<&str>) -> RunRecord {
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
                Doing::LauncherGoes => return Err(RunnerGone),
            })
        })
    })
}

impl Node {
    /// Over the journal in `folder`, which is made if it is missing.
    pub(crate) fn start(folder: &Path, agents: &[(&str, &str)], act: Act) -> Self {
        let bus = Bus::open(Options::new(folder)).unwrap();
        let deployment = deployment(agents, true);
        let scheduler = deployment.catalogue.settings().scheduler.clone();
        let (begun, seen) = (Arc::default(), Arc::<Mutex<Vec<NodeEvent>>>::default());
        let options = DispatcherOptions::new(
            node_name(),
            bus.clone(),
            runner(act, Arc::clone(&begun)),
            scheduler,
        );
        let shutdown = CancellationToken::new();
        let dispatcher = Dispatcher::new(options, shutdown.clone());
        let handle = dispatcher.handle();
        let (deployments, following) = watch::channel(Some(deployment));
        let watching = Arc::clone(&seen);
        let work = tokio::spawn(
            dispatcher.run(following, move |event| watching.lock().unwrap().push(event)),
        );
        Self { bus, handle, begun, seen, deployments, shutdown, work }
    }

    pub(crate) fn deploy(&self, agents: &[(&str, &str)], may_run: bool) {
        self.deployments.send_replace(Some(deployment(agents, may_run)));
    }

    /// Ends in order, as by SIGTERM.
    pub(crate) async fn stop(self) -> Result<(), RunnerGone> {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(LONG, self.work).await.unwrap().unwrap();
        self.bus.close();
        ended
    }

    /// Ends without order: whatever is under way is forgotten where it is.
    pub(crate) async fn kill(self) {
        self.work.abort();
        let _ = self.work.await;
        self.bus.close();
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
