use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde_json::{Map, Value};
use wachter_model::Level;

use crate::{Line, logfmt};

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `2026-11-22T09:30:00.000000Z  INFO wachter::node: release 7 is in force sequence=7`
    #[default]
    Human,
    /// `time=… level=info target=… message="release 7 is in force" sequence=7`
    Logfmt,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "human" => Ok(Self::Human),
            "logfmt" => Ok(Self::Logfmt),
            "json" => Ok(Self::Json),
            _ => Err(UnknownFormat(text.to_owned())),
        }
    }
}

/// A text that names no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no format of logs: use human, logfmt or json")]
pub struct UnknownFormat(String);

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Human => "human",
            Self::Logfmt => "logfmt",
            Self::Json => "json",
        })
    }
}

impl Format {
    /// Writes a line, with its end.
    #[must_use]
    pub(crate) fn write(self, line: &Line) -> String {
        let mut text = match self {
            Self::Human => human(line),
            Self::Logfmt => all_logfmt(line),
            // Nothing in a line is without a JSON form.
            Self::Json => serde_json::to_string(line).unwrap_or_default(),
        };
        text.push('\n');
        text
    }
}

impl Line {
    /// Reads a line in whichever format it is; none where it is in no format of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('{') {
            serde_json::from_str(text).ok()
        } else if text.starts_with("time=") {
            parse_logfmt(text)
        } else {
            parse_human(text)
        }
    }
}

fn human(line: &Line) -> String {
    let mut text = format!(
        "{:.6} {:>8} {}: ",
        line.time,
        line.level.to_string().to_uppercase(),
        logfmt::value(&line.target)
    );
    logfmt::escape_into(&mut text, &line.message);
    write_fields(&mut text, &line.fields);
    text
}

fn all_logfmt(line: &Line) -> String {
    let mut text = format!(
        "time={:.6} level={} target={} message={}",
        line.time,
        line.level,
        logfmt::value(&line.target),
        logfmt::value(&line.message)
    );
    write_fields(&mut text, &line.fields);
    text
}

fn write_fields(text: &mut String, fields: &Map<String, Value>) {
    for (name, value) in fields {
        let value = match value {
            // A text that looks like something else is quoted, so that it comes back as a text.
            Value::String(value) => logfmt::text_value(value),
            other => other.to_string(),
        };
        // Writing to a text cannot fail.
        let _ = write!(text, " {name}={value}");
    }
}

fn parse_level(text: &str) -> Option<Level> {
    serde_json::from_value(Value::String(text.to_lowercase())).ok()
}

fn parse_logfmt(text: &str) -> Option<Line> {
    let mut pairs = logfmt::pairs(text)?;
    let mut take = |name: &str| {
        let (index, _) = pairs.iter().enumerate().find(|(_, pair)| pair.name == name)?;
        Some(pairs.remove(index).text)
    };
    let (time, level, target, message) =
        (take("time")?, take("level")?, take("target")?, take("message")?);
    Some(Line {
        time: time.parse().ok()?,
        level: parse_level(&level)?,
        target,
        message,
        fields: pairs.into_iter().map(logfmt::Pair::into_field).collect(),
    })
}

/// Fields are told from the message by their place at the end; a message whose own end looks like
/// fields is read with those as fields.
fn parse_human(text: &str) -> Option<Line> {
    let (time, rest) = text.split_once(' ')?;
    let (level, rest) = rest.trim_start().split_once(' ')?;
    let (target, rest) = rest.split_once(": ")?;
    let (message, fields) = logfmt::split_fields(rest);
    Some(Line {
        time: time.parse().ok()?,
        level: parse_level(level)?,
        target: logfmt::unquote(target)?,
        message: logfmt::unescape(message)?,
        fields: fields.into_iter().map(logfmt::Pair::into_field).collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(message: &str, fields: &[(&str, Value)]) -> Line {
        Line {
            time: "2026-11-22T09:30:00.123456Z".parse().unwrap(),
            level: Level::Warn,
            target: "wachter::node".to_owned(),
            message: message.to_owned(),
            fields: fields.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
        }
    }

    #[test]
    fn writes_each_format() {
        let line = line("it \"is\"\nso", &[("count", 3.into()), ("path", "/a b".into())]);
        let check = |format: Format, expected: &str| assert_eq!(format.write(&line), expected);
        check(
            Format::Human,
            "2026-11-22T09:30:00.123456Z     WARN wachter::node: it \\\"is\\\"\\nso count=3 path=\"/a b\"\n",
        );
        check(
            Format::Logfmt,
            "time=2026-11-22T09:30:00.123456Z level=warn target=wachter::node message=\"it \\\"is\\\"\\nso\" count=3 path=\"/a b\"\n",
        );
        check(
            Format::Json,
            "{\"time\":\"2026-11-22T09:30:00.123456Z\",\"level\":\"warn\",\"target\":\"wachter::node\",\"message\":\"it \\\"is\\\"\\nso\",\"fields\":{\"count\":3,\"path\":\"/a b\"}}\n",
        );
    }

    fn field() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::String),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            message: String,
            target in "[a-z_]{1,8}(::[a-z_]{1,8}){0,3}",
            microseconds in 0i64..4_000_000_000_000_000,
            fields in proptest::collection::btree_map("[a-z_]{1,8}", field(), 0..4),
        ) {
            let line = Line {
                time: jiff::Timestamp::from_microsecond(microseconds).unwrap(),
                level: Level::Critical,
                target,
                message,
                fields: fields
                    .into_iter()
                    .filter(|(name, _)| !["time", "level", "target", "message"].contains(&name.as_str()))
                    .collect(),
            };
            for format in [Format::Logfmt, Format::Json] {
                let written = format.write(&line);
                prop_assert_eq!(written.matches('\n').count(), 1);
                prop_assert_eq!(Line::parse(written.trim_end_matches('\n')), Some(line.clone()));
            }
            // What people read is not always told apart, but is always one line.
            let written = Format::Human.write(&line);
            prop_assert_eq!(written.matches('\n').count(), 1);
            let plain = Line { message: "release 7 is in force".to_owned(), ..line };
            let written = Format::Human.write(&plain);
            prop_assert_eq!(Line::parse(written.trim_end_matches('\n')), Some(plain));
        }

        #[test]
        fn any_text_is_read_or_not(text: String) {
            let _ = Line::parse(&text);
            let _ = Line::parse(&format!("time={text}"));
            let _ = Line::parse(&format!("{{{text}"));
        }
    }
}
