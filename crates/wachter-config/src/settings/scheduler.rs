use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use wachter_model::Duration;

/// How many runs there are at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulerSettings {
    /// Runs at one time, of all agents together.
    pub concurrency: NonZeroU32,
    /// Runs that may wait for their turn. Beyond it, events stay where they are and ticks count as
    /// missed.
    pub queue: NonZeroU32,
    /// The most runs that `missed: run-all` makes up for at once.
    pub catch_up: NonZeroU32,
    /// When an agent counts as failing over and over.
    pub crash_loop: CrashLoopSettings,
}

/// When an agent counts as failing over and over, and how long it pauses then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrashLoopSettings {
    /// Failures in a row.
    pub failures: NonZeroU32,
    /// Within this time.
    pub within: Duration,
    /// The first pause, which doubles with every further failure.
    pub pause: Duration,
    /// The longest pause.
    pub max: Duration,
}
