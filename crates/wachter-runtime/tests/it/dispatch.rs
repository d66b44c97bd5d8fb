use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use wachter_bus::DeadLetterId;
use wachter_runtime::NodeEvent;
use wachter_runtime::dispatch::{HandleError, RunRequested, RunnerGone};
use wachter_runtime::schedule::AgentState;

use crate::support::{Act, Doing, Node, events, sources_of, succeed};

fn always(doing: Doing) -> Act {
    Arc::new(move |_| doing.clone())
}

const ON_DEMAND: &[(&str, &str)] = &[("worker", "role: monitoring")];

#[tokio::test]
async fn an_interval_runs_at_once_and_its_causes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "on: { schedule: { every: 1h } }")];
    let doing = Doing::Succeed {
        output: json!(7),
        state: Some(json!({ "seen": 1 })),
        emit: vec!["probe.done"],
    };
    let node = Node::start(folder.path(), &agents, always(doing));
    node.until_finished(1).await;
    let due = node.events("agent.due").await;
    assert_eq!(sources_of(&due), ["/nodes/one/scheduler".to_owned()].into());
    for topic in ["run.finished", "probe.done"] {
        let found = node.events(topic).await;
        assert_eq!(found.len(), 1, "{topic}");
        assert_eq!(found[0].causation_id(), Some(due[0].id().as_str()), "{topic}");
        assert_eq!(found[0].source().as_str(), "/nodes/one/agents/worker");
    }
    let record = node.events("run.finished").await[0].data().to_json().unwrap();
    assert_eq!((&record["outcome"], &record["output"]), (&json!("succeeded"), &json!(7)));
    // What the module remembers came with its events, and is handed to its next run.
    node.request("worker", RunRequested::default()).await;
    node.until_finished(2).await;
    assert_eq!(node.begun.lock().unwrap()[1].state, json!({ "seen": 1 }));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_tick_is_run_once_however_often_the_node_starts() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "on: { schedule: { every: 100d } }")];
    for start in 0..4 {
        let node = Node::start(folder.path(), &agents, always(succeed()));
        node.until_finished(1).await;
        if start % 2 == 0 { node.kill().await } else { node.stop().await.unwrap() }
    }
    let node = Node::start(folder.path(), &agents, always(succeed()));
    assert_eq!(node.events("agent.due").await.len(), 1);
    assert_eq!(node.events("run.finished").await.len(), 1);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn events_wake_those_who_listen_and_whose_condition_holds() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [
        ("main-only", "on: { events: [github.push], where: \"event.data.ref == 'main'\" }"),
        ("all-of-github", "on: { events: ['github.>'] }"),
        ("other", "on: { events: [azure.alert] }"),
    ];
    let node = Node::start(folder.path(), &agents, always(succeed()));
    // A subscription begins with its declaration.
    node.until("three agents", async |node| node.handle.report().await.unwrap().len() == 3).await;
    let main = node.tell("github.push", json!({ "ref": "main" })).await;
    node.tell("github.push", json!({ "ref": "side" })).await;
    node.tell("github.push", json!({ "no": "ref" })).await;
    node.until_finished(4).await;
    let mut runs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for request in node.begun.lock().unwrap().iter() {
        let event = request.event.as_ref().unwrap();
        let agent = request.cause.agent().unwrap().to_string();
        runs.entry(agent).or_default().push(event["data"].clone());
    }
    assert_eq!(runs["main-only"], [json!({ "ref": "main" })]);
    assert_eq!(runs["all-of-github"].len(), 3);
    assert!(!runs.contains_key("other"));
    let report = node.handle.report().await.unwrap();
    let errors = report.iter().find(|report| report.agent.name.as_str() == "main-only").unwrap();
    assert_eq!(errors.condition_errors, 1, "the event without `ref`");
    let finished = node.events("run.finished").await;
    let of_main = finished.iter().filter(|event| event.causation_id() == Some(main.id().as_str()));
    assert_eq!(of_main.count(), 2);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn nobody_but_the_node_commands_an_agent() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), ON_DEMAND, always(succeed()));
    node.until("an agent", async |node| node.handle.report().await.unwrap().len() == 1).await;
    for topic in ["agent.due", "agent.requested"] {
        for kind in ["command", "event"] {
            let forged = json!({
                "specversion": "1.0", "id": format!("{topic}-{kind}"), "source": "/nodes/one/agents/evil",
                "type": topic, "kind": kind, "target": "worker", "data": {},
            });
            let forged = wachter_model::Event::from_json(forged.to_string().as_bytes()).unwrap();
            node.bus.publish(vec![forged]).await.unwrap();
        }
    }
    node.request("worker", RunRequested::default()).await;
    node.until_finished(1).await;
    assert_eq!(node.begun(), 1);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_fails_is_tried_again_and_then_given_up_where_people_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [(
        "worker",
        "on: { events: [a.b] }\nretry: { attempts: 3, backoff: constant, initial: 1ms, max: 1ms }",
    )];
    let tries = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&tries);
    let act: Act = Arc::new(move |request| {
        let poison = request.event.as_ref().is_some_and(|event| event["data"] == json!("poison"));
        let first = counting.fetch_add(1, Ordering::Relaxed) == 0;
        if poison || first { Doing::Fail("no") } else { succeed() }
    });
    let node = Node::start(folder.path(), &agents, act);
    node.until("an agent", async |node| node.handle.report().await.unwrap().len() == 1).await;
    node.tell("a.b", json!("good")).await;
    node.until_finished(2).await;
    node.tell("a.b", json!("poison")).await;
    node.until("a dead letter", async |node| {
        !node.bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap().is_empty()
    })
    .await;
    assert_eq!(node.begun(), 5);
    assert_eq!(node.events("run.finished").await.len(), 5, "each try is on record");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_module_that_may_not_run_holds_its_agent_until_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "on: { events: [a.b] }")];
    let node = Node::start(folder.path(), &agents, always(succeed()));
    node.until("an agent", async |node| node.handle.report().await.unwrap().len() == 1).await;
    node.deploy(&agents, false);
    node.until("it is stopped", async |node| {
        node.handle.report().await.unwrap()[0].state == AgentState::Stopped
    })
    .await;
    assert!(matches!(node.seen.lock().unwrap()[0], NodeEvent::Held { .. }));
    node.tell("a.b", Value::Null).await;
    node.until("a dead letter", async |node| {
        !node.bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap().is_empty()
    })
    .await;
    node.deploy(&agents, true);
    let letter = node.bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap()[0].id;
    node.until("it may run", async |node| {
        node.handle.report().await.unwrap()[0].state == AgentState::Idle
    })
    .await;
    assert!(node.bus.retry_dead_letter(letter).await.unwrap());
    node.until_finished(1).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn paused_and_frozen_work_waits_and_is_done_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [
        ("fixer", "role: remediation\non: { events: [a.b] }"),
        ("looker", "role: scanner\non: { events: [a.b] }"),
    ];
    let node = Node::start(folder.path(), &agents, always(succeed()));
    node.until("agents", async |node| node.handle.report().await.unwrap().len() == 2).await;
    node.handle.freeze().await.unwrap();
    node.handle.pause("looker".parse().unwrap(), "on holiday".to_owned()).await.unwrap();
    node.tell("a.b", Value::Null).await;
    node.handle.resume("looker".parse().unwrap()).await.unwrap();
    node.until_finished(1).await;
    let looked = node.begun.lock().unwrap()[0].cause.agent().unwrap().to_string();
    assert_eq!((looked.as_str(), node.begun()), ("looker", 1), "what only looks goes on");
    node.handle.thaw().await.unwrap();
    node.until_finished(2).await;
    let unknown = node.handle.resume("nobody".parse().unwrap()).await;
    assert!(matches!(unknown, Err(HandleError::Unknown(_))));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn overlap_is_as_declared() {
    for (overlap, expected) in [("skip", 1), ("queue", 3), ("allow", 3)] {
        let folder = tempfile::tempdir().unwrap();
        let rest =
            format!("on: {{ events: [a.b] }}\nconcurrency: {{ limit: 1, overlap: {overlap} }}");
        let agents = [("worker", rest.as_str())];
        let first = Arc::new(AtomicU32::new(0));
        let counting = Arc::clone(&first);
        let act: Act = Arc::new(move |_| {
            if counting.fetch_add(1, Ordering::Relaxed) == 0 { Doing::Hang } else { succeed() }
        });
        let node = Node::start(folder.path(), &agents, act);
        node.until("an agent", async |node| node.handle.report().await.unwrap().len() == 1).await;
        node.tell("a.b", json!(1)).await;
        node.until("it hangs", async |node| node.begun() == 1).await;
        node.tell("a.b", json!(2)).await;
        node.tell("a.b", json!(3)).await;
        let settled = async |node: &Node| {
            let report = node.handle.report().await.unwrap();
            let behind = node.bus.subscriptions()[0].in_flight;
            match overlap {
                "skip" => behind == 1,
                "queue" => report[0].queued == 2,
                _ => node.begun() == 3,
            }
        };
        node.until(overlap, settled).await;
        // A node that stops hands back what is under way; the next one does it.
        node.stop().await.unwrap();
        let node = Node::start(folder.path(), &agents, always(succeed()));
        node.until_finished(expected + 1).await;
        let done = events(&node.bus, "run.finished").await;
        let succeeded = done
            .iter()
            .filter(|event| event.data().to_json().unwrap()["outcome"] == json!("succeeded"));
        assert_eq!(succeeded.count(), expected, "{overlap}");
        node.stop().await.unwrap();
    }
}

#[tokio::test]
async fn when_the_launcher_goes_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), ON_DEMAND, always(Doing::LauncherGoes));
    node.until("an agent", async |node| node.handle.report().await.unwrap().len() == 1).await;
    node.request("worker", RunRequested { dry_run: true, ..RunRequested::default() }).await;
    assert_eq!(node.ended().await, Err(RunnerGone));
    let node = Node::start(folder.path(), ON_DEMAND, always(succeed()));
    node.until_finished(1).await;
    assert!(node.begun.lock().unwrap()[0].dry_run);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_fails_in_a_row_is_held_back_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [(
        "worker",
        "role: monitoring\nretry: { attempts: 100, backoff: constant, initial: 1ms, max: 1ms }",
    )];
    let node = Node::start(folder.path(), &agents, always(Doing::Fail("no")));
    node.until("an agent", async |node| node.handle.report().await.unwrap().len() == 1).await;
    node.request("worker", RunRequested::default()).await;
    node.until("it is degraded", async |node| {
        node.handle.report().await.unwrap()[0].state == AgentState::Degraded
    })
    .await;
    let report = node.handle.report().await.unwrap();
    assert!(report[0].reason.as_ref().unwrap().contains("in a row"), "{report:?}");
    node.stop().await.unwrap();
}
