//! Keys that belong to the owner of a host. The repository is signed by people who may not be the
//! owner, so it never loosens what the owner decided.

use wachter_document::{Fault, Node};

use crate::layer::LayerKind;

/// A key, and why nobody but the local file sets it.
const LOCAL: &[(&str, &str)] = &[
    ("confinement", "how modules are confined is the decision of the host's owner"),
    ("data", "where state is kept is the host's own"),
    ("egress", "what may leave the host is the decision of its owner"),
    ("grants", "the repository must not decide what its own modules may touch"),
    ("labels", "a host's labels decide what is meant for it, so others must not set them"),
    ("node", "a host's name decides what is meant for it, so others must not set it"),
    ("repository", "the repository must not say where it is fetched from, or with which secret"),
    ("roots", "trust must not come from what is trusted by it"),
];

/// The same, for keys that are settings.
const LOCAL_SETTINGS: &[(&[&str], &str)] =
    &[(&["api", "roles"], "who may command a host is the decision of its owner")];

/// The keys of a layer that it may not set.
pub(crate) fn reserved(layer: &LayerKind, settings: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !matches!(layer, LayerKind::Local) {
        for entry in settings.entries() {
            if let Some((key, reason)) = LOCAL.iter().find(|(key, _)| *key == entry.key) {
                let message = format!("`{key}` belongs to the local file of a node: {reason}");
                faults.push(Fault::new(entry.key_place, message));
            }
        }
    }
    if layer.is_of_repository() {
        for (path, reason) in LOCAL_SETTINGS {
            let Some((last, before)) = path.split_last() else { continue };
            let parent = settings.at(before.iter().copied());
            if let Some(entry) = parent.and_then(|node| node.entry(last)) {
                let message = format!(
                    "`{}` belongs to `settings` in the local file of a node: {reason}",
                    path.join(".")
                );
                faults.push(Fault::new(entry.key_place, message));
            }
        }
    }
    faults
}

/// Whether a key was spoken of as reserved, so that nobody needs to hear that it is unknown.
pub(crate) fn is_reserved(key: &str) -> bool {
    LOCAL.iter().any(|(known, _)| *known == key)
}
