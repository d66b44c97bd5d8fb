//! What the node tells of its agents.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use wachter_bus::{Clock as _, EventFilter, Heard};
use wachter_runtime::dispatch::{Hold, RunRequested};
use wachter_runtime::schedule::AgentState;

use crate::support::{Act, Doing, Node, Setup, TestClock, sources_of, succeed};

fn well() -> Act {
    Arc::new(|_| succeed())
}

async fn subjects(node: &Node, topic: &str) -> Vec<String> {
    let events = node.events(topic).await;
    events.iter().map(|event| event.subject().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn agents_that_come_change_and_go_are_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let one = ("one", "on: { events: [a.b] }");
    let two = ("two", "on: { events: [a.c] }");
    let node = Node::start(folder.path(), &[one, two], well());
    node.until_agents(2).await;
    node.deploy(&[one, two], true);
    node.stop().await.unwrap();
    // What the configuration loses while the node is away is noticed, too.
    let node = Node::start(folder.path(), &[two], well());
    node.until_agents(1).await;
    node.deploy(&[("two", "on: { events: [a.d] }")], true);
    node.until("it changed", async |node| subjects(node, "agent.registered").await.len() == 3)
        .await;
    assert_eq!(subjects(&node, "agent.registered").await, ["one", "two", "two"]);
    assert_eq!(subjects(&node, "agent.removed").await, ["one"]);
    assert_eq!(node.bus.subscriptions().len(), 1, "and so does what it had");
    let events = node.events("agent.registered").await;
    assert_eq!(sources_of(&events), ["/nodes/one/node".to_owned()].into());
    assert_eq!(events[2].data().to_json().unwrap()["events"], json!(["a.d"]));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_module_that_may_not_run_is_told_once_and_so_is_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "on: { events: [a.b] }")];
    let mut node = Node::start(folder.path(), &agents, well());
    for _ in 0..3 {
        node.until_agents(1).await;
        node.deploy(&agents, false);
        node.until("it is stopped", async |node| {
            node.report_of("worker").await.state == AgentState::Stopped
        })
        .await;
        node.tell("a.b", Value::Null).await;
        node.kill().await;
        node = Node::start(folder.path(), &agents, well());
        node.until("it may run", async |node| {
            node.handle.report().await.is_ok_and(|reports| !reports.is_empty())
                && node.report_of("worker").await.state == AgentState::Idle
        })
        .await;
    }
    // Each life begins with a module that may run.
    node.until("told", async |node| subjects(node, "agent.recovered").await.len() == 3).await;
    let held = node.events("agent.held").await;
    assert_eq!(held.len(), 3);
    assert!(held[0].data().to_json().unwrap()["reason"].as_str().unwrap().contains("grants"));
    let recovered = node.events("agent.recovered").await;
    assert_eq!(recovered[0].data().to_json().unwrap()["from"], json!("stopped"));
    node.stop().await.unwrap();
}

/// An agent that is tried as often as it takes.
const PERSISTENT: [(&str, &str); 1] = [(
    "worker",
    "role: monitoring\non: { events: [a.b] }\n\
     retry: { attempts: 100, backoff: constant, initial: 1ms, max: 1ms }",
)];

/// Lets the pause of an agent that fails over and over pass; what the journal waits besides is real
/// time, and short.
async fn to_the_next_try(node: &Node, clock: &TestClock) {
    if let Some(Hold::Failing(next)) = node.report_of("worker").await.waits_for {
        clock.advance(Duration::try_from(next.duration_since(clock.now())).unwrap());
    }
}

#[tokio::test]
async fn a_crash_loop_brings_few_events_and_its_end_one() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new("2026-11-22T12:00:00Z");
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let act: Act =
        Arc::new(
            move |_| {
                if is_broken.load(Ordering::Relaxed) { Doing::Fail("no") } else { succeed() }
            },
        );
    let setup = Setup { clock: clock.clone(), ..Setup::default() };
    let node = Node::start_as(setup, folder.path(), &PERSISTENT, act);
    node.until_agents(1).await;
    let cause = node.tell("a.b", Value::Null).await;
    for failures in 1..=60 {
        node.until("it failed", async |node| node.report_of("worker").await.runs >= failures).await;
        to_the_next_try(&node, &clock).await;
    }
    let degraded = node.events("agent.degraded").await;
    let counts: Vec<u64> = degraded
        .iter()
        .map(|event| event.data().to_json().unwrap()["failures"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [5, 10, 20, 40], "as often as they double");
    let first = degraded[0].data().to_json().unwrap();
    assert_eq!((&first["reason"], first["next"].is_string()), (&json!("no"), true));
    assert_eq!(degraded[0].causation_id(), Some(cause.id().as_str()));
    broken.store(false, Ordering::Relaxed);
    node.until("it runs on", async |node| {
        to_the_next_try(node, &clock).await;
        node.report_of("worker").await.state == AgentState::Idle
    })
    .await;
    node.until("it is well", async |node| subjects(node, "agent.recovered").await.len() == 1).await;
    assert_eq!(node.report_of("worker").await.state, AgentState::Idle);
    assert_eq!(node.events("agent.degraded").await.len(), 4);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_crash_loop_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new("2026-11-22T12:00:00Z");
    let start = |act: Act| {
        let setup = Setup { clock: clock.clone(), ..Setup::default() };
        Node::start_as(setup, folder.path(), &PERSISTENT, act)
    };
    let fail: Act = Arc::new(|_| Doing::Fail("no"));
    let node = start(fail.clone());
    node.until_agents(1).await;
    node.tell("a.b", Value::Null).await;
    node.until("it is held back", async |node| node.report_of("worker").await.waits_for.is_some())
        .await;
    let before = node.report_of("worker").await;
    assert_eq!((before.state, before.runs), (AgentState::Degraded, 5));
    node.stop().await.unwrap();
    for _ in 0..2 {
        let node = start(fail.clone());
        node.until_agents(1).await;
        let after = node.report_of("worker").await;
        assert_eq!(
            (after.state, after.waits_for),
            (AgentState::Degraded, before.waits_for.clone())
        );
        assert_eq!((after.reason, after.runs), (before.reason.clone(), 0));
        node.kill().await;
    }
    // It counts on, and is told once more when it failed twice as often.
    let node = start(fail);
    node.until_agents(1).await;
    for failures in 1..=5 {
        to_the_next_try(&node, &clock).await;
        node.until("it failed", async |node| node.report_of("worker").await.runs >= failures).await;
    }
    node.until("it is told", async |node| node.events("agent.degraded").await.len() == 2).await;
    let told = node.events("agent.degraded").await;
    assert_eq!(told[1].data().to_json().unwrap()["failures"], 10);
    node.stop().await.unwrap();
    // A run that succeeds ends the row for good.
    let node = start(well());
    node.until_agents(1).await;
    node.until("it is well", async |node| {
        to_the_next_try(node, &clock).await;
        node.events("agent.recovered").await.len() == 1
    })
    .await;
    node.stop().await.unwrap();
    let node = start(well());
    node.until_agents(1).await;
    let report = node.report_of("worker").await;
    assert_eq!((report.state, report.waits_for), (AgentState::Idle, None));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn who_paused_and_who_resumed_is_in_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[("worker", "role: monitoring")], well());
    node.until_agents(1).await;
    let worker = || "worker".parse().unwrap();
    node.handle.pause_by(worker(), "upgrade".to_owned(), "ann".to_owned()).await.unwrap();
    node.handle.resume_by(worker(), "bob".to_owned()).await.unwrap();
    node.handle.resume_by(worker(), "bob".to_owned()).await.unwrap();
    node.until("both are told", async |node| node.events("agent.resumed").await.len() == 1).await;
    let told = |events: Vec<wachter_model::Event>| {
        events.iter().map(|event| event.data().to_json().unwrap()).collect::<Vec<_>>()
    };
    let paused = told(node.events("agent.paused").await);
    assert_eq!(paused, [json!({ "reason": "upgrade", "by": "ann" })]);
    assert_eq!(told(node.events("agent.resumed").await)[0]["by"], json!("bob"));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn who_listens_hears_of_states_and_heartbeats() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new("2026-11-22T12:00:00Z");
    let setup = Setup { clock: clock.clone(), ..Setup::default() };
    let agents = [("worker", "role: monitoring")];
    let node = Node::start_as(setup, folder.path(), &agents, well());
    node.until_agents(1).await;
    let mut heard = node
        .bus
        .listen(EventFilter { topics: vec!["agent.*".parse().unwrap()], ..EventFilter::default() });
    node.request("worker", RunRequested::default()).await;
    node.until_finished(1).await;
    let mut next = async || match heard.next().await {
        Heard::Event(event) => (event.event_type().to_owned(), event.data().to_json().unwrap()),
        Heard::Missed(count) => panic!("{count} missed"),
    };
    let (topic, began) = next().await;
    assert_eq!(
        (topic.as_str(), &began["from"], &began["to"]),
        ("agent.state", &json!("idle"), &json!("running"))
    );
    let (_, ended) = next().await;
    assert_eq!(ended["to"], json!("idle"));
    // Not before: what a run comes to is kept first, and told of then.
    clock.advance(Duration::from_secs(30));
    let (topic, beat) = next().await;
    assert_eq!(
        (topic.as_str(), &beat["state"], &beat["runs"]),
        ("agent.heartbeat", &json!("idle"), &json!(1))
    );
    assert_eq!(node.events("agent.heartbeat").await, [], "kept nowhere");
    node.stop().await.unwrap();
}
