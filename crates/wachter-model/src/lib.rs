//! The words that every other room uses: identifiers, digests, units, events and findings.
//!
//! # Invariants
//! - This crate does no I/O, starts no thread and reads no clock.
//! - It knows no file format but the JSON shapes that serde derives here.
//! - A type comes here when a second crate needs it, not before.

mod chain;
mod digest;
mod event;
mod finding;
mod level;
mod name;
mod repository;
mod run;
mod topic;
mod units;

pub use chain::chain;
pub use digest::{Digest, DigestWriter, ParseDigestError};
pub use event::EmittedEvent;
pub use finding::{Confidence, ConfidenceError, Finding, Severity};
pub use level::Level;
pub use name::{AgentName, ModuleName, NameError, NodeName};
pub use repository::RepositoryId;
pub use run::RunId;
pub use topic::{Topic, TopicError, TopicFilter};
pub use units::{ByteSize, CpuShare, Duration, UnitError};
