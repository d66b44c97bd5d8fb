use std::fmt;
use std::io::Write as _;

use serde::{Deserialize, Serialize};
use wachter_model::{AgentName, Digest, DigestWriter, RunId};

/// Names what a run is for: the same at every try at one event by one agent, whatever ended the tries
/// before. Whoever remembers it does nothing twice.
///
/// 64 lower-case hexadecimal digits: a SHA-256 (FIPS 180-4) over the agent's name and the event's
/// identity, which is its source and id (CloudEvents 1.0, "Required Attributes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct IdempotencyKey(Digest);

impl IdempotencyKey {
    /// Of an agent's work on the event that `source` and `id` name.
    #[must_use]
    pub fn of_event(agent: &AgentName, source: &str, id: &str) -> Self {
        Self::of(&["event", agent.as_str(), source, id])
    }

    /// Of a run that no event caused: each is for itself.
    #[must_use]
    pub fn of_run(run: RunId) -> Self {
        Self::of(&["run", &run.to_string()])
    }

    /// Each part goes with its length, so that no two lists of parts read alike.
    fn of(parts: &[&str]) -> Self {
        let mut hash = DigestWriter::new();
        for part in ["wachter idempotency key 1"].iter().chain(parts) {
            let written = write!(hash, "{}:{part}", part.len());
            written.expect("writing into a hash does not fail");
        }
        Self(hash.finish())
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_differs_has_another_key() {
        let key = |agent: &str, source: &str, id: &str| {
            IdempotencyKey::of_event(&agent.parse().unwrap(), source, id)
        };
        let of = [
            ("a", "/b", "c"),
            ("b", "/b", "c"),
            ("a", "/bc", ""),
            ("a", "/b", "d"),
            ("a", "/", "bc"),
            ("a", "/b1:", "c"),
        ];
        let keys: BTreeSet<_> =
            of.iter().map(|(agent, source, id)| key(agent, source, id)).collect();
        assert_eq!(keys.len(), of.len());
        // What a receiver has remembered must still be known to later versions.
        let first = "66721483";
        assert_eq!(key("a", "/b", "c").to_string()[..8], *first);
        let run = "01900000-0000-7000-8000-000000000000".parse().unwrap();
        assert_ne!(IdempotencyKey::of_run(run), key("a", "/b", "c"));
    }
}
