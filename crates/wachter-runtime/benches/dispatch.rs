//! How long it takes from the publication of an event until the module that it wakes is begun, at 500
//! events a second, each on disk before and with its record after; and how many go through at most.
//! `cargo bench -p wachter-runtime --bench dispatch`; `-- SECONDS` sets the length of a measurement (5).
#![allow(clippy::print_stdout, reason = "a benchmark reports to whoever runs it")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wachter_bus::{Bus, Options};
use wachter_config::Catalogue;
use wachter_model::{Digest, Event, EventId, ModuleName};
use wachter_protocol::{Grant, Manifest};
use wachter_runtime::dispatch::{Dispatcher, DispatcherOptions, Ran, Runner};
use wachter_runtime::{Deployment, ModuleStanding, RunRecord, RunRequest, StandingModule};

const RATE: u32 = 500;
const AGENT: &str = "name: worker\nmodule: probe\nrole: monitoring\non: { events: [work.done] }\n\
                     concurrency: { limit: 16 }\n";
const MANIFEST: &str = "name: probe\nversion: 1.0.0\ncapabilities: [probe.run]\n\
                        runtime: { kind: process, entrypoint: ./run }\n";

/// When each event was published, by its id, and how long each took to its run.
#[derive(Default)]
struct Watch {
    published: Mutex<BTreeMap<String, Instant>>,
    took: Mutex<Vec<Duration>>,
}

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse::<f64>().ok());
    let length = Duration::from_secs_f64(seconds.unwrap_or(5.0));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(length));
}

async fn measure(length: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let bus = Bus::open(Options::new(folder.path())).unwrap();
    let (watched, deployment) = (Arc::<Watch>::default(), deployment());
    let scheduler = deployment.catalogue.settings().scheduler.clone();
    let node = "one".parse().unwrap();
    let options = DispatcherOptions::new(node, bus.clone(), runner(&watched), scheduler);
    let shutdown = CancellationToken::new();
    let dispatcher = Dispatcher::new(options, shutdown.clone());
    let handle = dispatcher.handle();
    let (_deployments, following) = watch::channel(Some(deployment));
    let work = tokio::spawn(dispatcher.run(following, |_| {}));
    while handle.report().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }

    let mut ticking = tokio::time::interval(Duration::from_secs(1) / RATE);
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < length {
        ticking.tick().await;
        let event = watched.event();
        // Awaited or not, it is written.
        drop(bus.try_publish(vec![event]).unwrap());
        sent += 1;
    }
    let mut took = watched.all(sent).await;
    took.sort();
    let place = |share: usize| took[(took.len() - 1) * share / 100];
    println!(
        "{sent} events at {RATE}/s, published to begun: p50 {:?}, p99 {:?}, most {:?}",
        place(50),
        place(99),
        place(100)
    );

    watched.took.lock().unwrap().clear();
    let many = sent.max(100);
    let begun = Instant::now();
    for _ in 0..many / 50 {
        let batch = (0..50).map(|_| watched.event()).collect();
        bus.publish(batch).await.unwrap();
    }
    watched.all(many / 50 * 50).await;
    let rate = f64::from(u32::try_from(many / 50 * 50).unwrap()) / begun.elapsed().as_secs_f64();
    println!("a backlog of {} events: {rate:.0} runs/s", many / 50 * 50);
    shutdown.cancel();
    work.await.unwrap().unwrap();
}

impl Watch {
    /// Another event of 1 KiB.
    fn event(&self) -> Event {
        let id = EventId::new();
        self.published.lock().unwrap().insert(id.to_string(), Instant::now());
        Event::builder("/bench".parse().unwrap(), &"work.done".parse().unwrap())
            .id(id)
            .json(&json!({ "text": "x".repeat(800) }))
            .build()
            .unwrap()
    }

    /// How long each took, once there are so many.
    async fn all(&self, count: usize) -> Vec<Duration> {
        loop {
            let took = self.took.lock().unwrap().clone();
            if took.len() >= count {
                return took;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A launcher that takes no time.
fn runner(watched: &Arc<Watch>) -> Runner {
    let watched = Arc::clone(watched);
    Arc::new(move |request: RunRequest, _| {
        let event = request.event.as_ref().unwrap();
        let published = watched.published.lock().unwrap().remove(event["id"].as_str().unwrap());
        // Done again, it has been counted.
        watched.took.lock().unwrap().extend(published.map(|published| published.elapsed()));
        let record = record(&request);
        Box::pin(async move { Ok(Ran { record, state: None }) })
    })
}

fn record(request: &RunRequest) -> RunRecord {
    let value = json!({
        "version": 1, "run": request.run, "cause": request.cause, "module": "probe",
        "module_digest": request.digest, "grant": request.grant.id(),
        "input_digest": Digest::of(b""), "dry_run": false, "started": Timestamp::now(),
        "outcome": "succeeded", "message": null, "changed": false, "output": null, "events": [],
        "findings": [], "metrics": [], "connections": null,
        "usage": wachter_protocol::launcher::Usage::default(),
    });
    serde_json::from_value(value).unwrap()
}

fn deployment() -> Arc<Deployment> {
    let module: ModuleName = "probe".parse().unwrap();
    let files = [("config/agents/worker.yaml", AGENT)];
    let catalogue = Catalogue::read(files, std::slice::from_ref(&module)).unwrap();
    let manifest = Manifest::read(MANIFEST).unwrap();
    let digest = Digest::of(b"probe");
    let grant = Grant::decide(digest, &manifest, None).unwrap();
    let standing =
        ModuleStanding::Ready { digest, manifest: Box::new(manifest), grant: Box::new(grant) };
    let module_standing = StandingModule { version: "1.0.0".to_owned(), standing };
    Arc::new(Deployment {
        sequence: 1,
        trust_serial: 1,
        modules: BTreeMap::from([(module, module_standing)]),
        catalogue,
    })
}
