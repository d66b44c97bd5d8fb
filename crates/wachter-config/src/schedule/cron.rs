use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{DateTime, date};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Zone;
use super::civil::{Stretch, first_shown, latest_shown};

/// A cron expression of five fields, or of six with seconds first.
///
/// Fields take `*`, numbers, ranges `1-5`, steps `*/15` and lists; months and days of the week take
/// English names of three letters; day of the month takes `L` (last) and `15W` (nearest weekday), day
/// of the week `5#2` (second Friday) and `5L` (last Friday). Where both days are given, either is
/// enough, as in crontab(5). `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` stand for the
/// expressions that they stand for there.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    /// Shared for its size: it holds a byte for each year up to 9999.
    pattern: Arc<croner::Cron>,
    /// Whether it follows the clock on the wall through a change of offset, rather than naming times.
    interval: bool,
}

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCronError {
    /// Not five or six of them.
    #[error(
        "`{text}` has {found} fields; write five (minute, hour, day of the month, month, day of the week), or six with seconds first"
    )]
    Fields {
        /// What was written.
        text: String,
        /// How many there are.
        found: usize,
    },
    /// A field that says nothing.
    #[error("`{field}` is no {name} of a cron expression; write {allowed}")]
    Field {
        /// What was written there.
        field: String,
        /// What the field is called.
        name: &'static str,
        /// What can be written.
        allowed: &'static str,
    },
    /// Fields that are right, of which no date is made.
    #[error("`{0}` matches no date; change the day or the month")]
    Never(String),
    /// Longer than any that is meant.
    #[error("a cron expression has at most {max} characters; this one has {0}; write it as several agents", max = Cron::LONGEST)]
    Long(usize),
    /// A short form that is none.
    #[error("there is no `{0}`; write @hourly, @daily, @weekly, @monthly, @yearly, or five fields")]
    Nickname(String),
}

/// Each field: its name and what can be written there.
const FIELDS: [(&str, &str); 6] = [
    ("second", "*, 0 to 59, a range, a step such as */15, or a list of these"),
    ("minute", "*, 0 to 59, a range, a step such as */15, or a list of these"),
    ("hour", "*, 0 to 23, a range, a step such as */6, or a list of these"),
    ("day of the month", "*, 1 to 31, a range, a step, L, 15W, or a list of these"),
    ("month", "*, 1 to 12, JAN to DEC, a range, a step, or a list of these"),
    ("day of the week", "*, 0 to 7, SUN to SAT, a range, 5#2, 5L, or a list of these"),
];

const NICKNAMES: [&str; 6] = ["@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@annually"];

/// How far a search may jump over stretches: no offset is changed by more, so nothing that the clock
/// showed longer ago is shown again.
const REACH: SignedDuration = SignedDuration::from_hours(48);

impl Cron {
    /// The most characters.
    pub const LONGEST: usize = 256;

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first tick after `after`, on a whole second. `None` when there is none before the year 5000.
    #[must_use]
    pub fn next_after(&self, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
        // A tick is a whole second, so none lies between a moment and its second's start.
        let after =
            Timestamp::from_second(after.as_nanosecond().div_euclid(NANOS).try_into().ok()?);
        let (rules, after) = (zone.rules(), after.ok()?);
        if !self.interval {
            let mut shown = latest_shown(rules, after);
            loop {
                shown = self.date_after(shown, false)?;
                let tick = first_shown(rules, shown)?;
                if tick > after {
                    return Some(tick);
                }
            }
        }
        let (mut at, mut inclusive) = (after, false);
        loop {
            let stretch = Stretch::from(rules, at);
            let shown = self.date_after(stretch.offset.to_datetime(at), inclusive)?;
            let tick = stretch.offset.to_timestamp(shown).ok()?;
            let Some(end) = stretch.end.filter(|end| tick >= *end) else { return Some(tick) };
            let near = tick.checked_sub(REACH).ok()?;
            let settled = end.duration_since(at) > REACH;
            at = if settled { end.max(near) } else { end };
            inclusive = true;
        }
    }

    /// The last tick before `before`. `None` when there is none since the year 1.
    #[must_use]
    pub fn latest_before(&self, zone: &Zone, before: Timestamp) -> Option<Timestamp> {
        let second = (before.as_nanosecond() + NANOS - 1).div_euclid(NANOS).try_into().ok()?;
        let (rules, before) = (zone.rules(), Timestamp::from_second(second).ok()?);
        if !self.interval {
            let last = before.checked_sub(SignedDuration::from_secs(1)).ok()?;
            let (mut shown, mut inclusive) = (latest_shown(rules, last), true);
            loop {
                shown = self.date_before(shown, inclusive)?;
                let tick = first_shown(rules, shown)?;
                if tick < before {
                    return Some(tick);
                }
                inclusive = false;
            }
        }
        let mut at = before;
        loop {
            let stretch = Stretch::until(rules, at);
            let shown = self.date_before(stretch.offset.to_datetime(at), false)?;
            let tick = stretch.offset.to_timestamp(shown).ok()?;
            let Some(start) = stretch.start.filter(|start| tick < *start) else {
                return Some(tick);
            };
            let near = tick.checked_add(REACH).ok()?;
            let settled = at.duration_since(start) > REACH;
            at = if settled { start.min(near) } else { start };
        }
    }

    fn date_after(&self, shown: DateTime, inclusive: bool) -> Option<DateTime> {
        self.pattern.find_next_occurrence(&shown, inclusive).ok()
    }

    fn date_before(&self, shown: DateTime, inclusive: bool) -> Option<DateTime> {
        self.pattern.find_previous_occurrence(&shown, inclusive).ok()
    }
}

const NANOS: i128 = 1_000_000_000;

impl FromStr for Cron {
    type Err = ParseCronError;

    fn from_str(text: &str) -> Result<Self, ParseCronError> {
        let text = text.trim();
        if text.len() > Self::LONGEST {
            return Err(ParseCronError::Long(text.len()));
        }
        let mut fields: Vec<&str> = text.split_ascii_whitespace().collect();
        if text.starts_with('@') {
            if !NICKNAMES.contains(&text) {
                return Err(ParseCronError::Nickname(text.to_owned()));
            }
            fields.clear();
        } else {
            count_fields(text, &fields)?;
        }
        let parser =
            CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        // Parsing is most of what loading a schedule costs, so fields are looked at one by one only
        // where the whole is wrong.
        let pattern = match parser.parse(text) {
            Ok(pattern) if fields.iter().all(|field| is_plain(field)) => pattern,
            _ => {
                check_fields(&fields)?;
                return Err(ParseCronError::Never(text.to_owned()));
            }
        };
        // The calendar repeats itself after 400 years, so what a search up to 5000 misses never is.
        if pattern.find_next_occurrence(&date(2000, 1, 1).at(0, 0, 0, 0), true).is_err() {
            return Err(ParseCronError::Never(text.to_owned()));
        }
        let hands = &fields[fields.len().saturating_sub(5)..];
        let interval = text == "@hourly" || hands.iter().take(2).any(|field| field.contains('*'));
        Ok(Self { text: text.to_owned(), pattern: Arc::new(pattern), interval })
    }
}

/// What the parser takes but crontab(5) does not: signs, and letters that it writes large.
fn is_plain(field: &str) -> bool {
    field.is_ascii() && !field.starts_with('+')
}

fn count_fields(text: &str, fields: &[&str]) -> Result<(), ParseCronError> {
    match fields.len() {
        5 | 6 => Ok(()),
        found => Err(ParseCronError::Fields { text: text.to_owned(), found }),
    }
}

/// Finds the field that is wrong, which a parser of the whole does not tell.
fn check_fields(fields: &[&str]) -> Result<(), ParseCronError> {
    let skipped = FIELDS.len().saturating_sub(fields.len());
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
    for (place, field) in fields.iter().enumerate() {
        let mut alone = ["*"; FIELDS.len()];
        alone[place + skipped] = field;
        let (name, allowed) = FIELDS[place + skipped];
        if !is_plain(field) || parser.parse(&alone.join(" ")).is_err() {
            return Err(ParseCronError::Field { field: (*field).to_owned(), name, allowed });
        }
    }
    Ok(())
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Cron {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cron".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "maxLength": Self::LONGEST,
            "description": "A cron expression: minute, hour, day of the month, month, day of the week; with seconds first, or without.",
            "examples": ["0 */6 * * *", "30 2 * * SUN"]
        })
    }
}
