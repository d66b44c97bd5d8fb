use serde::{Deserialize, Serialize};

use super::Moment;

/// Units of systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Units {
    /// When they were asked.
    pub taken: Moment,
    /// How many are loaded.
    pub total: u32,
    /// In the order of their names; where there are too many, those that failed come before others.
    pub units: Vec<Unit>,
}

/// A unit of systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unit {
    /// Its name, as in `ssh.service`.
    pub name: String,
    /// What it says it is.
    #[serde(default)]
    pub description: String,
    /// Whether it could be loaded: `loaded`, `not-found`, `masked`.
    pub load: String,
    /// `active`, `inactive`, `activating`, `deactivating`, `reloading`, `failed`.
    pub active: String,
    /// More exactly, as its type has it: `running`, `exited`, `dead`, `auto-restart`.
    pub sub: String,
    /// How often systemd has started a service again by itself since somebody started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u64>,
    /// How the last execution of a service ended: `success`, `exit-code`, `signal`, `oom-kill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}
