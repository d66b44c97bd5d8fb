use serde_json::value::RawValue;

use super::json_index::MOST_NESTED;
use super::quote::next_quote;
use super::{JsonDocument, JsonText};

/// What an event carries.
///
/// JSON stays text until somebody asks for it: most events are stored, matched and passed on without
/// anyone looking inside.
#[derive(Clone, Debug, Default)]
pub enum EventData {
    /// Nothing: neither `data` nor `data_base64`.
    #[default]
    Absent,
    /// A JSON value, an explicit `null` included, without white space between its tokens.
    Json(JsonText),
    /// Bytes: `data_base64`.
    Binary(Vec<u8>),
}

impl EventData {
    /// JSON data.
    ///
    /// # Panics
    /// Never: a `Value` has a text.
    #[must_use]
    pub fn json(value: &serde_json::Value) -> Self {
        let text = serde_json::value::to_raw_value(value);
        Self::Json(JsonText::new(text.expect("a JSON value can be written: its keys are texts")))
    }

    /// Takes JSON text as it came; `None` if its brackets nest deeper than 127.
    pub(super) fn from_raw(raw: Box<RawValue>) -> Option<Self> {
        let text = raw.get().as_bytes();
        let (mut depth, mut at, mut spaces) = (0_usize, 0, false);
        while let Some(byte) = text.get(at) {
            at += 1;
            match byte {
                b'"' => at = after_text(text, at)?,
                b'[' | b'{' => {
                    depth += 1;
                    if depth > MOST_NESTED {
                        return None;
                    }
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                b' ' | b'\t' | b'\n' | b'\r' => spaces = true,
                _ => {}
            }
        }
        // One event is one line wherever lines are kept, and one value has one text.
        Some(Self::Json(JsonText::new(if spaces { without_spaces(&raw) } else { raw })))
    }

    /// The JSON value; `None` if the data is absent or binary.
    #[must_use]
    pub fn to_json(&self) -> Option<serde_json::Value> {
        match self {
            Self::Json(text) => serde_json::from_str(text.get()).ok(),
            Self::Absent | Self::Binary(_) => None,
        }
    }

    /// The JSON value, to be read where it is asked for; `None` where [`to_json`](Self::to_json) gives
    /// none.
    ///
    /// Where its values stand is found by the first who asks and kept for all who ask later, for as
    /// long as there are such data, if that takes no more memory than the text itself.
    #[must_use]
    pub fn document(&self) -> Option<JsonDocument<'_>> {
        match self {
            Self::Json(text) => text.document(),
            Self::Absent | Self::Binary(_) => None,
        }
    }

    /// The JSON text; `None` if the data is absent or binary.
    #[must_use]
    pub fn json_text(&self) -> Option<&str> {
        match self {
            Self::Json(text) => Some(text.get()),
            Self::Absent | Self::Binary(_) => None,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// The place after the text that `at` is within.
fn after_text(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let found = next_quote(bytes, at)?;
        if bytes[found] == b'"' {
            return Some(found + 1);
        }
        at = found + 2;
    }
}

fn without_spaces(raw: &RawValue) -> Box<RawValue> {
    let (mut in_text, mut escaped) = (false, false);
    let kept = raw.get().chars().filter(|character| match (in_text, character) {
        (true, '"') if !escaped => {
            in_text = false;
            true
        }
        (true, character) => {
            escaped = *character == '\\' && !escaped;
            true
        }
        (false, '"') => {
            in_text = true;
            true
        }
        (false, character) => !matches!(character, ' ' | '\t' | '\n' | '\r'),
    });
    RawValue::from_string(kept.collect()).expect("only space between tokens was left out")
}

/// By text: two JSON values that differ in the order of their keys differ.
impl PartialEq for EventData {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::Json(left), Self::Json(right)) => left.get() == right.get(),
            (Self::Binary(left), Self::Binary(right)) => left == right,
            _ => false,
        }
    }
}

impl Eq for EventData {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(text: &str) -> Option<EventData> {
        EventData::from_raw(RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn loses_space_between_tokens_and_nothing_else() {
        let data =
            taken("{ \"a b\" :\n[ 1.50 , \"c\\\" d\\\\\" ,12345678901234567890123 ] }").unwrap();
        assert_eq!(
            data.json_text(),
            Some("{\"a b\":[1.50,\"c\\\" d\\\\\",12345678901234567890123]}")
        );
    }

    #[test]
    fn nests_as_deep_as_it_can_be_read_again() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let data = taken(&nested(127)).unwrap();
        assert!(data.to_json().is_some());
        assert_eq!(taken(&nested(128)), None);
    }

    proptest! {
        #[test]
        fn pretty_text_reads_as_the_same_value(texts: Vec<(String, String)>) {
            let value: serde_json::Value =
                texts.into_iter().map(|(key, text)| (key, serde_json::Value::from(text))).collect();
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            let data = taken(&pretty).unwrap();
            let text = data.json_text().unwrap();
            prop_assert_eq!(text, serde_json::to_string(&value).unwrap());
        }
    }
}
