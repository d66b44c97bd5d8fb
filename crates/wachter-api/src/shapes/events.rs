use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wachter_model::Topic;

/// An event in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoredEvent {
    /// Its place; numbers rise, and may have gaps after a loss only.
    pub sequence: u64,
    /// The event: CloudEvents 1.0 in JSON.
    pub event: Value,
}

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Topics, joined by commas; `*` stands for a word, a last `>` for the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Kept at or after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// After this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most so many: the newest ones, oldest of them first; 50 where left out, 1,000 and 16 MiB at
    /// most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Which events to be told of as they come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowQuery {
    /// Topics, joined by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// After this place; from now on where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// An event to take in. The node stamps `source`, `id` and `time`, and `sentby` with the sender's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// Its topic.
    #[serde(rename = "type")]
    pub kind: Topic,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What it says: any JSON.
    #[serde(default)]
    pub data: Value,
    /// Events with the same key are handled in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    /// The sender's own identifier: sent twice with the same one, it is taken once. Those of one user
    /// are nothing to another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// An event was taken, durably.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// Its identifier.
    pub id: String,
    /// Its place.
    pub sequence: u64,
    /// Whether it was known already; then nothing new came of it.
    pub duplicate: bool,
}

/// A question to whoever answers this topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Its topic.
    #[serde(rename = "type")]
    pub kind: Topic,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What it says.
    #[serde(default)]
    pub data: Value,
    /// How long to wait for the answer, in milliseconds; 30,000 where left out, 600,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// What is to be delivered once more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// The subscription: an agent's name.
    pub subscription: String,
    /// From this place on, or…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// …from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// Up to this place, or…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// …up to what was written before this moment; where both are left out, up to what it has had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub until: Option<Timestamp>,
}

/// What a replay comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayReport {
    /// Events that will be delivered once more.
    pub events: u64,
    /// Whether effects are withheld.
    pub dry_run: bool,
}

/// A durable cursor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Subscription {
    /// Its name.
    pub name: String,
    /// Everything up to this place is done with.
    pub floor: u64,
    /// Deliveries under way.
    pub in_flight: u64,
    /// Events that it has not looked at, matching or not, and those that wait for another try.
    pub behind: u64,
    /// Those that were given up.
    pub dead_letters: u64,
}

/// An event and what followed from it. A list, since a tree may be deeper than readers of JSON go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trace {
    /// Causes stand before their effects. The first is the oldest cause that is known.
    pub events: Vec<TracedEvent>,
    /// Whether these are all: about 10,000 are shown at most.
    pub complete: bool,
}

/// One event of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TracedEvent {
    /// The event.
    pub event: StoredEvent,
    /// Whether this is the one that was asked for.
    pub asked: bool,
    /// Milliseconds since the first event.
    pub milliseconds: i64,
    /// The place of its cause in the list, from 0; null for the first.
    pub cause: Option<usize>,
}
