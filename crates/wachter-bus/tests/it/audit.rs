use std::sync::Arc;
use std::time::Duration;

use wachter_bus::{
    Bus, Chain, Checkpoint, Options, Outputs, Query, SegmentLimits, Seq, Signer, Trace,
};
use wachter_model::{Digest, Event, EventId};

use crate::support::{Fixture, event, next, number_of, options, publish};

#[derive(Debug)]
struct Stamp;

impl Signer for Stamp {
    fn sign(&self, text: &[u8]) -> Result<String, String> {
        Ok(Digest::of(text).to_string())
    }
}

#[derive(Debug)]
struct Absent;

impl Signer for Absent {
    fn sign(&self, _: &[u8]) -> Result<String, String> {
        Err("the agent does not answer".into())
    }
}

fn signed(signer: Arc<dyn Signer>) -> impl FnOnce(&mut Options) {
    |options| {
        options.signer = Some(signer);
        options.segment =
            SegmentLimits { events: 10, age: Duration::from_secs(60), ..SegmentLimits::default() };
    }
}

fn is_stamped(checkpoint: &Checkpoint) -> bool {
    checkpoint.signature == Some(Digest::of(checkpoint.text().as_bytes()).to_string())
}

#[tokio::test]
async fn segments_are_closed_and_signed_by_count_and_age() {
    let fixture = Fixture::new();
    let bus = fixture.open_with(signed(Arc::new(Stamp)));
    publish(&bus, 0..10).await;
    publish(&bus, 10..13).await;
    fixture.clock.advance(Duration::from_secs(60));
    bus.look_after().await.unwrap();
    let checkpoints = bus.checkpoints().await.unwrap();
    let ranges: Vec<_> = checkpoints.iter().map(|one| (one.first.get(), one.last.get())).collect();
    assert_eq!(ranges, [(1, 10), (11, 13)]);
    assert!(checkpoints.iter().all(is_stamped));
    assert_eq!(checkpoints[0].chain, checkpoints[1].previous);
    // As a file would bring it back.
    let kept: Vec<_> = checkpoints
        .iter()
        .map(|one| {
            let signature = one.signature.clone().unwrap();
            Checkpoint::parse(&format!("{}{signature}", one.text())).unwrap()
        })
        .collect();
    assert_eq!(kept, checkpoints);
    let report = bus.verify(Seq::ZERO, kept).await.unwrap();
    assert!(report.is_sound() && report.checkpoints == 2, "{report:?}");
}

#[tokio::test]
async fn what_could_not_be_signed_is_signed_later() {
    let fixture = Fixture::new();
    let bus = fixture.open_with(signed(Arc::new(Absent)));
    publish(&bus, 0..10).await;
    assert_eq!(bus.checkpoints().await.unwrap()[0].signature, None);
    drop(bus);
    let bus = fixture.open_with(signed(Arc::new(Stamp)));
    bus.look_after().await.unwrap();
    assert!(is_stamped(&bus.checkpoints().await.unwrap()[0]));
}

/// A tree of causes: 1 leads to 2 and 3, 2 leads to 4; 5 stands alone.
async fn tree(bus: &Bus) -> EventId {
    let numbered = |number: u64| event("test.number").json(&number.into());
    let root = numbered(1).build().unwrap();
    let second = numbered(2).caused_by(&root).build().unwrap();
    let third = numbered(3).caused_by(&root).build().unwrap();
    let fourth = numbered(4).caused_by(&second).build().unwrap();
    let id = root.id().clone();
    bus.publish(vec![root, second, numbered(5).build().unwrap()]).await.unwrap();
    bus.publish(vec![third, fourth]).await.unwrap();
    id
}

/// Each event with the number of its cause.
fn shape(trace: &Trace) -> String {
    let number = |place: usize| number_of(&trace.events[place].stored.event);
    let shown = trace.events.iter().enumerate().map(|(place, traced)| match traced.cause {
        Some(cause) => format!("{}<{}", number(cause), number(place)),
        None => number(place).to_string(),
    });
    assert!(trace.complete);
    shown.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn causes_are_followed() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let id = tree(&bus).await;
    let found = bus.find(id.as_str()).await.unwrap();
    assert_eq!(found.len(), 1);
    let trace = bus.trace(found[0].clone()).await.unwrap();
    assert_eq!(shape(&trace), "1 1<2 1<3 2<4");
    let mut correlated =
        bus.replay(Query { correlation: Some(id.to_string()), ..Query::default() });
    let mut numbers = Vec::new();
    while let Some(stored) = correlated.next().await {
        numbers.push(number_of(&stored.unwrap().event));
    }
    assert_eq!(numbers, [2, 3, 4]);
    assert_eq!(bus.find("not there").await.unwrap().len(), 0);
}

#[tokio::test]
async fn causes_may_be_deep() {
    const DEEP: u64 = 12_000;
    let fixture = Fixture::new();
    let bus = fixture.open();
    let numbered = |number: u64| {
        let id = format!("n{number}").parse().unwrap();
        event("test.number").id(id).json(&number.into())
    };
    let mut events = vec![numbered(0).build().unwrap()];
    for number in 1..DEEP {
        let event = numbered(number).caused_by(events.last().unwrap()).build().unwrap();
        events.push(event);
    }
    for part in events.chunks(500) {
        bus.publish(part.to_vec()).await.unwrap();
    }
    let root = bus.find("n0").await.unwrap().remove(0);
    let trace = bus.trace(root).await.unwrap();
    assert_eq!((trace.events.len(), trace.complete), (10_000, false));
    assert_eq!(trace.events[9_999].cause, Some(9_998));
    let late = bus.find("n11990").await.unwrap().remove(0);
    let trace = bus.trace(late).await.unwrap();
    assert_eq!((trace.events.len(), trace.complete), (10, true));
}

#[tokio::test]
async fn outputs_name_their_cause_and_are_found_by_it() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, [1]).await;
    let subscription = bus.subscribe(options("one")).await.unwrap();
    let mut delivery = next(&subscription).await;
    let output = event("test.number").json(&2.into()).caused_by(delivery.event()).build().unwrap();
    delivery.ack(Outputs { events: vec![output], keys: Vec::new() }).await.unwrap();
    let root = bus.find("n1").await.unwrap().remove(0);
    assert_eq!(shape(&bus.trace(root).await.unwrap()), "1 1<2");
}

#[tokio::test]
async fn a_look_back_chooses_by_topic_and_time_and_exports_lines() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    for number in 0..6_u64 {
        let topic = if number.is_multiple_of(2) { "even.number" } else { "odd.number" };
        let one = event(topic).json(&number.into()).build().unwrap();
        bus.publish(vec![one]).await.unwrap();
        fixture.clock.advance(Duration::from_secs(1));
    }
    let query = Query {
        since: Some("2026-11-22T10:00:02Z".parse().unwrap()),
        ..Query::topics(vec!["even.*".parse().unwrap()])
    };
    let mut replay = bus.replay(query);
    let mut lines = Vec::new();
    while let Some(line) = replay.next_line().await {
        lines.push(serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
    }
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (lines[0]["seq"].as_u64(), lines[0]["at"].as_str()),
        (Some(3), Some("2026-11-22T10:00:02Z"))
    );
    let exported = Event::from_json(lines[1]["event"].to_string().as_bytes()).unwrap();
    assert_eq!(number_of(&exported), 4);
    assert_eq!(lines[1]["digest"], Digest::of(&exported.to_json()).to_string());
}

#[tokio::test]
async fn ephemeral_events_are_kept_nowhere_and_misses_are_counted() {
    use wachter_bus::{EventFilter, Heard};
    let fixture = Fixture::new();
    let bus = fixture.open();
    let beat = |number: u64| event("beat.a").json(&number.into()).build().unwrap();
    assert_eq!(bus.publish_ephemeral(beat(0)), 0);
    let filter = EventFilter { topics: vec!["beat.*".parse().unwrap()], ..EventFilter::default() };
    let mut heard = bus.listen(filter);
    bus.publish_ephemeral(event("other").build().unwrap());
    let one = beat(1);
    bus.publish_ephemeral(one.clone());
    assert_eq!(heard.next().await, Heard::Event(Arc::new(one)));
    for number in 0..1_030 {
        bus.publish_ephemeral(beat(number));
    }
    assert_eq!(heard.next().await, Heard::Missed(6));
    assert_eq!(bus.status().ephemeral_lagged, 6);
    assert_eq!(bus.status().last, Seq::ZERO);
}

/// With what the export says, and nothing else, anybody comes to what a checkpoint says.
#[tokio::test]
async fn an_export_can_be_checked_by_others() {
    let fixture = Fixture::new();
    let bus = fixture.open_with(signed(Arc::new(Stamp)));
    let odd = serde_json::json!({ "b": 1.5e300, "a": [null, "\u{7f}\u{2028}é"], "": -0.0 });
    for number in 0..10 {
        let event = event("test.odd").json(&odd).subject(format!("{number}")).build().unwrap();
        bus.publish(vec![event]).await.unwrap();
        fixture.clock.advance(Duration::from_millis(7));
    }
    let mut replay = bus.replay(Query::default());
    let mut chain = Chain::begin(bus.journal());
    while let Some(line) = replay.next_line().await {
        let line = line.unwrap();
        let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
        let (_, body) = line.split_once(r#""event":"#).unwrap();
        let digest = Digest::of(body.strip_suffix('}').unwrap().as_bytes());
        assert_eq!(fields["digest"], digest.to_string());
        let at: jiff::Timestamp = fields["at"].as_str().unwrap().parse().unwrap();
        let seq = Seq::new(fields["seq"].as_u64().unwrap());
        chain = chain.next(seq, at.as_millisecond(), digest.as_bytes());
    }
    assert_eq!(bus.checkpoints().await.unwrap()[0].chain, chain);
}
