//! Failures and interruptions of deliveries: what is counted, what of it survives, and what is
//! committed together with it.

use std::time::Duration;

use wachter_bus::{
    AckError, Bus, DeadLetterId, Delivery, End, Expect, KeyChange, Options, Order, Outputs,
    PublishReason, Retry, Seq, Start, Subscription, SubscriptionOptions,
};

use crate::support::{
    Fixture, event, is_silent, next, number_of, numbered, options, publish, subscribe,
};

fn counts(delivery: &Delivery) -> (u32, u32) {
    (delivery.attempt(), delivery.failures())
}

fn outputs(number: u64) -> Outputs {
    Outputs { events: vec![numbered(number)], keys: Vec::new() }
}

fn key(expect: Expect) -> KeyChange {
    let (bucket, key, value) = ("b".to_owned(), "k".to_owned(), Some(Vec::new()));
    KeyChange { bucket, key, value, expect, lasts: None }
}

/// Passes the wait before the next attempt.
async fn later(fixture: &Fixture, subscription: &Subscription) -> Delivery {
    fixture.clock.advance(Duration::from_secs(400));
    next(subscription).await
}

#[tokio::test]
async fn a_failure_and_its_outputs_are_one() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, [0]).await;
    let subscription = subscribe(&bus, "one").await;
    let mut delivery = next(&subscription).await;
    let conflict = Outputs { keys: vec![key(Expect::Revision(9))], ..outputs(100) };
    let error = delivery.nak_with(conflict, None, "no").await.unwrap_err();
    assert!(matches!(error, AckError::Conflict(_)), "{error}");
    assert_eq!(bus.status().last.get(), 1);
    let good = Outputs { keys: vec![key(Expect::Absent)], ..outputs(100) };
    let done = delivery.nak_with(good, Some(Duration::from_secs(9)), "no").await.unwrap();
    assert_eq!((done.events[0].seq.get(), done.revisions.len()), (2, 1));
    drop(delivery);
    // On disk at once, with nothing after it.
    let after = fixture.crash();
    let mut output = next(&subscription).await;
    assert_eq!(number_of(output.event()), 100);
    output.ack(Outputs::default()).await.unwrap();
    fixture.clock.advance(Duration::from_secs(8));
    assert!(is_silent(&bus, &subscription).await);
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(counts(&next(&subscription).await), (2, 1));

    let bus = after.open();
    let subscription = subscribe(&bus, "one").await;
    assert_eq!(counts(&next(&subscription).await), (2, 1));
}

#[tokio::test]
async fn what_is_given_up_and_its_outputs_are_one() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..2).await;
    let declared = SubscriptionOptions {
        retry: Retry { attempts: 1, ..options("one").retry },
        ..options("one")
    };
    let subscription = bus.subscribe(declared.clone()).await.unwrap();
    let (mut first, mut second) = (next(&subscription).await, next(&subscription).await);
    let conflict = Outputs { keys: vec![key(Expect::Revision(9))], ..outputs(100) };
    assert!(first.dead_letter_with(conflict, "too early").await.is_err());
    first.dead_letter_with(outputs(100), "given up").await.unwrap();
    second.nak_with(outputs(101), None, "its last").await.unwrap();
    drop((first, second));
    let bus = fixture.crash().open();
    let dead = bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap();
    let told: Vec<_> = dead.iter().map(|one| (one.failures, one.reason.as_str())).collect();
    assert_eq!(told, [(0, "given up"), (1, "its last")]);
    let subscription = bus.subscribe(declared).await.unwrap();
    for number in [100, 101] {
        let mut delivery = next(&subscription).await;
        assert_eq!(number_of(delivery.event()), number);
        delivery.ack(Outputs::default()).await.unwrap();
    }
    assert!(is_silent(&bus, &subscription).await);
}

/// An acknowledgement that meets a conflict settles nothing, whatever is committed along with it.
#[tokio::test]
async fn a_conflict_beside_an_acknowledgement_loses_nothing() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..2).await;
    let subscription = subscribe(&bus, "one").await;
    let (mut first, mut second) = (next(&subscription).await, next(&subscription).await);
    // Held up, so that both are written in one group.
    let other = rusqlite::Connection::open(fixture.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let filler = bus.try_publish(vec![numbered(9)]).ok().unwrap();
    let conflict = Outputs { keys: vec![key(Expect::Revision(9))], ..Outputs::default() };
    let (refused, acked, _) =
        tokio::join!(first.ack(conflict), second.ack(Outputs::default()), async {
            other.execute_batch("ROLLBACK").unwrap();
        },);
    assert!(matches!(refused, Err(AckError::Conflict(_))) && acked.is_ok());
    filler.await.unwrap();
    let bus = fixture.crash().open();
    let subscription = subscribe(&bus, "one").await;
    assert_eq!(next(&subscription).await.seq().get(), 1, "it was not acknowledged");
}

/// A node that stops or goes down is no failure of the event, and one that failed stays one that failed.
#[tokio::test]
async fn failures_survive_and_interruptions_are_none() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, [0]).await;
    let declared = SubscriptionOptions {
        retry: Retry { attempts: 2, interruptions: 4, ..options("one").retry },
        ..options("one")
    };
    let subscription = bus.subscribe(declared.clone()).await.unwrap();
    next(&subscription).await.give_back(Some(Duration::ZERO));
    let delivery = next(&subscription).await;
    assert_eq!(counts(&delivery), (2, 0));
    delivery.nak(None, "it failed");
    bus.look_after().await.unwrap();
    // A proper stop, while it is under way.
    let delivery = later(&fixture, &subscription).await;
    assert_eq!(counts(&delivery), (3, 1));
    drop(subscription);
    bus.close();
    drop((delivery, bus));
    let bus = fixture.open();
    let subscription = bus.subscribe(declared.clone()).await.unwrap();
    let delivery = next(&subscription).await;
    assert_eq!(delivery.failures(), 1, "stopping is no failure, and the failure is kept");
    // A crash, while it is under way.
    bus.look_after().await.unwrap();
    let after = fixture.crash();
    let bus = after.open();
    let subscription = bus.subscribe(declared).await.unwrap();
    let delivery = next(&subscription).await;
    assert_eq!(delivery.failures(), 1);
    delivery.nak(None, "it failed again");
    assert!(is_silent(&bus, &subscription).await);
    let dead = bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap();
    assert_eq!((dead[0].failures, dead[0].reason.as_str()), (2, "it failed again"));
}

#[tokio::test]
async fn what_is_put_back_in_good_order_uses_up_nothing() {
    let fixture = Fixture::new();
    let mut bus = fixture.open();
    publish(&bus, [0]).await;
    let declared = SubscriptionOptions {
        retry: Retry { attempts: 2, interruptions: 2, ..options("one").retry },
        ..options("one")
    };
    for round in 0..5 {
        let subscription = bus.subscribe(declared.clone()).await.unwrap();
        for _ in 0..3 {
            let delivery = next(&subscription).await;
            assert_eq!(counts(&delivery), (1, 0), "round {round}");
            delivery.put_back(Duration::ZERO);
        }
        drop(subscription);
        bus.close();
        drop(bus);
        bus = fixture.open();
    }
}

#[tokio::test]
async fn what_is_interrupted_each_time_is_given_up() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..2).await;
    let subscription = subscribe(&bus, "one").await;
    let (first, mut second) = (next(&subscription).await, next(&subscription).await);
    second.ack(Outputs::default()).await.unwrap();
    drop(first);
    for attempt in 2..=3 {
        let delivery = later(&fixture, &subscription).await;
        assert_eq!(counts(&delivery), (attempt, 0));
    }
    fixture.clock.advance(Duration::from_secs(400));
    assert!(is_silent(&bus, &subscription).await);
    let dead = bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap();
    assert_eq!((dead[0].attempts, dead[0].failures), (3, 0));
    assert!(dead[0].reason.contains("interrupted"), "{}", dead[0].reason);
}

#[tokio::test]
async fn a_deadline_that_was_past_is_a_failure() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, [0]).await;
    let subscription = subscribe(&bus, "one").await;
    for failures in 0..3 {
        let hanging = later(&fixture, &subscription).await;
        assert_eq!(counts(&hanging), (failures + 1, failures));
        std::mem::forget(hanging);
        fixture.clock.advance(Duration::from_secs(30));
        assert!(is_silent(&bus, &subscription).await);
        bus.look_after().await.unwrap();
        if failures == 0 {
            let bus = fixture.crash().open();
            let subscription = subscribe(&bus, "one").await;
            assert_eq!(later(&fixture, &subscription).await.failures(), 1, "it is on disk");
        }
    }
    let dead = bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap();
    assert_eq!(dead[0].failures, 3);
    assert!(dead[0].reason.contains("deadline"), "{}", dead[0].reason);
}

/// A failure that could not be written counts while the bus is open, and the event is not lost.
#[tokio::test]
async fn a_failure_on_a_disk_that_fails_is_counted() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, [0]).await;
    let subscription = subscribe(&bus, "one").await;
    let delivery = next(&subscription).await;
    let other = rusqlite::Connection::open(fixture.path().join("journal.db")).unwrap();
    other.execute_batch("ALTER TABLE subscriptions RENAME TO elsewhere").unwrap();
    delivery.nak(None, "it failed");
    assert!(is_silent(&bus, &subscription).await);
    let mut delivery = later(&fixture, &subscription).await;
    assert_eq!(counts(&delivery), (2, 1));
    let error = delivery.nak_with(Outputs::default(), None, "again").await.unwrap_err();
    assert!(matches!(error, AckError::Write(_)), "{error}");
    other.execute_batch("ALTER TABLE elsewhere RENAME TO subscriptions").unwrap();
    delivery.nak_with(Outputs::default(), None, "again").await.unwrap();
    assert_eq!(counts(&later(&fixture, &subscription).await), (3, 2));
}

/// A journal of schema 1 goes on where it was.
#[tokio::test]
async fn a_journal_of_the_first_schema_is_taken_over() {
    let fixture = Fixture::new();
    let path = fixture.path().join("journal.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(include_str!("schema_1.sql")).unwrap();
    drop(old);
    let bus = fixture.open_with(|options: &mut Options| options.segment.events = 4);
    let opened = bus.opened();
    assert!(opened.clean && opened.damage.is_empty() && opened.cursors_reset.is_empty());
    assert!(opened.salvage.is_none());
    let report = bus.verify(wachter_bus::Seq::ZERO, Vec::new()).await.unwrap();
    assert!(report.is_sound() && report.events == 6, "{report:?}");
    assert!(bus.publish(vec![numbered(4)]).await.unwrap()[0].duplicate);
    assert_eq!(bus.key("b", "k").await.unwrap().unwrap().value, b"v");
    let dead = bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap();
    assert_eq!((dead[0].attempts, dead[0].failures, dead[0].seq.get()), (1, 1, 3));
    // Of the attempts that it counted, the last may have been under way.
    let declared = SubscriptionOptions {
        retry: Retry { attempts: 9, interruptions: 9, ..Retry::default() },
        ..options("one")
    };
    let subscription = bus.subscribe(declared.clone()).await.unwrap();
    let mut found = Vec::new();
    for _ in 0..3 {
        let delivery = next(&subscription).await;
        found.push((delivery.seq().get(), delivery.attempt(), delivery.failures()));
        delivery.nak(None, "not yet");
    }
    assert_eq!(found, [(2, 4, 2), (4, 3, 1), (5, 2, 0)]);
    assert!(bus.retry_dead_letter(dead[0].id).await.unwrap());
    assert_eq!(counts(&next(&subscription).await), (1, 0));
    drop(subscription);
    bus.close();
    let version: i64 = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, 4);
    let bus = fixture.open();
    let subscription = bus.subscribe(declared).await.unwrap();
    assert_eq!(later(&fixture, &subscription).await.failures(), 3);
}

/// A journal of schema 2 has no waits: what failed comes at once, once, and from then on it waits.
#[tokio::test]
async fn a_journal_without_waits_is_taken_over() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, [0]).await;
    let subscription = subscribe(&bus, "one").await;
    next(&subscription).await.nak(None, "not yet");
    drop(subscription);
    bus.close();
    drop(bus);
    let path = fixture.path().join("journal.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(
        "DROP INDEX checkpoints_kept; DROP INDEX checkpoints_unsigned;
         ALTER TABLE subscriptions DROP COLUMN waits;
         ALTER TABLE dead_letters DROP COLUMN replay; PRAGMA user_version = 2;",
    )
    .unwrap();
    drop(old);
    for failures in [1, 2] {
        let bus = fixture.open();
        assert!(bus.opened().clean && bus.opened().cursors_reset.is_empty());
        let subscription = subscribe(&bus, "one").await;
        let delivery = later(&fixture, &subscription).await;
        assert_eq!(counts(&delivery), (failures + 1, failures));
        delivery.nak(None, "not yet");
        drop(subscription);
        bus.close();
    }
}

/// What waits after a failure waits on when the node comes back, and no longer than was meant.
#[tokio::test]
async fn a_wait_outlasts_a_restart() {
    let minute = Duration::from_secs(60);
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..4).await;
    let subscription = subscribe(&bus, "one").await;
    let mut told = next(&subscription).await;
    told.nak_with(outputs(100), Some(minute), "not yet").await.unwrap();
    drop(told);
    let after_kill = fixture.crash();
    next(&subscription).await.nak(Some(2 * minute), "not yet");
    next(&subscription).await.give_back(Some(3 * minute));
    drop(next(&subscription).await);
    drop(subscription);
    bus.close();
    drop(bus);

    // Killed right after the failure was told: the others had never been handed out.
    let bus = after_kill.open();
    let subscription = subscribe(&bus, "one").await;
    for number in [1, 2, 3, 100] {
        let mut delivery = next(&subscription).await;
        assert_eq!(number_of(delivery.event()), number);
        delivery.ack(Outputs::default()).await.unwrap();
    }
    assert!(is_silent(&bus, &subscription).await);
    assert_eq!(subscription.status().retrying, 1);
    drop((subscription, bus));

    fixture.clock.advance(minute / 2);
    let bus = fixture.open();
    let subscription = subscribe(&bus, "one").await;
    // What was dropped was merely interrupted: nobody asked for a wait.
    for (number, wait) in [(3, 0), (100, 0), (0, 30), (1, 60), (2, 60)] {
        if wait > 0 {
            fixture.clock.advance(Duration::from_secs(wait - 1));
            assert!(is_silent(&bus, &subscription).await, "{number}");
            fixture.clock.advance(Duration::from_secs(1));
        }
        let mut delivery = next(&subscription).await;
        assert_eq!(number_of(delivery.event()), number);
        delivery.ack(Outputs::default()).await.unwrap();
    }
    assert_eq!(subscription.status().floor, bus.status().last);
}

/// What waits over a restart holds up what comes after it in its order, and nothing else.
#[tokio::test]
async fn a_wait_over_a_restart_keeps_the_order_of_keys() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let declared = SubscriptionOptions { order: Order::Key, ..options("one") };
    let keyed = |number: u64, key: &str| {
        event("test.number").json(&number.into()).partition_key(key).build().unwrap()
    };
    bus.publish(vec![keyed(0, "a"), keyed(1, "a"), keyed(2, "b")]).await.unwrap();
    let subscription = bus.subscribe(declared.clone()).await.unwrap();
    next(&subscription).await.nak(Some(Duration::from_secs(60)), "not yet");
    bus.look_after().await.unwrap();
    let bus = fixture.crash().open();
    let subscription = bus.subscribe(declared).await.unwrap();
    let mut other = next(&subscription).await;
    assert_eq!(number_of(other.event()), 2);
    other.ack(Outputs::default()).await.unwrap();
    assert!(is_silent(&bus, &subscription).await);
    for number in [0, 1] {
        let mut delivery = later(&fixture, &subscription).await;
        assert_eq!(number_of(delivery.event()), number);
        delivery.ack(Outputs::default()).await.unwrap();
    }
}

/// What is given again beside it leaves what waits as it is.
#[tokio::test]
async fn what_waits_goes_on_waiting_beside_a_replay() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..2).await;
    let subscription = subscribe(&bus, "one").await;
    let (first, mut second) = (next(&subscription).await, next(&subscription).await);
    first.nak(Some(Duration::from_secs(60)), "not yet");
    second.ack(Outputs::default()).await.unwrap();
    bus.look_after().await.unwrap();
    let name = subscription.name().clone();
    bus.redeliver(name, Start::Beginning, End::Here).await.unwrap();
    let fixture = fixture.crash();
    let bus = fixture.open();
    let subscription = subscribe(&bus, "one").await;
    let mut again = next(&subscription).await;
    assert_eq!((number_of(again.event()), again.is_replay()), (1, true));
    again.ack(Outputs::default()).await.unwrap();
    assert!(is_silent(&bus, &subscription).await);
    let late = later(&fixture, &subscription).await;
    assert_eq!((number_of(late.event()), late.attempt(), late.is_replay()), (0, 2, false));
}

/// What is published and the keys that are changed with it are one.
#[tokio::test]
async fn what_is_published_and_its_keys_are_one() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let refused = bus.try_publish_with(vec![numbered(0)], vec![key(Expect::Revision(9))]);
    let refused = refused.ok().unwrap().await.unwrap_err();
    assert!(matches!(refused.reason, PublishReason::Key(_)), "{}", refused.reason);
    assert_eq!((refused.batch.len(), bus.status().last), (1, Seq::ZERO));
    assert_eq!(bus.key("b", "k").await.unwrap(), None);
    let kept = bus.try_publish_with(refused.batch, vec![key(Expect::Absent)]);
    kept.ok().unwrap().await.unwrap();
    let bus = fixture.crash().open();
    assert_eq!(bus.status().last, Seq::new(1));
    assert!(bus.key("b", "k").await.unwrap().is_some());
}

/// What is put back and what it brings are one.
#[tokio::test]
async fn what_is_put_back_and_its_outputs_are_one() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..2).await;
    let subscription = subscribe(&bus, "one").await;
    let (mut delivery, mut other) = (next(&subscription).await, next(&subscription).await);
    // So that the delivery that is under way is counted on disk.
    other.ack(Outputs::default()).await.unwrap();
    let conflict = Outputs { keys: vec![key(Expect::Revision(9))], ..outputs(100) };
    let error = delivery.put_back_with(conflict, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, AckError::Conflict(_)), "{error}");
    assert_eq!(bus.status().last.get(), 2);
    let before = fixture.crash();
    delivery.put_back_with(outputs(100), Duration::from_secs(9)).await.unwrap();
    drop(delivery);
    // On disk at once, with nothing after it.
    let after = fixture.crash();
    fixture.clock.advance(Duration::from_secs(9));
    let check = async |bus: &Bus, attempt: u32, last: u64| {
        let subscription = subscribe(bus, "one").await;
        let delivery = next(&subscription).await;
        let found = (delivery.seq().get(), delivery.attempt(), bus.status().last.get());
        assert_eq!(found, (1, attempt, last));
    };
    check(&bus, 1, 3).await;
    check(&before.open(), 2, 2).await;
    check(&after.open(), 1, 3).await;
}
