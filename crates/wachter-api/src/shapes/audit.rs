use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
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
    /// The text of a checkpoint that somebody kept, to be compared by a check of the chain. Where a
    /// signature follows, it has to be one by a key of this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

/// A record of the journal with the digests that chain it to the one before.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// Its place.
    pub sequence: u64,
    /// When it was written, to the millisecond, by the clock of the node; none where it is damaged.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub at: Option<Timestamp>,
    /// The SHA-256 of its body, which is `event` to the byte; none where it is damaged.
    pub digest: Option<Digest>,
    /// The value of the chain after it, worked out from the last checkpoint before; none from a
    /// damaged record up to the next checkpoint.
    pub chain: Option<Digest>,
    /// The event; null where it is damaged.
    #[schemars(with = "serde_json::Value")]
    pub event: Box<RawValue>,
}

/// What a check of the chain came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditReport {
    /// Whether every digest, every link and every checkpoint holds.
    pub valid: bool,
    /// The identity of the journal: a UUID.
    pub journal: String,
    /// The first place that was checked.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// How many events that were.
    pub events: u64,
    /// How many signed checkpoints were met.
    pub checkpoints: u64,
    /// The value of the chain at the end of the journal.
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

/// A checkpoint of the journal: what it held up to an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalCheckpoint {
    /// The first event of the segment that it closes.
    pub first: u64,
    /// The last event of it.
    pub last: u64,
    /// How many events the segment had.
    pub events: u64,
    /// When it was made, to the millisecond, by the clock of the node.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// Its nine lines, over which the signature goes.
    pub text: String,
    /// An OpenSSH signature in the namespace `wachter-journal`; none where it could not be signed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Whether its events were dropped since, for their age or size.
    pub dropped: bool,
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
    /// What kind: `run`, `release`, `configuration`, `effects`, `agent` or `command`.
    pub kind: String,
    /// Who did it: an agent, a signer, a user.
    pub by: String,
    /// What, in a sentence.
    pub what: String,
}
