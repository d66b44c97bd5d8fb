use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Times of the week: `Mon-Fri 22:00-05:00, Sat-Sun`.
///
/// Ranges stand between commas. Each is days, times, or days and then times: no days are all days, no
/// times are the whole day. Both may wrap: `Fri-Mon` is four days, and `22:00-05:00` goes on into the
/// morning after each of its days. The end of a time is not part of it; `24:00` is the day's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeekRanges {
    text: String,
    ranges: Vec<DayRange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DayRange {
    /// Days from Monday, both included, wrapping.
    days: (u16, u16),
    /// Minutes of the day, the end left out, wrapping.
    times: (u16, u16),
}

/// Why a text does not name times of the week.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseWeekError {
    /// Not the form.
    #[error("`{0}` names no time of the week; write it as in `Mon-Fri 22:00-05:00, Sat-Sun`")]
    Form(String),
    /// Not a day.
    #[error("`{0}` is no day; write Mon, Tue, Wed, Thu, Fri, Sat or Sun")]
    Day(String),
    /// Not a time.
    #[error("`{0}` is no time; write hours and minutes, from 00:00 to 24:00")]
    Time(String),
    /// No time between.
    #[error("`{0}` begins when it ends; write 00:00-24:00 for the whole day")]
    Empty(String),
    /// More than anyone means.
    #[error("`{0}…` names more than {max} ranges; join some of them", max = WeekRanges::MOST)]
    Many(String),
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY: u16 = 24 * 60;
/// The minutes of a week.
pub(super) const WEEK: u16 = 7 * DAY;

impl WeekRanges {
    /// The most ranges.
    pub const MOST: usize = 64;

    /// The minutes of the week, counted from Monday 00:00, that are in a range: from one to another,
    /// that left out; in order and apart from each other.
    pub(super) fn runs(&self) -> Vec<(u16, u16)> {
        let mut runs = Vec::new();
        for DayRange { days: (first, last), times: (start, end) } in &self.ranges {
            let count = (last + 7 - first) % 7 + 1;
            let minutes = if start < end { end - start } else { end + DAY - start };
            for day in (0..count).map(|day| (first + day) % 7) {
                let begin = day * DAY + start;
                let end = begin + minutes;
                runs.push((begin, end.min(WEEK)));
                if end > WEEK {
                    runs.push((0, end - WEEK));
                }
            }
        }
        runs.sort_unstable();
        // One that begins before or where the one before ends makes that one longer.
        runs.dedup_by(|later, kept| {
            let joins = later.0 <= kept.1;
            if joins {
                kept.1 = kept.1.max(later.1);
            }
            joins
        });
        runs
    }
}

impl FromStr for WeekRanges {
    type Err = ParseWeekError;

    fn from_str(text: &str) -> Result<Self, ParseWeekError> {
        let text = text.trim();
        if text.split(',').count() > Self::MOST {
            return Err(ParseWeekError::Many(text.chars().take(20).collect()));
        }
        let ranges = text.split(',').map(range).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), ranges })
    }
}

fn range(text: &str) -> Result<DayRange, ParseWeekError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_time = |word: &str| word.starts_with(|first: char| first.is_ascii_digit());
    let (all_days, all_day) = ((0, 6), (0, DAY));
    match words[..] {
        [word] if is_time(word) => Ok(DayRange { days: all_days, times: times(word)? }),
        [word] => Ok(DayRange { days: days(word)?, times: all_day }),
        [first, second] if is_time(second) => {
            Ok(DayRange { days: days(first)?, times: times(second)? })
        }
        _ => Err(ParseWeekError::Form(text.trim().to_owned())),
    }
}

fn days(text: &str) -> Result<(u16, u16), ParseWeekError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Ok((day(first)?, day(last)?))
}

fn day(text: &str) -> Result<u16, ParseWeekError> {
    let names = (0..).zip(DAYS);
    let mut named = names.filter(|(_, name)| name.eq_ignore_ascii_case(text));
    named.next().map(|(day, _)| day).ok_or_else(|| ParseWeekError::Day(text.to_owned()))
}

fn times(text: &str) -> Result<(u16, u16), ParseWeekError> {
    let (start, end) = text.split_once('-').ok_or_else(|| ParseWeekError::Form(text.to_owned()))?;
    let (first, last) = (time(start)?, time(end)?);
    if first == DAY {
        return Err(ParseWeekError::Time(start.to_owned()));
    }
    if first == last {
        return Err(ParseWeekError::Empty(text.to_owned()));
    }
    Ok((first, last))
}

fn time(text: &str) -> Result<u16, ParseWeekError> {
    let two = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let parsed = text.split_once(':').and_then(|(hours, minutes)| {
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        let minute = hours * 60 + minutes;
        (minutes < 60 && minute <= DAY).then_some(minute)
    });
    parsed.ok_or_else(|| ParseWeekError::Time(text.to_owned()))
}

impl fmt::Display for WeekRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Serialize for WeekRanges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for WeekRanges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for WeekRanges {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WeekRanges".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "Times of the week, separated by commas; days and times may wrap.",
            "examples": ["Mon-Fri 22:00-05:00, Sat-Sun"]
        })
    }
}
