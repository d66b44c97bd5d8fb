use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use wachter_model::Duration;

use super::Spread;

/// An interval of elapsed time, from 100 milliseconds to 3650 days.
///
/// Its ticks are counted from the Unix epoch, moved by a phase that [`Spread`] gives. So they are
/// where they were after a restart, no time zone touches them, and agents with the same interval do
/// not all tick together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Every(Duration);

/// Why a time is no interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EveryError {
    /// Starting would be most of the work.
    #[error("`every: {0}` is too short; {min} is the shortest", min = Every::SHORTEST)]
    Short(Duration),
    /// Longer than the arithmetic is meant for.
    #[error("`every: {0}` is too long; {max} is the longest", max = Every::LONGEST)]
    Long(Duration),
}

impl Every {
    /// The shortest interval: below it, starting would be most of the work.
    pub const SHORTEST: Duration = Duration::from_millis(100);
    /// The longest.
    pub const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);

    /// Of a time.
    ///
    /// # Errors
    /// Outside [`SHORTEST`](Self::SHORTEST) to [`LONGEST`](Self::LONGEST).
    pub fn new(interval: Duration) -> Result<Self, EveryError> {
        match interval {
            interval if interval < Self::SHORTEST => Err(EveryError::Short(interval)),
            interval if interval > Self::LONGEST => Err(EveryError::Long(interval)),
            interval => Ok(Self(interval)),
        }
    }

    /// The time from one tick to the next.
    #[must_use]
    pub const fn interval(self) -> Duration {
        self.0
    }

    /// The first tick after `after`.
    #[must_use]
    pub fn next_after(self, spread: Spread, after: Timestamp) -> Option<Timestamp> {
        self.tick(spread, after, |distance, interval| distance.div_euclid(interval) + 1)
    }

    /// The last tick before `before`.
    #[must_use]
    pub fn latest_before(self, spread: Spread, before: Timestamp) -> Option<Timestamp> {
        self.tick(spread, before, |distance, interval| (distance - 1).div_euclid(interval))
    }

    /// The tick whose number `number` makes of the nanoseconds since the phase and of the interval.
    fn tick(
        self,
        spread: Spread,
        at: Timestamp,
        number: impl FnOnce(i128, i128) -> i128,
    ) -> Option<Timestamp> {
        let nanoseconds = |millis: u64| i128::from(millis) * 1_000_000;
        let interval = nanoseconds(self.0.as_millis());
        let phase = nanoseconds(spread.phase(self.0));
        let number = number(at.as_nanosecond() - phase, interval);
        Timestamp::from_nanosecond(number * interval + phase).ok()
    }
}

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Duration::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
