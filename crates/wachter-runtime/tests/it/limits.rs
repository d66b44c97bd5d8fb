//! What modules and people say may be long; what is kept of it is not, and the journal takes it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wachter_bus::{Bus, DeadLetterId, Options};
use wachter_runtime::NodeEvent;
use wachter_runtime::dispatch::{Ran, Runner};

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
