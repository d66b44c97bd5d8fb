//! Module protocol, version 1: how a node talks with a module, in any language.
//!
//! The node writes one [`Request`] as JSON to the module's stdin and closes it. The module writes
//! [`Message`]s to stdout, one JSON object a line, each with exactly one key that says what it is:
//!
//! ```text
//! {"log": {"level": "info", "message": "looking at 3 folders"}}
//! {"progress": {"fraction": 0.5, "message": "2 of 3"}}
//! {"finding": {"type": "disk.full", "severity": "high", "confidence": 1, "subject": "/", …}}
//! {"result": {"changed": false, "output": {"folders": 3}}}
//! ```
//!
//! The last message is the only `result`. What is written to stderr is kept as log. A module that
//! ends without a result, writes something else, or more than its limits, has failed; what it said
//! until then is kept, but no event, finding or state of it is accepted.
//!
//! Limits: a request has at most [`MAX_REQUEST`] bytes, a line at most [`MAX_LINE`], the state at most
//! [`MAX_STATE`].

#[cfg(feature = "request")]
pub mod host;
mod idempotency;
mod message;
#[cfg(feature = "request")]
mod request;

pub use idempotency::IdempotencyKey;
pub use message::{
    LogLine, Message, MessageError, Metric, ModuleResult, Outcome, Progress, parse_line,
};
#[cfg(feature = "request")]
pub use request::{HostViews, ModuleIdentity, Request};

/// The most bytes of a request.
pub const MAX_REQUEST: usize = 16 << 20;

/// The most bytes of one line of output, without its line feed.
pub const MAX_LINE: usize = 2 << 20;

/// The most bytes of the state that a module keeps from run to run, as JSON.
pub const MAX_STATE: usize = 1 << 20;
