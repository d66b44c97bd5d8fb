//! Points and spans of time, by the proleptic Gregorian calendar; leap seconds do not exist.

use jiff::civil::Weekday;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::function::Part;
use crate::text::shown;
use crate::{EvaluationFault, Value};

/// A fault, or `None` for arguments of types that the function is not for.
type Computed<'v> = Result<Value<'v>, Option<EvaluationFault>>;

/// `timestamp(text)` as RFC 3339 has it, and `timestamp(seconds since 1970)`.
pub(crate) fn timestamp<'v>(arguments: &[Value<'v>]) -> Computed<'v> {
    let [argument] = arguments else { return Err(None) };
    let time = match argument {
        Value::Timestamp(time) => Some(*time),
        Value::Text(text) if text.len() <= MAX_TEXT => text.parse().ok(),
        Value::Text(_) => None,
        Value::Int(seconds) => Timestamp::from_second(*seconds).ok(),
        _ => return Err(None),
    };
    time.map(Value::Timestamp).ok_or_else(|| Some(conversion(argument, "timestamp")))
}

/// `duration(text)`: numbers with units `h`, `m`, `s`, `ms`, `us` and `ns`, as in `1h30m` and `-1.5s`.
pub(crate) fn duration<'v>(arguments: &[Value<'v>]) -> Computed<'v> {
    let [argument] = arguments else { return Err(None) };
    let span = match argument {
        Value::Duration(span) => Some(*span),
        Value::Text(text) => parse_duration(text),
        _ => return Err(None),
    };
    span.map(Value::Duration).ok_or_else(|| Some(conversion(argument, "duration")))
}

/// A part of a point in time, in UTC or in the zone named; a span counted in a unit.
pub(crate) fn part<'v>(part: Part, arguments: &[Value<'v>]) -> Computed<'v> {
    match arguments {
        [Value::Timestamp(time)] => Ok(Value::Int(of_time(part, *time, TimeZone::UTC))),
        [Value::Timestamp(time), Value::Text(name)] => {
            let zone = zone(name).ok_or_else(|| Some(conversion(&arguments[1], "time zone")))?;
            Ok(Value::Int(of_time(part, *time, zone)))
        }
        [Value::Duration(span)] => {
            let count = match part {
                Part::Hours => span.as_hours(),
                Part::Minutes => span.as_mins(),
                Part::Seconds => span.as_secs(),
                Part::Milliseconds => i64::try_from(span.as_millis())
                    .map_err(|_| Some(EvaluationFault::Overflow("getMilliseconds")))?,
                _ => return Err(None),
            };
            Ok(Value::Int(count))
        }
        _ => Err(None),
    }
}

/// Longer texts are no times, and need no parser to find that out.
const MAX_TEXT: usize = 64;

fn of_time(part: Part, time: Timestamp, zone: TimeZone) -> i64 {
    let local = time.to_zoned(zone);
    match part {
        Part::FullYear => local.year().into(),
        // The language counts months and days from 0 but for `getDate`.
        Part::Month => i64::from(local.month()) - 1,
        Part::Date => local.day().into(),
        Part::DayOfMonth => i64::from(local.day()) - 1,
        Part::DayOfWeek => i64::from(local.weekday().since(Weekday::Sunday)),
        Part::DayOfYear => i64::from(local.day_of_year()) - 1,
        Part::Hours => local.hour().into(),
        Part::Minutes => local.minute().into(),
        Part::Seconds => local.second().into(),
        Part::Milliseconds => local.millisecond().into(),
    }
}

/// `Europe/Amsterdam`, `UTC`, `+02:00`, `-08:00` or `05:30`.
fn zone(name: &str) -> Option<TimeZone> {
    if name.len() > MAX_TEXT {
        return None;
    }
    let Some((hours, minutes)) = name.split_once(':') else {
        return TimeZone::get(name).ok();
    };
    let (negative, hours) = match hours.strip_prefix('-') {
        Some(hours) => (true, hours),
        None => (false, hours.strip_prefix('+').unwrap_or(hours)),
    };
    let number = |text: &str, most: i32| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|number| digits && *number <= most)
    };
    let seconds = number(hours, 23)? * 3_600 + number(minutes, 59)? * 60;
    let offset = Offset::from_seconds(if negative { -seconds } else { seconds }).ok()?;
    Some(TimeZone::fixed(offset))
}

/// The notation that the language takes from Go's `time.ParseDuration`.
fn parse_duration(text: &str) -> Option<SignedDuration> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let units = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(units);
        let factor: i128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        total = total.checked_add(scaled(number, factor)?)?;
        rest = after;
    }
    let nanoseconds = if negative { -total } else { total };
    let seconds = i64::try_from(nanoseconds / 1_000_000_000).ok()?;
    let below = i32::try_from(nanoseconds % 1_000_000_000).ok()?;
    Some(SignedDuration::new(seconds, below))
}

/// `1.5` times a factor, cut off below one.
fn scaled(number: &str, factor: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits than this do not reach a nanosecond of an hour.
    let fraction = &fraction[..fraction.len().min(15)];
    let parts: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    whole.checked_mul(factor)?.checked_add(parts * factor / scale)
}

fn conversion(value: &Value<'_>, wanted: &'static str) -> EvaluationFault {
    EvaluationFault::Conversion { value: shown(value), wanted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_are_written_as_in_go() {
        for (text, milliseconds) in [
            ("1h30m", Some(5_400_000)),
            ("-1.5s", Some(-1_500)),
            ("100ms", Some(100)),
            ("1h1m1s1ms", Some(3_661_001)),
            (".5s", Some(500)),
            ("0", Some(0)),
            ("+2m", Some(120_000)),
            ("", None),
            ("1", None),
            ("s", None),
            ("1d", None),
            ("1..5s", None),
            ("1 s", None),
            ("-", None),
            ("99999999999999999999999999999h", None),
        ] {
            let found = parse_duration(text).map(|span| span.as_millis());
            assert_eq!(found, milliseconds, "{text}");
        }
    }

    #[test]
    fn zones_are_names_or_offsets() {
        let noon: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        for (name, hour) in [
            ("Europe/Amsterdam", Some(14)),
            ("UTC", Some(12)),
            ("+02:00", Some(14)),
            ("-08:00", Some(4)),
            ("05:30", Some(17)),
            ("24:00", None),
            ("+1:00", None),
            ("Mars/Base", None),
            ("", None),
        ] {
            let found = zone(name).map(|zone| of_time(Part::Hours, noon, zone));
            assert_eq!(found, hour, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_span_and_a_zone_or_neither(text: String) {
            let _ = (parse_duration(&text), zone(&text));
        }
    }
}
