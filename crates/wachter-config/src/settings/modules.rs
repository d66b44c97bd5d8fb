use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wachter_protocol::LimitsAsked;

/// Changes to all runs of one module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModuleSettings {
    /// Input that an agent's `with` is laid over.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub with: Map<String, Value>,
    /// Limits below those that the module's manifest asks for; never above.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: LimitsAsked,
}

fn is_default(limits: &LimitsAsked) -> bool {
    *limits == LimitsAsked::default()
}
