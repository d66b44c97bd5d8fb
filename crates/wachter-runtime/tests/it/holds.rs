//! What holds agents: pauses, freezes, windows; over restarts too.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wachter_runtime::dispatch::{Hold, RunRequested};
use wachter_runtime::schedule::AgentState;

use crate::support::{Act, Node, Setup, TestClock, WAITS_FOR, succeed};

fn well() -> Act {
    Arc::new(|_| succeed())
}

#[tokio::test]
async fn a_pause_survives_restarts_changes_and_absence() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "role: monitoring\non: { events: [a.b] }")];
    let changed = [("worker", "role: monitoring\non: { events: [a.b, a.c] }")];
    let worker = || "worker".parse().unwrap();
    let mut node = Node::start(folder.path(), &agents, well());
    node.until_agents(1).await;
    node.handle.pause_by(worker(), "on holiday".to_owned(), "ann".to_owned()).await.unwrap();
    let since = node.report_of("worker").await.pause.unwrap().since;
    let check = async |node: &Node| {
        let report = node.report_of("worker").await;
        assert_eq!((report.state, report.waits_for), (AgentState::Paused, Some(Hold::Paused)));
        let pause = report.pause.unwrap();
        assert_eq!((pause.by.as_str(), pause.since), ("ann", since));
        assert_eq!(report.reason.as_deref(), Some("on holiday (ann)"));
        assert_eq!(node.begun(), 0);
    };
    node.tell("a.b", json!(1)).await;
    // More often than a delivery may be interrupted.
    for round in 0..12 {
        if round % 2 == 0 {
            node.stop().await.unwrap();
        } else {
            node.kill().await;
        }
        node = Node::start(folder.path(), &agents, well());
        node.until_agents(1).await;
        check(&node).await;
    }
    node.deploy(&changed, true);
    node.until("it changed", async |node| {
        node.report_of("worker").await.agent.on.events.len() == 2
    })
    .await;
    check(&node).await;
    node.handle.resume(worker()).await.unwrap();
    node.until_finished(1).await;
    assert_eq!(node.begun.lock().unwrap()[0].event.as_ref().unwrap()["data"], json!(1));
    node.handle.pause_by(worker(), "again".to_owned(), "ann".to_owned()).await.unwrap();
    node.deploy(&[], true);
    node.until_agents(0).await;
    node.deploy(&agents, true);
    node.until_agents(1).await;
    assert_eq!(node.report_of("worker").await.state, AgentState::Paused, "also in its absence");
    node.handle.resume(worker()).await.unwrap();
    node.stop().await.unwrap();
    let node = Node::start(folder.path(), &agents, well());
    node.until_agents(1).await;
    assert_eq!(node.report_of("worker").await.state, AgentState::Idle, "nor is it paused again");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_has_effects_stays_frozen_from_the_first_moment_on() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [
        ("fixer", "role: remediation\non: { events: [a.b], schedule: { every: 1h } }"),
        ("keeper", "on: { events: [a.b] }"),
        ("looker", "role: scanner\non: { events: [a.b] }"),
    ];
    let frozen = || Setup { frozen: true, ..Setup::default() };
    let mut node = Node::start_as(frozen(), folder.path(), &agents, well());
    node.until_agents(3).await;
    node.tell("a.b", Value::Null).await;
    node.request("keeper", RunRequested::default()).await;
    node.until_finished(1).await;
    for _ in 0..12 {
        node.kill().await;
        node = Node::start_as(frozen(), folder.path(), &agents, well());
        node.until_agents(3).await;
        assert_eq!(node.report_of("fixer").await.waits_for, Some(Hold::Frozen));
        assert_eq!(node.report_of("looker").await.waits_for, None);
    }
    assert_eq!(node.begun(), 0, "only what looks ran, and that once");
    node.handle.thaw().await.unwrap();
    // Of the fixer its event and its tick, of the keeper its event and the request.
    node.until_finished(5).await;
    assert_eq!(node.begun(), 4);
    // What freezes later holds what comes after it.
    node.handle.freeze().await.unwrap();
    node.tell("a.b", Value::Null).await;
    node.until_finished(6).await;
    assert_eq!(node.report_of("fixer").await.waits_for, Some(Hold::Frozen));
    assert_eq!(node.begun(), 5);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_closed_window_holds_events_and_ticks_until_it_opens() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [(
        "worker",
        "on: { events: [a.b], schedule: { cron: '0 12 * * *' } }\nscope: node\n\
         window: { allow: '22:00-05:00' }",
    )];
    // A Sunday.
    let clock = TestClock::new("2026-11-22T11:00:00Z");
    let setup = || Setup { clock: clock.clone(), ..Setup::default() };
    let node = Node::start_as(setup(), folder.path(), &agents, well());
    node.until_agents(1).await;
    let opens = "2026-11-22T22:00:00Z".parse().unwrap();
    assert_eq!(node.report_of("worker").await.waits_for, Some(Hold::Window(opens)));
    node.tell("a.b", Value::Null).await;
    clock.advance(Duration::from_secs(2 * 3600));
    let report = node.report_of("worker").await;
    assert_eq!((report.running, report.runs, report.next), (0, 0, Some(opens)));
    node.kill().await;
    let node = Node::start_as(setup(), folder.path(), &agents, well());
    node.until_agents(1).await;
    clock.advance(Duration::from_secs(9 * 3600));
    // The event, and the tick of noon.
    node.until_finished(2).await;
    assert_eq!(node.ticks("worker").await, ["2026-11-22T12:00:00Z".parse().unwrap()]);
    node.tell("a.b", Value::Null).await;
    node.until_finished(3).await;
    clock.advance(Duration::from_secs(8 * 3600));
    node.until("it has closed", async |node| node.report_of("worker").await.waits_for.is_some())
        .await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_window_that_closes_when_the_clock_is_set_back_counts() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "on: { events: [a.b] }\nwindow: { allow: '22:00-05:00' }")];
    let clock = TestClock::new("2026-11-22T23:00:00Z");
    let setup = Setup { clock: clock.clone(), ..Setup::default() };
    let node = Node::start_as(setup, folder.path(), &agents, well());
    node.until_agents(1).await;
    assert_eq!(node.report_of("worker").await.waits_for, None);
    clock.set("2026-11-22T20:00:00Z");
    clock.advance(Duration::from_secs(60));
    node.until("it is closed", async |node| node.report_of("worker").await.waits_for.is_some())
        .await;
    node.tell("a.b", Value::Null).await;
    assert_eq!(node.report_of("worker").await.running, 0);
    clock.advance(Duration::from_secs(2 * 3600));
    node.until_finished(1).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_meant_for_a_module_that_waits_is_done_when_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "on: { events: [a.b], schedule: { every: 1h } }")];
    let clock = TestClock::new("2026-11-22T11:30:00Z");
    let waits = || Setup { clock: clock.clone(), waits: true, ..Setup::default() };
    let mut node = Node::start_as(waits(), folder.path(), &agents, well());
    node.until_agents(1).await;
    node.tell("a.b", Value::Null).await;
    node.request("worker", RunRequested::default()).await;
    // More often than a delivery may be interrupted.
    for round in 0..12 {
        if round % 2 == 0 {
            node.stop().await.unwrap();
        } else {
            node.kill().await;
        }
        node = Node::start_as(waits(), folder.path(), &agents, well());
        node.until_agents(1).await;
        let report = node.report_of("worker").await;
        assert_eq!(report.waits_for, Some(Hold::Module(WAITS_FOR.to_owned())));
        assert_eq!((report.state, report.queued, report.next), (AgentState::Idle, 0, None));
        clock.advance(Duration::from_secs(600));
    }
    assert!(node.events("agent.held").await.is_empty(), "nobody has to do anything");
    node.deploy(&agents, true);
    // The event, the request, and the first of its ticks.
    node.until_finished(3).await;
    assert_eq!(node.report_of("worker").await.waits_for, None);
    assert_eq!(node.ticks("worker").await.len(), 1);
    assert!(node.bus.count_dead_letters().await.unwrap().is_empty());
    node.stop().await.unwrap();
}

/// What happens to an agent while its module waits.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Nothing,
    Restart,
    Change,
    Pause,
}

async fn check_ticks_of_one_that_waits(meanwhile: Meanwhile) {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "on: { schedule: { cron: '0 * * * *' } }")];
    let changed = [("worker", "on: { events: [a.b], schedule: { cron: '0 * * * *' } }")];
    let worker = || "worker".parse().unwrap();
    let clock = TestClock::new("2026-11-22T10:30:00Z");
    let setup = |waits| Setup { clock: clock.clone(), waits, ..Setup::default() };
    let mut node = Node::start_as(setup(false), folder.path(), &agents, well());
    node.until_agents(1).await;
    clock.advance(Duration::from_secs(3600));
    node.until_finished(1).await;
    node.deploy_waiting(&agents);
    node.until("it waits", async |node| node.report_of("worker").await.waits_for.is_some()).await;
    clock.advance(Duration::from_secs(2 * 3600));
    match meanwhile {
        Meanwhile::Nothing => {}
        Meanwhile::Restart => {
            node.kill().await;
            node = Node::start_as(setup(true), folder.path(), &agents, well());
            node.until_agents(1).await;
        }
        Meanwhile::Change => {
            node.deploy_waiting(&changed);
            let has_changed =
                async |node: &Node| !node.report_of("worker").await.agent.on.events.is_empty();
            node.until("it has changed", has_changed).await;
        }
        Meanwhile::Pause => {
            node.handle.pause(worker(), String::new()).await.unwrap();
            node.handle.resume(worker()).await.unwrap();
        }
    }
    clock.advance(Duration::from_secs(3600));
    node.report_of("worker").await;
    assert_eq!(node.ticks("worker").await.len(), 1, "{meanwhile:?}: none is told while it waits");
    node.deploy(&agents, true);
    node.until_finished(2).await;
    clock.advance(Duration::from_secs(3600));
    node.until_finished(3).await;
    let due = node.events("agent.due").await;
    let missed = due.iter().map(|event| event.data().to_json().unwrap()["missed"].clone());
    assert_eq!(missed.collect::<Vec<_>>(), [1, 3, 1], "{meanwhile:?}");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn ticks_that_fall_into_the_time_that_a_module_waits_count_as_missed() {
    for meanwhile in [Meanwhile::Nothing, Meanwhile::Restart, Meanwhile::Change, Meanwhile::Pause] {
        check_ticks_of_one_that_waits(meanwhile).await;
    }
}
