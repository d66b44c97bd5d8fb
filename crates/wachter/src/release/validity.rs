use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Until when something is accepted for the first time: a day, a moment or a number of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    /// Until this moment.
    Until(Timestamp),
    /// So many days from now on.
    Days(u32),
}

/// Why a text is no validity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no date; write a number of days as in 90d, a day as in 2027-01-31, or a time as in 2027-01-31T12:00:00Z"
)]
pub(crate) struct ParseValidityError(String);

impl Validity {
    /// The last moment, in whole seconds.
    ///
    /// # Errors
    /// One that is past, or beyond the calendar; one sentence.
    pub(crate) fn from(self, now: Timestamp) -> Result<Timestamp, String> {
        let end = match self {
            Self::Until(end) => Some(end),
            Self::Days(days) => {
                now.checked_add(SignedDuration::from_hours(24 * i64::from(days))).ok()
            }
        };
        let end = end.and_then(|end| Timestamp::from_second(end.as_second()).ok());
        match end {
            None => Err("the date lies beyond the calendar; give an earlier one".to_owned()),
            Some(end) if end <= now => Err(format!("{end} is past; give a later date")),
            Some(end) => Ok(end),
        }
    }
}

impl FromStr for Validity {
    type Err = ParseValidityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseValidityError(text.to_owned());
        if let Some(days) = text.strip_suffix('d') {
            let digits = days.bytes().all(|byte| byte.is_ascii_digit());
            return days.parse().ok().filter(|_| digits).map(Self::Days).ok_or_else(refused);
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self::Until(time));
        }
        // All of that day, where the author's day ends last.
        let day: Date = text.parse().map_err(|_| refused())?;
        let end = day.at(23, 59, 59, 0).to_zoned(TimeZone::UTC).map_err(|_| refused())?;
        Ok(Self::Until(end.timestamp()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_dates_and_times() {
        let now: Timestamp = "2027-01-01T12:00:00.5Z".parse().unwrap();
        for (text, expected) in [
            ("90d", Ok("2027-04-01T12:00:00Z")),
            ("1d", Ok("2027-01-02T12:00:00Z")),
            ("2027-01-31", Ok("2027-01-31T23:59:59Z")),
            ("2027-01-31T12:00:00+02:00", Ok("2027-01-31T10:00:00Z")),
            ("0d", Err("is past")),
            ("2026-12-31", Err("is past")),
            ("4294967295d", Err("beyond the calendar")),
        ] {
            let end = text.parse::<Validity>().unwrap().from(now);
            match expected {
                Ok(time) => assert_eq!(end.unwrap().to_string(), time, "{text}"),
                Err(reason) => assert!(end.unwrap_err().contains(reason), "{text}"),
            }
        }
        for text in ["", "d", "+1d", "-1d", "90", "tomorrow", "2027-02-30", "2027-1-1"] {
            assert!(text.parse::<Validity>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text: String, days in "[0-9]{1,12}d") {
            let _ = (text.parse::<Validity>(), days.parse::<Validity>());
        }
    }
}
