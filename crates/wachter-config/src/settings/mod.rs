//! What a node is told about itself: one file for each section.
//!
//! No section has a default in code: all of them stand in `defaults.yaml`, which is the lowest layer
//! and the only list of them. [`reserved`] says which keys the repository may not set.

mod agents;
mod api;
mod health;
mod journal;
mod log;
mod modules;
mod reserved;
mod scheduler;
mod sync;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wachter_model::{AgentName, ModuleName};

pub use agents::AgentSettings;
pub use api::{ApiSettings, Members, Roles};
pub use health::HealthSettings;
pub use journal::{DedupSettings, JournalSettings, RetentionSettings, SegmentSettings};
pub use log::{LogFormat, LogSettings};
pub use modules::ModuleSettings;
pub(crate) use reserved::{is_reserved, reserved};
pub use scheduler::{CrashLoopSettings, SchedulerSettings};
pub use sync::{BackoffSettings, SyncSettings};

/// The settings of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How the managed repository is followed.
    pub sync: SyncSettings,
    /// What is logged, and how long logs are kept.
    pub log: LogSettings,
    /// How long events are kept, and how repeats are told.
    pub journal: JournalSettings,
    /// How many runs there are at one time.
    pub scheduler: SchedulerSettings,
    /// Changes to single agents, by name.
    pub agents: BTreeMap<AgentName, AgentSettings>,
    /// Changes to all runs of a module, by name.
    pub modules: BTreeMap<ModuleName, ModuleSettings>,
    /// The interface on the node's socket.
    pub api: ApiSettings,
    /// From when on a node calls itself unwell.
    pub health: HealthSettings,
}
