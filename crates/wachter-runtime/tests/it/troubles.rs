//! What is nothing that an event did: a disk that is full, and a launcher that dies for another.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;
use wachter_bus::{Bus, DeadLetterId, Options, SubscriptionOptions};
use wachter_runtime::dispatch::{Ran, Runner, RunnerGone};
use wachter_testkit::fail_journal;

use crate::support::{Act, Doing, Node, Setup, TestClock, record, succeed};

const SECOND: Duration = Duration::from_secs(1);

/// Whatever was to be written has been tried, and whoever waited for it had a turn.
async fn time_passes(node: &Node) {
    node.bus.look_after().await.unwrap();
    node.handle.report().await.unwrap();
}

async fn until_failing(node: &Node, fails: bool) {
    node.until(&format!("failing: {fails}"), async |node| {
        let _ = node.bus.look_after().await;
        node.bus.status().failing.is_some() == fails
    })
    .await;
}

#[tokio::test]
async fn what_came_of_a_run_waits_for_a_journal_that_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let agents =
        [("slow", "role: remediation\non: { events: [a.b] }"), ("quick", "on: { events: [c.d] }")];
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let act: Act = Arc::new(move |request| match request.cause.agent().unwrap().as_str() {
        "slow" => Doing::Until(Arc::clone(&opened), Some(json!(1))),
        _ => succeed(),
    });
    let clock = TestClock::new("2026-11-22T12:00:00Z");
    let setup = Setup { clock: clock.clone(), ..Setup::default() };
    let node = Node::start_as(setup, folder.path(), &agents, act);
    node.until_agents(2).await;
    node.tell("a.b", json!(1)).await;
    node.until("it has begun", async |node| node.begun() == 1).await;
    node.tell("c.d", json!(1)).await;
    node.until_finished(1).await;
    node.handle.pause("quick".parse().unwrap(), String::new()).await.unwrap();
    node.tell("c.d", json!(2)).await;
    fail_journal(folder.path(), true).unwrap();
    until_failing(&node, true).await;
    gate.add_permits(1);
    for _ in 0..20 {
        time_passes(&node).await;
        clock.advance(SECOND);
        assert_eq!((node.begun(), node.report_of("slow").await.running), (2, 1));
    }
    fail_journal(folder.path(), false).unwrap();
    node.until("it is kept", async |node| {
        clock.advance(SECOND);
        node.events("run.finished").await.len() == 2
    })
    .await;
    assert_eq!(node.begun(), 2, "what it did to the world is done once");
    assert!(node.bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap().is_empty());
    node.handle.resume("quick".parse().unwrap()).await.unwrap();
    node.until_finished(3).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn nothing_begins_while_the_journal_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [
        ("looker", "role: scanner\non: { events: [a.b] }"),
        ("fixer", "role: remediation\non: { events: [a.b] }"),
    ];
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let act: Act = Arc::new(move |_| Doing::Until(Arc::clone(&opened), None));
    let node = Node::start(folder.path(), &agents, act);
    node.until_agents(2).await;
    node.handle.freeze().await.unwrap();
    node.tell("a.b", json!(1)).await;
    node.until("one has begun", async |node| node.begun() == 1).await;
    fail_journal(folder.path(), true).unwrap();
    gate.add_permits(1);
    // The bus says so first, once the end of the run cannot be written.
    node.until("it fails", async |node| node.bus.status().failing.is_some()).await;
    for _ in 0..5 {
        time_passes(&node).await;
    }
    node.handle.thaw().await.unwrap();
    for _ in 0..20 {
        time_passes(&node).await;
        assert_eq!(node.begun(), 1);
    }
    // A node that stops meanwhile does not wait for room, and loses nothing.
    node.stop().await.unwrap();
    fail_journal(folder.path(), false).unwrap();
    let node = Node::start(folder.path(), &agents, Arc::new(|_| succeed()));
    node.until_finished(2).await;
    assert_eq!(node.begun(), 2);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_launcher_that_dies_of_one_event_uses_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "role: scanner\non: { events: [a.b] }\nconcurrency: { limit: 1 }")];
    let bus = || Bus::open(Options::new(folder.path())).unwrap();
    let dies = Arc::new(Semaphore::new(0));
    let start = || {
        let dies = Arc::clone(&dies);
        let runner: Runner = Arc::new(move |request, _| {
            let (poison, dies) =
                (request.event.as_ref().unwrap()["data"] == json!(1), dies.clone());
            Box::pin(async move {
                if poison {
                    dies.acquire().await.unwrap().forget();
                    return Err(RunnerGone);
                }
                Ok(Ran { record: record(&request, "succeeded", None), state: None })
            })
        });
        Node::start_with(bus(), Setup::default(), &agents, runner)
    };
    for life in 0..9 {
        let node = start();
        node.until_agents(1).await;
        if life == 0 {
            node.tell("a.b", json!(1)).await;
            node.tell("a.b", json!(2)).await;
        }
        node.until("one runs and one waits", async |node| {
            let report = node.report_of("worker").await;
            report.running == 1 && report.queued == 1
        })
        .await;
        dies.add_permits(1);
        assert_eq!(node.ended().await, Err(RunnerGone));
    }
    let bus = bus();
    let name = "agents/worker".parse().unwrap();
    let declared = SubscriptionOptions { in_flight: 2, ..SubscriptionOptions::new(name) };
    let subscription = bus.subscribe(declared).await.unwrap();
    let (first, second) = (subscription.next().await.unwrap(), subscription.next().await.unwrap());
    assert_eq!((first.attempt(), second.attempt()), (10, 1));
    drop((first, second, subscription));
    bus.close();
}
