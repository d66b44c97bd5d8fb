use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Topic;

/// How bad a finding is, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing to do.
    Info,
    /// To be dealt with some time.
    Low,
    /// To be dealt with soon.
    Medium,
    /// To be dealt with today.
    High,
    /// To be dealt with now.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// How sure a detector is: 0 (a guess) to 1 (proof).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Confidence(#[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))] f64);

/// Why a number is not a confidence.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("a confidence lies between 0 and 1, not at {0}")]
pub struct ConfidenceError(f64);

impl Confidence {
    /// Proof.
    pub const CERTAIN: Self = Self(1.0);

    /// Takes a number from 0 to 1.
    ///
    /// # Errors
    /// Anything else, not-a-number included.
    pub fn new(value: f64) -> Result<Self, ConfidenceError> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(ConfidenceError(value)) }
    }

    /// The number, 0 to 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The lower of two: a grant caps what a module may claim.
    #[must_use]
    pub const fn at_most(self, cap: Self) -> Self {
        Self(self.0.min(cap.0))
    }
}

impl<'de> Deserialize<'de> for Confidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A detected problem, as a module reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What kind of problem: a dotted topic such as `disk.full`.
    #[serde(rename = "type")]
    pub kind: Topic,
    /// How bad it is.
    pub severity: Severity,
    /// How sure the module is.
    pub confidence: Confidence,
    /// What has the problem: a mount, a package, a file.
    pub subject: String,
    /// One sentence for a person.
    pub message: String,
    /// Stays the same while the problem is the same, so that repeats are seen as one.
    pub fingerprint: String,
    /// What shows it: measurements, log lines, references.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub evidence: serde_json::Value,
    /// True when a problem reported before has gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resolved: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_is_a_fraction() {
        assert!(Confidence::new(0.0).is_ok() && Confidence::new(1.0).is_ok());
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Confidence::new(bad).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Confidence>("1.5").is_err());
    }
}
