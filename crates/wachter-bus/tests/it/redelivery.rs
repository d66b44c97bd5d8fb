//! What a subscription has had is given to it again, and nothing else is lost or repeated by that.

use std::time::Duration;

use wachter_bus::{Bus, DeadLetterId, End, Outputs, Redelivery, Seq, Start, Subscription};

use crate::support::{Fixture, is_silent, name, next, numbered, publish, subscribe};

/// Takes and acknowledges the next; says its place and whether it is a replay.
async fn take(subscription: &Subscription) -> (u64, bool) {
    let mut delivery = next(subscription).await;
    let taken = (delivery.seq().get(), delivery.is_replay());
    delivery.ack(Outputs::default()).await.unwrap();
    taken
}

async fn again(bus: &Bus, from: u64, to: End) -> (u64, u64) {
    let given = bus.redeliver(name("one"), Start::Seq(Seq::new(from)), to).await;
    let Redelivery { after, to } = given.unwrap().unwrap();
    (after.get(), to.get())
}

/// A journal with six events, all of them had.
async fn had(fixture: &Fixture) -> (Bus, Subscription) {
    let bus = fixture.open();
    let subscription = subscribe(&bus, "one").await;
    for number in 0..6 {
        fixture.clock.advance(Duration::from_secs(60));
        publish(&bus, [number]).await;
        assert_eq!(take(&subscription).await, (number + 1, false));
    }
    (bus, subscription)
}

#[tokio::test]
async fn a_replay_ends_where_it_was_said_and_goes_on_where_it_was_over_restarts_too() {
    let fixture = Fixture::new();
    let (bus, subscription) = had(&fixture).await;
    publish(&bus, [6]).await;
    assert_eq!(again(&bus, 2, End::Seq(Seq::new(4))).await, (1, 4));
    assert_eq!(take(&subscription).await, (2, true));
    assert_eq!(subscription.status().floor, Seq::new(2));
    let after = fixture.crash();
    let bus = after.open();
    let subscription = subscribe(&bus, "one").await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(take(&subscription).await);
    }
    assert_eq!(taken, [(3, true), (4, true), (7, false)]);
    publish(&bus, [7]).await;
    assert_eq!(take(&subscription).await, (8, false));
    assert!(is_silent(&bus, &subscription).await);
    // And once it is over, it is over.
    let last = after.crash();
    let bus = last.open();
    assert!(is_silent(&bus, &subscribe(&bus, "one").await).await);
}

#[tokio::test]
async fn a_part_of_the_past_is_named_by_places_or_times() {
    let fixture = Fixture::new();
    let (bus, subscription) = had(&fixture).await;
    // The first was written a minute after this.
    let begin = "2026-11-22T10:00:00Z".parse::<jiff::Timestamp>().unwrap();
    let minute = |minutes: i64| begin + jiff::SignedDuration::from_mins(minutes);
    for (from, to, expected) in [
        (Start::Seq(Seq::new(5)), End::Here, vec![5, 6]),
        (Start::Beginning, End::Seq(Seq::new(1)), vec![1]),
        (Start::Time(minute(2)), End::Time(minute(4)), vec![2, 3]),
        (Start::Time(minute(6)), End::Seq(Seq::new(99)), vec![6]),
        (Start::Seq(Seq::new(4)), End::Seq(Seq::new(3)), vec![]),
        (Start::Seq(Seq::new(99)), End::Here, vec![]),
        (Start::Now, End::Here, vec![]),
    ] {
        let given = bus.redeliver(name("one"), from, to).await.unwrap().unwrap();
        let told = given.to.get().saturating_sub(given.after.get());
        assert_eq!(told, expected.len() as u64, "{from:?} {to:?}");
        for place in expected {
            assert_eq!(take(&subscription).await, (place, true), "{from:?} {to:?}");
        }
        assert!(is_silent(&bus, &subscription).await, "{from:?} {to:?}");
    }
    publish(&bus, [6]).await;
    assert_eq!(take(&subscription).await, (7, false));
}

#[tokio::test]
async fn what_was_not_settled_when_a_replay_began_is_no_part_of_it() {
    let fixture = Fixture::new();
    let (bus, subscription) = had(&fixture).await;
    publish(&bus, [6, 7, 8]).await;
    let hour = Duration::from_secs(3_600);
    next(&subscription).await.nak(Some(hour), "not now");
    let mut held = next(&subscription).await;
    assert_eq!(again(&bus, 5, End::Here).await.0, 4);
    held.ack(Outputs::default()).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(take(&subscription).await);
    }
    // What was out is settled, and is repeated like all that was had; what waits is not.
    assert_eq!(taken, [(5, true), (6, true), (8, true), (9, false)]);
    assert!(is_silent(&bus, &subscription).await);
    fixture.clock.advance(hour * 2);
    assert_eq!(take(&subscription).await, (7, false));
}

#[tokio::test]
async fn a_dead_letter_is_tried_again_as_what_it_was() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let subscription = subscribe(&bus, "one").await;
    bus.publish(vec![numbered(0), numbered(1)]).await.unwrap();
    next(&subscription).await.dead_letter("the first time").await.unwrap();
    assert_eq!(take(&subscription).await, (2, false));
    assert_eq!(again(&bus, 1, End::Here).await, (0, 2));
    // A replay that fails beside a dead letter takes nothing away from it.
    for place in [1, 2] {
        let delivery = next(&subscription).await;
        assert_eq!((delivery.seq().get(), delivery.is_replay()), (place, true));
        delivery.dead_letter("as a replay").await.unwrap();
    }
    let after = fixture.crash();
    let bus = after.open();
    let subscription = subscribe(&bus, "one").await;
    let letters = bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap();
    assert_eq!(letters.len(), 2);
    for (letter, expected) in letters.iter().zip([(1, false), (2, true)]) {
        assert!(bus.retry_dead_letter(letter.id).await.unwrap());
        let delivery = next(&subscription).await;
        assert_eq!((delivery.seq().get(), delivery.is_replay()), expected);
        delivery.give_back(Some(Duration::ZERO));
        assert_eq!(take(&subscription).await, expected);
    }
    assert!(is_silent(&bus, &subscription).await);
    assert!(bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap().is_empty());
}
