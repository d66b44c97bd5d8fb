//! What modules and people say may be long; what is kept of it is not, and the journal takes it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wachter_bus::{Bus, DeadLetterId, KeyEntry, Options};
use wachter_runtime::NodeEvent;
use wachter_runtime::dispatch::{FINDINGS_BUCKET, Ran, Runner};

use crate::support::{Act, Doing, Node, Setup, TestClock, record, succeed};

const TWICE: &str =
    "on: { events: [a.b] }\nretry: { attempts: 2, backoff: constant, initial: 1ms, max: 1ms }";

/// Waits until an event was given up; it was tried twice, and each try is on record.
async fn until_given_up(node: &Node) -> Vec<Value> {
    node.until("a dead letter", async |node| {
        !node.bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap().is_empty()
    })
    .await;
    let finished = node.events("run.finished").await;
    finished.iter().map(|event| event.data().to_json().unwrap()).collect()
}

#[tokio::test]
async fn a_failure_that_says_much_is_on_record_and_tried_as_often_as_declared() {
    let folder = tempfile::tempdir().unwrap();
    let long: &'static str = Box::leak("é".repeat(600 << 10).into_boxed_str());
    let act: Act = Arc::new(move |_| Doing::Fail(long));
    let node = Node::start(folder.path(), &[("worker", TWICE)], act);
    node.until_agents(1).await;
    node.tell("a.b", Value::Null).await;
    let records = until_given_up(&node).await;
    assert_eq!((node.begun(), records.len()), (2, 2));
    let message = records[0]["message"].as_str().unwrap();
    assert!(message.len() <= 4 << 10 && message.ends_with("é…"), "{}", message.len());
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_failure_is_on_record_also_where_the_journal_takes_small_events_alone() {
    let folder = tempfile::tempdir().unwrap();
    let bus = Bus::open(Options { max_event_bytes: 8 << 10, ..Options::new(folder.path()) });
    let runner: Runner = Arc::new(|request, _| {
        let mut record = record(&request, "failed", Some("no"));
        record.output = json!("x".repeat(100 << 10));
        Box::pin(async { Ok(Ran { record, state: None }) })
    });
    let agents = [("worker", TWICE)];
    let node = Node::start_with(bus.unwrap(), Setup::default(), &agents, runner);
    node.until_agents(1).await;
    node.tell("a.b", Value::Null).await;
    let records = until_given_up(&node).await;
    assert_eq!((records.len(), &records[0]["message"]), (2, &json!("no")));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn an_event_that_the_journal_never_takes_keeps_no_tick_back() {
    let folder = tempfile::tempdir().unwrap();
    let bus = Bus::open(Options { max_event_bytes: 4 << 10, ..Options::new(folder.path()) });
    let clock = TestClock::new("2026-11-22T12:00:00Z");
    let setup = Setup { clock: clock.clone(), ..Setup::default() };
    let agents =
        [("ticker", "role: monitoring\non: { schedule: { cron: '0 * * * *' } }"), ("worker", "")];
    let node = Node::start_over(bus.unwrap(), setup, &agents, Arc::new(|_| succeed()));
    node.until_agents(2).await;
    let worker: wachter_model::AgentName = "worker".parse().unwrap();
    node.handle.pause(worker.clone(), "x".repeat(8 << 10)).await.unwrap();
    clock.advance(Duration::from_secs(3_600));
    node.until("a tick", async |node| node.ticks("ticker").await.len() == 1).await;
    assert!(node.events("agent.paused").await.is_empty());
    let untold = |event: &NodeEvent| match event {
        NodeEvent::Untold { agent, reason } => {
            *agent == worker && reason.contains("`agent.paused`") && reason.contains("4096")
        }
        _ => false,
    };
    assert!(node.seen.lock().unwrap().iter().any(untold), "{:?}", node.seen);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn more_than_the_queue_holds_is_told_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let bus = Bus::open(Options { queue_bytes: 3 << 10, ..Options::new(folder.path()) });
    let names: Vec<String> = (0..20).map(|number| format!("worker-{number}")).collect();
    let agents: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let node = Node::start_over(bus.unwrap(), Setup::default(), &agents, Arc::new(|_| succeed()));
    node.until_agents(20).await;
    node.until("all are told", async |node| node.events("agent.registered").await.len() == 20)
        .await;
    node.stop().await.unwrap();
}

/// Findings that say much of everything, `count` of them from number `from` on.
fn findings(from: usize, count: usize, evidence: &str) -> Value {
    let long = "x".repeat(20 << 10);
    let one = |number: usize| {
        json!({
            "type": "probe.done", "severity": if number.is_multiple_of(2) { "high" } else { "low" },
            "confidence": 1.0, "subject": format!("{number}-{long}"), "message": long,
            "fingerprint": format!("{number}-{long}"), "evidence": evidence,
        })
    };
    (from..from + count).map(one).collect()
}

fn number_of(entry: &KeyEntry) -> usize {
    let open: Value = serde_json::from_slice(&entry.value).unwrap();
    open["finding"]["subject"].as_str().unwrap().split('-').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn findings_that_say_much_take_little() {
    let folder = tempfile::tempdir().unwrap();
    let runner: Runner = Arc::new(|request, _| {
        let asked = request.event.clone().unwrap()["data"].clone();
        let number = |name: &str| usize::try_from(asked[name].as_u64().unwrap()).unwrap();
        let mut record = record(&request, "succeeded", None);
        let evidence = "e".repeat(number("evidence"));
        let found = findings(number("from"), number("count"), &evidence);
        record.findings = serde_json::from_value(found).unwrap();
        Box::pin(async { Ok(Ran { record, state: None }) })
    });
    let bus = Bus::open(Options::new(folder.path())).unwrap();
    let agents = [("worker", "on: { events: [a.b] }")];
    let node = Node::start_with(bus, Setup::default(), &agents, runner);
    node.until_agents(1).await;
    let kept = async |from: usize, count: usize, evidence: usize, runs: usize| {
        node.tell("a.b", json!({ "from": from, "count": count, "evidence": evidence })).await;
        node.until_finished(runs).await;
        node.bus.keys(FINDINGS_BUCKET, "worker/").await.unwrap()
    };
    let found = kept(0, 20, 0, 1).await;
    let bytes: usize = found.iter().map(|entry| entry.value.len()).sum();
    assert!(found.len() == 20 && bytes < 20 * (8 << 10), "{bytes}");
    let open: Value = serde_json::from_slice(&found[0].value).unwrap();
    let finding = &open["finding"];
    assert!(finding["subject"].as_str().unwrap().ends_with("x…"));
    assert!(finding["fingerprint"].as_str().unwrap().starts_with("sha256:"));
    let last = node.report_of("worker").await.last.unwrap();
    assert_eq!((last.outcome.as_str(), last.message), ("succeeded", None));
    // The same again is the same, although what is kept of it is less than what it is known by.
    let again = kept(0, 20, 0, 2).await;
    assert!(again.iter().map(|entry| &entry.key).eq(found.iter().map(|entry| &entry.key)));
    // Evidence takes up what there is; those that were reported longest ago go, the least severe first.
    kept(0, 1, 0, 3).await;
    let found = kept(100, 60, 62 << 10, 4).await;
    let bytes: usize = found.iter().map(|entry| entry.value.len()).sum();
    assert!((3 << 20..=4 << 20).contains(&bytes), "{bytes}");
    let numbers: Vec<usize> = found.iter().map(number_of).collect();
    let has = |number: usize| numbers.contains(&number);
    assert!((100..160).all(has) && has(0), "{numbers:?}");
    assert!((1..20).any(has) && !(1..20).all(has), "{numbers:?}");
    let left_low = (1..20).step_by(2).any(has);
    assert!(!left_low || (2..20).step_by(2).all(has), "{numbers:?}");
    node.stop().await.unwrap();
}
