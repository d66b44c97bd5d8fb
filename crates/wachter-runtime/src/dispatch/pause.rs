use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wachter_bus::{Bus, KeyChange, ReadError};
use wachter_model::AgentName;

use super::outbox::set_key;

/// The bucket of pauses, by agent. A pause stays until somebody ends it, also while there is no such
/// agent: one that comes back with the next release is not to run behind a person's back.
const BUCKET: &str = "agent-pauses";

/// That a person holds an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Why; may be empty.
    pub reason: String,
    /// Who; empty where it was not told.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
}

impl Pause {
    /// In a sentence, for lists.
    pub(super) fn sentence(&self) -> String {
        match (self.reason.as_str(), self.by.as_str()) {
            ("", "") => "paused".to_owned(),
            ("", by) => format!("paused by {by}"),
            (reason, "") => reason.to_owned(),
            (reason, by) => format!("{reason} ({by})"),
        }
    }

    /// Keeps it.
    pub(super) fn begin(&self, agent: &AgentName) -> KeyChange {
        set_key(BUCKET, agent, serde_json::to_vec(self).ok())
    }

    /// Keeps that there is none.
    pub(super) fn end(agent: &AgentName) -> KeyChange {
        set_key(BUCKET, agent, None)
    }

    /// All that are kept. One that cannot be read counts: it was meant.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(super) async fn all(bus: &Bus) -> Result<BTreeMap<AgentName, Self>, ReadError> {
        let entries = bus.keys(BUCKET, "").await?.into_iter().filter_map(|entry| {
            let unreadable = || Self {
                reason: "what is kept of the pause cannot be read".to_owned(),
                by: String::new(),
                since: Timestamp::UNIX_EPOCH,
            };
            let pause = serde_json::from_slice(&entry.value).unwrap_or_else(|_| unreadable());
            Some((entry.key.parse().ok()?, pause))
        });
        Ok(entries.collect())
    }
}
