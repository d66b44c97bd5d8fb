use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use wachter_model::{ByteSize, Duration};

/// How long events are kept, and how repeats are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalSettings {
    /// What is kept. Whole segments go, the oldest first.
    pub retention: RetentionSettings,
    /// Within what an event of the same source and id is the same event.
    pub dedup: DedupSettings,
    /// When a segment is closed and signed.
    pub segment: SegmentSettings,
    /// The largest event, as JSON.
    pub max_event: ByteSize,
    /// What may wait to be written. Beyond it, publishers wait.
    pub queue: ByteSize,
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionSettings {
    /// Segments whose last event is older go.
    pub age: Duration,
    /// Segments go while all together are larger.
    pub size: ByteSize,
}

/// Within what an event of the same source and id is the same event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DedupSettings {
    /// How many of the newest identities are remembered at least.
    pub ids: NonZeroU64,
    /// How long an identity is remembered at most.
    pub age: Duration,
}

/// When a segment is closed and signed; the first bound that is met counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentSettings {
    /// Events in it.
    pub events: NonZeroU64,
    /// Bytes of its events.
    pub size: ByteSize,
    /// Age of its first event.
    pub age: Duration,
}
