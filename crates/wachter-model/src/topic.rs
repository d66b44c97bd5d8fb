use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The dotted type of an event, such as `vulnerability.dependency`.
///
/// One to 16 words of lower-case letters, digits, `-` and `_`, joined by dots; 255 bytes at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Topic(
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$")))]
    String,
);

/// A pattern over topics: `*` stands for one word, a last `>` for one word or more.
///
/// The notation is that of NATS subjects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct TopicFilter(String);

/// Why a text is neither a topic nor a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Not dotted words.
    #[error(
        "`{0}` is not a topic: use words of a-z, 0-9, - and _ joined by dots, as in `backup.completed`"
    )]
    Words(String),
    /// Longer than 255 bytes or deeper than 16 words.
    #[error("a topic has at most 16 words and 255 bytes")]
    Size,
    /// A `>` that is not the last word.
    #[error("in `{0}` the `>` is not the last word")]
    Tail(String),
}

const MAX_BYTES: usize = 255;
const MAX_WORDS: usize = 16;

fn is_word(word: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

fn check_size(text: &str) -> Result<(), TopicError> {
    let fits = text.len() <= MAX_BYTES && text.split('.').count() <= MAX_WORDS;
    if fits { Ok(()) } else { Err(TopicError::Size) }
}

impl Topic {
    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_size(text)?;
        if text.split('.').all(is_word) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TopicError::Words(text.to_owned()))
        }
    }
}

impl TopicFilter {
    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `topic` is meant.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        self.matches_text(&topic.0)
    }

    /// Whether the topic written as `text` is meant: the type of an event, without a copy of it.
    #[must_use]
    pub fn matches_text(&self, text: &str) -> bool {
        let mut words = text.split('.');
        for pattern in self.0.split('.') {
            match (pattern, words.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (literal, Some(word)) if literal == word => {}
                _ => return false,
            }
        }
        words.next().is_none()
    }
}

impl FromStr for TopicFilter {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_size(text)?;
        let last = text.split('.').count() - 1;
        for (index, word) in text.split('.').enumerate() {
            match word {
                "*" => {}
                ">" if index == last => {}
                ">" => return Err(TopicError::Tail(text.to_owned())),
                word if is_word(word) => {}
                _ => return Err(TopicError::Words(text.to_owned())),
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for TopicFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(filter: &str, topic: &str, expected: bool) {
        let (filter, topic): (TopicFilter, Topic) =
            (filter.parse().unwrap(), topic.parse().unwrap());
        assert_eq!(filter.matches(&topic), expected, "{filter} on {topic}");
    }

    #[test]
    fn filters_follow_nats() {
        check("a.b", "a.b", true);
        check("a.b", "a.b.c", false);
        check("a.*", "a.b", true);
        check("a.*", "a", false);
        check("a.*", "a.b.c", false);
        check("a.>", "a.b.c", true);
        check("a.>", "a", false);
        check(">", "a", true);
        check("*.b.>", "a.b.c", true);
    }

    #[test]
    fn refuses_what_is_not_dotted_words() {
        for bad in ["", ".", "a.", ".a", "a..b", "A", "a b", "a.*", "a.>", &"a.".repeat(200)] {
            assert!(bad.parse::<Topic>().is_err(), "{bad}");
        }
        for bad in ["", "a.>.b", "a*", "a.**"] {
            assert!(bad.parse::<TopicFilter>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_topic_matches_itself_and_everything(text in "[a-z0-9_-]{1,5}(\\.[a-z0-9_-]{1,5}){0,5}") {
            check(&text, &text, true);
            check(">", &text, true);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text: String) {
            let _ = text.parse::<Topic>();
            let _ = text.parse::<TopicFilter>();
        }
    }
}
