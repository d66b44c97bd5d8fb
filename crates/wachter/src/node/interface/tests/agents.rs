use serde_json::{Value, json};
use wachter_api::shapes::{
    Agent, AgentState, DeadLettersQuery, ExplainRoutes, Pause, Replay, Request, RunsQuery,
};
use wachter_api::{
    DropDeadLetter, ExplainEventRoutes, GetDeadLetter, GetRun, ListAgents, ListDeadLetters,
    ListRuns, ListSubscriptions, Nothing, PauseAgent, ProblemKind, RecordRun, ReplayEvents,
    ResumeAgent, RetryDeadLetter, RunAgent,
};
use wachter_model::RunId;

use super::site::{Site, finding, record_of, refused, until};

async fn run(site: &Site, agent: &str, input: Value) {
    let body = Request { input, dry_run: false };
    site.call_at::<RunAgent>(agent, &Nothing {}, &body).await.unwrap();
}

async fn agent(site: &Site, name: &str) -> Agent {
    let agents = site.get::<ListAgents>().await;
    agents.into_iter().find(|agent| agent.name.as_str() == name).unwrap()
}

#[tokio::test]
async fn an_agent_is_run_on_demand_and_told_of() {
    let site = Site::with(&[
        ("worker", "role: monitoring\non: { schedule: { every: 100d }, events: [a.b] }"),
        ("greedy-one", "module: greedy\nrole: monitoring"),
    ])
    .await;
    site.until_events("run.finished", 1).await;
    let before = agent(&site, "worker").await;
    assert_eq!((before.role.as_str(), before.module.as_str()), ("monitoring", "probe"));
    assert_eq!(before.wakes_on, ["every 100d", "a.b"]);
    assert!(before.next.is_some());

    run(&site, "worker", json!({ "do": "change" })).await;
    site.until_events("run.finished", 2).await;
    until("it is told", async || agent(&site, "worker").await.runs == 2).await;
    let after = agent(&site, "worker").await;
    assert_eq!((after.state, after.failures), (AgentState::Idle, 0));
    assert_eq!(after.last_outcome.as_deref(), Some("succeeded"));
    let requested = &site.events("agent.requested").await[0].event;
    assert_eq!(requested["data"]["input"], json!({ "do": "change" }));
    assert!(!requested["data"]["by"].as_str().unwrap().is_empty());

    let ask = async |agent: &str, input: Value| {
        let body = Request { input, dry_run: false };
        site.call_at::<RunAgent>(agent, &Nothing {}, &body).await
    };
    refused(ask("wroker", json!({})).await, ProblemKind::NotFound, "did you mean `worker`?");
    refused(ask("../x", json!({})).await, ProblemKind::NotFound, "`wachter agents`");
    refused(ask("worker", json!([1])).await, ProblemKind::Invalid, "no JSON object");
    let unfit = ask("worker", json!({ "percent": "x" })).await;
    refused(unfit, ProblemKind::Invalid, "$.percent: the module does not take this");
    assert_eq!(site.events("agent.requested").await.len(), 1, "what does not fit is not asked");
    refused(ask("greedy-one", json!({})).await, ProblemKind::Refused, "asks for too much");
    let stopped = agent(&site, "greedy-one").await;
    assert_eq!(
        (stopped.state, stopped.reason.as_deref()),
        (AgentState::Stopped, Some("it asks for too much"))
    );
    // Nobody is at work, and what is asked for is kept.
    site.agents.send_replace(None);
    ask("worker", json!({})).await.unwrap();
    site.deployment.send_replace(None);
    refused(ask("worker", json!({})).await, ProblemKind::Conflict, "wachter sync");
}

#[tokio::test]
async fn a_paused_agent_waits_and_goes_on() {
    let site = Site::with(&[("worker", "role: monitoring"), ("other", "role: monitoring")]).await;
    let pause = async |name: &str, reason: Option<&str>| {
        let body = Pause { reason: reason.map(str::to_owned) };
        site.call_at::<PauseAgent>(name, &Nothing {}, &body).await
    };
    let paused = pause("worker", Some("on holiday")).await.unwrap();
    assert_eq!(paused.state, AgentState::Paused);
    assert!(paused.reason.unwrap().starts_with("on holiday ("));
    run(&site, "worker", json!({})).await;
    run(&site, "other", json!({})).await;
    let finished = site.until_events("run.finished", 1).await;
    assert_eq!(finished[0].event["subject"], "other", "it was asked for later");
    let told = &site.events("agent.paused").await[0].event;
    assert!(!told["data"]["by"].as_str().unwrap().is_empty(), "{told}");
    let resumed = site.at::<ResumeAgent>("worker").await.unwrap();
    assert_ne!(resumed.state, AgentState::Paused);
    site.until_events("run.finished", 2).await;
    assert!(pause("worker", None).await.unwrap().reason.unwrap().starts_with("paused by "));
    let long = "x".repeat((4 << 10) + 1);
    refused(pause("worker", Some(&long)).await, ProblemKind::Invalid, "4096 are allowed");
    refused(pause("nobody", None).await, ProblemKind::NotFound, "there is no agent `nobody`");
    refused(site.at::<ResumeAgent>("nobody").await, ProblemKind::NotFound, "no agent");
    site.agents.send_replace(None);
    refused(pause("worker", None).await, ProblemKind::Unavailable, "not running agents");
    refused(site.at::<ResumeAgent>("worker").await, ProblemKind::Unavailable, "not running agents");
}

#[tokio::test]
async fn routes_are_explained() {
    let site = Site::with(&[
        ("listener", "role: scanner\non: { events: [a.*], where: \"event.data.x == 1\" }"),
        ("sleeper", "module: greedy"),
    ])
    .await;
    let explain = async |event: Option<Value>| {
        site.call::<ExplainEventRoutes>(&Nothing {}, &ExplainRoutes { event }).await
    };
    let event = |x: u32| json!({ "specversion": "1.0", "id": "1", "source": "/a", "type": "a.b", "data": { "x": x } });
    let all = explain(None).await.unwrap();
    assert_eq!(all[0].reached, None);
    assert!(all[0].reason.starts_with("woken by a.*"), "{all:?}");
    assert_eq!(all[0].condition.as_deref(), Some("event.data.x == 1"));
    assert!(all[1].reason.contains("nothing wakes it but a request"), "{all:?}");
    assert_eq!(explain(Some(event(1))).await.unwrap()[0].reached, Some(true));
    let no = explain(Some(event(2))).await.unwrap();
    assert_eq!((no[0].reached, no[1].reached), (Some(false), Some(false)));
    site.agents.send_replace(None);
    assert_eq!(explain(Some(event(1))).await.unwrap()[0].reached, Some(true), "nobody is asked");
    let wrong = explain(Some(json!({ "type": "a.b" }))).await;
    refused(wrong, ProblemKind::Invalid, "`specversion` is missing");
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_shown_whole() {
    let site = Site::with(&[("finder", "role: scanner"), ("other", "role: scanner")]).await;
    run(&site, "finder", json!({ "do": "find" })).await;
    site.until_events("run.finished", 1).await;
    run(&site, "other", json!({ "do": "fail" })).await;
    site.until_events("run.finished", 2).await;
    let list = async |query: RunsQuery| {
        let runs = site.call::<ListRuns>(&query, &Nothing {}).await.unwrap();
        runs.into_iter().map(|run| run.agent.unwrap().to_string()).collect::<Vec<_>>()
    };
    let any = RunsQuery::default;
    assert_eq!(list(any()).await, ["other", "finder"]);
    assert_eq!(list(RunsQuery { limit: Some(1), ..any() }).await, ["other"]);
    assert_eq!(list(RunsQuery { agent: "finder".parse().ok(), ..any() }).await, ["finder"]);
    assert_eq!(list(RunsQuery { outcome: Some("failed".to_owned()), ..any() }).await, ["other"]);
    assert!(list(RunsQuery { module: "greedy".parse().ok(), ..any() }).await.is_empty());
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    assert!(list(RunsQuery { since: Some(later), ..any() }).await.is_empty());

    let runs = site.call::<ListRuns>(&any(), &Nothing {}).await.unwrap();
    let found = &runs[1];
    assert_eq!(json!(found.findings), json!([finding_as_sent()]));
    assert!(found.events.is_empty(), "lists leave them out");
    let one = site.at::<GetRun>(&found.run.to_string()).await.unwrap();
    assert_eq!(json!(one.findings), json!([finding_as_sent()]));
    assert_eq!(one.events.len(), 1);
    assert_eq!(one.events[0].event["type"], "probe.done");
    let requested = &site.events("agent.requested").await[0].event;
    let id = requested["id"].as_str().unwrap();
    assert_eq!(one.cause, Some(format!("/nodes/one/interface {id}")));
    assert_eq!(one.record["output"], json!(7));
    let unknown = site.at::<GetRun>(&RunId::new().to_string()).await;
    refused(unknown, ProblemKind::NotFound, "wachter runs");
    refused(site.at::<GetRun>("one").await, ProblemKind::Invalid, "UUID");
}

fn finding_as_sent() -> Value {
    let finding: wachter_model::Finding = serde_json::from_value(finding()).unwrap();
    json!(finding)
}

#[tokio::test]
async fn a_run_by_hand_is_recorded_once_and_no_other() {
    let site = Site::with(&[]).await;
    let id = RunId::new();
    let send = async |record: Value| {
        let body = wachter_api::shapes::FinishedRun { record };
        site.call::<RecordRun>(&Nothing {}, &body).await
    };
    let mut record = record_of(id, &json!("ad-hoc"), "succeeded");
    record["findings"] = json!([finding()]);
    record["changed"] = json!(true);
    let sent = send(record.clone()).await.unwrap();
    assert!(!sent.duplicate);
    assert!(send(record.clone()).await.unwrap().duplicate);
    let run = site.at::<GetRun>(&id.to_string()).await.unwrap();
    assert_eq!((run.agent, run.findings.len()), (None, 1));
    assert!(!run.record["by"].as_str().unwrap().is_empty());
    let event = &site.events("run.finished").await[0].event;
    assert_eq!(
        (&event["source"], &event["subject"]),
        (&json!("/nodes/one/interface"), &json!("probe"))
    );

    let forged = record_of(id, &json!({ "schedule": { "agent": "worker" } }), "succeeded");
    refused(send(forged).await, ProblemKind::Invalid, "recorded by the node alone");
    record["version"] = json!(2);
    refused(send(record).await, ProblemKind::Invalid, "`record.version` is 2");
    refused(send(json!({})).await, ProblemKind::Invalid, "missing field");
}

#[tokio::test]
async fn what_only_looks_like_a_record_is_no_run() {
    let site = Site::with(&[]).await;
    let record = record_of(RunId::new(), &json!("ad-hoc"), "succeeded");
    site.tell("run.finished", record).await;
    let runs = site.call::<ListRuns>(&RunsQuery::default(), &Nothing {}).await.unwrap();
    assert!(runs.is_empty(), "{runs:?}");
}

#[tokio::test]
async fn events_that_were_given_up_are_shown_tried_again_and_forgotten() {
    let site =
        Site::with(&[("worker", "role: monitoring\non: { events: [a.b] }\nwith: { do: fail }")])
            .await;
    site.tell("a.b", json!(1)).await;
    site.tell("a.b", json!(2)).await;
    let list = async |subscription: Option<&str>, limit: Option<u32>| {
        let query = DeadLettersQuery { subscription: subscription.map(str::to_owned), limit };
        site.call::<ListDeadLetters>(&query, &Nothing {}).await
    };
    until("dead letters", async || list(None, None).await.unwrap().len() == 2).await;
    assert_eq!(list(Some("worker"), None).await.unwrap().len(), 2);
    assert_eq!(list(Some("agents/worker"), Some(1)).await.unwrap().len(), 1);
    assert!(list(Some("other"), None).await.unwrap().is_empty());
    refused(list(Some("A B"), None).await, ProblemKind::Invalid, "`wachter agents`");
    let letter = list(None, None).await.unwrap().remove(0);
    assert_eq!(
        (letter.event["data"].clone(), letter.subscription.as_str()),
        (json!(1), "agents/worker")
    );
    let id = letter.id.to_string();
    assert_eq!(site.at::<GetDeadLetter>(&id).await.unwrap(), letter);
    let subscriptions = site.get::<ListSubscriptions>().await;
    assert_eq!(
        (subscriptions[0].name.as_str(), subscriptions[0].dead_letters),
        ("agents/worker", 2)
    );

    let before = site.events("run.finished").await.len();
    let retried = site.at::<RetryDeadLetter>(&id).await.unwrap();
    assert_eq!(
        (retried.subscription.as_str(), retried.sequence),
        ("agents/worker", letter.sequence)
    );
    site.until_events("run.finished", before + 1).await;
    site.at::<DropDeadLetter>(&id).await.unwrap();
    refused(site.at::<DropDeadLetter>(&id).await, ProblemKind::NotFound, "dead-letters list");
    refused(site.at::<RetryDeadLetter>(&id).await, ProblemKind::NotFound, "no dead letter");
    refused(site.at::<GetDeadLetter>(&id).await, ProblemKind::NotFound, "no dead letter");
    refused(site.at::<GetDeadLetter>("x").await, ProblemKind::Invalid, "in the path");
    assert_eq!(list(None, None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_replay_delivers_once_more_what_the_agent_listens_to() {
    let site = Site::with(&[
        ("looker", "role: scanner\non: { events: [a.b], where: \"event.data != 2\" }"),
        ("fixer", "role: remediation\non: { events: [a.b] }"),
    ])
    .await;
    let (_, first) = site.tell_at("a.b", json!(1)).await;
    let (_, second) = site.tell_at("a.b", json!(2)).await;
    site.tell("a.b", json!(3)).await;
    site.tell("other", json!(0)).await;
    site.until_events("run.finished", 5).await;
    let replay = async |replay: Replay| site.call::<ReplayEvents>(&Nothing {}, &replay).await;
    let of = |agent: &str| Replay {
        subscription: agent.to_owned(),
        from: Some(first),
        since: None,
        to: None,
        until: None,
    };
    let report = replay(of("looker")).await.unwrap();
    assert_eq!((report.events, report.dry_run), (2, false));
    site.until_events("run.finished", 7).await;
    let report = replay(of("fixer")).await.unwrap();
    assert_eq!((report.events, report.dry_run), (3, true));
    let finished = site.until_events("run.finished", 10).await;
    let dry_run = |run: &wachter_api::shapes::StoredEvent| run.event["data"]["dry_run"] == true;
    assert!(finished[7..].iter().all(dry_run));
    let since = Replay { from: None, since: Some(site.node.since), ..of("looker") };
    assert_eq!(replay(since).await.unwrap().events, 2);

    refused(replay(of("loker")).await, ProblemKind::NotFound, "did you mean `looker`?");
    // A part of it: the others are not given again, and what comes then is for real.
    site.until_events("run.finished", 12).await;
    let report = replay(Replay { to: Some(second), ..of("fixer") }).await.unwrap();
    assert_eq!((report.events, report.dry_run), (2, true));
    site.until_events("run.finished", 14).await;
    site.tell("a.b", json!(4)).await;
    let finished = site.until_events("run.finished", 16).await;
    let of_fixer = |run: &&wachter_api::shapes::StoredEvent| run.event["subject"] == "fixer";
    let dry: Vec<_> = finished[12..].iter().filter(of_fixer).map(dry_run).collect();
    assert_eq!(dry, [true, true, false]);
    assert_eq!(finished.len(), 16, "no more than that");
    let backwards = Replay { to: Some(first - 1), ..of("looker") };
    refused(replay(backwards).await, ProblemKind::Invalid, "ends before it begins");
    let twice = Replay { to: Some(9), until: Some(site.node.since), ..of("looker") };
    refused(replay(twice).await, ProblemKind::Invalid, "exclude each other");
    let nowhere = Replay { from: None, ..of("looker") };
    refused(replay(nowhere).await, ProblemKind::Invalid, "from where");
    let both = Replay { since: Some(site.node.since), ..of("looker") };
    refused(replay(both).await, ProblemKind::Invalid, "exclude each other");
}
