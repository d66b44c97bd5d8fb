use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use wachter_model::Duration;

/// A moment in the past, as people say it: so long ago, a day, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// So long before now.
    Ago(Duration),
    /// Then.
    At(Timestamp),
}

/// Why a text is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no time; write how long ago as in 90s, 1h or 2d, a day (UTC) as in 2026-11-22, or a time as in 2026-11-22T10:00:00Z"
)]
pub(crate) struct ParseMomentError(String);

impl Moment {
    /// The moment itself. What lies before the calendar is its beginning.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(time) => i64::try_from(time.as_millis())
                .ok()
                .and_then(|time| now.checked_sub(SignedDuration::from_millis(time)).ok())
                .unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for Moment {
    type Err = ParseMomentError;

    /// RFC 3339 for times and days; a number with a unit for spans.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseMomentError(text.to_owned());
        if let Ok(ago) = text.parse() {
            return Ok(Self::Ago(ago));
        }
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        // A time of a day is no day, and without an offset it is no time either.
        let day = Some(text).filter(|text| text.len() == "2026-11-22".len());
        let day: Date = day.and_then(|day| day.parse().ok()).ok_or_else(refused)?;
        let begin = day.to_zoned(TimeZone::UTC).map_err(|_| refused())?;
        Ok(Self::At(begin.timestamp()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let check = |text: &str, expected: Option<&str>| {
            let read = text.parse::<Moment>().ok().map(|moment| moment.before(now).to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("1h", Some("2026-11-22T09:00:00Z"));
        check("2d", Some("2026-11-20T10:00:00Z"));
        check("0s", Some("2026-11-22T10:00:00Z"));
        check("2026-11-22T08:30:00+02:00", Some("2026-11-22T06:30:00Z"));
        check("2026-11-21", Some("2026-11-21T00:00:00Z"));
        check("100000000000d", Some("-009999-01-02T01:59:59Z"));
        for wrong in
            ["", "1", "h", "-1h", "1 h", "1w", "yesterday", "2026-13-01", "2026-11-22T10:00"]
        {
            check(wrong, None);
        }
    }

    proptest! {
        #[test]
        fn every_text_is_a_moment_or_an_error(text in ".*") {
            if let Ok(moment) = text.parse::<Moment>() {
                moment.before(Timestamp::UNIX_EPOCH);
            }
        }

        #[test]
        fn what_is_written_is_read(seconds in -60_000_000_000i64..60_000_000_000, ago in 0u64..u64::MAX) {
            let time = Timestamp::from_second(seconds).unwrap();
            prop_assert_eq!(time.to_string().parse(), Ok(Moment::At(time)));
            let ago = Duration::from_millis(ago);
            prop_assert_eq!(ago.to_string().parse(), Ok(Moment::Ago(ago)));
            // Never later than now, however long ago.
            prop_assert!(Moment::Ago(ago).before(time) <= time);
        }
    }
}
