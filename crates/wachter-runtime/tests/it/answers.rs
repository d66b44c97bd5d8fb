//! What is asked of an agent is checked, and whoever asked hears what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};
use wachter_bus::{DeadLetter, DeadLetterId, Seq, Start};
use wachter_model::{Event, EventKind};
use wachter_runtime::Aftermath;
use wachter_runtime::dispatch::{QueryFailed, RunRequested};

use crate::support::{Act, Doing, Node, succeed};

const TWICE: &str = "retry: { attempts: 2, backoff: constant, initial: 1ms, max: 1ms }";

fn always(doing: Doing) -> Act {
    Arc::new(move |_| doing.clone())
}

async fn dead_letters(node: &Node, count: usize) -> Vec<DeadLetter> {
    let list = async || node.bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap();
    node.until("dead letters", async |_| list().await.len() >= count).await;
    list().await
}

/// A question, as the interface puts it.
async fn ask(node: &Node, topic: &str) -> Event {
    let question = Event::builder("/desk".parse().unwrap(), &topic.parse().unwrap())
        .kind(EventKind::Query)
        .correlation_id("the-question")
        .time(Timestamp::now())
        .json(&json!("how are you"))
        .build()
        .unwrap();
    node.bus.publish(vec![question.clone()]).await.unwrap();
    question
}

async fn aftermaths(node: &Node) -> Vec<Aftermath> {
    let records = node.events("run.finished").await.into_iter();
    let records = records.map(|event| event.data().to_json().unwrap());
    records
        .map(|record| match record.get("aftermath") {
            Some(aftermath) => serde_json::from_value(aftermath.clone()).unwrap(),
            None => Aftermath::Settled,
        })
        .collect()
}

#[tokio::test]
async fn a_request_that_does_not_fit_is_given_up_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "role: monitoring\nwith: { percent: 7 }")];
    let node = Node::start(folder.path(), &agents, always(succeed()));
    node.until_agents(1).await;
    for (input, expected) in [
        (json!({ "percent": "many" }), "$.percent: the module does not take this: \"many\" is not"),
        (json!({ "percent": 101 }), "$.percent: the module does not take this: 101 is greater"),
        (json!([7]), "$: it is no JSON object"),
    ] {
        let before = node.bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap().len();
        node.request("worker", RunRequested { input, ..RunRequested::default() }).await;
        let letters = dead_letters(&node, before + 1).await;
        let letter = letters.last().unwrap();
        assert!(letter.reason.starts_with("the input does not fit `probe`: "), "{letter:?}");
        assert!(letter.reason.contains(expected), "{letter:?}");
        assert_eq!((letter.attempts, letter.failures), (1, 0));
    }
    let input = json!({ "percent": 100, "other": true });
    node.request("worker", RunRequested { input, ..RunRequested::default() }).await;
    node.until_finished(1).await;
    assert_eq!(node.begun(), 1, "what does not fit does not run");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_record_says_whether_its_run_decides() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", &*format!("on: {{ events: [a.b] }}\n{TWICE}"))];
    let tries = AtomicU32::new(0);
    let act: Act = Arc::new(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 | 2 | 3 => Doing::Fail("no"),
        _ => succeed(),
    });
    let node = Node::start(folder.path(), &agents, act);
    node.until_agents(1).await;
    node.tell("a.b", Value::Null).await;
    node.until_finished(2).await;
    node.tell("a.b", Value::Null).await;
    node.until_finished(4).await;
    let found = aftermaths(&node).await;
    let [Aftermath::Retried(_), Aftermath::Settled, Aftermath::Retried(_), Aftermath::GivenUp] =
        found[..]
    else {
        panic!("{found:?}");
    };
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_question_whose_run_fails_for_good_is_answered_by_that() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("desk", &*format!("on: {{ events: [a.asked] }}\n{TWICE}"))];
    let node = Node::start(folder.path(), &agents, always(Doing::Fail("no paper")));
    node.until_agents(1).await;
    let question = ask(&node, "a.asked").await;
    node.until("a reply", async |node| !node.events("query.failed").await.is_empty()).await;
    let replies = node.events("query.failed").await;
    assert_eq!(replies.len(), 1, "the first try does not decide");
    let reply = &replies[0];
    assert_eq!((reply.kind(), reply.correlation_id()), (EventKind::Response, Some("the-question")));
    assert_eq!(reply.causation_id(), Some(question.id().as_str()));
    let said = QueryFailed::of(reply).unwrap();
    let last = node.events("run.finished").await.pop().unwrap().data().to_json().unwrap();
    assert_eq!(
        (said.agent.as_str(), said.outcome.as_str(), said.error.as_str(), json!(said.run)),
        ("desk", "failed", "no paper", last["run"].clone())
    );
    assert_eq!(QueryFailed::of(&question), None);
    // Who tells something asks nothing.
    node.tell("a.asked", Value::Null).await;
    node.until_finished(4).await;
    assert_eq!(node.events("query.failed").await.len(), 1);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_question_that_leads_to_no_run_is_answered_by_that() {
    let folder = tempfile::tempdir().unwrap();
    let skipping = "on: { events: [a.asked] }\nconcurrency: { limit: 1, overlap: skip }";
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let act = always(Doing::Until(Arc::clone(&gate), None));
    let node = Node::start(folder.path(), &[("desk", skipping)], act);
    node.until_agents(1).await;
    node.tell("a.asked", Value::Null).await;
    node.until("a run", async |node| node.begun() == 1).await;
    ask(&node, "a.asked").await;
    let replies = async |count| {
        node.until("a reply", async |node| node.events("query.failed").await.len() == count).await;
        QueryFailed::of(&node.events("query.failed").await.pop().unwrap()).unwrap()
    };
    let skipped = replies(1).await;
    assert_eq!((skipped.outcome.as_str(), skipped.run), ("not-begun", None));
    assert!(skipped.error.contains("is under way"), "{skipped:?}");
    gate.add_permits(1);
    node.until_finished(1).await;
    node.deploy(&[("desk", skipping)], false);
    node.until("it is stopped", async |node| {
        node.report_of("desk").await.state == wachter_runtime::schedule::AgentState::Stopped
    })
    .await;
    ask(&node, "a.asked").await;
    assert!(replies(2).await.error.contains("more than this host grants"));
    assert_eq!(dead_letters(&node, 1).await.len(), 1);
    node.stop().await.unwrap();
}

/// What a dry run would do wakes nobody who would do the next thing.
#[tokio::test]
async fn a_replay_of_effects_is_a_dry_run_and_tells_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [
        ("fixer", "role: remediation\non: { events: [a.b] }"),
        ("next", "role: remediation\non: { events: [probe.done] }"),
    ];
    let state = Some(json!({ "seen": 1 }));
    let doing = Doing::Succeed { output: Value::Null, state, emit: vec!["probe.done"] };
    let act: Act = Arc::new(move |request| match request.cause.agent().unwrap().as_str() {
        "fixer" => doing.clone(),
        _ => succeed(),
    });
    let node = Node::start(folder.path(), &agents, act);
    node.until_agents(2).await;
    node.tell("a.b", Value::Null).await;
    node.until_finished(2).await;
    assert!(node.begun.lock().unwrap().iter().all(|request| !request.dry_run));
    let revision = node.bus.key("agent-state", "fixer").await.unwrap().unwrap().revision;
    let name = "agents/fixer".parse().unwrap();
    let from = Start::Seq(Seq::new(1));
    node.bus.redeliver(name, from, wachter_bus::End::Here).await.unwrap().unwrap();
    node.until_finished(3).await;
    assert!(node.begun.lock().unwrap()[2].dry_run);
    let after = node.bus.key("agent-state", "fixer").await.unwrap().unwrap().revision;
    assert_eq!(after, revision, "a dry run remembers nothing");
    let record = node.events("run.finished").await.pop().unwrap().data().to_json().unwrap();
    assert_eq!(record["events"][0]["type"], "probe.done", "what it would have said is on record");
    // What comes next is for real again.
    node.tell("a.b", Value::Null).await;
    node.until_finished(5).await;
    assert_eq!(node.events("probe.done").await.len(), 2);
    assert_eq!(node.begun(), 5);
    node.stop().await.unwrap();
}
