//! Time as the bus sees it, so that a test can be its master.
//!
//! Two kinds are kept apart: the hour of the day, which is written into the journal and may jump,
//! and time that only passes, by which leases and delays are counted.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

/// Tells the time and waits for it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The hour of the day in UTC. It may jump.
    fn now(&self) -> Timestamp;

    /// The time that has passed since some fixed moment. It never goes back.
    fn elapsed(&self) -> Duration;

    /// Completes once [`elapsed`](Self::elapsed) has reached `moment`.
    fn wait_until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The clocks of the system.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock that has counted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn wait_until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let left = moment.saturating_sub(self.elapsed());
        Box::pin(tokio::time::sleep(left))
    }
}

/// A clock that stands still until it is told to move: for tests.
#[derive(Debug)]
pub struct ManualClock {
    start: Timestamp,
    elapsed: watch::Sender<Duration>,
}

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { start, elapsed: watch::Sender::new(Duration::ZERO) }
    }

    /// Lets time pass, and wakes whoever waited for it.
    pub fn advance(&self, by: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.start + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.borrow()
    }

    fn wait_until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut elapsed = self.elapsed.subscribe();
        Box::pin(async move {
            // The sender is `self`, which outlives this.
            let _ = elapsed.wait_for(|elapsed| *elapsed >= moment).await;
        })
    }
}

/// Milliseconds since 1970, as the journal keeps times.
pub(crate) fn to_millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// A time that the journal kept; what is out of range is damage, and reads as 1970.
pub(crate) fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A length of time in whole milliseconds, as many as fit.
pub(crate) fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
