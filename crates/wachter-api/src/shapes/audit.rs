use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wachter_model::Digest;

/// Which part of the journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// From this place on; from the oldest kept where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Up to this place; to the newest where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// A record of the journal with the digests that chain it to the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// Its place.
    pub sequence: u64,
    /// The SHA-256 of its body as stored.
    pub digest: Digest,
    /// The value of the chain after it.
    pub chain: Digest,
    /// The event.
    pub event: Value,
}

/// What a check of the chain came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditReport {
    /// Whether every digest, every link and every checkpoint holds.
    pub valid: bool,
    /// The first place that was checked.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// How many events that were.
    pub events: u64,
    /// How many signed checkpoints were met.
    pub checkpoints: u64,
    /// The value of the chain at the end.
    pub chain: Option<Digest>,
    /// What does not hold.
    pub corruptions: Vec<Corruption>,
}

/// A place where the journal is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Corruption {
    /// From here…
    pub first: u64,
    /// …to here.
    pub last: u64,
    /// What is wrong, in a sentence.
    pub what: String,
}

/// Since when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangesQuery {
    /// From this moment on; the last hour where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
}

/// Something that was changed on this host, or in what the node follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// Its place in the journal.
    pub sequence: u64,
    /// What kind: `run`, `release`, `configuration`, `command`.
    pub kind: String,
    /// Who did it: an agent, a signer, a user.
    pub by: String,
    /// What, in a sentence.
    pub what: String,
}
