//! From what the clock on the wall shows to points in time, and back.
//!
//! A zone's history is a row of stretches with one offset each. Within a stretch the wall and time
//! go alike; every question is answered there, and at its edge asked again in the next.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// What a zone does around a point in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// What is added to UTC.
    pub(super) offset: Offset,
    /// When it begins, unless it always was.
    pub(super) start: Option<Timestamp>,
    /// When the next one begins, unless it never does.
    pub(super) end: Option<Timestamp>,
}

impl Stretch {
    /// The one that holds `at` or begins with it; its start is left out.
    pub(super) fn from(rules: &TimeZone, at: Timestamp) -> Self {
        let end = rules.following(at).next().map(|transition| transition.timestamp());
        Self { offset: rules.to_offset(at), start: None, end }
    }

    /// The one that holds the moment before `at`; its end is left out.
    pub(super) fn until(rules: &TimeZone, at: Timestamp) -> Self {
        let start = rules.preceding(at).next().map(|transition| transition.timestamp());
        let offset = match start {
            Some(start) => rules.to_offset(start),
            None => rules.to_offset(Timestamp::MIN),
        };
        Self { offset, start, end: None }
    }
}

/// When the clock shows `shown`: the first of two times, or the end of the gap that swallows it.
///
/// Never earlier for a later `shown`. `None` at the end of the calendar.
pub(super) fn first_shown(rules: &TimeZone, shown: DateTime) -> Option<Timestamp> {
    match rules.to_ambiguous_timestamp(shown).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(shown).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(shown).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            let within = before.to_timestamp(shown).ok()?;
            // Counted with the old offset, a time in the gap is at the transition or after it.
            let next_second = Timestamp::from_second(within.as_second().saturating_add(1)).ok()?;
            rules.preceding(next_second).next().map(|transition| transition.timestamp())
        }
    }
}

/// What the clock shows at `at`; in the second half of an overlap, the latest that it showed before.
///
/// So every time of day that is shown first at or before `at` is at or before the answer.
pub(super) fn latest_shown(rules: &TimeZone, at: Timestamp) -> DateTime {
    let shown = rules.to_datetime(at);
    let AmbiguousOffset::Fold { before, after } = rules.to_ambiguous_timestamp(shown).offset()
    else {
        return shown;
    };
    if rules.to_offset(at) != after {
        return shown;
    }
    let next_second = Timestamp::from_second(at.as_second().saturating_add(1)).unwrap_or(at);
    match rules.preceding(next_second).next() {
        Some(transition) => {
            let last = Timestamp::from_second(transition.timestamp().as_second() - 1);
            last.map_or(shown, |last| before.to_datetime(last))
        }
        None => shown,
    }
}
