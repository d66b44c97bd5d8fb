use super::{
    Inbox as _, Letter as _, Port, ack, event, inbox, next, number_of, numbered, publish, wanted,
};

pub(super) async fn all_arrives_in_order<P: Port>(port: &P) {
    let inbox = inbox(port, wanted("order")).await;
    for start in (0..60).step_by(20) {
        publish(port, (start..start + 20).map(numbered).collect()).await;
    }
    for number in 0..60 {
        let letter = next(&inbox).await;
        assert_eq!((number_of(letter.event()), letter.attempt()), (number, 1));
        ack(letter, Vec::new()).await;
    }
    assert!(inbox.next().await.is_none(), "more was delivered than was published");
}

pub(super) async fn repeats_count_as_one<P: Port>(port: &P) {
    if !port.guarantees().deduplicates {
        return;
    }
    let inbox = inbox(port, wanted("repeats")).await;
    let (one, two) = (numbered(1), numbered(2));
    assert_eq!(publish(port, vec![one.clone(), two.clone()]).await, [false, false]);
    assert_eq!(publish(port, vec![two.clone(), numbered(3)]).await, [true, false]);
    let elsewhere = one.into_builder().source("urn:wachter:elsewhere".parse().expect("a URN"));
    let elsewhere = elsewhere.build().expect("it keeps the rules");
    assert_eq!(publish(port, vec![elsewhere]).await, [false], "the source is part of the identity");
    for number in [1, 2, 3, 1] {
        let letter = next(&inbox).await;
        assert_eq!(number_of(letter.event()), number);
        ack(letter, Vec::new()).await;
    }
    assert!(inbox.next().await.is_none());
}

pub(super) async fn sizes_are_as_claimed<P: Port>(port: &P) {
    let limit = port.guarantees().max_event_bytes;
    let inbox = inbox(port, wanted("size")).await;
    let of_size = |bytes: usize| {
        let empty = event("conformance.size").json(&"".into()).build().expect("an empty text");
        let filler = "x".repeat(bytes - empty.to_json().len());
        let large = empty.into_builder().json(&filler.into()).build().expect("a longer text");
        assert_eq!(large.to_json().len(), bytes);
        large
    };
    let largest = of_size(limit);
    publish(port, vec![largest.clone()]).await;
    assert!(
        port.publish(vec![of_size(limit + 1)]).await.is_err(),
        "more than {limit} bytes were taken"
    );
    let letter = next(&inbox).await;
    assert_eq!(*letter.event(), largest);
    ack(letter, Vec::new()).await;
    assert!(inbox.next().await.is_none());
}

pub(super) async fn the_past_is_there<P: Port>(port: &P) {
    publish(port, (0..5).map(numbered).collect()).await;
    let late = inbox(port, wanted("late")).await;
    let asked = super::Wanted { from_beginning: true, ..wanted("past") };
    if port.guarantees().replays {
        let past = inbox(port, asked).await;
        for number in 0..5 {
            let letter = next(&past).await;
            assert_eq!(number_of(letter.event()), number);
            ack(letter, Vec::new()).await;
        }
    } else {
        assert!(port.subscribe(asked).await.is_err(), "a start in the past was not refused");
    }
    assert!(late.next().await.is_none(), "what was before is not delivered unasked");
    publish(port, vec![numbered(5)]).await;
    assert_eq!(number_of(next(&late).await.event()), 5);
}
