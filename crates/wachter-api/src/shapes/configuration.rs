use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wachter_model::{Digest, ModuleName};

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Configuration {
    /// A digest over all of it.
    pub digest: Digest,
    /// Every value by its dotted path.
    pub values: BTreeMap<String, OriginatedValue>,
}

/// A value, and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OriginatedValue {
    /// The value.
    pub value: Value,
    /// Who set it, the one in force first; those after it were overruled.
    pub origins: Vec<Origin>,
}

/// A place where a value was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The layer: `defaults`, `repository`, `group <name>`, `host`, `local file`, `environment`, `flags`
    /// or `agent`.
    pub layer: String,
    /// The file, variable or flag.
    pub place: String,
    /// The line in that file.
    pub line: Option<u64>,
}

/// Which values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationQuery {
    /// Only those at or below this dotted path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What came of reading the local file again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// Dotted paths of what is different now.
    pub changed: Vec<String>,
    /// What only a restart changes.
    pub needs_restart: Vec<String>,
}

/// A module of the release in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Module {
    /// Its name.
    pub name: ModuleName,
    /// Its version.
    pub version: String,
    /// The digest of its list of digests, where it may run, now or once what it waits for is there.
    pub digest: Option<Digest>,
    /// Why it may not run.
    pub refused: Option<String>,
    /// What it waits for before it may run, and what keeps that from being there.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// What it was granted.
    pub grant: Option<Value>,
}
