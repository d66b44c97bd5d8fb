use std::time::Duration;

use wachter_bus::{
    Bus, Notice, Options, Outputs, Query, Retention, SegmentLimits, Seq, SeqRange,
    SubscriptionOptions,
};

use crate::support::{Fixture, next, numbered, options, publish};

const DAY: Duration = Duration::from_secs(86_400);

fn small(options: &mut Options) {
    options.segment = SegmentLimits { events: 10, ..SegmentLimits::default() };
    options.retention = Retention { age: Some(DAY), bytes: None, step: 3 };
}

async fn kept(bus: &Bus) -> Vec<u64> {
    let mut replay = bus.replay(Query::default());
    let mut found = Vec::new();
    while let Some(stored) = replay.next().await {
        found.push(stored.unwrap().seq.get());
    }
    found
}

#[tokio::test]
async fn whole_segments_go_by_age_and_checkpoints_stay() {
    let fixture = Fixture::new();
    let bus = fixture.open_with(small);
    publish(&bus, 0..10).await;
    publish(&bus, 10..20).await;
    fixture.clock.advance(DAY);
    publish(&bus, 20..35).await;
    let before = bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
    bus.look_after().await.unwrap();
    assert_eq!(kept(&bus).await.len(), 35, "a day old is not past a day");
    assert_eq!(bus.status().first, Seq::new(1));
    fixture.clock.advance(Duration::from_secs(1));
    bus.look_after().await.unwrap();
    bus.look_after().await.unwrap();
    assert_eq!(kept(&bus).await, (21..=35).collect::<Vec<_>>());
    assert_eq!(bus.status().first, Seq::new(21));
    let file = std::fs::metadata(fixture.path().join("journal.db")).unwrap().len();
    assert!(bus.status().bytes > file, "its log counts too: {}", bus.status().bytes);
    let checkpoints = bus.checkpoints().await.unwrap();
    let dropped: Vec<_> = checkpoints.iter().map(|one| one.dropped.is_some()).collect();
    assert_eq!(dropped, [true, true, false]);
    let report = bus.verify(Seq::ZERO, checkpoints).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.events, report.chain), (15, before.chain));
    let repeat = bus.publish(vec![numbered(3)]).await.unwrap()[0];
    assert!(repeat.duplicate && repeat.seq == Seq::new(4), "told though the event is gone");
    drop(bus);
    let bus = fixture.open_with(small);
    assert_eq!((bus.status().first, bus.status().last), (Seq::new(21), Seq::new(35)));
    assert!(bus.publish(vec![numbered(3)]).await.unwrap()[0].duplicate);
    assert!(bus.verify(Seq::ZERO, Vec::new()).await.unwrap().is_sound());
}

#[tokio::test]
async fn what_is_kept_stays_below_its_size_under_load() {
    let fixture = Fixture::new();
    let bus = fixture.open_with(|options| {
        small(options);
        options.retention = Retention { age: None, bytes: Some(20_000), step: 16 };
    });
    let size = numbered(1_000).to_json().len() as u64;
    for number in 0..100 {
        publish(&bus, number * 20..number * 20 + 20).await;
        bus.look_after().await.unwrap();
        let kept = kept(&bus).await;
        assert!(kept.len() as u64 * size < 20_000 + 30 * size, "{} events", kept.len());
        assert_eq!(kept.last(), Some(&(number * 20 + 20)));
    }
    assert!(bus.status().dropped > 1_500);
    assert!(bus.verify(Seq::ZERO, Vec::new()).await.unwrap().is_sound());
}

#[tokio::test]
async fn what_a_subscription_needs_stays_until_its_limit() {
    let fixture = Fixture::new();
    let bus = fixture.open_with(small);
    let limit = Some(3 * DAY);
    let slow = SubscriptionOptions { lag_limit: limit, ..options("slow") };
    let slow = bus.subscribe(slow).await.unwrap();
    publish(&bus, 0..10).await;
    publish(&bus, 10..20).await;
    for _ in 0..4 {
        next(&slow).await.ack(Outputs::default()).await.unwrap();
    }
    drop(slow);
    fixture.clock.advance(2 * DAY);
    bus.look_after().await.unwrap();
    assert_eq!(kept(&bus).await.len(), 20);
    let mut notices = bus.notices();
    fixture.clock.advance(2 * DAY);
    bus.look_after().await.unwrap();
    let range = |first, last| SeqRange::new(Seq::new(first), Seq::new(last));
    let lost = notices.recv().await.unwrap();
    let Notice::Lost { range: first, .. } = lost else { panic!("{lost:?}") };
    assert_eq!(first, range(5, 10));
    bus.look_after().await.unwrap();
    let left = kept(&bus).await;
    assert_eq!(left, [21, 22], "what is left are the events that tell of the loss");
    let told = bus.event(Seq::new(21)).await.unwrap().unwrap().event;
    assert_eq!(told.event_type(), "bus.subscription.lost");
    assert_eq!(told.data().to_json().unwrap()["last"], 10);
    let slow =
        bus.subscribe(SubscriptionOptions { lag_limit: limit, ..options("slow") }).await.unwrap();
    assert_eq!(slow.status().lost, 16);
    let delivery = next(&slow).await;
    assert_eq!(delivery.event().event_type(), "bus.subscription.lost");
}

#[tokio::test]
async fn a_drop_that_was_cut_short_goes_on() {
    let fixture = Fixture::new();
    let bus = fixture.open_with(small);
    publish(&bus, 0..10).await;
    publish(&bus, 10..12).await;
    drop(bus);
    let connection = rusqlite::Connection::open(fixture.path().join("journal.db")).unwrap();
    connection
        .execute_batch("UPDATE checkpoints SET dropped = 1; DELETE FROM events WHERE seq <= 4;")
        .unwrap();
    drop(connection);
    let bus = fixture.open_with(small);
    bus.look_after().await.unwrap();
    assert_eq!(kept(&bus).await, [11, 12]);
    assert!(bus.verify(Seq::ZERO, Vec::new()).await.unwrap().is_sound());
}
