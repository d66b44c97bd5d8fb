use serde::{Deserialize, Serialize};
use wachter_model::{ByteSize, Duration, Level};

/// What is logged, and how long logs are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// The least level that is written.
    pub level: Level,
    /// How a line is written.
    pub format: LogFormat,
    /// A file that grows larger is closed, and the next one begun.
    pub max_size: ByteSize,
    /// A file that grows older is closed, and the next one begun.
    pub max_age: Duration,
    /// What all files may take together; the oldest go first.
    pub total: ByteSize,
}

/// How a line of a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}
