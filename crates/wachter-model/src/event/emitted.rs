use serde::{Deserialize, Serialize};

use crate::Topic;

/// An event as a module emits it. The node adds what a module must not choose: source, identity,
/// time and cause (CloudEvents 1.0 attributes `source`, `id`, `time`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EmittedEvent {
    /// CloudEvents `type`; must be one that the module's manifest names under `emits`.
    #[serde(rename = "type")]
    pub kind: Topic,
    /// CloudEvents `subject`: what the event is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// CloudEvents `data`: any JSON.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub data: serde_json::Value,
}
