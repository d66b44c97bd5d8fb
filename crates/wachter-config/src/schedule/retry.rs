use serde::{Deserialize, Serialize};
use wachter_model::Duration;

use super::Spread;

/// How often and when a run that failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "RetryFile", into = "RetryFile")]
pub struct Retry {
    attempts: u32,
    backoff: Backoff,
    initial: Duration,
    max: Duration,
}

/// How the time between tries grows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Backoff {
    /// It stays.
    Constant,
    /// It doubles.
    #[default]
    Exponential,
}

/// Why keys of a retry do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetryError {
    /// None or too many.
    #[error("`attempts: {0}` must be from 1, which is no retry, to 100")]
    Attempts(u32),
    /// No time at all, or too much.
    #[error("`initial: {initial}` must be from 1ms to `max: {max}`, and `max` at most 24h")]
    Times {
        /// The first.
        initial: Duration,
        /// The longest.
        max: Duration,
    },
}

impl Retry {
    /// The most attempts.
    pub const MOST_ATTEMPTS: u32 = 100;
    /// The longest time between two.
    pub const LONGEST: Duration = Duration::from_secs(86_400);

    /// Of its parts: `attempts` counts the first one.
    ///
    /// # Errors
    /// Attempts outside 1 to 100, no time between them, or more than 24 hours.
    pub fn new(
        attempts: u32,
        backoff: Backoff,
        initial: Duration,
        max: Duration,
    ) -> Result<Self, RetryError> {
        if !(1..=Self::MOST_ATTEMPTS).contains(&attempts) {
            return Err(RetryError::Attempts(attempts));
        }
        if initial.as_millis() == 0 || initial > max || max > Self::LONGEST {
            return Err(RetryError::Times { initial, max });
        }
        Ok(Self { attempts, backoff, initial, max })
    }

    /// How many tries there are, the first included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long to wait after try number `failed`, counted from 1, or `None` when it was the last.
    ///
    /// From half of the nominal time up to all of it: which, depends on `spread`, `subject` (what is
    /// tried: a run's tick or event, hashed by the caller) and the try alone. Two computations agree,
    /// and two nodes whose common server failed do not come back together.
    #[must_use]
    pub fn delay(&self, failed: u32, spread: Spread, subject: u64) -> Option<Duration> {
        if failed >= self.attempts {
            return None;
        }
        let doublings = match self.backoff {
            Backoff::Constant => 0,
            Backoff::Exponential => failed.saturating_sub(1),
        };
        let initial = self.initial.as_millis();
        let nominal = 1_u64
            .checked_shl(doublings)
            .and_then(|factor| initial.checked_mul(factor))
            .unwrap_or(u64::MAX)
            .min(self.max.as_millis());
        let half = nominal.div_ceil(2);
        let part = spread.below(subject ^ u64::from(failed), nominal - half + 1);
        Some(Duration::from_millis(half + part))
    }
}

impl Default for Retry {
    /// One attempt: a run that failed is not tried again before its next cause.
    fn default() -> Self {
        Self {
            attempts: 1,
            backoff: Backoff::default(),
            initial: Duration::from_secs(1),
            max: Duration::from_secs(300),
        }
    }
}

/// A retry as it is written.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Retry")]
#[serde(deny_unknown_fields, default)]
struct RetryFile {
    /// How many tries there are, the first included.
    attempts: u32,
    /// Whether the time between tries doubles or stays.
    backoff: Backoff,
    /// The time after the first.
    initial: Duration,
    /// The longest time.
    max: Duration,
}

impl Default for RetryFile {
    fn default() -> Self {
        Retry::default().into()
    }
}

impl TryFrom<RetryFile> for Retry {
    type Error = RetryError;

    fn try_from(file: RetryFile) -> Result<Self, RetryError> {
        Self::new(file.attempts, file.backoff, file.initial, file.max)
    }
}

impl From<Retry> for RetryFile {
    fn from(retry: Retry) -> Self {
        let Retry { attempts, backoff, initial, max } = retry;
        Self { attempts, backoff, initial, max }
    }
}
