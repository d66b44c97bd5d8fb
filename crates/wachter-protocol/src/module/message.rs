use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wachter_model::{EmittedEvent, Finding, Level};

use super::MAX_LINE;
use crate::MODULE_PROTOCOL;

/// One line of a module's stdout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Message {
    /// Something for the log.
    Log(LogLine),
    /// How far the run is. Not kept.
    Progress(Progress),
    /// An event, of a type that the manifest names.
    Event(EmittedEvent),
    /// A problem, of a type that the manifest names.
    Finding(Finding),
    /// A measurement.
    Metric(Metric),
    /// The end.
    Result(ModuleResult),
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What happened.
    pub message: String,
    /// Values that belong to it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// 0 to 1, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// What is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A measurement, in the sense of a Prometheus gauge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// A name with its unit: `memory_available_bytes`.
    pub name: String,
    /// The value.
    pub value: f64,
    /// What tells it from others of the same name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How a run ended, in the module's own words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ModuleResult {
    /// Whether the module did what it was asked to do.
    #[serde(default)]
    pub outcome: Outcome,
    /// Whether anything is different from before (in a dry run: would be). A second run with the
    /// same input reports false.
    #[serde(default)]
    pub changed: bool,
    /// One sentence for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the caller asked to know.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// What the next run is to know; the state stays as it was where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
}

/// Whether a module did what it was asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It did.
    #[default]
    Succeeded,
    /// It tried and could not.
    Failed,
    /// It did not try: something it needs was withheld, as in a dry run.
    Refused,
}

/// Why a line is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Too long.
    #[error("a line is longer than {MAX_LINE} bytes; write one JSON object a line")]
    TooLong,
    /// Not UTF-8.
    #[error("a line is not UTF-8")]
    Encoding,
    /// Not JSON, or not of the right shape.
    #[error("a line is not a message: {0}; what is meant for the log goes to stderr or into `log`")]
    Shape(String),
    /// A kind that this version does not know.
    #[error(
        "unknown message `{0}`; this node speaks module protocol {MODULE_PROTOCOL}, which knows log, progress, event, finding, metric and result"
    )]
    Unknown(String),
}

/// Reads one line of a module's stdout; an empty line is no message.
///
/// # Errors
/// Everything that is not exactly one message of this version.
pub fn parse_line(line: &[u8]) -> Result<Option<Message>, MessageError> {
    if line.len() > MAX_LINE {
        return Err(MessageError::TooLong);
    }
    let text = std::str::from_utf8(line).map_err(|_| MessageError::Encoding)?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|error| {
        // Only now is it worth knowing what it was instead.
        match serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(text) {
            Ok(map) if map.len() == 1 => match map.into_keys().next() {
                Some(kind) if !KINDS.contains(&kind.as_str()) => {
                    MessageError::Unknown(kind.chars().take(64).collect())
                }
                _ => MessageError::Shape(error.to_string()),
            },
            _ => MessageError::Shape(error.to_string()),
        }
    })
}

const KINDS: [&str; 6] = ["log", "progress", "event", "finding", "metric", "result"];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(line: &str, expected: &str) {
        let message = match parse_line(line.as_bytes()) {
            Ok(Some(message)) => serde_json::to_string(&message).unwrap(),
            Ok(None) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(message.contains(expected), "{line}: {message}");
    }

    #[test]
    fn lines() {
        check(r#"{"result": {}}"#, r#"{"result":{"outcome":"succeeded","changed":false}}"#);
        check(r#"{"log": {"level": "warn", "message": "x"}}"#, r#""level":"warn""#);
        check("", "nothing");
        check("  \r", "nothing");
        check("hello", "a line is not a message");
        check(r#"{"log": {"level": "loud", "message": "x"}}"#, "unknown variant `loud`");
        check(r#"{"log": {"level": "info", "message": "x", "extra": 1}}"#, "unknown field `extra`");
        check(r#"{"result": {}, "log": {}}"#, "a line is not a message");
        check(
            r#"{"prophecy": {"version": 9}}"#,
            "unknown message `prophecy`; this node speaks module protocol 1",
        );
        check(r#"{"result": {}} {"result": {}}"#, "trailing characters");
        check("[]", "a line is not a message");
        check(&"[".repeat(10_000), "a line is not a message");
    }

    #[test]
    fn lines_that_are_too_long_or_not_text() {
        assert_eq!(parse_line(&vec![b' '; MAX_LINE + 1]), Err(MessageError::TooLong));
        assert_eq!(parse_line(&[0xff, 0xfe]), Err(MessageError::Encoding));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line: Vec<u8>) {
            let _ = parse_line(&line);
        }

        #[test]
        fn any_json_is_read_or_refused(kind in "[a-z]{1,8}", level in "[a-z]{1,8}", text: String) {
            let line = serde_json::json!({ kind: { "level": level, "message": text } });
            let _ = parse_line(line.to_string().as_bytes());
        }
    }
}
