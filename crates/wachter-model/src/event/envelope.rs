use std::collections::BTreeMap;

use jiff::Timestamp;

use super::attribute::{check_filled, check_text};
use super::uri;
use super::{AttributeError, AttributeName, AttributeValue, EventData, EventId, Source};
use crate::Topic;

/// The largest event that is taken in where nothing else is said, in bytes of its JSON.
///
/// CloudEvents asks intermediaries for 64 KiB at least.
pub const MAX_EVENT_BYTES: usize = 1 << 20;

/// One event: a CloudEvents 1.0 envelope. Its identity is the pair of `source` and `id`.
///
/// An `Event` always keeps the rules of the specification; what breaks them cannot be made or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub(super) id: EventId,
    pub(super) source: Source,
    pub(super) event_type: String,
    pub(super) subject: Option<String>,
    pub(super) time: Option<Timestamp>,
    pub(super) content_type: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) extensions: BTreeMap<AttributeName, AttributeValue>,
    pub(super) data: EventData,
}

/// Makes an [`Event`]. What is wrong is told at the end, by [`build`](Self::build).
#[derive(Clone, Debug)]
pub struct EventBuilder {
    event: Event,
    error: Option<AttributeError>,
}

impl Event {
    /// An event about `topic` from `source`, with a new identifier.
    #[must_use]
    pub fn builder(source: Source, topic: &Topic) -> EventBuilder {
        let event = Self {
            id: EventId::new(),
            source,
            event_type: topic.as_str().to_owned(),
            subject: None,
            time: None,
            content_type: None,
            schema: None,
            extensions: BTreeMap::new(),
            data: EventData::Absent,
        };
        EventBuilder { event, error: None }
    }

    /// CloudEvents `id`.
    #[must_use]
    pub const fn id(&self) -> &EventId {
        &self.id
    }

    /// CloudEvents `source`.
    #[must_use]
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// CloudEvents `type`, as written.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The type as a topic.
    ///
    /// # Errors
    /// The type is not made of dotted words; CloudEvents allows any text, the bus only topics.
    pub fn topic(&self) -> Result<Topic, crate::TopicError> {
        self.event_type.parse()
    }

    /// CloudEvents `subject`.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// CloudEvents `time`: when it happened, as its source says.
    #[must_use]
    pub const fn time(&self) -> Option<Timestamp> {
        self.time
    }

    /// CloudEvents `datacontenttype`; where it is absent and the data is JSON, `application/json` is
    /// meant.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// CloudEvents `dataschema`.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// What the event carries.
    #[must_use]
    pub const fn data(&self) -> &EventData {
        &self.data
    }

    /// An extension attribute.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&AttributeValue> {
        self.extensions.get(name)
    }

    /// All extension attributes, known or not, by name.
    pub fn extensions(&self) -> impl Iterator<Item = (&AttributeName, &AttributeValue)> {
        self.extensions.iter()
    }

    /// The same event, to be changed.
    #[must_use]
    pub const fn into_builder(self) -> EventBuilder {
        EventBuilder { event: self, error: None }
    }
}

impl EventBuilder {
    /// The event.
    ///
    /// # Errors
    /// The first value that may not stand where it was put.
    pub fn build(self) -> Result<Event, AttributeError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.event),
        }
    }

    fn note(&mut self, outcome: Result<(), AttributeError>) {
        if let (None, Err(error)) = (&self.error, outcome) {
            self.error = Some(error);
        }
    }

    /// Sets `id`.
    #[must_use]
    pub fn id(mut self, id: EventId) -> Self {
        self.event.id = id;
        self
    }

    /// Sets `source`.
    #[must_use]
    pub fn source(mut self, source: Source) -> Self {
        self.event.source = source;
        self
    }

    /// Sets `subject`; it must not be empty.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        let subject = subject.into();
        self.note(check_filled("subject", &subject));
        self.event.subject = Some(subject);
        self
    }

    /// Sets `time`.
    #[must_use]
    pub const fn time(mut self, time: Timestamp) -> Self {
        self.event.time = Some(time);
        self
    }

    /// Sets `data` to a JSON value.
    #[must_use]
    pub fn json(mut self, value: &serde_json::Value) -> Self {
        self.event.data = EventData::json(value);
        self
    }

    /// Sets the data as it is.
    #[must_use]
    pub fn data(mut self, data: EventData) -> Self {
        self.event.data = data;
        self
    }

    /// Sets the data to bytes, and `datacontenttype` to what they are.
    #[must_use]
    pub fn binary(self, content_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        self.content_type(content_type).data(EventData::Binary(bytes))
    }

    /// Sets `datacontenttype` (RFC 2046).
    #[must_use]
    pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
        let media_type = media_type.into();
        self.note(check_text(&media_type).and_then(|()| uri::check_media_type(&media_type)));
        self.event.content_type = Some(media_type);
        self
    }

    /// Sets `dataschema`: a URI with a scheme.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        let schema = schema.into();
        self.note(uri::check_uri(&schema));
        self.event.schema = Some(schema);
        self
    }

    /// Sets any extension attribute; the name must keep the rules of [`AttributeName`].
    #[must_use]
    pub fn extension(mut self, name: &str, value: AttributeValue) -> Self {
        if let AttributeValue::Text(text) = &value {
            self.note(check_text(text));
        }
        match name.parse() {
            Ok(name) => drop(self.event.extensions.insert(name, value)),
            Err(error) => self.note(Err(error)),
        }
        self
    }
}
