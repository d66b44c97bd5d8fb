use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Schedule;

/// Changes to one agent that this node makes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentSettings {
    /// Whether it runs here; it does where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Keys laid over the agent's `with`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub with: Map<String, Value>,
    /// Another schedule instead of the agent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}
