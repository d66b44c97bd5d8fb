use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::Catalogue;

/// A value that two catalogues do not share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Its dotted path, as in [`OriginatedValue`](crate::OriginatedValue).
    pub path: String,
    /// The value before; none where it is new.
    pub before: Option<Value>,
    /// The value after; none where it is gone.
    pub after: Option<Value>,
}

/// What would change for a host, by path.
#[must_use]
pub fn difference(before: &Catalogue, after: &Catalogue) -> Vec<Change> {
    let values = |catalogue: &Catalogue| -> BTreeMap<String, Value> {
        let values = catalogue.merged.leaves().into_iter();
        let mut values: BTreeMap<_, _> =
            values.map(|(path, node)| (path, node.to_json())).collect();
        for (name, file) in &catalogue.agent_files {
            // An agent that does not run here is nothing to this host.
            if catalogue.agents.contains_key(name) {
                let leaves = file.leaves().into_iter();
                values.extend(
                    leaves.map(|(path, node)| (format!("agent.{name}.{path}"), node.to_json())),
                );
            }
        }
        values
    };
    let (mut before, after) = (values(before), values(after));
    let mut changes = Vec::new();
    for (path, after) in after {
        match before.remove(&path) {
            Some(before) if before == after => {}
            before => changes.push(Change { path, before, after: Some(after) }),
        }
    }
    let gone = before.into_iter();
    changes.extend(gone.map(|(path, before)| Change { path, before: Some(before), after: None }));
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    changes
}
