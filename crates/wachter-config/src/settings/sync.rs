use serde::{Deserialize, Serialize};
use wachter_model::Duration;

/// How the managed repository is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncSettings {
    /// The time from one fetch to the next.
    pub interval: Duration,
    /// By how much a fetch may be late, so that not all nodes ask at once.
    pub jitter: Duration,
    /// How long a fetch that failed is waited with.
    pub backoff: BackoffSettings,
}

/// Times that double with every failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackoffSettings {
    /// After the first failure.
    pub initial: Duration,
    /// The longest.
    pub max: Duration,
}
