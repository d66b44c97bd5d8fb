//! Patterns: what to look for in records and when it is worth a finding, as data.
//!
//! A pattern tells which records it is about, and takes groups such as `address` out of them. Its
//! alarms count what matched by subject over a window of the records' own time, and become one
//! finding when there is enough and one more when it has been quiet for long enough.
//!
//! # Limits
//! - Subjects that are counted: [`AlarmLimits::subjects`]; the least recent is forgotten for a new one, and
//!   how many were is said.
//! - Findings that are open: [`AlarmLimits::open`].
//! - Entries of one window: the alarm's `count`, 1,000 at most.
//! - Groups of patterns that are gathered for programs: 64, whatever names records give themselves; programs that no
//!   pattern names share one.
//!
//! # Trade-offs
//! A window keeps the last `count` moments, no buckets: it is exact, and a clock that was set back
//! costs at most `count` further records until it counts again.

mod address;
mod alarm;
mod candidates;
mod document;
mod evidence;
mod matching;
mod shipped;
mod template;
mod window;

pub use alarm::{AlarmLimits, Alarms};
pub(crate) use alarm::{Forgotten, State};
pub use document::{Alarm, Pattern, PatternError, Requests};
pub(crate) use evidence::shown;
pub use matching::{Match, PatternSet};
pub use shipped::shipped;
