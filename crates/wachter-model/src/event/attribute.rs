use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::uri;

/// Why a value may not stand in an attribute of an event (CloudEvents 1.0, "Type System").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// A required text is empty.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// A text holds a control character or a noncharacter.
    #[error("the text holds {0:?}, which no attribute may hold")]
    Character(char),
    /// Not a URI-reference.
    #[error("`{0}` is not a URI-reference (RFC 3986)")]
    UriReference(String),
    /// Not a URI with a scheme.
    #[error("`{0}` is not a URI with a scheme (RFC 3986)")]
    Uri(String),
    /// Not a media type.
    #[error("`{0}` is not a media type such as `application/json` (RFC 2046)")]
    MediaType(String),
    /// Not a date and time.
    #[error("`{0}` is not a date and time such as 2026-11-22T10:00:00Z (RFC 3339)")]
    Time(String),
    /// Not an attribute name.
    #[error("`{0}` is not an attribute name: use 1 to 64 of a-z and 0-9, and not `data`")]
    Name(String),
    /// The name of an attribute that has its own place.
    #[error("`{0}` is not an extension: the envelope has its own place for it")]
    Reserved(String),
}

/// Identifies an event within its source: CloudEvents `id`, any text that is not empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct EventId(String);

/// Where an event comes from: CloudEvents `source`, a URI-reference that is not empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Source(String);

/// The name of an extension attribute: lower-case letters and digits, 64 at most, not `data` and no
/// name of the core specification. (The specification advises 20 at most and sets no limit.)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AttributeName(String);

/// The value of an extension attribute.
///
/// Binary, URI and timestamp values are kept in their canonical text: JSON does not tell them from
/// texts, and an extension that is not known here has no type to be judged by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttributeValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number of 32 bits.
    Integer(i32),
    /// Any text without control characters.
    Text(String),
}

const LONGEST_NAME: usize = 64;

/// Names that the envelope has its own fields for.
pub(super) const CORE: [&str; 10] = [
    "id",
    "source",
    "specversion",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
];

/// Refuses what the specification keeps out of texts: control characters and noncharacters.
/// (Lone surrogates cannot be in a `str`.)
pub(super) fn check_text(text: &str) -> Result<(), AttributeError> {
    // Printable ASCII is nearly all that is ever met, and is told at a glance.
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Ok(());
    }
    let forbidden = |character: &char| {
        let code = u32::from(*character);
        matches!(code, 0..=0x1f | 0x7f..=0x9f | 0xfdd0..=0xfdef) || code & 0xfffe == 0xfffe
    };
    text.chars().find(forbidden).map_or(Ok(()), |bad| Err(AttributeError::Character(bad)))
}

pub(super) fn check_filled(name: &'static str, text: &str) -> Result<(), AttributeError> {
    if text.is_empty() { Err(AttributeError::Empty(name)) } else { check_text(text) }
}

impl FromStr for EventId {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_filled("id", text)?;
        Ok(Self(text.to_owned()))
    }
}

impl EventId {
    /// A new identifier: a UUID version 7 (RFC 9562), so that events of one node sort by time.
    #[must_use]
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }
}

impl Default for EventId {
    fn default() -> Self {
        Self::new()
    }
}

impl FromStr for Source {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_filled("source", text)?;
        uri::check_reference(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for AttributeName {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if CORE.contains(&text) {
            return Err(AttributeError::Reserved(text.to_owned()));
        }
        let fits = (1..=LONGEST_NAME).contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
        if fits { Ok(Self(text.to_owned())) } else { Err(AttributeError::Name(text.to_owned())) }
    }
}

impl AttributeValue {
    /// A text.
    ///
    /// # Errors
    /// The text holds a control character or a noncharacter.
    pub fn text(text: impl Into<String>) -> Result<Self, AttributeError> {
        let text = text.into();
        check_text(&text)?;
        Ok(Self::Text(text))
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Boolean(_) | Self::Integer(_) => None,
        }
    }
}

/// The canonical string encoding of the specification.
impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

macro_rules! text_type {
    ($($name:ident)*) => {$(
        impl $name {
            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

text_type!(EventId Source AttributeName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_out_what_the_specification_keeps_out() {
        for good in ["a", "é", "🌎", "a b", "\u{10fffd}"] {
            assert_eq!(check_text(good), Ok(()), "{good:?}");
        }
        for bad in ["\0", "a\nb", "\u{7f}", "\u{85}", "\u{fdd0}", "\u{fffe}", "\u{1ffff}"] {
            assert!(check_text(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_lower_case_letters_and_digits() {
        for good in ["a", "kind", "traceparent", "9a", &"a".repeat(64)] {
            assert!(good.parse::<AttributeName>().is_ok(), "{good}");
        }
        for bad in ["", "data", "type", "data_base64", "A", "a-b", "a_b", "é", &"a".repeat(65)] {
            assert!(bad.parse::<AttributeName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_made_here_sort_by_time() {
        let ids: Vec<_> = std::iter::repeat_with(EventId::new).take(100).collect();
        assert!(ids.is_sorted(), "{ids:?}");
    }
}
