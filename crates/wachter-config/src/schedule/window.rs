use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::civil::Stretch;
use super::week::WEEK;
use super::{WeekRanges, Zone};

/// The times of the week at which an agent may start: those that `allow` names, without those that
/// `deny` names.
///
/// It is open when the clock on the wall says so, through every change of offset: an hour that the
/// clock shows twice is open twice, one that it skips is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "WindowFile", into = "WindowFile")]
pub struct Window {
    file: WindowFile,
    /// When it is open, in minutes of the week: sorted, apart from each other, the ends left out.
    open: Vec<(u16, u16)>,
}

/// Why a window is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Neither `allow` nor `deny`.
    #[error("the window says no time; write `allow: \"Mon-Fri 22:00-05:00\"`, or `deny`")]
    NoTime,
    /// Nothing is left.
    #[error("the window never opens; let `deny` leave some of what `allow` names")]
    Never,
}

impl Window {
    /// Of its parts; no `allow` is the whole week.
    ///
    /// # Errors
    /// No part at all, or parts that leave no time.
    pub fn new(
        allow: Option<WeekRanges>,
        deny: Option<WeekRanges>,
        timezone: Zone,
    ) -> Result<Self, WindowError> {
        WindowFile { allow, deny, timezone: Some(timezone) }.try_into()
    }

    /// Whose clock it reads.
    #[must_use]
    pub fn timezone(&self) -> &Zone {
        self.file.timezone.as_ref().expect("made whole when it was read")
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.open_until(minute_of_week(self.timezone().rules().to_datetime(at))).is_some()
    }

    /// The first moment at or after `at` at which it is open.
    ///
    /// `None` only at the end of the calendar.
    #[must_use]
    pub fn opening(&self, at: Timestamp) -> Option<Timestamp> {
        self.first(at, |minute| match self.open_until(minute) {
            Some(_) => Some(0),
            None => {
                let later = self.open.iter().map(|(start, _)| *start).find(|start| *start > minute);
                let start = later.or_else(|| Some(self.open.first()?.0.saturating_add(WEEK)));
                start.map(|start| start - minute)
            }
        })
    }

    /// The first moment at or after `at` at which it is closed; `None` where it is always open.
    #[must_use]
    pub fn closing(&self, at: Timestamp) -> Option<Timestamp> {
        if self.open == [(0, WEEK)] {
            return None;
        }
        self.first(at, |minute| match self.open_until(minute) {
            None => Some(0),
            Some(WEEK) => {
                let carried_over = self.open.first().filter(|(start, _)| *start == 0);
                Some(WEEK - minute + carried_over.map_or(0, |(_, end)| *end))
            }
            Some(end) => Some(end - minute),
        })
    }

    /// The first moment at or after `at` for which `minutes_until` says 0, where it says for any
    /// minute of the week in how many the clock shows what is looked for.
    fn first(
        &self,
        at: Timestamp,
        minutes_until: impl Fn(u16) -> Option<u16>,
    ) -> Option<Timestamp> {
        let rules = self.timezone().rules();
        let mut at = at;
        loop {
            let stretch = Stretch::from(rules, at);
            let shown = stretch.offset.to_datetime(at);
            let minutes = minutes_until(minute_of_week(shown))?;
            if minutes == 0 {
                return Some(at);
            }
            let minute = shown.with().second(0).subsec_nanosecond(0).build().ok()?;
            let wait = SignedDuration::from_mins(i64::from(minutes));
            let found = stretch.offset.to_timestamp(minute.checked_add(wait).ok()?).ok()?;
            match stretch.end.filter(|end| found >= *end) {
                Some(end) => at = end,
                None => return Some(found),
            }
        }
    }

    /// The end of the range that holds `minute`.
    fn open_until(&self, minute: u16) -> Option<u16> {
        let holds = self.open.iter().find(|(start, end)| (*start..*end).contains(&minute));
        holds.map(|(_, end)| *end)
    }
}

fn minute_of_week(shown: DateTime) -> u16 {
    let part = |number: i8| u16::try_from(number).expect("parts of a time of day are not negative");
    let day = part(shown.weekday().to_monday_zero_offset());
    day * 24 * 60 + part(shown.hour()) * 60 + part(shown.minute())
}

/// A window as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Window")]
#[serde(deny_unknown_fields, default)]
struct WindowFile {
    /// When it is open; the whole week where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<WeekRanges>,
    /// When it is closed all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    deny: Option<WeekRanges>,
    /// Whose clock is read; UTC where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<Zone>,
}

impl TryFrom<WindowFile> for Window {
    type Error = WindowError;

    fn try_from(mut file: WindowFile) -> Result<Self, WindowError> {
        if file.allow.is_none() && file.deny.is_none() {
            return Err(WindowError::NoTime);
        }
        let allowed = file.allow.as_ref().map_or_else(|| vec![(0, WEEK)], WeekRanges::runs);
        let denied = file.deny.as_ref().map(WeekRanges::runs).unwrap_or_default();
        let mut open: Vec<(u16, u16)> = Vec::new();
        for (mut begin, end) in allowed {
            for (from, to) in denied.iter().copied() {
                if from < end && begin < to {
                    if begin < from {
                        open.push((begin, from));
                    }
                    begin = to;
                }
            }
            if begin < end {
                open.push((begin, end));
            }
        }
        if open.is_empty() {
            return Err(WindowError::Never);
        }
        file.timezone.get_or_insert_default();
        Ok(Self { file, open })
    }
}

impl From<Window> for WindowFile {
    fn from(window: Window) -> Self {
        window.file
    }
}
