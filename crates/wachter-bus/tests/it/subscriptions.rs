use std::time::Duration;

use wachter_bus::{
    AckError, DeadLetterId, End, EventFilter, Expect, KeyChange, Notice, Order, Outputs, Predicate,
    Redelivery, Seq, Start, SubscriptionOptions,
};

use crate::support::{
    Fixture, event, is_silent, name, next, number_of, numbered, options, publish, subscribe,
};

fn outputs(numbers: impl IntoIterator<Item = u64>) -> Outputs {
    Outputs { events: numbers.into_iter().map(numbered).collect(), keys: Vec::new() }
}

#[tokio::test]
async fn each_subscription_gets_each_event_and_members_compete() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..5).await;
    let (one, two) = (subscribe(&bus, "one").await, subscribe(&bus, "two").await);
    let member = one.clone();
    publish(&bus, 5..10).await;
    let mut seen = Vec::new();
    for turn in 0..10 {
        let mut delivery = next(if turn % 2 == 0 { &one } else { &member }).await;
        seen.push(number_of(delivery.event()));
        delivery.ack(Outputs::default()).await.unwrap();
    }
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    for number in 0..10 {
        let mut delivery = next(&two).await;
        assert_eq!(number_of(delivery.event()), number);
        delivery.ack(Outputs::default()).await.unwrap();
    }
    assert!(is_silent(&bus, &one).await && is_silent(&bus, &two).await);
    assert_eq!(one.status().floor, Seq::new(10));
    assert_eq!(one.status().acknowledged, 10);
}

#[tokio::test]
async fn places_survive_reopening() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..6).await;
    let subscription = subscribe(&bus, "one").await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(next(&subscription).await);
    }
    let keys: Vec<_> = held.iter().map(wachter_bus::Delivery::idempotency_key).collect();
    held[1].ack(Outputs::default()).await.unwrap();
    held[3].ack(Outputs::default()).await.unwrap();
    // As after a crash: nothing is given back.
    held.into_iter().for_each(std::mem::forget);
    drop(subscription);
    bus.close();
    let bus = fixture.open();
    let subscription = subscribe(&bus, "one").await;
    let mut again = Vec::new();
    for _ in 0..4 {
        let mut delivery = next(&subscription).await;
        again.push((number_of(delivery.event()), delivery.attempt(), delivery.idempotency_key()));
        delivery.ack(Outputs::default()).await.unwrap();
    }
    let numbers: Vec<_> = again.iter().map(|(number, attempt, _)| (*number, *attempt)).collect();
    assert_eq!(numbers, [(0, 2), (2, 2), (4, 1), (5, 1)]);
    assert_eq!([again[0].2, again[1].2], [keys[0], keys[2]]);
    assert!(is_silent(&bus, &subscription).await);
}

#[tokio::test]
async fn an_acknowledgement_and_its_outputs_are_one() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..2).await;
    let subscription = subscribe(&bus, "one").await;
    let key = |expect| KeyChange {
        bucket: "b".into(),
        key: "k".into(),
        value: Some(b"v".to_vec()),
        expect,
        lasts: None,
    };
    let mut delivery = next(&subscription).await;
    let conflict = Outputs { keys: vec![key(Expect::Revision(9))], ..outputs([100]) };
    let error = delivery.ack(conflict).await.unwrap_err();
    assert!(matches!(error, AckError::Conflict(_)), "{error}");
    assert_eq!(bus.status().last, Seq::new(2));
    let large = event("a").json(&"x".repeat(2 << 20).into()).build().unwrap();
    let error =
        delivery.ack(Outputs { events: vec![large], ..Outputs::default() }).await.unwrap_err();
    assert!(matches!(error, AckError::Refused(_)), "{error}");
    let good = Outputs { keys: vec![key(Expect::Absent)], ..outputs([100, 0]) };
    let done = delivery.ack(good).await.unwrap();
    let published: Vec<_> = done.events.iter().map(|one| (one.seq.get(), one.duplicate)).collect();
    assert_eq!(published, [(3, false), (1, true)]);
    assert_eq!(bus.key("b", "k").await.unwrap().unwrap().revision, done.revisions[0]);
    drop(delivery);
    let mut rest = Vec::new();
    for _ in 0..2 {
        let mut delivery = next(&subscription).await;
        rest.push(number_of(delivery.event()));
        delivery.ack(Outputs::default()).await.unwrap();
    }
    assert_eq!(rest, [1, 100]);
    assert!(is_silent(&bus, &subscription).await);
}

#[tokio::test]
async fn failures_wait_longer_and_end_among_dead_letters() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..1).await;
    let subscription = subscribe(&bus, "one").await;
    let counts = |delivery: &wachter_bus::Delivery| (delivery.attempt(), delivery.failures());
    let delivery = next(&subscription).await;
    assert_eq!(counts(&delivery), (1, 0));
    delivery.nak(None, "not yet");
    assert!(is_silent(&bus, &subscription).await);
    fixture.clock.advance(Duration::from_secs(1));
    let delivery = next(&subscription).await;
    assert_eq!(counts(&delivery), (2, 1));
    delivery.nak(Some(Duration::from_secs(7)), "not yet");
    fixture.clock.advance(Duration::from_secs(6));
    assert!(is_silent(&bus, &subscription).await);
    fixture.clock.advance(Duration::from_secs(1));
    let delivery = next(&subscription).await;
    assert_eq!(counts(&delivery), (3, 2));
    drop(delivery);
    assert!(is_silent(&bus, &subscription).await);
    fixture.clock.advance(Duration::from_secs(1));
    let delivery = next(&subscription).await;
    assert_eq!(counts(&delivery), (4, 2), "to be dropped is not to fail");
    delivery.nak(None, "it is broken");
    assert!(is_silent(&bus, &subscription).await);
    let dead = bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].attempts, dead[0].failures), (4, 3));
    assert_eq!(dead[0].reason, "it is broken");
    assert_eq!(**dead[0].event.as_ref().unwrap(), numbered(0));
    assert_eq!(subscription.status().floor, Seq::new(1));

    assert!(bus.retry_dead_letter(dead[0].id).await.unwrap());
    let mut delivery = next(&subscription).await;
    assert_eq!((delivery.attempt(), delivery.seq()), (1, Seq::new(1)));
    assert_eq!(bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap().len(), 1);
    delivery.ack(Outputs::default()).await.unwrap();
    assert_eq!(bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap().len(), 0);
    assert!(!bus.retry_dead_letter(dead[0].id).await.unwrap());
}

#[tokio::test]
async fn dead_letters_are_kept_retried_and_dropped_over_a_restart() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..3).await;
    let subscription = subscribe(&bus, "one").await;
    for number in 0..3 {
        let delivery = next(&subscription).await;
        delivery.dead_letter(format!("reason {number}")).await.unwrap();
    }
    let dead = bus.dead_letters(Some(name("one")), DeadLetterId::new(0), 10).await.unwrap();
    assert_eq!(dead.len(), 3);
    assert!(bus.retry_dead_letter(dead[1].id).await.unwrap());
    assert!(bus.drop_dead_letter(dead[2].id).await.unwrap());
    drop((subscription, bus));
    let bus = fixture.open();
    let subscription = subscribe(&bus, "one").await;
    let mut delivery = next(&subscription).await;
    assert_eq!(number_of(delivery.event()), 1);
    delivery.ack(Outputs::default()).await.unwrap();
    assert!(is_silent(&bus, &subscription).await);
    let dead = bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap();
    let reasons: Vec<_> = dead.iter().map(|dead| dead.reason.as_str()).collect();
    assert_eq!(reasons, ["reason 0"]);
}

#[tokio::test]
async fn a_lease_runs_out_unless_it_is_extended() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..2).await;
    let subscription = subscribe(&bus, "one").await;
    let (mut held, mut late) = (next(&subscription).await, next(&subscription).await);
    held.extend(Duration::from_secs(60)).unwrap();
    fixture.clock.advance(Duration::from_secs(30));
    assert!(
        is_silent(&bus, &subscription).await,
        "a failed delivery waits before it is made again"
    );
    fixture.clock.advance(Duration::from_secs(1));
    let mut again = next(&subscription).await;
    assert_eq!((again.seq(), again.attempt()), (late.seq(), 2));
    assert!(matches!(late.ack(outputs([50])).await, Err(AckError::Expired)));
    assert!(matches!(late.extend(Duration::from_secs(1)), Err(AckError::Expired)));
    drop(late);
    assert_eq!(bus.status().last, Seq::new(2), "outputs of a lost lease are not written");
    again.ack(Outputs::default()).await.unwrap();
    held.ack(Outputs::default()).await.unwrap();
    assert_eq!(subscription.status().floor, Seq::new(2));
}

#[tokio::test]
async fn a_key_keeps_its_order_and_others_go_on() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let keyed = |number: u64, key: &str| {
        numbered(number).into_builder().partition_key(key).build().unwrap()
    };
    bus.publish(vec![keyed(0, "a"), keyed(1, "a"), keyed(2, "b"), numbered(3), keyed(4, "b")])
        .await
        .unwrap();
    let subscription =
        bus.subscribe(SubscriptionOptions { order: Order::Key, ..options("one") }).await.unwrap();
    let (first, mut second, mut third) =
        (next(&subscription).await, next(&subscription).await, next(&subscription).await);
    assert_eq!([&first, &second, &third].map(|one| number_of(one.event())), [0, 2, 3]);
    assert!(is_silent(&bus, &subscription).await);
    second.ack(Outputs::default()).await.unwrap();
    let mut fourth = next(&subscription).await;
    assert_eq!(number_of(fourth.event()), 4);
    first.nak(None, "later");
    assert!(is_silent(&bus, &subscription).await, "what follows waits while it is retried");
    fixture.clock.advance(Duration::from_secs(1));
    let mut first = next(&subscription).await;
    assert_eq!((number_of(first.event()), first.attempt()), (0, 2));
    first.ack(Outputs::default()).await.unwrap();
    let mut fifth = next(&subscription).await;
    assert_eq!(number_of(fifth.event()), 1);
    for delivery in [&mut third, &mut fourth, &mut fifth] {
        delivery.ack(Outputs::default()).await.unwrap();
    }
}

#[tokio::test]
async fn filters_and_starts_choose() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    for (topic, number) in [("a.x", 0), ("b", 1), ("a.y", 2), ("a.z", 3)] {
        bus.publish(vec![event(topic).json(&number.into()).build().unwrap()]).await.unwrap();
        fixture.clock.advance(Duration::from_secs(10));
    }
    let from = |text: &str, start| SubscriptionOptions { start, ..options(text) };
    let time = "2026-11-22T10:00:15Z".parse().unwrap();
    let filter = EventFilter {
        topics: vec!["a.*".parse().unwrap()],
        predicate: Some(Predicate::new(|event| number_of(event) != 2)),
        ..EventFilter::default()
    };
    for (options, expected) in [
        (from("beginning", Start::Beginning), vec![0, 1, 2, 3]),
        (from("seq", Start::Seq(Seq::new(3))), vec![2, 3]),
        (from("time", Start::Time(time)), vec![2, 3]),
        (from("now", Start::Now), vec![]),
        (SubscriptionOptions { filter, ..from("filter", Start::Beginning) }, vec![0, 3]),
    ] {
        let subscription = bus.subscribe(options).await.unwrap();
        for number in expected {
            let mut delivery = next(&subscription).await;
            assert_eq!(number_of(delivery.event()), number, "{subscription:?}");
            delivery.ack(Outputs::default()).await.unwrap();
        }
        assert!(is_silent(&bus, &subscription).await, "{subscription:?}");
        let skipped = u64::from(subscription.name().as_str() == "filter");
        assert_eq!(subscription.status().skipped, skipped);
    }
}

#[tokio::test]
async fn a_subscription_is_set_back_and_marked_as_replay() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..4).await;
    let subscription = subscribe(&bus, "one").await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        let mut delivery = next(&subscription).await;
        keys.push(delivery.idempotency_key());
        delivery.ack(Outputs::default()).await.unwrap();
    }
    let mut held = next(&subscription).await;
    let from = |place| Start::Seq(Seq::new(place));
    let given = bus.redeliver(name("one"), from(2), End::Here).await.unwrap().unwrap();
    assert_eq!(given, Redelivery { after: Seq::new(1), to: Seq::new(4) });
    assert!(bus.redeliver(name("none"), Start::Beginning, End::Here).await.unwrap().is_none());
    publish(&bus, [4]).await;
    let mut seen = Vec::new();
    // What was out goes on, and is no part of it.
    held.ack(Outputs::default()).await.unwrap();
    for _ in 0..4 {
        let mut delivery = next(&subscription).await;
        seen.push((number_of(delivery.event()), delivery.is_replay()));
        if let Some(key) = keys.get(usize::try_from(delivery.seq().get()).unwrap() - 1) {
            assert_eq!(delivery.idempotency_key(), *key);
        }
        delivery.ack(Outputs::default()).await.unwrap();
    }
    assert_eq!(seen, [(1, true), (2, true), (3, true), (4, false)]);
}

#[tokio::test]
async fn in_flight_is_limited_and_a_hanging_member_holds_only_itself() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let hanging = bus
        .subscribe(SubscriptionOptions { in_flight: 3, window: 4, ..options("hanging") })
        .await
        .unwrap();
    let working = subscribe(&bus, "working").await;
    let mut held = Vec::new();
    for number in 0..500 {
        publish(&bus, [number]).await;
        if held.len() < 3 {
            held.push(next(&hanging).await);
        }
        let mut delivery = next(&working).await;
        assert_eq!(number_of(delivery.event()), number);
        delivery.ack(Outputs::default()).await.unwrap();
    }
    assert!(is_silent(&bus, &hanging).await);
    let status = hanging.status();
    assert_eq!((status.in_flight, status.floor), (3, Seq::ZERO));
    assert!(status.behind > 490, "{status:?}");
    // It comes back and gets all of it.
    for delivery in &mut held {
        delivery.ack(Outputs::default()).await.unwrap();
    }
    for number in 3..500 {
        let mut delivery = next(&hanging).await;
        assert_eq!(number_of(delivery.event()), number);
        delivery.ack(Outputs::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_bus_ends_whoever_waits() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let subscription = subscribe(&bus, "one").await;
    let waiting = tokio::spawn(async move { subscription.next().await.map(drop) });
    tokio::task::yield_now().await;
    drop(bus);
    let ended = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    assert!(ended.unwrap().is_err());
}

#[tokio::test]
async fn a_removed_subscription_ends_its_members() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let subscription = subscribe(&bus, "one").await;
    let waiting = tokio::spawn(async move { subscription.next().await.map(drop) });
    tokio::task::yield_now().await;
    assert!(bus.unsubscribe(name("one")).await.unwrap());
    assert!(waiting.await.unwrap().is_err());
    assert!(!bus.unsubscribe(name("one")).await.unwrap());
    assert_eq!(bus.subscriptions(), []);
}

/// A redelivery, a retry from the dead letters and acknowledgements in one group: each is on disk.
#[tokio::test]
async fn what_is_decided_together_is_kept_together() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..6).await;
    let (one, two) = (subscribe(&bus, "one").await, subscribe(&bus, "two").await);
    for _ in 0..4 {
        next(&one).await.ack(Outputs::default()).await.unwrap();
    }
    let (mut first, mut second) = (next(&one).await, next(&two).await);
    next(&two).await.dead_letter("on purpose").await.unwrap();
    let dead = bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap().remove(0);
    // Held up, so that what follows is written in one group.
    let other = rusqlite::Connection::open(fixture.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let filler = bus.try_publish(vec![numbered(6)]).ok().unwrap();
    let (again, acked, revived, settled, _) = tokio::join!(
        bus.redeliver(name("one"), Start::Seq(Seq::new(4)), End::Here),
        first.ack(Outputs::default()),
        bus.retry_dead_letter(dead.id),
        second.ack(Outputs::default()),
        async { other.execute_batch("ROLLBACK").unwrap() },
    );
    filler.await.unwrap();
    assert!(again.unwrap().is_some() && revived.unwrap());
    settled.unwrap();
    acked.unwrap();
    let after = fixture.crash();
    let bus = after.open();
    let mut found = Vec::new();
    for text in ["one", "two"] {
        let subscription = subscribe(&bus, text).await;
        let mut delivery = next(&subscription).await;
        found.push(delivery.seq().get());
        delivery.ack(Outputs::default()).await.unwrap();
    }
    assert_eq!(found, [4, 2]);
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_asked_again_after_a_while_and_not_all_the_time() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 1..=3).await;
    let other = rusqlite::Connection::open(fixture.path().join("journal.db")).unwrap();
    other.execute_batch("ALTER TABLE events RENAME TO elsewhere").unwrap();
    let mut notices = bus.notices();
    let subscription = subscribe(&bus, "a").await;
    assert!(is_silent(&bus, &subscription).await);
    let mut failures = || {
        let told = std::iter::from_fn(|| notices.try_recv().ok());
        told.filter(|notice| matches!(notice, Notice::Failing(_))).count()
    };
    assert!(failures() > 0);
    // The clock of the bus stands still, so nothing is asked in this time.
    let waiting = tokio::time::timeout(Duration::from_millis(200), subscription.next()).await;
    assert!(waiting.is_err());
    assert_eq!(failures(), 0);
    other.execute_batch("ALTER TABLE elsewhere RENAME TO events").unwrap();
    assert!(is_silent(&bus, &subscription).await, "it is not time yet");
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(number_of(next(&subscription).await.event()), 1);
}

#[tokio::test]
async fn a_failure_to_read_is_over_when_it_is_read_or_nobody_wants_to() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 1..=3).await;
    let other = rusqlite::Connection::open(fixture.path().join("journal.db")).unwrap();
    for read in [true, false] {
        other.execute_batch("ALTER TABLE events RENAME TO elsewhere").unwrap();
        let subscription = subscribe(&bus, if read { "a" } else { "b" }).await;
        assert!(is_silent(&bus, &subscription).await);
        assert!(bus.status().failing.is_some());
        let mut notices = bus.notices();
        other.execute_batch("ALTER TABLE elsewhere RENAME TO events").unwrap();
        if read {
            fixture.clock.advance(Duration::from_secs(1));
            assert_eq!(number_of(next(&subscription).await.event()), 1);
        } else {
            drop(subscription);
        }
        assert_eq!(bus.status().failing, None);
        assert_eq!(notices.try_recv(), Ok(Notice::Recovered));
    }
}

/// Where the end of the journal was lost, there is nothing to read, and it is not looked for again and
/// again.
#[tokio::test]
async fn an_end_that_is_missing_is_passed() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..50).await;
    bus.close();
    let connection = rusqlite::Connection::open(fixture.path().join("journal.db")).unwrap();
    connection.execute_batch("DELETE FROM events WHERE seq > 47").unwrap();
    drop(connection);
    let bus = fixture.open();
    let one = subscribe(&bus, "one").await;
    for _ in 0..47 {
        next(&one).await.ack(Outputs::default()).await.unwrap();
    }
    assert!(is_silent(&bus, &one).await);
    assert_eq!(one.status().behind, 0);
}

#[tokio::test]
async fn a_cursor_that_could_not_be_written_is_written_later() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let predicate = Some(Predicate::new(|_| false));
    let filter = EventFilter { predicate, ..EventFilter::default() };
    let one = bus.subscribe(SubscriptionOptions { filter, ..options("one") }).await.unwrap();
    assert!(is_silent(&bus, &one).await);
    publish(&bus, 0..9).await;
    let mut notices = bus.notices();
    let other = rusqlite::Connection::open(fixture.path().join("journal.db")).unwrap();
    other.execute_batch("ALTER TABLE subscriptions RENAME TO elsewhere").unwrap();
    bus.look_after().await.unwrap();
    assert!(matches!(notices.try_recv(), Ok(Notice::Failing(_))));
    other.execute_batch("ALTER TABLE elsewhere RENAME TO subscriptions").unwrap();
    bus.look_after().await.unwrap();
    let bus = fixture.crash().open();
    let status = bus.subscriptions().remove(0);
    assert_eq!((status.behind, status.skipped), (0, 9));
}

/// Members are woken, and state is touched, only where the topics mean an event; the places of all
/// others keep up nevertheless.
#[tokio::test]
async fn what_is_not_wanted_is_passed_without_a_wake() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let of = |topics: &[&str]| EventFilter {
        topics: topics.iter().map(|text| text.parse().unwrap()).collect(),
        ..EventFilter::default()
    };
    let declare = |text: &str, topics: &[&str]| {
        bus.subscribe(SubscriptionOptions { filter: of(topics), ..options(text) })
    };
    let other = declare("other", &["other.>", "other.*"]).await.unwrap();
    let all = subscribe(&bus, "all").await;
    for number in 0..20 {
        publish(&bus, [number]).await;
        next(&all).await.ack(Outputs::default()).await.unwrap();
        let status = other.status();
        assert_eq!((status.behind, status.floor), (0, Seq::new(number + 1)));
    }
    bus.publish(vec![event("other.a").json(&7.into()).build().unwrap()]).await.unwrap();
    let delivery = next(&other).await;
    assert_eq!((number_of(delivery.event()), delivery.seq()), (7, Seq::new(21)));
    drop(delivery);
    // What it wants from now on it gets, and what it did not want before it does not.
    let other = declare("other", &["test.number"]).await.unwrap();
    publish(&bus, [20]).await;
    let mut delivery = next(&other).await;
    assert_eq!(number_of(delivery.event()), 20);
    delivery.ack(Outputs::default()).await.unwrap();
    drop((delivery, other));
    // Without members nothing is held ahead, and it is found again.
    publish(&bus, [21]).await;
    let other = declare("other", &["test.number"]).await.unwrap();
    assert_eq!(number_of(next(&other).await.event()), 21);
}
