use std::time::Duration;

use jiff::Timestamp;

use super::{EventFilter, Retry, SubscriptionName};
use crate::Seq;

/// What a subscription is to be. [`SubscriptionOptions::new`] has the defaults, told below.
#[derive(Clone, Debug)]
pub struct SubscriptionOptions {
    /// Its name. The place in the journal belongs to the name; all else may change from one
    /// declaration to the next, and the newest holds.
    pub name: SubscriptionName,
    /// Which events it wants. All.
    pub filter: EventFilter,
    /// Where it starts when it is new. [`Start::Now`].
    pub start: Start,
    /// In what order. [`Order::Any`].
    pub order: Order,
    /// Deliveries that may be unsettled at once, over all members. 64.
    pub in_flight: usize,
    /// Events held in memory, waiting, being retried and in flight. 1,024, and never below
    /// `in_flight`. With [`Order::Key`] it bounds how far past a key that is held up others go on.
    pub window: usize,
    /// How long a delivery may take before it counts as failed. 30 s.
    pub ack_within: Duration,
    /// What becomes of a delivery that failed or was interrupted.
    pub retry: Retry,
    /// How old an event may grow while it waits for this subscription before retention may drop it.
    /// 30 days; `None` keeps it for ever, until the disk is full.
    pub lag_limit: Option<Duration>,
}

/// Where a subscription starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is published from now on.
    Now,
    /// With the oldest event that is there.
    Beginning,
    /// With this event.
    Seq(Seq),
    /// With the first event written at or after this time.
    Time(Timestamp),
}

/// Where what is delivered again ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where the subscription is.
    Here,
    /// With this event.
    Seq(Seq),
    /// With the last event written before this time.
    Time(Timestamp),
}

/// What is delivered again: what the subscription means of the events after one place, up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redelivery {
    /// The place before the first.
    pub after: Seq,
    /// The place of the last; no more than `after` where there is nothing.
    pub to: Seq,
}

/// What order deliveries keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// None: in the journal's order as far as members and retries let it.
    Any,
    /// Of events with the same `partitionkey` the next is delivered once the one before is settled.
    /// One that is given up lets the next go on. Events without a key are free.
    Key,
}

impl SubscriptionOptions {
    /// The defaults for `name`.
    #[must_use]
    pub fn new(name: SubscriptionName) -> Self {
        Self {
            name,
            filter: EventFilter::default(),
            start: Start::Now,
            order: Order::Any,
            in_flight: 64,
            window: 1_024,
            ack_within: Duration::from_secs(30),
            retry: Retry::default(),
            lag_limit: Some(Duration::from_secs(30 * 86_400)),
        }
    }

    pub(super) fn window(&self) -> usize {
        self.window.max(self.in_flight).max(1)
    }
}
