//! The extension attributes that have a meaning here. Their values in a foreign event may be
//! anything that CloudEvents allows; what is not of the shape told here reads as absent.

use std::fmt;
use std::str::FromStr;

use super::{AttributeValue, Event, EventBuilder, EventId};

/// What kind of message an event is: the extension attribute `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// Somebody is asked to do something.
    Command,
    /// Something happened.
    Event,
    /// Somebody is asked to tell something.
    Query,
    /// The answer to a command or a query.
    Response,
}

impl EventKind {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Command, "command"),
        (Self::Event, "event"),
        (Self::Query, "query"),
        (Self::Response, "response"),
    ];
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.iter().find(|(kind, _)| kind == self);
        f.pad(named.map_or("", |(_, name)| name))
    }
}

impl FromStr for EventKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(kind, _)| *kind).ok_or(())
    }
}

const KIND: &str = "kind";
const TARGET: &str = "target";
const CORRELATION: &str = "correlationid";
const CAUSATION: &str = "causationid";
const PARTITION: &str = "partitionkey";
const TRACE: &str = "traceparent";

impl Event {
    fn text(&self, name: &str) -> Option<&str> {
        self.extension(name).and_then(AttributeValue::as_text).filter(|text| !text.is_empty())
    }

    /// Extension `kind`; an event without one is an [`EventKind::Event`].
    #[must_use]
    pub fn kind(&self) -> EventKind {
        self.text(KIND).and_then(|text| text.parse().ok()).unwrap_or(EventKind::Event)
    }

    /// Extension `target`: for whom a command or query is.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.text(TARGET)
    }

    /// Extension `correlationid`: the `id` of the event that began it all.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.text(CORRELATION)
    }

    /// Extension `causationid`: the `id` of the event that led to this one.
    #[must_use]
    pub fn causation_id(&self) -> Option<&str> {
        self.text(CAUSATION)
    }

    /// Extension `partitionkey`: events of one key keep their order.
    #[must_use]
    pub fn partition_key(&self) -> Option<&str> {
        self.text(PARTITION)
    }

    /// Extension `traceparent` (W3C Trace Context, section 3.2), if it has that form.
    #[must_use]
    pub fn trace_parent(&self) -> Option<&str> {
        self.text(TRACE).filter(|text| is_trace_parent(text))
    }
}

impl EventBuilder {
    fn text(self, name: &str, text: impl Into<String>) -> Self {
        self.extension(name, AttributeValue::Text(text.into()))
    }

    /// Sets `kind`.
    #[must_use]
    pub fn kind(self, kind: EventKind) -> Self {
        self.text(KIND, kind.to_string())
    }

    /// Sets `target`.
    #[must_use]
    pub fn target(self, target: impl Into<String>) -> Self {
        self.text(TARGET, target)
    }

    /// Sets `correlationid`.
    #[must_use]
    pub fn correlation_id(self, id: impl Into<String>) -> Self {
        self.text(CORRELATION, id)
    }

    /// Sets `causationid`.
    #[must_use]
    pub fn causation_id(self, id: &EventId) -> Self {
        self.text(CAUSATION, id.as_str())
    }

    /// Says that `cause` led to this event: sets `causationid`, and takes over its `correlationid`,
    /// or its `id` where it has none.
    #[must_use]
    pub fn caused_by(self, cause: &Event) -> Self {
        let root = cause.correlation_id().unwrap_or_else(|| cause.id().as_str()).to_owned();
        self.causation_id(cause.id()).correlation_id(root)
    }

    /// Sets `partitionkey`.
    #[must_use]
    pub fn partition_key(self, key: impl Into<String>) -> Self {
        self.text(PARTITION, key)
    }

    /// Sets `traceparent` (W3C Trace Context).
    #[must_use]
    pub fn trace_parent(self, parent: impl Into<String>) -> Self {
        self.text(TRACE, parent)
    }
}

/// `00-<32 hexadecimal>-<16 hexadecimal>-<2 hexadecimal>`; later versions may go on after a hyphen.
fn is_trace_parent(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut field = |length: usize, zeros: bool| {
        parts.next().is_some_and(|part| {
            part.len() == length
                && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                && (zeros || part.bytes().any(|byte| byte != b'0'))
        })
    };
    let fields = field(2, true) && field(32, false) && field(16, false) && field(2, true);
    fields && !text.starts_with("ff") && (parts.next().is_none() || !text.starts_with("00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_parents_follow_trace_context() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        for good in [format!("00-{trace}-{span}-01"), format!("01-{trace}-{span}-01-more")] {
            assert!(is_trace_parent(&good), "{good}");
        }
        for bad in [
            String::new(),
            format!("ff-{trace}-{span}-01"),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
        ] {
            assert!(!is_trace_parent(&bad), "{bad}");
        }
    }

    #[test]
    fn causes_carry_the_correlation_on() {
        let source: super::super::Source = "/here".parse().unwrap();
        let topic: crate::Topic = "a.b".parse().unwrap();
        let event = || Event::builder(source.clone(), &topic);
        let first = event().build().unwrap();
        let second = event().caused_by(&first).build().unwrap();
        let third = event().caused_by(&second).build().unwrap();
        assert_eq!(third.causation_id(), Some(second.id().as_str()));
        assert_eq!(third.correlation_id(), Some(first.id().as_str()));
    }

    #[test]
    fn foreign_values_read_as_absent() {
        let source = "/here".parse().unwrap();
        let event = Event::builder(source, &"a".parse().unwrap())
            .extension("kind", AttributeValue::Text("other".into()))
            .extension("partitionkey", AttributeValue::Integer(1))
            .extension("traceparent", AttributeValue::Text("x".into()))
            .build()
            .unwrap();
        assert_eq!(event.kind(), EventKind::Event);
        assert_eq!((event.partition_key(), event.trace_parent()), (None, None));
        assert_eq!(event.extensions().count(), 3);
    }
}
