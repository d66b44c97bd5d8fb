use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A release that was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// Its sequence number.
    pub sequence: u64,
    /// Its commit, in hexadecimal.
    pub commit: String,
    /// Who signed it.
    pub signers: Vec<String>,
    /// When it was accepted.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub accepted_at: Timestamp,
    /// Until when it was meant to last.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub not_after: Option<Timestamp>,
    /// Until when the node stays on it, where it was pinned.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub pinned_until: Option<Timestamp>,
}

/// Which release to go back to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Its sequence number; the one before the present where left out.
    #[serde(default)]
    pub to: Option<u64>,
}

/// Where to stay, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The release; the one in force where left out.
    #[serde(default)]
    pub sequence: Option<u64>,
    /// Until when.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: Timestamp,
}

/// A Git bundle on the node's own disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyBundle {
    /// Its absolute path; the node must be able to read it.
    pub path: String,
}

/// What came of looking for a release, or of choosing one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseReport {
    /// The release in force now.
    pub release: Option<Release>,
    /// Whether that is another than before.
    pub changed: bool,
    /// What was refused on the way: a sentence each.
    pub refused: Vec<String>,
    /// Modules of it that may not run here: a sentence each.
    pub held: Vec<String>,
}

/// Why to stop effects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// For whoever finds the node frozen.
    pub reason: String,
}

/// Effects are stopped; detection goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Frozen {
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// Since when.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
}
