use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wachter_model::Level;

/// A line of the node's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// Which part of the node, or which agent.
    pub target: String,
    /// What happened.
    pub message: String,
    /// Particulars by name.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub fields: Value,
}

/// Which lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogsQuery {
    /// Written at or after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// Of this level or above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The last so many; 100 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Goes on with new lines as they come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
}
