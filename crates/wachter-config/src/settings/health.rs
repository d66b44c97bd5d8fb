use serde::{Deserialize, Serialize};
use wachter_model::{ByteSize, Duration};

/// From when on a node calls itself unwell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthSettings {
    /// The repository was not reached for so long.
    pub fetch_age: Duration,
    /// So much of the time that a release is valid for remains.
    pub release_remaining: Duration,
    /// So many events could not be handled and wait for a person.
    pub dead_letters: u32,
    /// Less than this is free where the node keeps its state.
    pub disk_free: ByteSize,
}
