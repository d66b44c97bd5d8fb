//! Why an event reaches an agent or does not.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;
use wachter_model::Event;
use wachter_runtime::dispatch::{RunRequested, request_event};

use crate::support::{Act, Doing, Node, Setup, TestClock, sources};

const AGENTS: &[(&str, &str)] = &[
    ("absent", "nodes: \"node == 'two'\"\non: { events: [a.b] }"),
    ("all", "on: { events: ['a.>', github.push] }"),
    ("busy", "role: scanner\non: { events: [busy.work] }\nconcurrency: { overlap: skip }"),
    ("closed", "on: { events: [a.b] }\nwindow: { allow: '22:00-05:00' }"),
    ("conditional", "on: { events: [a.b], where: \"event.data.ref == 'main'\" }"),
    ("demand", "role: scanner"),
    ("fixer", "role: remediation\non: { events: [a.b] }"),
    ("paused", "role: scanner\non: { events: [a.b] }"),
    ("scheduled", "on: { schedule: { every: 1h } }\nrole: remediation"),
];

fn event(topic: &str, data: &serde_json::Value, target: Option<&str>) -> Event {
    let builder = Event::builder("/outside".parse().unwrap(), &topic.parse().unwrap()).json(data);
    match target {
        Some(target) => builder.target(target),
        None => builder,
    }
    .build()
    .unwrap()
}

async fn check(node: &Node, event: Option<Event>, expected: &[(&str, Option<bool>, &str)]) {
    let explanations = node.handle.explain(event.clone()).await.unwrap();
    for (agent, reached, part) in expected {
        let found = explanations.iter().find(|found| found.agent.as_str() == *agent).unwrap();
        assert_eq!(found.reached, *reached, "{found:?} of {event:?}");
        assert!(found.reason.contains(part), "{:?} lacks {part:?}", found.reason);
    }
    assert_eq!(explanations.len(), AGENTS.len());
}

#[tokio::test]
async fn every_reason_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let never = Arc::new(Semaphore::new(0));
    let act: Act = Arc::new(move |_| Doing::Until(Arc::clone(&never), None));
    let clock = TestClock::new("2026-11-22T12:00:00Z");
    let setup = Setup { clock, frozen: true, ..Setup::default() };
    let node = Node::start_as(setup, folder.path(), AGENTS, act);
    node.until_agents(AGENTS.len() - 1).await;
    let paused = "paused".parse().unwrap();
    node.handle.pause_by(paused, "on holiday".to_owned(), "ann".to_owned()).await.unwrap();
    node.tell("busy.work", json!(1)).await;
    node.until("it is busy", async |node| node.begun() == 1).await;

    check(
        &node,
        Some(event("a.b", &json!({ "ref": "side" }), None)),
        &[
            ("absent", Some(false), "its `nodes` leaves this node out"),
            ("all", Some(true), "it waits in the journal: effects are frozen"),
            ("busy", Some(false), "it listens to `busy.work`, not to `a.b`"),
            ("closed", Some(true), "effects are frozen"),
            ("conditional", Some(false), "`where` is false: event.data.ref == 'main'"),
            ("demand", Some(false), "it listens to no events"),
            ("fixer", Some(true), "effects are frozen"),
            ("paused", Some(true), "paused since 2026-11-22T12:00:00Z, on holiday (ann)"),
            ("scheduled", Some(false), "it listens to no events"),
        ],
    )
    .await;
    check(
        &node,
        Some(event("a.c", &json!({}), None)),
        &[("all", Some(true), ""), ("fixer", Some(false), "it listens to `a.b`, not to `a.c`")],
    )
    .await;
    check(
        &node,
        Some(event("github.pull", &json!({}), None)),
        &[("all", Some(false), "what comes nearest is `github.push`")],
    )
    .await;
    node.handle.thaw().await.unwrap();
    check(
        &node,
        Some(event("a.b", &json!({}), None)),
        &[
            (
                "conditional",
                Some(false),
                "cannot be worked out, which counts as no: there is no `ref`; test it with `has()` \
                 first, at `ref`, character 12 of event.data.ref == 'main'",
            ),
            ("closed", Some(true), "its window is closed and opens at 2026-11-22T22:00:00Z"),
            ("fixer", Some(true), "it runs"),
        ],
    )
    .await;
    check(
        &node,
        Some(event("busy.work", &json!(2), None)),
        &[("busy", Some(false), "1 run(s) like it are under way, and `overlap` is `skip`")],
    )
    .await;
    check(
        &node,
        Some(event("a.b", &json!({ "ref": "main" }), Some("fixer"))),
        &[
            ("conditional", Some(false), "it is meant for `fixer`"),
            ("fixer", Some(true), "it runs"),
        ],
    )
    .await;
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let demand = "demand".parse().unwrap();
    let request = request_event(&sources(), &demand, &RunRequested::default(), now).unwrap();
    check(
        &node,
        Some(request),
        &[("demand", Some(true), "it runs"), ("fixer", Some(false), "it is meant for `demand`")],
    )
    .await;
    check(
        &node,
        Some(event("agent.requested", &json!({}), Some("demand"))),
        &[("demand", Some(false), "this one is from `/outside`")],
    )
    .await;
    check(
        &node,
        None,
        &[
            ("conditional", None, "woken by a.b where event.data.ref == 'main'"),
            ("demand", None, "nothing wakes it but a request"),
            ("scheduled", None, "woken by its schedule"),
        ],
    )
    .await;
    node.deploy(AGENTS, false);
    node.until("it may not run", async |node| node.report_of("demand").await.reason.is_some())
        .await;
    check(
        &node,
        Some(event("a.c", &json!({}), None)),
        &[("all", Some(false), "goes to the dead letters: it asks for more than this host grants")],
    )
    .await;
    node.stop().await.unwrap();
}
