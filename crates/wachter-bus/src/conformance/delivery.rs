use std::time::Duration;

use super::{
    Inbox as _, Letter as _, Port, Wanted, ack, event, inbox, next, number_of, numbered, publish,
    wanted,
};

/// Longer than any retry waits that is asked for here.
const LONG: Duration = Duration::from_secs(30);

pub(super) async fn subscriptions_share_and_members_compete<P: Port>(port: &P) {
    let (first, second) =
        (inbox(port, wanted("shared")).await, inbox(port, wanted("shared")).await);
    let other = inbox(port, wanted("other")).await;
    publish(port, (0..10).map(numbered).collect()).await;
    let mut seen = Vec::new();
    for turn in 0..10 {
        let letter = next(if turn % 2 == 0 { &first } else { &second }).await;
        seen.push(number_of(letter.event()));
        ack(letter, Vec::new()).await;
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>(), "each event goes to one member");
    assert!(first.next().await.is_none() && second.next().await.is_none());
    for number in 0..10 {
        let letter = next(&other).await;
        assert_eq!(number_of(letter.event()), number, "each subscription gets each event");
        ack(letter, Vec::new()).await;
    }
}

pub(super) async fn topics_choose<P: Port>(port: &P) {
    let wanted = |name: &str, topic: &str| Wanted { topic: topic.to_owned(), ..wanted(name) };
    let word = inbox(port, wanted("word", "conformance.*")).await;
    let tail = inbox(port, wanted("tail", "conformance.a.>")).await;
    let topics = ["conformance.a", "conformance.a.b", "conformance.a.b.c", "elsewhere.a"];
    let batch = (0..).zip(topics).map(|(number, topic)| {
        event(topic).json(&u64::into(number)).build().expect("a number keeps the rules")
    });
    publish(port, batch.collect()).await;
    for (inbox, numbers) in [(&word, vec![0]), (&tail, vec![1, 2])] {
        for number in numbers {
            let letter = next(inbox).await;
            assert_eq!(number_of(letter.event()), number);
            ack(letter, Vec::new()).await;
        }
        assert!(inbox.next().await.is_none());
    }
}

pub(super) async fn what_fails_comes_again<P: Port>(port: &P) {
    let inbox = inbox(port, wanted("fails")).await;
    publish(port, vec![numbered(1)]).await;
    let letter = next(&inbox).await;
    let key = letter.idempotency_key();
    letter.nak(Duration::from_secs(5)).await;
    if port.guarantees().delays {
        assert!(inbox.next().await.is_none(), "it did not wait");
        port.pass(Duration::from_secs(4)).await;
        assert!(inbox.next().await.is_none(), "it waited less than it was told");
    }
    port.pass(Duration::from_secs(1)).await;
    let letter = next(&inbox).await;
    assert_eq!((letter.attempt(), letter.idempotency_key()), (2, key));
    ack(letter, Vec::new()).await;
    port.pass(LONG).await;
    assert!(inbox.next().await.is_none(), "it came again after it was acknowledged");
}

pub(super) async fn what_is_dropped_comes_again<P: Port>(port: &P) {
    let inbox = inbox(port, wanted("dropped")).await;
    publish(port, vec![numbered(1)]).await;
    drop(next(&inbox).await);
    port.pass(LONG).await;
    let letter = next(&inbox).await;
    assert_eq!(letter.attempt(), 2);
    ack(letter, Vec::new()).await;
}

pub(super) async fn what_fails_too_often_is_put_aside<P: Port>(port: &P) {
    let inbox = inbox(port, wanted("poison")).await;
    publish(port, (0..2).map(numbered).collect()).await;
    let poison = next(&inbox).await;
    ack(next(&inbox).await, Vec::new()).await;
    poison.nak(Duration::ZERO).await;
    for attempt in 2..=3 {
        let letter = next(&inbox).await;
        assert_eq!((number_of(letter.event()), letter.attempt()), (0, attempt));
        letter.nak(Duration::ZERO).await;
    }
    port.pass(LONG).await;
    if port.guarantees().dead_letters {
        assert!(inbox.next().await.is_none(), "it came more often than it may");
    }
}

pub(super) async fn keys_keep_their_order<P: Port>(port: &P) {
    let asked = Wanted { ordered: true, ..wanted("keys") };
    if !port.guarantees().orders_keys {
        assert!(port.subscribe(asked).await.is_err(), "an order that cannot be kept was promised");
        return;
    }
    let inbox = inbox(port, asked).await;
    let keyed = |number: u64, key: &str| {
        numbered(number).into_builder().partition_key(key).build().expect("a short key")
    };
    publish(port, vec![keyed(0, "a"), keyed(1, "a"), keyed(2, "b"), keyed(3, "a")]).await;
    let (first, other) = (next(&inbox).await, next(&inbox).await);
    assert_eq!((number_of(first.event()), number_of(other.event())), (0, 2));
    assert!(
        inbox.next().await.is_none(),
        "the next of a key came before the one before was settled"
    );
    first.nak(Duration::from_secs(1)).await;
    ack(other, Vec::new()).await;
    port.pass(Duration::from_secs(1)).await;
    for number in [0, 1, 3] {
        let letter = next(&inbox).await;
        assert_eq!(number_of(letter.event()), number, "a failure changed the order of a key");
        ack(letter, Vec::new()).await;
    }
}

pub(super) async fn outputs_come_with_the_acknowledgement<P: Port>(port: &P) {
    if !port.guarantees().commits_outputs {
        return;
    }
    let work = inbox(port, Wanted { topic: "conformance.number".into(), ..wanted("work") }).await;
    let results =
        inbox(port, Wanted { topic: "conformance.result".into(), ..wanted("results") }).await;
    publish(port, vec![numbered(1)]).await;
    let letter = next(&work).await;
    let result = event("conformance.result").json(&2.into()).caused_by(letter.event());
    let result = result.build().expect("it keeps the rules");
    let too_large = "x".repeat(port.guarantees().max_event_bytes);
    let refused = result.clone().into_builder().json(&too_large.into()).build().expect("a text");
    assert!(letter.ack(vec![refused]).await.is_err());
    assert!(results.next().await.is_none());
    port.pass(LONG).await;
    let letter = next(&work).await;
    assert_eq!(letter.attempt(), 2, "an acknowledgement that failed settled its event");
    ack(letter, vec![result.clone()]).await;
    let letter = next(&results).await;
    assert_eq!(*letter.event(), result);
    ack(letter, Vec::new()).await;
    port.pass(LONG).await;
    assert!(work.next().await.is_none());
}
