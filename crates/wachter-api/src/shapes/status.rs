use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wachter_model::{NodeName, Severity};

use super::{Frozen, Release};

/// What the node is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The node.
    pub node: NodeName,
    /// The version of the software.
    pub version: String,
    /// Its process.
    pub process: u32,
    /// Since when it runs.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// The release in force; none before the first.
    pub release: Option<Release>,
    /// The numbers of all releases that were accepted, oldest first.
    #[serde(default)]
    pub accepted: Vec<u64>,
    /// Where a person went back to; none where the newest counts, or a pin.
    #[serde(default)]
    pub rolled_back: Option<RolledBack>,
    /// Why newer releases, trust or configuration were refused: a sentence each.
    pub refused: Vec<String>,
    /// When the repository was last asked.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_look: Option<Timestamp>,
    /// Why it could not be.
    pub fetch_error: Option<String>,
    /// Whether effects are stopped.
    pub frozen: Option<Frozen>,
    /// Who starts modules; none while it is away.
    pub launcher: Option<Launcher>,
    /// The store of events.
    pub journal: Journal,
    /// How many problems there are now, by severity.
    #[serde(default)]
    pub findings: BTreeMap<Severity, u64>,
    /// Runs under way.
    pub running: u32,
    /// Work that waits for its turn.
    pub queued: u32,
    /// What a person should look at: a sentence each.
    pub warnings: Vec<String>,
}

/// An earlier release is in force, until one is accepted that is newer than all that were known then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolledBack {
    /// The release that is in force.
    pub to: u64,
    /// The newest one at the time.
    pub from: u64,
}

/// Who starts modules, and what it can enforce.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Launcher {
    /// The profile of confinement.
    pub profile: String,
    /// Mechanisms that are not enforced here.
    pub not_enforced: BTreeSet<String>,
    /// Those of them that the owner accepted by name.
    pub accepted: BTreeSet<String>,
}

/// The store of events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Journal {
    /// The sequence number of the oldest event that is kept.
    pub first: u64,
    /// The sequence number of the newest.
    pub last: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Why nothing can be written at present; none when all is well.
    pub trouble: Option<String>,
    /// Events that cannot be read any more.
    pub lost: u64,
}

/// Whether the node is alive and able to work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Whether all of the following hold.
    pub healthy: bool,
    /// The journal takes events.
    pub journal: bool,
    /// There is a launcher.
    pub launcher: bool,
    /// A release is in force.
    pub release: bool,
}
