use std::fmt;

use serde::{Deserialize, Serialize};

/// How much a log line matters, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every step, for the author of the code.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What a person would want to know afterwards.
    Info,
    /// Something went wrong and was recovered.
    Warn,
    /// Something went wrong and someone must act.
    Error,
    /// The component cannot do its work at all.
    Critical,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
        })
    }
}
