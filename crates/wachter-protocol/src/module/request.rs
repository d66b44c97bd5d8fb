use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use wachter_model::{ModuleName, RunId};

use super::IdempotencyKey;
use crate::HostView;

/// What a module reads from stdin: everything it needs to know, in one JSON object.
///
/// Later versions of protocol 1 may add keys; a module ignores those that it does not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Request {
    /// The protocol's version: 1.
    pub protocol: u32,
    /// This execution.
    pub run: RunId,
    /// What the run is for: the same again where the run before it was cut off or failed, for whoever
    /// must do nothing twice. A node always sends one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The module itself.
    pub module: ModuleIdentity,
    /// What the agent or the caller hands in, as the module's input schema has it.
    #[serde(default)]
    pub input: Value,
    /// The event that caused the run, if one did, as CloudEvents JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// The snapshots of the host that were granted.
    #[serde(default)]
    pub host: HostViews,
    /// What the module returned as `state` from its last accepted run; null at the first.
    #[serde(default)]
    pub state: Value,
    /// Nothing may be changed: say what would be.
    #[serde(default)]
    pub dry_run: bool,
    /// When the run is stopped: RFC 3339, UTC.
    pub deadline: String,
}

/// Which module a request is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModuleIdentity {
    /// Its name.
    pub name: ModuleName,
    /// Its version.
    pub version: String,
}

// Held as JSON: a tree of a thousand processes would be many times its text, and is read once, if at all.
/// Snapshots of the host, taken by the node just before the run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HostViews {
    /// A snapshot for each view granted, of the types in [`host`](super::host).
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "super::host::ViewsSchema"))]
    pub views: BTreeMap<HostView, Box<RawValue>>,
    /// What could not be seen, and why: one sentence each.
    #[serde(default)]
    pub missing: Vec<String>,
}

impl PartialEq for HostViews {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.views.iter().zip(&other.views);
        self.missing == other.missing
            && self.views.len() == other.views.len()
            && pairs.all(|(ours, theirs)| ours.0 == theirs.0 && ours.1.get() == theirs.1.get())
    }
}
