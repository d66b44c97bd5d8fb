//! What goes over the wire, one part of the interface a file.

mod agents;
mod audit;
mod configuration;
mod dead_letters;
mod events;
mod findings;
mod logs;
mod release;
mod runs;
mod status;

pub use agents::{Agent, AgentName, AgentState, ExplainRoutes, Pause, Request, RouteExplanation};
pub use audit::{
    AuditQuery, AuditRecord, AuditReport, Change, ChangesQuery, Corruption, JournalCheckpoint,
};
pub use configuration::{
    Configuration, ConfigurationQuery, Module, Origin, OriginatedValue, Reloaded,
};
pub use dead_letters::{DeadLetter, DeadLettersQuery, Retried};
pub use events::{
    Ask, EventsQuery, FollowQuery, Replay, ReplayReport, Send, Sent, StoredEvent, Subscription,
    Trace, TracedEvent,
};
pub use findings::{FindingsQuery, JudgeFinding, ReportedFinding};
pub use logs::{LogLine, LogsQuery};
pub use release::{ApplyBundle, Freeze, Frozen, Pin, Release, ReleaseReport, Rollback};
pub use runs::{FinishedRun, Run, RunsQuery};
pub use status::{Health, Journal, Launcher, RolledBack, Status};
