use serde::{Deserialize, Serialize};

/// Pressure stall information: the share of the last ten seconds, in percent, in which some, or
/// all, tasks waited for the resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pressure {
    /// At least one task waited.
    pub some_percent: f64,
    /// All tasks waited.
    pub full_percent: f64,
    /// How long at least one task has waited, since boot.
    #[serde(default)]
    pub some_microseconds: u64,
    /// How long all tasks have waited, since boot.
    #[serde(default)]
    pub full_microseconds: u64,
}
