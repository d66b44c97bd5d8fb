//! What is left after a crash: the files as they are at some moment, without a proper end.

use wachter_bus::{DeadLetterId, Notice, Outputs, SubscriptionOptions};

use crate::support::{Fixture, is_silent, next, number_of, options, publish, subscribe};

#[tokio::test]
async fn what_was_in_flight_is_delivered_again_with_the_same_key() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    publish(&bus, 0..20).await;
    let subscription = subscribe(&bus, "one").await;
    let mut keys = Vec::new();
    let mut held = Vec::new();
    for number in 0..10 {
        let mut delivery = next(&subscription).await;
        keys.push(delivery.idempotency_key());
        if number % 3 == 0 {
            delivery.ack(Outputs::default()).await.unwrap();
        } else {
            held.push(delivery);
        }
    }
    let after = fixture.crash();
    let bus = after.open();
    assert!(!bus.opened().clean);
    assert_eq!(bus.opened().damage, []);
    let subscription = subscribe(&bus, "one").await;
    let mut seen = Vec::new();
    for _ in 0..16 {
        let mut delivery = next(&subscription).await;
        let number = number_of(delivery.event());
        if let Some(key) = keys.get(usize::try_from(number).unwrap()) {
            assert_eq!(delivery.idempotency_key(), *key);
        }
        seen.push(number);
        delivery.ack(Outputs::default()).await.unwrap();
    }
    let expected: Vec<_> = (0..20).filter(|number| *number >= 10 || number % 3 != 0).collect();
    assert_eq!(seen, expected);
    assert!(is_silent(&bus, &subscription).await);
}

/// An event that takes the node down each time it is handled ends among the dead letters, although
/// nothing is written when it is handed out; and those beside it go through.
#[tokio::test]
async fn what_kills_the_node_each_time_is_given_up() {
    const POISON: u64 = 2;
    let mut fixture = Fixture::new();
    publish(&fixture.open(), 0..6).await;
    let mut handled = Vec::new();
    let mut crashes = 0;
    loop {
        let bus = fixture.open();
        let mut notices = bus.notices();
        let declared = SubscriptionOptions { in_flight: 4, ..options("one") };
        let subscription = bus.subscribe(declared).await.unwrap();
        let mut fatal = None;
        loop {
            tokio::select! {
                biased;
                delivery = subscription.next() => {
                    let mut delivery = delivery.unwrap();
                    if number_of(delivery.event()) == POISON {
                        fatal = Some(delivery);
                        break;
                    }
                    handled.push(number_of(delivery.event()));
                    delivery.ack(Outputs::default()).await.unwrap();
                }
                notice = notices.recv() => {
                    assert!(matches!(notice.unwrap(), Notice::DeadLettered { .. }));
                    break;
                }
            }
        }
        if fatal.is_none() {
            break;
        }
        crashes += 1;
        assert!(crashes <= 4, "three attempts, and one that could not be counted");
        let next = fixture.crash();
        drop((fatal, subscription, bus));
        fixture = next;
    }
    let bus = fixture.open();
    let dead = bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(number_of(dead[0].event.as_ref().unwrap()), POISON);
    let subscription = subscribe(&bus, "one").await;
    while handled.len() < 5 {
        let mut delivery = next(&subscription).await;
        handled.push(number_of(delivery.event()));
        delivery.ack(Outputs::default()).await.unwrap();
    }
    handled.sort_unstable();
    assert_eq!(handled, [0, 1, 3, 4, 5]);
}
