use serde_json::{Value, json};
use wachter_api::shapes::{Ask, EventsQuery, FollowQuery, Send, Trace};
use wachter_api::{
    AskQuestion, FollowEvents, ListEvents, Nothing, ProblemKind, SendEvent, TraceEvent,
};
use wachter_model::{Event, EventKind};

use super::site::{Site, refused};

fn event(topic: &str, id: Option<&str>) -> Send {
    Send {
        kind: topic.parse().unwrap(),
        subject: Some("it".to_owned()),
        data: json!({ "a": 1 }),
        partition_key: Some("key".to_owned()),
        id: id.map(str::to_owned),
    }
}

#[tokio::test]
async fn an_event_is_taken_once_and_stamped() {
    let site = Site::with(&[]).await;
    let send = async |event: &Send| site.call::<SendEvent>(&Nothing {}, event).await;
    let first = send(&event("a.b", Some("mine"))).await.unwrap();
    assert!(!first.duplicate && first.id.ends_with(":mine"), "{first:?}");
    let again = send(&event("a.b", Some("mine"))).await.unwrap();
    assert_eq!((again.sequence, again.duplicate), (first.sequence, true));
    assert!(!send(&event("a.b", None)).await.unwrap().duplicate);
    let stored = site.events("a.b").await;
    assert_eq!(stored.len(), 2);
    let stored = &stored[0].event;
    assert_eq!(stored["source"], "/nodes/one/interface");
    assert_eq!((&stored["subject"], &stored["partitionkey"]), (&json!("it"), &json!("key")));
    assert!(!stored["sentby"].as_str().unwrap().is_empty());
    assert_eq!(stored["data"], json!({ "a": 1 }));
    for reserved in ["agent.requested", "run.finished", "api.called", "node.x", "effects.frozen"] {
        refused(send(&event(reserved, None)).await, ProblemKind::Refused, "the node's own");
    }
    let control = Send { subject: Some("a\nb".to_owned()), ..event("a.b", None) };
    refused(send(&control).await, ProblemKind::Invalid, "no attribute may hold");
    let large = Send { data: json!("x".repeat(1 << 20)), ..event("a.b", None) };
    refused(send(&large).await, ProblemKind::Invalid, "bytes");
}

#[tokio::test]
async fn events_are_listed_by_topic_place_and_time() {
    let site = Site::with(&[]).await;
    for number in 0..60 {
        site.tell(if number % 2 == 0 { "even.x" } else { "odd.x" }, json!(number)).await;
    }
    let list = async |query: EventsQuery| {
        let events = site.call::<ListEvents>(&query, &Nothing {}).await.unwrap();
        events.into_iter().map(|event| event.event["data"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let any = EventsQuery::default;
    let topic = |topic: &str| Some(topic.to_owned());
    assert_eq!(list(any()).await, (10..60).collect::<Vec<_>>());
    assert_eq!(list(EventsQuery { limit: Some(2), ..any() }).await, [58, 59]);
    let odd = EventsQuery { topic: topic("odd.*"), limit: Some(2), ..any() };
    assert_eq!(list(odd.clone()).await, [57, 59]);
    let both = EventsQuery { topic: topic("odd.x, even.>"), ..odd };
    assert_eq!(list(both).await, [58, 59]);
    let after = site.node.bus.status().last.get() - 1;
    assert_eq!(list(EventsQuery { after: Some(after), ..any() }).await, [59]);
    let since = Some(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1));
    assert!(list(EventsQuery { since, ..any() }).await.is_empty());
    let wrong = EventsQuery { topic: topic("A"), ..any() };
    refused(site.call::<ListEvents>(&wrong, &Nothing {}).await, ProblemKind::Invalid, "`topic`");
}

#[tokio::test]
async fn who_follows_is_told_of_the_past_it_asked_for_and_of_what_comes() {
    let site = Site::with(&[]).await;
    let before = site.tell("a.b", json!(1)).await;
    let query = FollowQuery { topic: Some("a.*".to_owned()), after: Some(0) };
    let mut all = site.client.stream::<FollowEvents>(&query).await.unwrap();
    let mut live = site.client.stream::<FollowEvents>(&FollowQuery::default()).await.unwrap();
    let first = all.next().await.unwrap().unwrap();
    assert_eq!(first.event["id"], before.id().as_str());
    site.tell("other", json!(2)).await;
    site.tell("a.c", json!(3)).await;
    assert_eq!(all.next().await.unwrap().unwrap().event["data"], json!(3));
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(live.next().await.unwrap().unwrap().event["data"].clone());
    }
    assert_eq!(seen, [json!(2), json!(3)]);
}

#[tokio::test]
async fn a_question_is_answered_or_given_up() {
    let site = Site::with(&[(
        "silent",
        "role: monitoring\non: { events: [status.asked] }\nwith: { do: hang }",
    )])
    .await;
    let question = |timeout| Ask {
        kind: "status.asked".parse().unwrap(),
        subject: None,
        data: json!("how are you"),
        timeout: Some(timeout),
    };
    let bus = site.node.bus.clone();
    let answering = async {
        let asked = site.until_events("status.asked", 1).await;
        let asked = Event::from_json(asked[0].event.to_string().as_bytes()).unwrap();
        assert_eq!(asked.kind(), EventKind::Query);
        let reply = |kind: EventKind| {
            let source = "/somebody".parse().unwrap();
            let builder = Event::builder(source, &"status.told".parse().unwrap()).kind(kind);
            builder.caused_by(&asked).json(&json!("fine")).build().unwrap()
        };
        // Something that only came of it is no answer.
        bus.publish(vec![reply(EventKind::Event)]).await.unwrap();
        bus.publish(vec![reply(EventKind::Response)]).await.unwrap();
    };
    let question_asked = question(60_000);
    let asking = site.call::<AskQuestion>(&Nothing {}, &question_asked);
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer.unwrap().event["kind"], "response");
    let silence = site.call::<AskQuestion>(&Nothing {}, &question(1)).await;
    refused(silence, ProblemKind::TimedOut, "nobody answered `status.asked` within 1 ms");
    let forever = site.call::<AskQuestion>(&Nothing {}, &question(u64::MAX)).await;
    refused(forever, ProblemKind::Invalid, "`timeout`");
    let reserved = Ask { kind: "node.asked".parse().unwrap(), ..question(1) };
    refused(site.call::<AskQuestion>(&Nothing {}, &reserved).await, ProblemKind::Refused, "own");
}

#[tokio::test]
async fn a_question_that_nobody_takes_or_all_fail_at_ends_at_once() {
    let failing = |on: &str| {
        format!(
            "role: monitoring\non: {{ events: [{on}] }}\nwith: {{ do: fail }}\nretry: {{ attempts: 1 }}"
        )
    };
    let (one, other) = (failing("one.asked, both.asked"), failing("other.asked"));
    let site = Site::with(&[
        ("one", &*one),
        ("other", &*other),
        ("slow", "role: monitoring\non: { events: [both.asked] }"),
        ("greedy-one", "module: greedy\nrole: monitoring\non: { events: [greedy.asked] }"),
    ])
    .await;
    // Long enough that a test which waits for its end has failed.
    let ask = async |topic: &str| {
        let question = Ask {
            kind: topic.parse().unwrap(),
            subject: None,
            data: Value::Null,
            timeout: Some(600_000),
        };
        site.call::<AskQuestion>(&Nothing {}, &question).await
    };
    refused(ask("nobody.asked").await, ProblemKind::NotFound, "no agent on this node takes");
    let failed = ask("one.asked").await.unwrap().event;
    assert_eq!((&failed["type"], &failed["kind"]), (&json!("query.failed"), &json!("response")));
    assert_eq!(
        (&failed["data"]["agent"], &failed["data"]["error"]),
        (&json!("one"), &json!("it failed"))
    );
    // As long as another one may answer, one failure is no answer.
    let answer = ask("both.asked").await.unwrap().event;
    assert_eq!((&answer["type"], &answer["subject"]), (&json!("run.finished"), &json!("slow")));
    let failed = ask("greedy.asked").await.unwrap().event;
    assert_eq!(failed["data"]["outcome"], "not-begun");
    site.deployment.send_replace(None);
    refused(ask("one.asked").await, ProblemKind::Conflict, "wachter sync");
}

#[tokio::test]
async fn a_trace_has_all_that_came_of_the_first_cause() {
    let site = Site::with(&[
        ("first", "role: scanner\non: { events: [a.b] }\nwith: { do: find }"),
        ("second", "role: scanner\non: { events: [probe.done] }"),
    ])
    .await;
    let cause = site.tell("a.b", json!(1)).await;
    for number in 0..600 {
        site.tell("noise", json!(number)).await;
    }
    let finished = site.until_events("run.finished", 2).await;
    let second = finished.iter().find(|run| run.event["subject"] == "second").unwrap();
    let leaf = second.event["id"].as_str().unwrap();
    let check = |trace: &Trace, asked: &str| {
        let shown: Vec<(&Value, Option<usize>)> =
            trace.events.iter().map(|one| (&one.event.event["type"], one.cause)).collect();
        let expected = [
            (json!("a.b"), None),
            (json!("run.finished"), Some(0)),
            (json!("probe.done"), Some(0)),
            (json!("disk.full"), Some(0)),
            (json!("run.finished"), Some(2)),
        ];
        assert_eq!(shown, expected.each_ref().map(|(kind, cause)| (kind, *cause)));
        let marked: Vec<_> = trace.events.iter().filter(|one| one.asked).collect();
        assert_eq!(marked.len(), 1);
        assert_eq!(marked[0].event.event["id"], asked);
        assert_eq!(trace.events[0].milliseconds, 0);
        assert!(trace.events[4].milliseconds >= trace.events[2].milliseconds);
        assert!(trace.complete);
    };
    check(&site.at::<TraceEvent>(leaf).await.unwrap(), leaf);
    let root = cause.id().to_string();
    check(&site.at::<TraceEvent>(&root).await.unwrap(), &root);
    let place = second.sequence.to_string();
    check(&site.at::<TraceEvent>(&place).await.unwrap(), leaf);

    refused(site.at::<TraceEvent>("nothing").await, ProblemKind::NotFound, "wachter events");
    refused(site.at::<TraceEvent>("999999").await, ProblemKind::NotFound, "no event at 999999");
    for source in ["/x", "/y"] {
        let builder = Event::builder(source.parse().unwrap(), &"a.c".parse().unwrap());
        let event = builder.id("same".parse().unwrap()).build().unwrap();
        site.node.bus.publish(vec![event]).await.unwrap();
    }
    refused(site.at::<TraceEvent>("same").await, ProblemKind::Conflict, "(/x)");
}

#[tokio::test]
async fn a_trace_begins_with_the_oldest_cause_that_is_known() {
    let site = Site::with(&[]).await;
    let lost = "018f0000-0000-7000-8000-000000000000".parse().unwrap();
    let builder = || Event::builder("/x".parse().unwrap(), &"a.c".parse().unwrap());
    let first = builder().causation_id(&lost).correlation_id(lost.as_str()).build().unwrap();
    let second = builder().caused_by(&first).build().unwrap();
    site.node.bus.publish(vec![first.clone(), second.clone()]).await.unwrap();
    let tree = site.at::<TraceEvent>(second.id().as_str()).await.unwrap();
    assert_eq!(tree.events[0].event.event["id"], first.id().as_str());
    assert_eq!(tree.events.len(), 2);
}
