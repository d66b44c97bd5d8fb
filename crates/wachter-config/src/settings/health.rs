use serde::{Deserialize, Serialize};
use wachter_model::{ByteSize, Duration};

/// What `wachter status` warns of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthSettings {
    /// The repository was not asked for so long. A failure to reach it is warned of at once.
    pub fetch_age: Duration,
    /// Less than this is left of the time that the release is valid for.
    pub release_remaining: Duration,
    /// As many events, or more, could not be handled and wait for a person.
    pub dead_letters: u32,
    /// Less than this is free where the node keeps its state.
    pub disk_free: ByteSize,
}
