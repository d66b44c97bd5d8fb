//! What a node is told to do, read in layers and checked as a whole: settings and agents.
//!
//! [`Catalogue::load`] takes texts with what they are known by, and gives a catalogue, or everything
//! that is wrong with them. There is no half-taken configuration: who gets problems keeps the
//! catalogue from before. The layers are those of [`LayerKind`]; a later one wins, key by key: maps
//! join, lists and single values replace what was there.
//!
//! # Invariants
//! - No clock, and no I/O but a look into the time zone database.
//! - A key that this version does not carry out is an error, never passed over.
//! - What belongs to the owner of a host is taken from no layer of the managed repository: trust,
//!   grants, confinement, the source of secrets, and who may command the node.
//! - Every value knows the file and line that set it, through all layers.

mod agent;
mod catalogue;
mod difference;
mod files;
mod layer;
mod load;
mod overrides;
mod position;
mod problem;
mod schedule;
mod schema;
mod settings;
mod sources;

pub use agent::{
    Agent, AgentRole, Concurrency, InputFault, InputRefused, InputSchema, Presence, Scope,
    Triggers, node_environment,
};
pub use catalogue::{Catalogue, ConfigError, Origin, OriginatedValue};
pub use difference::{Change, difference};
pub use files::AGENTS;
pub use layer::LayerKind;
pub use problem::{Problem, ProblemSeverity, Problems};
pub use schedule::{
    Backoff, Cron, Every, EveryError, Missed, Overlap, ParseCronError, ParseWeekError,
    ParseZoneError, Retry, RetryError, Schedule, ScheduleError, Spread, Trigger, WeekRanges,
    Window, WindowError, Zone,
};
pub use schema::schemas;
pub use settings::{
    AgentSettings, ApiSettings, BackoffSettings, CrashLoopSettings, DedupSettings, HealthSettings,
    JournalSettings, LogFormat, LogSettings, Members, ModuleSettings, RetentionSettings, Roles,
    SchedulerSettings, SegmentSettings, Settings, SyncSettings,
};
pub use sources::{Module, Sources};
