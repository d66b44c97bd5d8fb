use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An event that a subscription gave up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Its number among the dead letters.
    pub id: u64,
    /// Who gave it up.
    pub subscription: String,
    /// Its place in the journal.
    pub sequence: u64,
    /// Why.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// When it was last handed to its subscription again; it stays here until that handles it.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub retried: Option<Timestamp>,
    /// The event itself; null where its copy is damaged.
    pub event: Value,
}

/// Which dead letters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLettersQuery {
    /// Of this subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// At most so many; 100 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A dead letter is delivered once more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Retried {
    /// To whom.
    pub subscription: String,
    /// Its place in the journal.
    pub sequence: u64,
}
