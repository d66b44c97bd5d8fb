//! The event envelope: CloudEvents 1.0 in its JSON format, and what a module emits.

#[cfg(feature = "event")]
mod attribute;
#[cfg(feature = "event")]
mod data;
mod emitted;
#[cfg(feature = "event")]
mod envelope;
#[cfg(feature = "event")]
mod extensions;
#[cfg(feature = "event")]
mod json_document;
#[cfg(feature = "event")]
mod json_index;
#[cfg(feature = "event")]
mod json_text;
#[cfg(feature = "event")]
mod quote;
#[cfg(feature = "event")]
mod read;
#[cfg(feature = "event")]
mod uri;
#[cfg(feature = "event")]
mod write;

#[cfg(feature = "event")]
pub use attribute::{AttributeError, AttributeName, AttributeValue, EventId, Source};
#[cfg(feature = "event")]
pub use data::EventData;
pub use emitted::EmittedEvent;
#[cfg(feature = "event")]
pub use envelope::{Event, EventBuilder, MAX_EVENT_BYTES};
#[cfg(feature = "event")]
pub use extensions::EventKind;
#[cfg(feature = "event")]
pub use json_document::{JsonArray, JsonDocument, JsonObject, JsonValue};
#[cfg(feature = "event")]
pub use json_text::JsonText;
#[cfg(feature = "event")]
pub use read::ReadEventError;
