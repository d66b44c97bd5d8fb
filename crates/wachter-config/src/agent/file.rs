use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wachter_model::{AgentName, ModuleName, TopicFilter};

use crate::{Every, Overlap, Retry, Schedule, Window};

/// `config/agents/<name>.yaml`: a named worker.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentFile {
    /// The agent's name; the same as its file's.
    pub(crate) name: AgentName,
    /// What it is for; maintenance where left out.
    #[serde(default)]
    pub(crate) role: AgentRole,
    /// The module that it runs: a folder of `modules/`.
    pub(crate) module: ModuleName,
    /// `node`: every node that matches runs it. `fleet`: one node for each tick or event. Where left
    /// out, an agent that events wake is `fleet`, and others are `node`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<Scope>,
    /// What wakes it. Where left out, it runs on demand.
    #[serde(default)]
    pub(crate) on: TriggersFile,
    /// What the module is told.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) with: Map<String, Value>,
    /// How many of its runs there are at one time.
    #[serde(default)]
    pub(crate) concurrency: ConcurrencyFile,
    /// What becomes of a run that failed; nothing where left out.
    #[serde(default)]
    pub(crate) retry: Retry,
    /// A condition in CEL over `labels` and `node`: which nodes it is for. All where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nodes: Option<String>,
    /// When it may run; always where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<Window>,
}

/// What wakes an agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Triggers")]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TriggersFile {
    /// Short for `schedule: { every: … }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) every: Option<Every>,
    /// By time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schedule: Option<Schedule>,
    /// By events of these types, where `*` stands for a word and a last `>` for the rest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) events: Vec<TopicFilter>,
    /// A condition in CEL over `event`. An error means no.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub(crate) condition: Option<String>,
}

/// How many runs of an agent there are at one time.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Concurrency")]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConcurrencyFile {
    /// The most; 1 where left out.
    pub(crate) limit: NonZeroU32,
    /// An expression in CEL over `event`: only runs with equal values share the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// What becomes of a wake when there are that many.
    pub(crate) overlap: Overlap,
}

impl Default for ConcurrencyFile {
    fn default() -> Self {
        Self { limit: NonZeroU32::MIN, key: None, overlap: Overlap::default() }
    }
}

/// Who runs an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Every node that matches.
    Node,
    /// One node for each tick or event.
    Fleet,
}

/// What an agent is for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AgentRole {
    /// Looks for problems.
    Scanner,
    /// Makes sense of what was found.
    Analysis,
    /// Puts things right.
    Remediation,
    /// Watches.
    Monitoring,
    /// Tells people.
    Notification,
    /// Keeps the machine in order.
    #[default]
    Maintenance,
}
