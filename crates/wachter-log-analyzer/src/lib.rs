//! Log analysis for a module: what was written since the last run, what it says, and what is new in it.
//!
//! # Invariants
//! - No line is read twice and none is left out; what could not be read is said.
//! - Memory has a limit that no log can raise.
//! - The same records in the same order give the same findings.

mod anomaly;
mod model;
mod module;
mod pattern;
mod record;
mod source;
mod template;

pub use anomaly::AnomalyKind;
pub use model::{Anomaly, Evidence, Limits, Model, Progress, Template};
pub use module::{Behind, InputLimits, Judgement, LogAnalyzer, Source, Start};
pub use pattern::{
    Alarm, AlarmLimits, Alarms, Match, Pattern, PatternError, PatternSet, Requests, shipped,
};
pub use record::{Calendar, Entry, Record, Request};
