//! What the tests share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use wachter_bus::{
    Bus, Clock, Delivery, ManualClock, Options, Retry, Start, Subscription, SubscriptionName,
    SubscriptionOptions,
};
use wachter_model::{Event, EventBuilder};

/// A journal in a folder of its own, with a clock that the test moves.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<ManualClock>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let start = "2026-11-22T10:00:00Z".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { folder, clock: Arc::new(ManualClock::new(start)) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn options(&self) -> Options {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Options { clock, upkeep: Duration::from_secs(3_600), ..Options::new(self.path()) }
    }

    /// The files as they are now, as a process that is killed now would leave them. Nothing may be
    /// written meanwhile.
    pub(crate) fn crash(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["journal.db", "journal.db-wal"] {
            std::fs::copy(self.path().join(name), folder.path().join(name)).unwrap();
        }
        Self { folder, clock: Arc::clone(&self.clock) }
    }

    pub(crate) fn open(&self) -> Bus {
        self.open_with(|_| {})
    }

    pub(crate) fn open_with(&self, change: impl FnOnce(&mut Options)) -> Bus {
        let mut options = self.options();
        change(&mut options);
        Bus::open(options).unwrap()
    }
}

pub(crate) fn event(topic: &str) -> EventBuilder {
    Event::builder("/test".parse().unwrap(), &topic.parse().unwrap())
}

/// An event with this number in it.
pub(crate) fn numbered(number: u64) -> Event {
    event("test.number")
        .json(&number.into())
        .id(format!("n{number}").parse().unwrap())
        .build()
        .unwrap()
}

pub(crate) fn number_of(event: &Event) -> u64 {
    event.data().to_json().unwrap().as_u64().unwrap()
}

pub(crate) async fn publish(bus: &Bus, numbers: impl IntoIterator<Item = u64>) {
    let batch: Vec<_> = numbers.into_iter().map(numbered).collect();
    bus.publish(batch).await.unwrap();
}

pub(crate) fn name(text: &str) -> SubscriptionName {
    text.parse().unwrap()
}

/// From the beginning, with retries that wait one second and no less.
pub(crate) fn options(text: &str) -> SubscriptionOptions {
    SubscriptionOptions {
        start: Start::Beginning,
        retry: Retry { jitter: 0.0, attempts: 3, interruptions: 3, ..Retry::default() },
        ..SubscriptionOptions::new(name(text))
    }
}

pub(crate) async fn subscribe(bus: &Bus, text: &str) -> Subscription {
    bus.subscribe(options(text)).await.unwrap()
}

/// The next delivery, which must come.
pub(crate) async fn next(subscription: &Subscription) -> Delivery {
    tokio::time::timeout(Duration::from_secs(20), subscription.next())
        .await
        .expect("a delivery within 20 s")
        .unwrap()
}

/// Whether nothing comes, though the writer and the reader have done all that was asked of them.
pub(crate) async fn is_silent(bus: &Bus, subscription: &Subscription) -> bool {
    next_or_silence(bus, subscription).await.is_none()
}

/// The next delivery; `None` if nothing comes, though the writer and the reader have done all that was
/// asked of them.
pub(crate) async fn next_or_silence(bus: &Bus, subscription: &Subscription) -> Option<Delivery> {
    let next = subscription.next();
    tokio::pin!(next);
    // A turn may only have asked the reader or the writer; both answer in the order of questions.
    for _ in 0..4 {
        tokio::select! {
            biased;
            delivery = &mut next => return Some(delivery.unwrap()),
            () = async {
                bus.look_after().await.unwrap();
                drop(bus.event(wachter_bus::Seq::new(1)).await);
            } => {}
        }
    }
    None
}
