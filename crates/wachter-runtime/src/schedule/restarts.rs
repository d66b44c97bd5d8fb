use std::num::NonZeroU32;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use wachter_config::{Backoff, Retry, Spread};
use wachter_model::Duration;

/// How an agent that keeps failing is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartOptions {
    /// From how many failures in a row on.
    pub failures: NonZeroU32,
    /// After how long without a failure the row is forgotten.
    pub within: Duration,
    /// The first pause, which doubles with each failure that follows.
    pub pause: Duration,
    /// The longest pause.
    pub max: Duration,
}

/// The failures of one agent: a module that crashes in a loop is tried ever more rarely.
///
/// A run that succeeds ends the row, and so does a quiet time, which begins when the pause is over: a
/// pause as long as that would otherwise make up for itself.
#[derive(Clone, Debug)]
pub struct Restarts {
    options: RestartOptions,
    spread: Spread,
    failures: u32,
    last: Option<Timestamp>,
    /// When to try again, and what was waited for it.
    next: Option<(Timestamp, SignedDuration)>,
}

/// A row of failures, as it survives the end of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureRow {
    /// How many.
    failures: u32,
    /// When the last one was.
    last: Timestamp,
    /// When the next try may be.
    next: Timestamp,
}

impl Restarts {
    /// No failure yet.
    #[must_use]
    pub fn new(options: RestartOptions, spread: Spread) -> Self {
        Self { options, spread, failures: 0, last: None, next: None }
    }

    /// Goes by other options from the next failure on.
    pub fn configure(&mut self, options: RestartOptions) {
        self.options = options;
    }

    /// Counts a failure; says when the next try may be.
    pub fn failed(&mut self, now: Timestamp) -> Timestamp {
        if self.is_quiet(now) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let pause = self.pause();
        let next = now.checked_add(pause).unwrap_or(Timestamp::MAX);
        (self.last, self.next) = (Some(now), Some((next, pause)));
        next
    }

    /// The row, where there is one.
    #[must_use]
    pub fn row(&self) -> Option<FailureRow> {
        let (last, (next, _)) = (self.last?, self.next?);
        Some(FailureRow { failures: self.failures, last, next })
    }

    /// Goes on with a row. One that has been quiet for long enough is forgotten, as ever.
    pub fn go_on_with(&mut self, row: FailureRow) {
        let FailureRow { failures, last, next } = row;
        self.failures = failures;
        (self.last, self.next) = (Some(last), Some((next, next.duration_since(last))));
    }

    /// A run succeeded: the row is over.
    pub fn succeeded(&mut self) {
        (self.failures, self.last, self.next) = (0, None, None);
    }

    /// When the next try may be: `now`, or a later time, but never further away than the pause
    /// that it was given, however the clock was set since.
    #[must_use]
    pub fn next_try(&self, now: Timestamp) -> Timestamp {
        let Some((next, wait)) = self.next else { return now };
        let longest = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        next.clamp(now, longest.max(now))
    }

    /// Whether it fails so often that a person should know.
    #[must_use]
    pub fn is_degraded(&self, now: Timestamp) -> bool {
        self.failures >= self.options.failures.get() && !self.is_quiet(now)
    }

    /// How many failures are counted.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// From when on the row is forgotten, if nothing fails until then; `None` where there is no row.
    #[must_use]
    pub fn quiet_at(&self) -> Option<Timestamp> {
        let since = self.next.map(|(next, _)| next).or(self.last)?;
        let within = SignedDuration::try_from(self.options.within.to_std()).ok()?;
        since.checked_add(within).ok()
    }

    fn is_quiet(&self, now: Timestamp) -> bool {
        let within = SignedDuration::try_from(self.options.within.to_std());
        let since = self.next.map(|(next, _)| next).or(self.last);
        since.is_none_or(|since| within.is_ok_and(|within| now.duration_since(since) >= within))
    }

    fn pause(&self) -> SignedDuration {
        let RestartOptions { failures, pause, max, .. } = self.options;
        // How often it was held back, this time included.
        let Some(times) =
            (self.failures + 1).checked_sub(failures.get()).filter(|times| *times > 0)
        else {
            return SignedDuration::ZERO;
        };
        let max = max.clamp(Duration::from_millis(1), Retry::LONGEST);
        let pause = pause.clamp(Duration::from_millis(1), max);
        let retry = Retry::new(Retry::MOST_ATTEMPTS, Backoff::Exponential, pause, max)
            .expect("both times were brought within bounds");
        // Past that many doublings the longest pause has long been reached.
        let times = times.min(Retry::MOST_ATTEMPTS - 1);
        let pause = retry.delay(times, self.spread, u64::from(self.failures)).unwrap_or(max);
        SignedDuration::try_from(pause.to_std()).unwrap_or(SignedDuration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restarts() -> Restarts {
        let spread = Spread::of_fleet(&"backup".parse().unwrap());
        let options = RestartOptions {
            failures: NonZeroU32::new(3).unwrap(),
            within: Duration::from_secs(600),
            pause: Duration::from_secs(10),
            max: Duration::from_secs(3_600),
        };
        Restarts::new(options, spread)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_crash_loop_is_tried_ever_more_rarely() {
        let mut restarts = restarts();
        let mut now = at(0);
        let pauses = [0, 0, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600];
        for (number, nominal) in pauses.into_iter().enumerate() {
            let next = restarts.failed(now);
            let waited = next.duration_since(now).as_millis();
            assert!((nominal * 500..=nominal * 1_000).contains(&waited), "{nominal}: {waited}");
            assert_eq!(restarts.next_try(now), next);
            assert_eq!(restarts.is_degraded(now), number >= 2);
            now = next;
        }
        assert_eq!(restarts.failures(), 13);
    }

    #[test]
    fn success_and_quiet_end_the_row() {
        let mut restarts = restarts();
        for second in 0..5 {
            restarts.failed(at(second));
        }
        assert!(restarts.is_degraded(at(10)));
        restarts.succeeded();
        assert_eq!((restarts.next_try(at(10)), restarts.is_degraded(at(10))), (at(10), false));

        for second in 20..25 {
            restarts.failed(at(second));
        }
        let over = restarts.next_try(at(24));
        let quiet = over + SignedDuration::from_secs(600);
        let instant = SignedDuration::from_millis(1);
        assert!(restarts.is_degraded(quiet - instant) && !restarts.is_degraded(quiet));
        assert_eq!(restarts.failed(quiet), quiet);
        assert_eq!(restarts.failures(), 1);
    }

    #[test]
    fn a_row_goes_on_in_another_life() {
        let mut before = restarts();
        for second in 0..5 {
            before.failed(at(second));
        }
        let kept = serde_json::to_string(&before.row().unwrap()).unwrap();
        let mut after = restarts();
        assert_eq!(after.row(), None);
        after.go_on_with(serde_json::from_str(&kept).unwrap());
        for second in [-86_400, 4, 5, 30, 86_400] {
            let told = |restarts: &Restarts| {
                let now = at(second);
                (restarts.next_try(now), restarts.is_degraded(now), restarts.quiet_at())
            };
            assert_eq!(told(&after), told(&before), "{second}");
        }
        assert_eq!(after.failed(at(40)), before.failed(at(40)));
        assert_eq!((after.failures(), after.row()), (6, before.row()));
        after.succeeded();
        assert_eq!(after.row(), None);
    }

    #[test]
    fn a_clock_that_went_back_holds_nobody_back_for_longer() {
        let mut restarts = restarts();
        for _ in 0..2 {
            restarts.failed(at(0));
        }
        let pause = restarts.failed(at(0)).duration_since(at(0));
        assert!(pause.is_positive());
        let before = at(-86_400);
        assert_eq!(restarts.next_try(before), before + pause);
        assert_eq!(restarts.next_try(at(86_400)), at(86_400));
    }
}
