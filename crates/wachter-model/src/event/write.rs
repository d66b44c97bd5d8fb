use std::io::Write as _;

use base64ct::{Base64, Encoding as _};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::{AttributeValue, Event, EventData};

impl Event {
    /// The event in the JSON format of CloudEvents, on one line, without a line end.
    ///
    /// The same event always gives the same bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let data = self.data.json_text().map_or(0, str::len);
        let mut out = Vec::with_capacity(256 + data);
        out.extend_from_slice(b"{\"specversion\":\"1.0\"");
        member(&mut out, "id", self.id.as_str());
        member(&mut out, "source", self.source.as_str());
        member(&mut out, "type", &self.event_type);
        if let Some(subject) = &self.subject {
            member(&mut out, "subject", subject);
        }
        if let Some(time) = &self.time {
            name(&mut out, "time");
            let written = write!(out, "\"{time}\"");
            written.expect("a vector takes every byte");
        }
        if let Some(media_type) = &self.content_type {
            member(&mut out, "datacontenttype", media_type);
        }
        if let Some(schema) = &self.schema {
            member(&mut out, "dataschema", schema);
        }
        for (key, value) in &self.extensions {
            match value {
                AttributeValue::Text(text) => member(&mut out, key.as_str(), text),
                plain @ (AttributeValue::Boolean(_) | AttributeValue::Integer(_)) => {
                    name(&mut out, key.as_str());
                    write!(out, "{plain}").expect("a vector takes every byte");
                }
            }
        }
        match &self.data {
            EventData::Absent => {}
            EventData::Json(text) => {
                name(&mut out, "data");
                out.extend_from_slice(text.get().as_bytes());
            }
            EventData::Binary(bytes) => {
                member(&mut out, "data_base64", &Base64::encode_string(bytes));
            }
        }
        out.push(b'}');
        out
    }
}

/// Names are of letters, digits and `_`: nothing in them needs escaping.
fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn member(out: &mut Vec<u8>, key: &str, text: &str) {
    name(out, key);
    serde_json::to_writer(&mut *out, text).expect("a text can be written to a vector");
}

/// The JSON format of CloudEvents, for an event within another document.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("type", &self.event_type)?;
        for (key, text) in [
            ("subject", &self.subject),
            ("datacontenttype", &self.content_type),
            ("dataschema", &self.schema),
        ] {
            if let Some(text) = text {
                map.serialize_entry(key, text)?;
            }
        }
        if let Some(time) = &self.time {
            map.serialize_entry("time", time)?;
        }
        for (key, value) in &self.extensions {
            match value {
                AttributeValue::Text(text) => map.serialize_entry(key, text)?,
                AttributeValue::Boolean(value) => map.serialize_entry(key, value)?,
                AttributeValue::Integer(value) => map.serialize_entry(key, value)?,
            }
        }
        match &self.data {
            EventData::Absent => {}
            EventData::Json(text) => map.serialize_entry("data", text.raw())?,
            EventData::Binary(bytes) => {
                map.serialize_entry("data_base64", &Base64::encode_string(bytes))?;
            }
        }
        map.end()
    }
}
