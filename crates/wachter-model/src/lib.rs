//! The words that every other room uses: identifiers, digests, units, events and findings.
//!
//! # Features
//! All are on by default; what runs as root has none.
//! - `event`: the envelope of events, with its dates and its Base64, and what else has a date.
//! - `generate`: new identifiers, which take the system's clock and random numbers.
//! - `schema`: the types as JSON Schema.
//!
//! # Invariants
//! - This crate does no I/O, starts no thread and, but for new identifiers, reads no clock.
//! - It knows no file format but the JSON shapes that serde derives here.
//! - A type comes here when a second crate needs it, not before.

mod chain;
mod digest;
mod event;
mod finding;
mod level;
mod name;
#[cfg(feature = "event")]
mod open_finding;
mod repository;
mod run;
mod topic;
mod topic_index;
mod units;
mod uuid_text;

pub use chain::chain;
pub use digest::{Digest, DigestWriter, ParseDigestError};
pub use event::EmittedEvent;
#[cfg(feature = "event")]
pub use event::{
    AttributeError, AttributeName, AttributeValue, Event, EventBuilder, EventData, EventId,
    EventKind, JsonArray, JsonDocument, JsonObject, JsonText, JsonValue, MAX_EVENT_BYTES,
    ReadEventError, Source,
};
pub use finding::{Confidence, ConfidenceError, Finding, Severity};
pub use level::Level;
pub use name::{AgentName, ModuleName, NameError, NodeName, SecretName};
#[cfg(feature = "event")]
pub use open_finding::{Judgement, OpenFinding, Verdict};
pub use repository::{ParseRepositoryIdError, RepositoryId};
pub use run::{ParseRunIdError, RunId};
pub use topic::{Topic, TopicError, TopicFilter};
pub use topic_index::TopicIndex;
pub use units::{ByteSize, CpuShare, Duration, UnitError};
