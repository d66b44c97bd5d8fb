//! Events that the bus itself publishes about itself.

use serde_json::json;
use wachter_model::{Event, Topic};

use crate::job::Transaction;
use crate::publish::Prepared;
use crate::{SeqRange, SubscriptionName};

/// The topic of the event that tells of events which a subscription will never have.
pub(crate) const LOST: &str = "bus.subscription.lost";

/// Retention dropped what a subscription had not had.
pub(crate) fn lost(
    transaction: &Transaction<'_>,
    subscription: &SubscriptionName,
    range: SeqRange,
) -> Prepared {
    let topic: Topic = LOST.parse().expect("a constant of words and dots");
    let source = format!("urn:uuid:{}", transaction.hub.journal);
    let event = Event::builder(source.parse().expect("a UUID makes a URN"), &topic)
        .subject(subscription.as_str())
        .time(crate::clock::from_millis(transaction.now))
        .json(&json!({ "subscription": subscription, "first": range.first, "last": range.last }))
        .build()
        .expect("a name of a subscription has no character that an attribute may not hold");
    let mut prepared = transaction.hub.preparation.all(vec![event]);
    prepared
        .as_mut()
        .ok()
        .and_then(Vec::pop)
        .expect("its topic is one and its few bytes are below any limit")
}
