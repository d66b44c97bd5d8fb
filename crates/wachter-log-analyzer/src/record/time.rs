use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::bytes::Scan;

/// How far ahead of the latest possible moment a time may lie: a clock that was set back, or another
/// host's.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// What a time that a log does not write in full is completed with.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    latest: Timestamp,
}

impl Calendar {
    /// `latest` is the latest moment that a record can be from: when its file was last changed, or
    /// now. A time without a year is taken to lie in the year before it, and one without a zone in
    /// `zone`.
    #[must_use]
    pub const fn new(zone: TimeZone, latest: Timestamp) -> Self {
        Self { zone, latest }
    }

    /// The host's own zone, from `/etc/localtime`; UTC where there is none.
    #[must_use]
    pub fn host_zone() -> TimeZone {
        std::fs::read("/etc/localtime")
            .ok()
            .and_then(|data| TimeZone::tzif("Local", &data).ok())
            .unwrap_or(TimeZone::UTC)
    }

    /// The same for records of another time.
    #[must_use]
    pub fn until(&self, latest: Timestamp) -> Self {
        Self { zone: self.zone.clone(), latest }
    }

    /// A local time as a moment. One that did not exist or existed twice, where clocks change, is
    /// read as jiff's `compatible` does: by the offset before the change.
    pub(crate) fn moment(&self, local: DateTime) -> Option<Timestamp> {
        self.zone.to_ambiguous_timestamp(local).compatible().ok()
    }

    /// Completes a day and a time that have no year: the last such moment that is not after
    /// `latest`, by a day of grace. So a December read in January is last year's, and the 29th of
    /// February of the last leap year.
    pub(crate) fn without_year(&self, month: i8, day: i8, time: Time) -> Option<Timestamp> {
        let bound = self.latest.checked_add(AHEAD).unwrap_or(self.latest);
        let year = self.zone.to_datetime(bound).year();
        (0..=8).find_map(|back| {
            let date = Date::new(year - back, month, day).ok()?;
            self.moment(date.to_datetime(time)).filter(|moment| *moment <= bound)
        })
    }
}

/// The number of a month by the beginning of its English name.
pub(crate) fn month(scan: &mut Scan<'_>) -> Option<i8> {
    const NAMES: [&[u8; 3]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let name = scan.rest().first_chunk::<3>()?;
    let place = NAMES.iter().position(|known| *known == name)?;
    scan.text(name)?;
    i8::try_from(place + 1).ok()
}

/// `10:22:41`, with a fraction after `.` or `,`.
pub(crate) fn clock(scan: &mut Scan<'_>) -> Option<Time> {
    let mut ahead = *scan;
    let hour = ahead.two()?;
    ahead.byte(b':')?;
    let minute = ahead.two()?;
    ahead.byte(b':')?;
    // A leap second is read as the one before it.
    let second = ahead.two()?.min(59);
    let nanosecond = fraction(&mut ahead).unwrap_or(0);
    let time = Time::new(hour, minute, second, nanosecond).ok()?;
    *scan = ahead;
    Some(time)
}

/// A fraction of a second in nanoseconds; digits beyond the ninth are passed over.
fn fraction(scan: &mut Scan<'_>) -> Option<i32> {
    let mut ahead = *scan;
    ahead.byte(b'.').or_else(|| ahead.byte(b','))?;
    let digits = ahead.while_(|byte| byte.is_ascii_digit())?;
    let padded = digits.iter().map(|digit| i32::from(digit - b'0')).chain(std::iter::repeat(0));
    let nanoseconds = padded.take(9).fold(0, |sum, digit| sum * 10 + digit);
    *scan = ahead;
    Some(nanoseconds)
}

/// `Z`, `+01:00`, `+0100` or `+01`.
pub(crate) fn offset(scan: &mut Scan<'_>) -> Option<Offset> {
    let mut ahead = *scan;
    if ahead.byte(b'Z').is_some() {
        *scan = ahead;
        return Some(Offset::UTC);
    }
    let sign = match ahead.peek()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    ahead.byte(ahead.peek()?)?;
    let hours = i32::from(ahead.two()?);
    let colon = ahead.byte(b':').is_some();
    let minutes = ahead.two().map(i32::from);
    if colon && minutes.is_none() {
        return None;
    }
    *scan = ahead;
    Offset::from_seconds(sign * (hours * 3_600 + minutes.unwrap_or(0) * 60)).ok()
}

/// `2023-10-05T11:47:20.799042+02:00` and its kin (ISO 8601, RFC 3339): `T` or a space between,
/// `-` or `/` within the date, any fraction, and a zone or none.
pub(crate) fn iso(scan: &mut Scan<'_>, calendar: &Calendar) -> Option<Timestamp> {
    let mut ahead = *scan;
    let year = i16::try_from(ahead.digits(4, 4)?).ok()?;
    let between = ahead.peek().filter(|byte| matches!(byte, b'-' | b'/'))?;
    ahead.byte(between)?;
    let month = ahead.two()?;
    ahead.byte(between)?;
    let date = Date::new(year, month, ahead.two()?).ok()?;
    ahead.byte(b'T').or_else(|| ahead.byte(b' '))?;
    let local = date.to_datetime(clock(&mut ahead)?);
    let mut zoned = ahead;
    zoned.spaces();
    let given = match zoned.rest() {
        // A space may stand before `+0200`, but then a sign or a letter may be the message's.
        [b'+' | b'-', b'0'..=b'9', b'0'..=b'9', ..] => {
            offset(&mut zoned).inspect(|_| ahead = zoned)
        }
        [b'U', b'T', b'C', ..] => {
            zoned.text(b"UTC")?;
            ahead = zoned;
            Some(Offset::UTC)
        }
        _ => offset(&mut ahead),
    };
    let moment = match given {
        Some(offset) => offset.to_timestamp(local).ok()?,
        None => calendar.moment(local)?,
    };
    *scan = ahead;
    Some(moment)
}

/// `04/Jan/2020:08:41:43 +0000`, as web servers write it.
pub(crate) fn common_log(scan: &mut Scan<'_>, calendar: &Calendar) -> Option<Timestamp> {
    let mut ahead = *scan;
    let day = i8::try_from(ahead.digits(1, 2)?).ok()?;
    ahead.byte(b'/')?;
    let month = month(&mut ahead)?;
    ahead.byte(b'/')?;
    let year = i16::try_from(ahead.digits(4, 4)?).ok()?;
    ahead.byte(b':').or_else(|| ahead.byte(b' '))?;
    let local = Date::new(year, month, day).ok()?.to_datetime(clock(&mut ahead)?);
    ahead.spaces();
    let moment = match offset(&mut ahead) {
        Some(offset) => offset.to_timestamp(local).ok()?,
        None => calendar.moment(local)?,
    };
    *scan = ahead;
    Some(moment)
}

/// Seconds since 1970, with a fraction: `1684331782.575`. Numbers too large for seconds are
/// milliseconds, microseconds or nanoseconds.
pub(crate) fn epoch(scan: &mut Scan<'_>) -> Option<Timestamp> {
    let mut ahead = *scan;
    let number = i64::try_from(ahead.digits(9, 19)?).ok()?;
    let moment = match number {
        0..100_000_000_000 => {
            let nanoseconds = fraction(&mut ahead).unwrap_or(0);
            Timestamp::new(number, nanoseconds).ok()?
        }
        100_000_000_000..100_000_000_000_000 => Timestamp::from_millisecond(number).ok()?,
        100_000_000_000_000..100_000_000_000_000_000 => Timestamp::from_microsecond(number).ok()?,
        _ => Timestamp::from_nanosecond(number.into()).ok()?,
    };
    *scan = ahead;
    Some(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(latest: &str) -> Calendar {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        Calendar::new(zone, latest.parse().unwrap())
    }

    #[test]
    fn a_missing_year_is_the_last_one_possible() {
        for (latest, month, day, expected) in [
            ("2026-11-22T12:00:00Z", 11, 22, "2026-11-22T09:00:00Z"),
            ("2026-11-22T12:00:00Z", 11, 23, "2026-11-23T09:00:00Z"),
            ("2026-11-22T12:00:00Z", 11, 24, "2025-11-24T09:00:00Z"),
            ("2027-01-01T00:00:05Z", 12, 31, "2026-12-31T09:00:00Z"),
            ("2026-12-31T23:30:00Z", 1, 1, "2027-01-01T09:00:00Z"),
            ("2026-12-31T01:00:00Z", 1, 2, "2026-01-02T09:00:00Z"),
            ("2026-11-22T12:00:00Z", 2, 29, "2024-02-29T09:00:00Z"),
        ] {
            let time = Time::new(10, 0, 0, 0).unwrap();
            let read = calendar(latest).without_year(month, day, time).unwrap();
            assert_eq!(read.to_string(), expected, "{latest} {month} {day}");
        }
        assert_eq!(calendar("2026-11-22T12:00:00Z").without_year(2, 30, Time::MIN), None);
    }

    #[test]
    fn times_are_read_as_written() {
        let calendar = calendar("2026-11-22T12:00:00Z");
        for (text, expected, rest) in [
            ("2023-10-05T11:47:20.799042+02:00 x", "2023-10-05T09:47:20.799042Z", " x"),
            ("2023-10-05 11:47:20,5 x", "2023-10-05T09:47:20.5Z", " x"),
            ("2023/12/05 11:47:20 x", "2023-12-05T10:47:20Z", " x"),
            ("2023-10-05T11:47:20Z", "2023-10-05T11:47:20Z", ""),
            ("2022-02-11 14:07:54.110 +02:00 x", "2022-02-11T12:07:54.11Z", " x"),
            ("2021-09-28 09:22:18.536 UTC [147]", "2021-09-28T09:22:18.536Z", " [147]"),
            ("2023-10-05T11:47:60Z", "2023-10-05T11:47:59Z", ""),
            ("2023-10-05 11:47:20 - x", "2023-10-05T09:47:20Z", " - x"),
        ] {
            let mut scan = Scan::new(text.as_bytes());
            let read = iso(&mut scan, &calendar).unwrap();
            assert_eq!((read.to_string().as_str(), scan.rest()), (expected, rest.as_bytes()));
        }
        for (text, expected) in [
            ("1684331782.575", "2023-05-17T13:56:22.575Z"),
            ("1684331782575", "2023-05-17T13:56:22.575Z"),
            ("1684331782575000", "2023-05-17T13:56:22.575Z"),
            ("1684331782575000000", "2023-05-17T13:56:22.575Z"),
        ] {
            let read = epoch(&mut Scan::new(text.as_bytes())).unwrap();
            assert_eq!(read.to_string(), expected);
        }
    }
}
