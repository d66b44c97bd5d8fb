use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64ct::{Base64, Encoding as _};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::attribute::{check_filled, check_text};
use super::{AttributeValue, Event, EventData, uri};

/// Why bytes are not an event.
#[derive(Debug, thiserror::Error)]
pub enum ReadEventError {
    /// More than the limit.
    #[error(
        "the event has {bytes} bytes and {limit} are allowed; put large data elsewhere and its address into the event"
    )]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        limit: usize,
    },
    /// Not JSON, or not the JSON format of CloudEvents 1.0.
    #[error("not a CloudEvents 1.0 event in JSON")]
    Format(#[source] serde_json::Error),
}

impl Event {
    /// Reads an event in the JSON format of CloudEvents 1.0 of at most
    /// [`MAX_EVENT_BYTES`](super::MAX_EVENT_BYTES).
    ///
    /// Unset attributes may be `null`. Extensions that are not known are kept.
    ///
    /// # Errors
    /// Too large, not JSON, an attribute twice or missing, or a value that its type does not allow.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReadEventError> {
        Self::from_json_within(bytes, super::MAX_EVENT_BYTES)
    }

    /// Reads an event of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    pub fn from_json_within(bytes: &[u8], limit: usize) -> Result<Self, ReadEventError> {
        if bytes.len() > limit {
            return Err(ReadEventError::TooLarge { bytes: bytes.len(), limit });
        }
        serde_json::from_slice(bytes).map_err(ReadEventError::Format)
    }
}

/// From JSON only: the data is taken over as text, which other formats of serde do not have.
impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Envelope)
    }
}

struct Envelope;

/// A text, borrowed where nothing in it was escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default)]
struct Members {
    specversion: Option<String>,
    id: Option<String>,
    source: Option<String>,
    event_type: Option<String>,
    subject: Option<String>,
    time: Option<String>,
    content_type: Option<String>,
    schema: Option<String>,
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
    extensions: BTreeMap<super::AttributeName, AttributeValue>,
}

impl<'de> Visitor<'de> for Envelope {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvents 1.0 event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        let mut members = Members::default();
        // Most events have fewer than 16 members, and looking through so few is quickest.
        let mut seen: Vec<String> = Vec::with_capacity(16);
        while let Some(Text(name)) = map.next_key()? {
            if seen.iter().any(|earlier| *earlier == name) {
                return Err(A::Error::custom(format!("`{name}` is there twice")));
            }
            match &*name {
                "specversion" => members.specversion = map.next_value()?,
                "id" => members.id = map.next_value()?,
                "source" => members.source = map.next_value()?,
                "type" => members.event_type = map.next_value()?,
                "subject" => members.subject = map.next_value()?,
                "time" => members.time = map.next_value()?,
                "datacontenttype" => members.content_type = map.next_value()?,
                "dataschema" => members.schema = map.next_value()?,
                // Not an `Option`: a `null` here is a payload.
                "data" => members.data = Some(map.next_value()?),
                "data_base64" => members.data_base64 = map.next_value()?,
                other => {
                    let key = other.parse().map_err(A::Error::custom)?;
                    if let Some(Extension(value)) = map.next_value()? {
                        members.extensions.insert(key, value);
                    }
                }
            }
            seen.push(name.into_owned());
        }
        members.check().map_err(A::Error::custom)
    }
}

impl Members {
    fn check(self) -> Result<Event, String> {
        let say = |error: super::AttributeError| error.to_string();
        let needed = |value: Option<String>, name: &str| {
            value.ok_or_else(|| format!("the required attribute `{name}` is missing"))
        };
        let version = needed(self.specversion, "specversion")?;
        if version != "1.0" {
            return Err(format!("`specversion` is `{version}`; only 1.0 is read here"));
        }
        let event_type = needed(self.event_type, "type")?;
        check_filled("type", &event_type).map_err(say)?;
        if let Some(subject) = &self.subject {
            check_filled("subject", subject).map_err(say)?;
        }
        if let Some(media_type) = &self.content_type {
            uri::check_media_type(media_type).map_err(say)?;
        }
        if let Some(schema) = &self.schema {
            uri::check_uri(schema).map_err(say)?;
        }
        let time = self.time.as_deref().map(uri::parse_time).transpose().map_err(say)?;
        let data = match (self.data, self.data_base64) {
            (Some(_), Some(_)) => return Err("`data` and `data_base64` exclude each other".into()),
            (Some(raw), None) => EventData::from_raw(raw).ok_or("`data` nests deeper than 127")?,
            (None, Some(text)) => EventData::Binary(
                Base64::decode_vec(&text).map_err(|_| "`data_base64` is not Base64 (RFC 4648)")?,
            ),
            (None, None) => EventData::Absent,
        };
        Ok(Event {
            id: needed(self.id, "id")?.parse().map_err(say)?,
            source: needed(self.source, "source")?.parse().map_err(say)?,
            event_type,
            subject: self.subject,
            time,
            content_type: self.content_type,
            schema: self.schema,
            extensions: self.extensions,
            data,
        })
    }
}

/// A value of the CloudEvents type system, as JSON has it.
struct Extension(AttributeValue);

impl<'de> Deserialize<'de> for Extension {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExtensionVisitor)
    }
}

struct ExtensionVisitor;

impl Visitor<'_> for ExtensionVisitor {
    type Value = Extension;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a whole number of 32 bits or a text")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Extension, E> {
        Ok(Extension(AttributeValue::Boolean(value)))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Extension, E> {
        let value = i32::try_from(value).map_err(|_| E::custom("a whole number beyond 32 bits"))?;
        Ok(Extension(AttributeValue::Integer(value)))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Extension, E> {
        let value = i32::try_from(value).map_err(|_| E::custom("a whole number beyond 32 bits"))?;
        Ok(Extension(AttributeValue::Integer(value)))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Extension, E> {
        check_text(text).map_err(E::custom)?;
        Ok(Extension(AttributeValue::Text(text.to_owned())))
    }
}

#[cfg(test)]
mod tests;
