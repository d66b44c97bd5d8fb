use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wachter_api::shapes::{EventsQuery, ReleaseReport, Reloaded, StoredEvent};
use wachter_api::{
    Client, ClientError, ListEvents, Nothing, Problem, ProblemKind, Roles, ServerLimits, Single,
};
use wachter_bus::{Bus, Options};
use wachter_config::Catalogue;
use wachter_model::{Digest, Event, ModuleName, RunId};
use wachter_protocol::launcher::Hello;
use wachter_protocol::{Grant, LocalFile, Manifest};
use wachter_runtime::dispatch::{Dispatcher, DispatcherOptions, Ran, Runner, Sources};
use wachter_runtime::{Deployment, ModuleStanding, RunRecord, RunRequest, StandingModule};

use crate::failure::CommandError;
use crate::node::announce::Announcer;
use crate::node::context::Node;
use crate::node::followed::Followed;
use crate::node::freeze::Freezer;
use crate::node::interface::{listen, service};
use crate::node::orders::Order;

/// A long time; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(60);

const LOCAL: &str = "version: 1
repository: { url: https://git.example.com/infra.git, id: 6f0c1c53-8c2c-4f0c-a6ab-3f0a8f5a2a11 }
roots: { threshold: 1, keys: [ssh-ed25519 AAAA root] }
confinement: { accept_absent: [seccomp] }
";

const MANIFEST: &str = "name: probe
version: 1.0.0
capabilities: [probe.run]
runtime: { kind: process, entrypoint: ./run }
emits: [probe.done]
";

/// A node that serves its interface in a folder of its own.
pub(super) struct Site {
    pub(super) node: Arc<Node>,
    pub(super) client: Client,
    pub(super) followed: watch::Sender<Followed>,
    pub(super) deployment: watch::Sender<Option<Arc<Deployment>>>,
    pub(super) launcher: watch::Sender<Option<Hello>>,
    pub(super) agents: watch::Sender<Option<wachter_runtime::dispatch::Handle>>,
    /// What the task that follows the repository was told.
    pub(super) orders: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Site {
    /// With agents by name and the rest of their files.
    pub(super) async fn with(agents: &[(&str, &str)]) -> Self {
        Self::open(agents, |options| options).await
    }

    pub(super) async fn open(
        agents: &[(&str, &str)],
        bus: impl FnOnce(Options) -> Options,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let bus = Bus::open(bus(Options::new(data.join("journal")))).unwrap();
        let name: wachter_model::NodeName = "one".parse().unwrap();
        let sources = Sources::new(name.clone());
        let deployed = deployment(agents);
        let (handle, dispatching) = dispatch(&bus, &name, &deployed);
        let (deployment, deployments) = watch::channel(Some(deployed));
        let dispatching = tokio::spawn(dispatching(deployments.clone()));
        let (agents, agents_seen) = watch::channel(Some(handle.clone()));
        let (followed, followed_seen) = watch::channel(Followed::default());
        let (launcher, launcher_seen) = watch::channel(Some(hello()));
        let (orders, ordered) = mpsc::channel(4);
        let told = Arc::<Mutex<Vec<String>>>::default();
        let following = tokio::spawn(follow(ordered, Arc::clone(&told)));
        let (_, local) = watch::channel(Arc::new(LocalFile::read(LOCAL).unwrap()));
        let node = Arc::new(Node {
            name,
            since: Timestamp::now(),
            data: data.to_owned(),
            local,
            announcer: Announcer::new(bus.clone(), sources.clone()),
            bus,
            sources,
            orders,
            followed: followed_seen,
            deployment: deployments,
            launcher: launcher_seen,
            agents: agents_seen,
            freezer: Freezer::open(data).unwrap(),
        });
        let socket = data.join("node.sock");
        let listener = listen(&socket).unwrap();
        let service = service(&node, ServerLimits::default(), Roles::default()).unwrap();
        let serving = tokio::spawn(service.serve(listener, std::future::pending()));
        let site = Self {
            node,
            client: Client::new(&socket),
            followed,
            deployment,
            launcher,
            agents,
            orders: told,
            tasks: vec![dispatching, following, serving],
            _folder: folder,
        };
        // A subscription begins with its declaration.
        let expected = site.node.deployment.borrow().as_ref().unwrap().catalogue.agents().len();
        until("agents", async || handle.report().await.unwrap().len() == expected).await;
        site
    }

    pub(super) async fn call<E: Single>(
        &self,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Answer, Problem> {
        self.call_at::<E>("", query, body).await
    }

    pub(super) async fn call_at<E: Single>(
        &self,
        parameter: &str,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Answer, Problem> {
        let called = self.client.call_at::<E>(parameter, query, body).await;
        called.map_err(|error| match error {
            ClientError::Problem(problem) => problem,
            other => panic!("{}: {other}", E::ROUTE.name),
        })
    }

    /// What an endpoint says that takes nothing.
    pub(super) async fn get<E>(&self) -> E::Answer
    where
        E: Single<Query = Nothing, Body = Nothing>,
    {
        self.call::<E>(&Nothing {}, &Nothing {}).await.unwrap()
    }

    /// What an endpoint says that takes a parameter alone.
    pub(super) async fn at<E>(&self, parameter: &str) -> Result<E::Answer, Problem>
    where
        E: Single<Query = Nothing, Body = Nothing>,
    {
        self.call_at::<E>(parameter, &Nothing {}, &Nothing {}).await
    }

    /// Events of topics, all of them.
    pub(super) async fn events(&self, topic: &str) -> Vec<StoredEvent> {
        let query =
            EventsQuery { topic: Some(topic.to_owned()), limit: Some(1_000), ..Default::default() };
        self.call::<ListEvents>(&query, &Nothing {}).await.unwrap()
    }

    /// Waits until there are so many events of topics, and has them.
    pub(super) async fn until_events(&self, topic: &str, count: usize) -> Vec<StoredEvent> {
        until(topic, async || self.events(topic).await.len() >= count).await;
        self.events(topic).await
    }

    /// An event from outside.
    pub(super) async fn tell(&self, topic: &str, data: Value) -> Event {
        self.tell_at(topic, data).await.0
    }

    /// The same, and where in the journal it stands: what it brings about may come before the next.
    pub(super) async fn tell_at(&self, topic: &str, data: Value) -> (Event, u64) {
        let source = "/outside".parse().unwrap();
        let event = Event::builder(source, &topic.parse().unwrap()).json(&data).build().unwrap();
        let acknowledged = self.node.bus.publish(vec![event.clone()]).await.unwrap();
        (event, acknowledged[0].seq.get())
    }
}

/// Sees that a call was refused in this way, and that it says why.
#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(
    called: Result<T, Problem>,
    kind: ProblemKind,
    detail: &str,
) {
    let problem = called.unwrap_err();
    assert_eq!(problem.kind, kind, "{problem:?}");
    assert!(problem.detail.contains(detail), "{problem:?}");
}

pub(super) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, wait).await.is_ok(), "in vain: {what}");
}

/// The catalogue of these agents, and two modules, of which one may not run.
pub(super) fn deployment(agents: &[(&str, &str)]) -> Arc<Deployment> {
    let names: Vec<ModuleName> = ["probe", "greedy"].map(|name| name.parse().unwrap()).into();
    let files: Vec<(String, String)> = agents
        .iter()
        .map(|(name, rest)| {
            let module = if rest.contains("module:") { "" } else { "module: probe\n" };
            (format!("config/agents/{name}.yaml"), format!("name: {name}\n{module}{rest}\n"))
        })
        .collect();
    let files = files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    let schema = r#"{ "properties": { "percent": { "type": "integer" } } }"#;
    let described = |name: &ModuleName| {
        let input_schema = Some(schema.to_owned());
        (name.clone(), wachter_config::Module { input_schema, ..wachter_config::Module::default() })
    };
    let sources = wachter_config::Sources {
        files: files.collect(),
        modules: names.iter().map(described).collect(),
        ..wachter_config::Sources::default()
    };
    let catalogue = Catalogue::load(&sources).unwrap();
    let manifest = Manifest::read(MANIFEST).unwrap();
    let digest = Digest::of(b"probe");
    let grant = Grant::decide(digest, &manifest, None).unwrap();
    let ready =
        ModuleStanding::Ready { digest, manifest: Box::new(manifest), grant: Box::new(grant) };
    let refused = ModuleStanding::Refused("it asks for too much".to_owned());
    let standing = |standing| StandingModule { version: "1.0.0".to_owned(), standing };
    let modules = names.into_iter().zip([standing(ready), standing(refused)]);
    Arc::new(Deployment {
        sequence: 1,
        trust_serial: 1,
        modules: BTreeMap::from_iter(modules),
        catalogue,
    })
}

type Dispatching = Box<
    dyn FnOnce(
        watch::Receiver<Option<Arc<Deployment>>>,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
>;

fn dispatch(
    bus: &Bus,
    node: &wachter_model::NodeName,
    deployment: &Deployment,
) -> (wachter_runtime::dispatch::Handle, Dispatching) {
    let scheduler = deployment.catalogue.settings().scheduler.clone();
    let options = DispatcherOptions::new(node.clone(), bus.clone(), runner(), scheduler);
    let dispatcher = Dispatcher::new(options, CancellationToken::new());
    let handle = dispatcher.handle();
    let run = |deployments| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let _ = dispatcher.run(deployments, |_| {}).await;
        })
    };
    (handle, Box::new(run))
}

/// Runs that are over at once, and do what `do` of their input says.
fn runner() -> Runner {
    Arc::new(|request, cancel| {
        Box::pin(async move {
            let act = request.input["do"].as_str().unwrap_or_default().to_owned();
            if act == "hang" {
                cancel.cancelled().await;
                return Ok(Ran { record: record(&request, "cancelled"), state: None });
            }
            let outcome = if act == "fail" { "failed" } else { "succeeded" };
            let mut record = record(&request, outcome);
            record.changed = act == "change";
            if act == "find" {
                let event = json!({ "type": "probe.done", "data": { "seen": 1 } });
                record.events.push(serde_json::from_value(event).unwrap());
                // Each as it is asked for, or one as it always is.
                let usual = [Value::Null];
                let asked = request.input["findings"].as_array().map_or(&usual[..], Vec::as_slice);
                for changes in asked {
                    let mut found = finding();
                    for (name, value) in changes.as_object().into_iter().flatten() {
                        found[name] = value.clone();
                    }
                    record.findings.push(serde_json::from_value(found).unwrap());
                }
            }
            Ok(Ran { record, state: None })
        })
    })
}

pub(super) fn finding() -> Value {
    json!({
        "type": "disk.full", "severity": "high", "confidence": 1.0, "subject": "/var",
        "message": "it is full", "fingerprint": "f",
    })
}

fn record(request: &RunRequest, outcome: &str) -> RunRecord {
    let cause = serde_json::to_value(&request.cause).unwrap();
    let mut value = record_of(request.run, &cause, outcome);
    value["dry_run"] = json!(request.dry_run);
    value["input_digest"] = json!(Digest::of(request.input.to_string().as_bytes()));
    serde_json::from_value(value).unwrap()
}

/// A record as JSON, which is what it goes over the wire as.
pub(super) fn record_of(run: RunId, cause: &Value, outcome: &str) -> Value {
    let grant = Grant::decide(Digest::of(b"probe"), &Manifest::read(MANIFEST).unwrap(), None);
    json!({
        "version": 1, "run": run, "cause": cause, "module": "probe",
        "module_digest": Digest::of(b"probe"), "grant": grant.unwrap().id(),
        "input_digest": Digest::of(b""), "dry_run": false, "started": Timestamp::now(),
        "outcome": outcome, "message": format!("it {outcome}"), "changed": false, "output": 7,
        "events": [], "findings": [], "metrics": [], "connections": null,
        "usage": wachter_protocol::launcher::Usage::default(),
    })
}

fn hello() -> Hello {
    serde_json::from_value(json!({
        "protocol": 1, "version": "1.0.0", "profile": "unprivileged",
        "mechanisms": {
            "namespaces": "enforced",
            "seccomp": { "absent": "no" },
            "cgroup-memory": { "absent": "no" },
        },
    }))
    .unwrap()
}

/// Stands in for the task that follows the repository.
async fn follow(mut orders: mpsc::Receiver<Order>, told: Arc<Mutex<Vec<String>>>) {
    let report = || {
        Ok(ReleaseReport { release: None, changed: true, refused: Vec::new(), held: Vec::new() })
    };
    while let Some(order) = orders.recv().await {
        told.lock()
            .unwrap()
            .push(format!("{order:?}").split(", Sender").next().unwrap().to_owned());
        // Who asked waits for the answer.
        match order {
            Order::Look(answer) | Order::Unpin(answer) => drop(answer.send(report())),
            Order::Reload(answer) => {
                let reloaded =
                    Reloaded { changed: vec!["log.level".to_owned()], needs_restart: Vec::new() };
                drop(answer.send(Ok(reloaded)));
            }
            Order::RollBack(Some(1), answer) | Order::Pin(Some(1), _, answer) => {
                drop(answer.send(report()));
            }
            Order::RollBack(_, answer) => {
                drop(answer.send(Err(CommandError::failed("there is no such release"))));
            }
            Order::Pin(_, _, answer) => {
                drop(answer.send(Err(CommandError::usage("that was yesterday"))));
            }
            Order::Apply(path, answer) => {
                let refused = format!("{} is signed by nobody", path.display());
                drop(answer.send(Err(CommandError::refused(refused))));
            }
        }
    }
}

/// Somewhere that no node would look.
pub(super) fn nowhere() -> &'static Path {
    Path::new("/nowhere/at/all")
}
