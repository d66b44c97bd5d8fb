use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wachter_model::{AgentName, Digest, Finding, ModuleName, RunId};

use super::StoredEvent;

/// One execution of a module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// The run.
    pub run: RunId,
    /// The agent; none of a run by hand.
    pub agent: Option<AgentName>,
    /// The event that woke it, as `source` and `id`.
    pub cause: Option<String>,
    /// The module.
    pub module: ModuleName,
    /// Which of its versions: the digest of its list of digests.
    pub module_digest: Digest,
    /// When it began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// `succeeded`, `failed`, `refused`, `not-begun` or `cancelled`.
    pub outcome: String,
    /// Whether anything is different from before.
    pub changed: bool,
    /// Whether effects were withheld.
    pub dry_run: bool,
    /// Why it did not succeed; what the module said, where it did.
    pub message: Option<String>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What was emitted; left out of lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<StoredEvent>,
    /// Everything else that is kept: input digest, grant, output, metrics, connections, usage.
    pub record: Value,
}

/// Which runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunsQuery {
    /// Of this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// Of this module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleName>,
    /// With this outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Begun at or after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// At most so many, newest first; 20 where left out, 1,000 and 16 MiB of records at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A run that a person made by hand, with a launcher of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishedRun {
    /// Its record, in format version 1. It must say that nobody but a person caused it.
    pub record: Value,
}
