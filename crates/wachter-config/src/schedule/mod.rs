//! When something is to happen: schedules, time zones, windows, retries.
//!
//! Types as they are written in configuration, and the arithmetic of the points in time that they
//! name. Time comes in as a value. What keeps track of them, from one start of the node to the next,
//! is `wachter-runtime`.
//!
//! # Invariants
//! - No clock is read. The one thing read from the host is its time zone database, by name.
//! - A value of these types is sound: a [`Cron`] that no date matches, a [`Window`] that never opens
//!   and a jitter longer than its interval do not exist.
//! - Every computation ends after a number of steps that does not depend on how long ago it last
//!   happened.
//!
//! # Daylight saving time
//! A [`Cron`] whose minute or hour contains `*` follows the clock on the wall: what the clock skips
//! does not happen, what it shows twice happens twice, so that the time between two ticks is what it
//! is on other days. Any other names fixed times, each of which happens once on its day: at the first
//! moment after a gap that swallowed it, at the first of two times that are shown alike. That is what
//! Vixie cron does. croner finds the matching dates; the rule is applied here, because croner takes
//! lists and ranges of hours (`0 1,2 * * *`) for intervals, drops them in a gap and doubles them in an
//! overlap.

mod civil;
mod cron;
mod every;
mod missed;
mod overlap;
mod retry;
mod spread;
mod week;
mod window;
mod zone;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wachter_model::Duration;

pub use cron::{Cron, ParseCronError};
pub use every::{Every, EveryError};
pub use missed::Missed;
pub use overlap::Overlap;
pub use retry::{Backoff, Retry, RetryError};
pub use spread::Spread;
pub use week::{ParseWeekError, WeekRanges};
pub use window::{Window, WindowError};
pub use zone::{ParseZoneError, Zone};

/// When an agent wakes by time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "ScheduleFile", into = "ScheduleFile")]
pub struct Schedule {
    trigger: Trigger,
    jitter: Duration,
    missed: Missed,
}

/// What makes the ticks of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Dates that match an expression, on the clock of a zone.
    Cron {
        /// The expression.
        cron: Cron,
        /// Whose clock.
        timezone: Zone,
    },
    /// One tick in each interval.
    Every(Every),
}

/// Why keys of a schedule do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Neither `cron` nor `every`.
    #[error("says no time; write `every: 5m`, or `cron: \"0 6 * * *\"` with its `timezone`")]
    NoTime,
    /// Both.
    #[error("`cron` and `every` say two times; keep one")]
    TwoTimes,
    /// A zone for an interval.
    #[error("`timezone` means nothing beside `every`, which counts elapsed time; remove it")]
    ZoneOfInterval,
    /// More jitter than there is room for.
    #[error("`jitter: {jitter}` must be shorter than {bound}; write a shorter one")]
    Jitter {
        /// What was written.
        jitter: Duration,
        /// What it must stay below.
        bound: Duration,
    },
}

impl Schedule {
    /// The longest jitter.
    pub const LONGEST_JITTER: Duration = Duration::from_secs(86_400);

    /// A schedule without jitter that makes up for a missed tick once.
    #[must_use]
    pub fn new(trigger: Trigger) -> Self {
        Self { trigger, jitter: Duration::from_millis(0), missed: Missed::default() }
    }

    /// The same with ticks spread over `jitter`: each is late by a time below that.
    ///
    /// # Errors
    /// Jitter not shorter than the interval, or longer than [`LONGEST_JITTER`](Self::LONGEST_JITTER).
    pub fn with_jitter(mut self, jitter: Duration) -> Result<Self, ScheduleError> {
        let bound = match &self.trigger {
            Trigger::Every(every) => every.interval(),
            Trigger::Cron { .. } => {
                Duration::from_millis(Self::LONGEST_JITTER.as_millis().saturating_add(1))
            }
        };
        if jitter >= bound || jitter > Self::LONGEST_JITTER {
            return Err(ScheduleError::Jitter { jitter, bound: bound.min(Self::LONGEST_JITTER) });
        }
        self.jitter = jitter;
        Ok(self)
    }

    /// The same with another answer to missed ticks.
    #[must_use]
    pub fn with_missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// What makes the ticks.
    #[must_use]
    pub fn trigger(&self) -> &Trigger {
        &self.trigger
    }

    /// By how much a tick may be late so that not all come at once.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        self.jitter
    }

    /// What becomes of ticks that nobody was there for.
    #[must_use]
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// The first tick after `after`, without jitter. `None` when there is none before the year 5000.
    #[must_use]
    pub fn next_after(&self, spread: Spread, after: Timestamp) -> Option<Timestamp> {
        match &self.trigger {
            Trigger::Cron { cron, timezone } => cron.next_after(timezone, after),
            Trigger::Every(every) => every.next_after(spread, after),
        }
    }

    /// The last tick before `before`, without jitter.
    #[must_use]
    pub fn latest_before(&self, spread: Spread, before: Timestamp) -> Option<Timestamp> {
        match &self.trigger {
            Trigger::Cron { cron, timezone } => cron.latest_before(timezone, before),
            Trigger::Every(every) => every.latest_before(spread, before),
        }
    }
}

/// A schedule as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Schedule")]
#[serde(deny_unknown_fields, default)]
struct ScheduleFile {
    /// Minute, hour, day of the month, month and day of the week, with seconds before them if wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<Cron>,
    /// The time zone whose clock `cron` reads; UTC where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<Zone>,
    /// The time from one start to the next, instead of `cron`.
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<Every>,
    /// By how much a start may be late, so that not all nodes and agents start at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<Duration>,
    /// What becomes of starts that were missed; `run-once` where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<Missed>,
}

impl TryFrom<ScheduleFile> for Schedule {
    type Error = ScheduleError;

    fn try_from(file: ScheduleFile) -> Result<Self, ScheduleError> {
        let trigger = match (file.cron, file.every, file.timezone) {
            (Some(_), Some(_), _) => return Err(ScheduleError::TwoTimes),
            (None, None, _) => return Err(ScheduleError::NoTime),
            (None, Some(_), Some(_)) => return Err(ScheduleError::ZoneOfInterval),
            (Some(cron), None, timezone) => {
                Trigger::Cron { cron, timezone: timezone.unwrap_or_default() }
            }
            (None, Some(every), None) => Trigger::Every(every),
        };
        let schedule = Self::new(trigger).with_missed(file.missed.unwrap_or_default());
        match file.jitter {
            Some(jitter) => schedule.with_jitter(jitter),
            None => Ok(schedule),
        }
    }
}

impl From<Schedule> for ScheduleFile {
    fn from(schedule: Schedule) -> Self {
        let (cron, timezone, every) = match schedule.trigger {
            Trigger::Cron { cron, timezone } => (Some(cron), Some(timezone), None),
            Trigger::Every(every) => (None, None, Some(every)),
        };
        let jitter = Some(schedule.jitter).filter(|jitter| jitter.as_millis() > 0);
        Self { cron, timezone, every, jitter, missed: Some(schedule.missed) }
    }
}
