use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{AgentName, Digest, Finding, ModuleName, RunId};

/// A problem that was reported and has not gone, as the node remembers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OpenFinding {
    /// What it is known by: 16 hexadecimal digits, see [`OpenFinding::id_of`].
    pub id: String,
    /// The agent that reported it.
    pub agent: AgentName,
    /// The module that the agent ran.
    pub module: ModuleName,
    /// As it was last reported.
    pub finding: Finding,
    /// When it was first reported.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub since: Timestamp,
    /// When it was last reported.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub seen: Timestamp,
    /// How often it was reported.
    pub reports: u64,
    /// The run that last reported it.
    pub run: RunId,
    /// What a person made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
}

impl OpenFinding {
    /// What a finding of an agent is known by: the first 8 bytes of the SHA-256 of the agent's name, a
    /// zero byte and the fingerprint.
    #[must_use]
    pub fn id_of(agent: &AgentName, fingerprint: &str) -> String {
        let mut bytes = agent.as_str().as_bytes().to_vec();
        bytes.push(0);
        bytes.extend_from_slice(fingerprint.as_bytes());
        let mut digits = Digest::of(&bytes).to_string();
        digits.truncate(16);
        digits
    }

    /// Whether a person said that it is none.
    #[must_use]
    pub fn is_false(&self) -> bool {
        self.judgement.as_ref().is_some_and(|judgement| judgement.verdict == Verdict::FalsePositive)
    }
}

/// What a person made of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Judgement {
    /// What it is.
    pub verdict: Verdict,
    /// Who says so.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub time: Timestamp,
}

/// Whether a finding is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// There is no such problem.
    FalsePositive,
    /// There is.
    Confirmed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_known_by_agent_and_fingerprint() {
        let id = |agent: &str, fingerprint: &str| {
            OpenFinding::id_of(&agent.parse().unwrap(), fingerprint)
        };
        let one = id("monitor", "disk.full:/");
        assert_eq!(one.len(), 16);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
        assert_eq!(one, id("monitor", "disk.full:/"));
        assert_ne!(one, id("monitor", "disk.full:/var"));
        assert_ne!(one, id("other", "disk.full:/"));
        // The parts cannot be shifted against each other.
        assert_ne!(id("a", "bc"), id("ab", "c"));
    }
}
