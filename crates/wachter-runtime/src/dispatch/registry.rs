//! What the node has told of its agents, so that it tells it once, and how often they failed in a row:
//! over restarts, of the launcher too.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wachter_bus::{Bus, KeyChange, ReadError};
use wachter_config::Agent;
use wachter_model::{AgentName, Digest};

use super::outbox::set_key;
use crate::schedule::FailureRow;

/// The bucket of what was told, by agent.
const BUCKET: &str = "agents";

/// What was told of one agent. The version of this format is 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registered {
    version: u32,
    /// Of what it was declared with.
    pub(super) definition: Digest,
    /// Why its module may not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) held: Option<String>,
    /// Whether it fails over and over.
    #[serde(default)]
    pub(super) degraded: bool,
    /// How often it failed in a row, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) row: Option<FailureRow>,
}

/// What was told of all agents.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: BTreeMap<AgentName, Registered>,
    changed: BTreeSet<AgentName>,
}

impl Registry {
    /// Reads what an earlier life of this node has told. What cannot be read counts as not told.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(super) async fn read(bus: &Bus) -> Result<Self, ReadError> {
        let entries = bus.keys(BUCKET, "").await?.into_iter().filter_map(|entry| {
            let told = serde_json::from_slice::<Registered>(&entry.value).ok()?;
            Some((entry.key.parse().ok()?, told))
        });
        Ok(Self { entries: entries.collect(), changed: BTreeSet::new() })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &AgentName> {
        self.entries.keys()
    }

    pub(super) fn of(&self, agent: &AgentName) -> Option<&Registered> {
        self.entries.get(agent)
    }

    /// Takes note of what an agent is; says whether that is new.
    pub(super) fn register(&mut self, agent: &AgentName, definition: Digest) -> bool {
        let known = self.entries.get(agent);
        if known.is_some_and(|known| known.definition == definition) {
            return false;
        }
        let fresh =
            || Registered { version: 1, definition, held: None, degraded: false, row: None };
        let known = known.cloned().unwrap_or_else(fresh);
        self.entries.insert(agent.clone(), Registered { definition, ..known });
        self.changed.insert(agent.clone());
        true
    }

    /// Takes note of a change to what was told.
    pub(super) fn change(&mut self, agent: &AgentName, change: impl FnOnce(&mut Registered)) {
        if let Some(entry) = self.entries.get_mut(agent) {
            change(entry);
            self.changed.insert(agent.clone());
        }
    }

    /// Takes note of how often an agent failed in a row.
    pub(super) fn failed(&mut self, agent: &AgentName, row: Option<FailureRow>) {
        if self.of(agent).is_some_and(|known| known.row != row) {
            self.change(agent, |told| told.row = row);
        }
    }

    /// Forgets an agent; says whether it was there.
    pub(super) fn remove(&mut self, agent: &AgentName) -> bool {
        let removed = self.entries.remove(agent).is_some();
        if removed {
            self.changed.insert(agent.clone());
        }
        removed
    }

    /// What is to be kept.
    pub(super) fn changes(&self) -> Vec<KeyChange> {
        let change = |agent: &AgentName| {
            let value = self.entries.get(agent).and_then(|entry| serde_json::to_vec(entry).ok());
            set_key(BUCKET, agent, value)
        };
        self.changed.iter().map(change).collect()
    }

    /// It was kept.
    pub(super) fn kept(&mut self) {
        self.changed.clear();
    }
}

/// What an agent is, for people and for comparison. Its input is told by its digest: it may be large.
pub(super) fn definition(agent: &Agent) -> Value {
    let text = |expression: &Option<std::sync::Arc<wachter_expression::Expression>>| {
        expression.as_ref().map(|expression| expression.text().to_owned())
    };
    let events: Vec<String> = agent.on.events.iter().map(ToString::to_string).collect();
    json!({
        "role": agent.role,
        "module": agent.module,
        "scope": agent.scope,
        "schedule": agent.on.schedule,
        "events": events,
        "where": text(&agent.on.condition),
        "concurrency": {
            "limit": agent.concurrency.limit,
            "key": text(&agent.concurrency.key),
            "overlap": agent.concurrency.overlap,
        },
        "retry": agent.retry,
        "window": agent.window,
        "limits": agent.limits,
        "input": Digest::of(agent.with.to_string().as_bytes()),
    })
}
