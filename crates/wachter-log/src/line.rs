use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wachter_model::Level;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When, to the microsecond.
    pub time: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// Which part of the node: a path of modules.
    pub target: String,
    /// What happened.
    pub message: String,
    /// Particulars by name: texts, numbers and truth values.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}
