//! Limits that change while the bus is open.

use std::time::Duration;

use wachter_bus::{
    Bus, DeadLetterId, DedupWindow, Limits, Outputs, PublishReason, Retention, SegmentLimits, Seq,
};
use wachter_model::Event;

use crate::support::{Fixture, event, next, numbered, publish, subscribe};

const DAY: Duration = Duration::from_secs(86_400);

async fn configure(bus: &Bus, fixture: &Fixture, change: impl FnOnce(&mut Limits)) {
    let mut limits = fixture.options().limits();
    change(&mut limits);
    bus.configure(limits).await.unwrap();
}

fn of_size(bytes: usize) -> Event {
    let smaller = event("test.size").json(&"".into()).build().unwrap().to_json().len();
    event("test.size").json(&"x".repeat(bytes - smaller).into()).build().unwrap()
}

async fn refusal(bus: &Bus, event: Event) -> Option<PublishReason> {
    bus.publish(vec![event]).await.err().map(|error| error.reason)
}

#[tokio::test]
async fn segments_and_retention_follow() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..20).await;
    assert!(bus.checkpoints().await.unwrap().is_empty());
    configure(&bus, &fixture, |limits| limits.segment.events = 20).await;
    assert_eq!(bus.checkpoints().await.unwrap()[0].count, 20, "it was full by the new bound");
    publish(&bus, 20..30).await;
    fixture.clock.advance(2 * DAY);
    let small = |limits: &mut Limits| {
        limits.segment = SegmentLimits { age: DAY, ..SegmentLimits::default() };
        limits.retention.age = Some(DAY);
    };
    configure(&bus, &fixture, small).await;
    assert_eq!(bus.checkpoints().await.unwrap().len(), 2, "the open one was too old");
    assert_eq!(bus.status().first, Seq::new(21), "the first was dropped at once");
    // More may be kept again; what is gone is gone.
    configure(&bus, &fixture, |_| {}).await;
    bus.look_after().await.unwrap();
    assert_eq!(bus.status().first, Seq::new(21));
    let least = Retention { bytes: Some(1), ..Retention::default() };
    configure(&bus, &fixture, |limits| limits.retention = least).await;
    assert_eq!(bus.status().first, Seq::new(31));
    assert!(bus.verify(Seq::ZERO, Vec::new()).await.unwrap().is_sound());
}

#[tokio::test]
async fn the_window_of_identities_follows() {
    let fixture = Fixture::new();
    let dedup = DedupWindow { generation: 10, ..DedupWindow::default() };
    let bus = fixture.open_with(|options| options.dedup = dedup);
    for number in 0..10 {
        publish(&bus, number * 10..number * 10 + 10).await;
    }
    assert_eq!(bus.status().identities, 100);
    configure(&bus, &fixture, |limits| limits.dedup = DedupWindow { ids: 25, ..dedup }).await;
    publish(&bus, [100]).await;
    assert_eq!(bus.status().identities, 31);
    let again = bus.publish(vec![numbered(3), numbered(99)]).await.unwrap();
    assert_eq!([again[0].duplicate, again[1].duplicate], [false, true]);
    fixture.clock.advance(DAY);
    let age = Duration::from_secs(3_600);
    configure(&bus, &fixture, |limits| limits.dedup = DedupWindow { age, ..dedup }).await;
    assert!(!bus.publish(vec![numbered(99)]).await.unwrap()[0].duplicate, "it is too old");
}

#[tokio::test]
async fn the_largest_event_follows() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let (large, larger) = (of_size(1 << 20), of_size((1 << 20) + 1));
    assert!(refusal(&bus, large.clone()).await.is_none());
    let refused = refusal(&bus, larger.clone()).await.unwrap();
    assert!(matches!(refused, PublishReason::TooLarge { limit: 0x10_0000, .. }), "{refused}");
    configure(&bus, &fixture, |limits| limits.max_event_bytes = (1 << 20) + 1).await;
    assert!(refusal(&bus, larger).await.is_none());
    configure(&bus, &fixture, |limits| limits.max_event_bytes = 1_000).await;
    assert!(refusal(&bus, of_size(1_001)).await.is_some());
    assert!(refusal(&bus, of_size(1_000)).await.is_none());
    // What is larger than is allowed now stays readable, by whoever looks back and whoever listens.
    assert!(bus.event(Seq::new(1)).await.unwrap().is_some());
    assert_eq!(next(&subscribe(&bus, "one").await).await.event().id(), large.id());
}

#[tokio::test]
async fn the_queue_follows() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let large = of_size(100_000);
    configure(&bus, &fixture, |limits| limits.queue_bytes = 99_999).await;
    let refused = refusal(&bus, large.clone()).await.unwrap();
    assert!(matches!(refused, PublishReason::BatchTooLarge { limit: 99_999, .. }), "{refused}");
    configure(&bus, &fixture, |limits| limits.queue_bytes = 100_000).await;
    // Held up, so that it fills the queue.
    let other = rusqlite::Connection::open(fixture.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = bus.try_publish(vec![large]).ok().unwrap();
    assert_eq!(bus.status().queued_bytes, 100_000);
    let full = bus.try_publish(vec![numbered(1)]).err().unwrap();
    assert!(matches!(full.reason, PublishReason::Full), "{full}");
    let mut limits = fixture.options().limits();
    limits.queue_bytes = 102_048;
    // The writer is held up, and answers when it is not.
    let answer = bus.configure(limits);
    tokio::pin!(answer);
    assert!(is_pending(&mut answer).await, "it was answered too early");
    let fits = bus.try_publish(vec![numbered(1), numbered(2)]).ok().unwrap();
    assert!(bus.try_publish(vec![numbered(3)]).is_err());
    other.execute_batch("ROLLBACK").unwrap();
    waiting.await.unwrap();
    fits.await.unwrap();
    answer.await.unwrap();
    bus.look_after().await.unwrap();
    assert_eq!(bus.status().queued_bytes, 0);
}

/// Polls once; whether it is still to come.
async fn is_pending<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
    })
    .await
}

#[tokio::test]
async fn a_closed_bus_follows_nothing() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    bus.close();
    assert!(bus.configure(fixture.options().limits()).await.is_err());
}

#[tokio::test]
async fn dead_letters_are_counted() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..5).await;
    for (name, count) in [("one", 2), ("two", 3), ("three", 0)] {
        let subscription = subscribe(&bus, name).await;
        for _ in 0..count {
            next(&subscription).await.dead_letter("no").await.unwrap();
        }
    }
    let check = async |expected: &[(&str, u64)]| {
        let counts = bus.count_dead_letters().await.unwrap();
        let counts: Vec<_> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(counts, expected);
    };
    check(&[("one", 2), ("two", 3)]).await;
    let first = bus.dead_letters(None, DeadLetterId::new(0), 1).await.unwrap()[0].id;
    assert!(bus.retry_dead_letter(first).await.unwrap());
    check(&[("one", 2), ("two", 3)]).await;
    let subscription = subscribe(&bus, "one").await;
    let mut again = next(&subscription).await;
    while again.seq().get() != 1 {
        again.ack(Outputs::default()).await.unwrap();
        again = next(&subscription).await;
    }
    again.ack(Outputs::default()).await.unwrap();
    check(&[("one", 1), ("two", 3)]).await;
    assert!(bus.unsubscribe("two".parse().unwrap()).await.unwrap());
    check(&[("one", 1)]).await;
}
