use serde::{Deserialize, Serialize};

/// What becomes of ticks that nobody was there for: the node was down, its clock jumped forward, or
/// its machine slept.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// Nothing: the next one counts.
    Skip,
    /// One run stands for them all.
    #[default]
    RunOnce,
    /// Each gets its run, the oldest first, of as many of the latest as `scheduler.catch_up` says.
    RunAll,
}
