use std::time::Duration;

use wachter_bus::{Bus, OpenError, PublishReason, Published, Query, Seq};
use wachter_model::Event;

use crate::support::{Fixture, event, number_of, numbered, publish};

async fn numbers(bus: &Bus) -> Vec<u64> {
    let mut replay = bus.replay(Query::default());
    let mut found = Vec::new();
    while let Some(stored) = replay.next().await {
        found.push(number_of(&stored.unwrap().event));
    }
    found
}

#[tokio::test]
async fn what_is_acknowledged_is_there_in_order() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    assert!(bus.opened().new);
    publish(&bus, 0..10).await;
    let published = bus.publish(vec![numbered(10)]).await.unwrap();
    assert_eq!(published, [Published { seq: Seq::new(11), duplicate: false }]);
    assert_eq!(numbers(&bus).await, (0..11).collect::<Vec<_>>());
    drop(bus);
    let bus = fixture.open();
    assert!(bus.opened().clean && !bus.opened().new);
    assert_eq!(bus.opened().damage, []);
    assert_eq!(numbers(&bus).await, (0..11).collect::<Vec<_>>());
    assert_eq!(bus.publish(vec![numbered(11)]).await.unwrap()[0].seq, Seq::new(12));
    let report = bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
    assert!(report.is_sound() && report.events == 12, "{report:?}");
}

#[tokio::test]
async fn repeats_are_told_by_source_and_id() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..3).await;
    let same = |published: Vec<Published>| (published[0].seq.get(), published[0].duplicate);
    assert_eq!(same(bus.publish(vec![numbered(1)]).await.unwrap()), (2, true));
    let elsewhere = numbered(1).into_builder().source("/other".parse().unwrap()).build().unwrap();
    assert_eq!(same(bus.publish(vec![elsewhere]).await.unwrap()), (4, false));
    let twice = bus.publish(vec![numbered(7), numbered(7)]).await.unwrap();
    assert_eq!([twice[0].duplicate, twice[1].duplicate], [false, true]);
    assert_eq!(bus.status().duplicates, 2);
    drop(bus);
    let bus = fixture.open();
    assert_eq!(same(bus.publish(vec![numbered(1)]).await.unwrap()), (2, true));
}

/// The window over many generations, which are smaller than groups here, and over reopening.
#[tokio::test]
async fn repeats_are_told_across_generations() {
    let fixture = Fixture::new();
    let small = |options: &mut wachter_bus::Options| {
        options.dedup.generation = 64;
        options.dedup.ids = 1_000;
    };
    let bus = fixture.open_with(small);
    for start in (0..3_000).step_by(50) {
        publish(&bus, start..start + 50).await;
    }
    let check = async |bus: &Bus| {
        for number in (2_000..3_000).step_by(37) {
            let published = bus.publish(vec![numbered(number)]).await.unwrap()[0];
            assert_eq!(published, Published { seq: Seq::new(number + 1), duplicate: true });
        }
    };
    check(&bus).await;
    let remembered = bus.status().identities;
    assert!((1_000..=1_128).contains(&remembered), "{remembered}");
    drop(bus);
    let bus = fixture.open_with(small);
    check(&bus).await;
    assert!(!bus.publish(vec![numbered(5)]).await.unwrap()[0].duplicate, "it left the window");
}

#[tokio::test]
async fn what_is_refused_is_handed_back_whole() {
    let fixture = Fixture::new();
    let bus = fixture.open_with(|options| {
        options.max_event_bytes = 2_000;
        options.queue_bytes = 4_096;
    });
    let foreign = Event::from_json(
        br#"{"specversion":"1.0","id":"1","source":"/a","type":"com.example.Upper"}"#,
    )
    .unwrap();
    let large = event("a.b").json(&"x".repeat(2_000).into()).build().unwrap();
    let many: Vec<_> = (0..5).map(numbered).collect();
    for (batch, reason) in [
        (vec![numbered(1), foreign], "the type of event 1 is not a topic"),
        (vec![large, numbered(1)], "event 0 has"),
        (many, "the batch has 5120 bytes"),
    ] {
        let error = bus.publish(batch.clone()).await.unwrap_err();
        assert!(error.reason.to_string().starts_with(reason), "{}", error.reason);
        assert_eq!(error.batch, batch);
        let Err(error) = bus.try_publish(batch.clone()) else { panic!("{reason}: accepted") };
        assert_eq!(error.batch, batch);
    }
    assert_eq!(bus.status().last, Seq::ZERO);
}

/// While the disk is held up, room runs out; what is refused comes back, and room comes back too.
#[tokio::test]
async fn a_full_queue_holds_publishers_back() {
    let fixture = Fixture::new();
    let bus = fixture.open_with(|options| options.queue_bytes = 4_096);
    let other = rusqlite::Connection::open(fixture.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting: Vec<_> =
        (0..4).map(|number| bus.try_publish(vec![numbered(number)]).ok().unwrap()).collect();
    let Err(error) = bus.try_publish(vec![numbered(4)]) else { panic!("there was room") };
    assert!(matches!(error.reason, PublishReason::Full));
    assert_eq!(error.batch, [numbered(4)]);
    let late = tokio::spawn({
        let bus = bus.clone();
        async move { bus.publish(vec![numbered(5)]).await }
    });
    tokio::task::yield_now().await;
    fixture.clock.advance(Duration::from_secs(31));
    let error = late.await.unwrap().unwrap_err();
    assert!(matches!(error.reason, PublishReason::Full), "{}", error.reason);
    other.execute_batch("ROLLBACK").unwrap();
    for published in waiting {
        published.await.unwrap();
    }
    publish(&bus, [4]).await;
    assert_eq!(bus.status().last, Seq::new(5));
}

#[tokio::test]
async fn a_folder_has_one_owner() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let error = Bus::open(fixture.options()).unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    let clone = bus.clone();
    bus.close();
    let error = clone.publish(vec![numbered(1)]).await.unwrap_err();
    assert_eq!(error.reason.to_string(), "the bus is closed");
    assert_eq!(error.batch, [numbered(1)]);
    fixture.open();
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let fixture = Fixture::new();
    drop(fixture.open());
    let path = fixture.path().join("journal.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let error = Bus::open(fixture.options()).unwrap_err();
    assert!(error.to_string().contains("has schema 99, and this version knows up to 4"), "{error}");
    assert!(matches!(error, OpenError::Newer { found: 99, known: 4, .. }));
}
