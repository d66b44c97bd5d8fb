//! What carries events declares what it guarantees; this suite asserts each claim.
//!
//! A [`Port`] is the least that is needed to ask: the bus over its journal has one in its own tests, a
//! link to another broker brings another. What a port does not claim is not asked of it, except that a
//! subscription which needs it is refused.
//!
//! The functions panic where a claim does not hold: they are for tests.

mod delivery;
mod publishing;

use std::future::Future;
use std::time::Duration;

use wachter_model::{Event, EventBuilder};

/// What a port claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarantees {
    /// Events of one source and id, published again, count as one.
    pub deduplicates: bool,
    /// Of events with one `partitionkey`, the next is delivered once the one before is settled.
    pub orders_keys: bool,
    /// A failed delivery waits as long as it was told to.
    pub delays: bool,
    /// An acknowledgement and its outputs are there together or not at all.
    pub commits_outputs: bool,
    /// What fails too often is put aside.
    pub dead_letters: bool,
    /// A subscription may start in the past.
    pub replays: bool,
    /// The largest event, in bytes of its JSON.
    pub max_event_bytes: usize,
}

/// What a subscription asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name; two of one name compete.
    pub name: String,
    /// Topics, with `*` and `>`.
    pub topic: String,
    /// Whether keys keep their order.
    pub ordered: bool,
    /// Whether it starts with what is there.
    pub from_beginning: bool,
    /// Deliveries of one event at most.
    pub attempts: u32,
}

/// Carries events.
pub trait Port: Send + Sync {
    /// What it hands out.
    type Letter: Letter;
    /// A member of a subscription.
    type Inbox: Inbox<Letter = Self::Letter>;

    /// What it claims.
    fn guarantees(&self) -> Guarantees;

    /// Publishes; tells of each event whether it was a repeat. An error in words.
    fn publish(&self, batch: Vec<Event>) -> impl Future<Output = Result<Vec<bool>, String>> + Send;

    /// Joins a subscription, or refuses what it cannot guarantee.
    fn subscribe(&self, wanted: Wanted)
    -> impl Future<Output = Result<Self::Inbox, String>> + Send;

    /// Lets time pass: a clock is moved, or it is waited for.
    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// A member of a subscription.
pub trait Inbox: Send + Sync {
    /// What it hands out.
    type Letter: Letter;

    /// The next delivery; `None` if none comes although all is quiet.
    fn next(&self) -> impl Future<Output = Option<Self::Letter>> + Send;
}

/// A delivery.
pub trait Letter: Send {
    /// The event.
    fn event(&self) -> &Event;
    /// Which delivery of it this is, from 1.
    fn attempt(&self) -> u32;
    /// What names it to its subscription at each attempt.
    fn idempotency_key(&self) -> String;
    /// Settles it, with what came of it.
    fn ack(self, outputs: Vec<Event>) -> impl Future<Output = Result<(), String>> + Send;
    /// Gives it back.
    fn nak(self, delay: Duration) -> impl Future<Output = ()> + Send;
}

/// Asserts every claim of the port that `make` gives, a new and empty one each time.
///
/// # Panics
/// A claim does not hold.
pub async fn assert_claims<P: Port>(make: impl AsyncFn() -> P) {
    publishing::all_arrives_in_order(&make().await).await;
    publishing::repeats_count_as_one(&make().await).await;
    publishing::sizes_are_as_claimed(&make().await).await;
    publishing::the_past_is_there(&make().await).await;
    delivery::subscriptions_share_and_members_compete(&make().await).await;
    delivery::topics_choose(&make().await).await;
    delivery::what_fails_comes_again(&make().await).await;
    delivery::what_is_dropped_comes_again(&make().await).await;
    delivery::what_fails_too_often_is_put_aside(&make().await).await;
    delivery::keys_keep_their_order(&make().await).await;
    delivery::outputs_come_with_the_acknowledgement(&make().await).await;
}

fn event(topic: &str) -> EventBuilder {
    let source = "urn:wachter:conformance".parse().expect("a URN");
    Event::builder(source, &topic.parse().expect("a topic"))
}

fn numbered(number: u64) -> Event {
    event("conformance.number").json(&number.into()).build().expect("a number keeps the rules")
}

fn number_of(event: &Event) -> u64 {
    let data = event.data().to_json();
    data.and_then(|data| data.as_u64()).expect("events of this suite carry a number")
}

fn wanted(name: &str) -> Wanted {
    Wanted {
        name: name.to_owned(),
        topic: "conformance.>".to_owned(),
        ordered: false,
        from_beginning: false,
        attempts: 3,
    }
}

async fn inbox<P: Port>(port: &P, wanted: Wanted) -> P::Inbox {
    let asked = format!("{wanted:?}");
    match port.subscribe(wanted).await {
        Ok(inbox) => inbox,
        Err(error) => panic!("{asked} was refused: {error}"),
    }
}

async fn publish<P: Port>(port: &P, batch: Vec<Event>) -> Vec<bool> {
    match port.publish(batch).await {
        Ok(repeats) => repeats,
        Err(error) => panic!("not published: {error}"),
    }
}

async fn next<I: Inbox>(inbox: &I) -> I::Letter {
    inbox.next().await.expect("a delivery comes")
}

async fn ack<L: Letter>(letter: L, outputs: Vec<Event>) {
    if let Err(error) = letter.ack(outputs).await {
        panic!("not acknowledged: {error}");
    }
}
