//! What the service manager is told, where one started this process: that it listens, and that its
//! loop goes round.

use std::time::{Duration, Instant};

use wachter_packet::{ServiceManager, Word};

/// Says that the loop goes round, twice in the time after which this process would count as dead.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    manager: ServiceManager,
    every: Option<Duration>,
    next: Instant,
}

impl Heartbeat {
    /// Of a launcher that is joined to one node: that node watches it, and the environment is the
    /// node's.
    pub(crate) fn none() -> Self {
        Self::of(ServiceManager::default(), Instant::now())
    }

    /// Of a launcher that listens now, and says so.
    pub(crate) fn ready(manager: ServiceManager, profile: &str) -> Self {
        let status = format!("listens, with the profile {profile}");
        if let Err(error) = manager.tell(&[Word::Ready, Word::Status(&status)]) {
            crate::server::eprintln_line(&format!("the service manager was not told: {error}"));
        }
        Self::of(manager, Instant::now())
    }

    fn of(manager: ServiceManager, now: Instant) -> Self {
        let every = manager.watchdog().map(|longest| longest / 2);
        Self { manager, every, next: now }
    }

    /// How long the loop may wait from `now` on.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        self.every.map(|_| self.next.saturating_duration_since(now))
    }

    /// Says so, if it is time.
    pub(crate) fn beat(&mut self, now: Instant) {
        let Some(every) = self.every.filter(|_| now >= self.next) else { return };
        // One that was not heard is followed by others.
        let _ = self.manager.tell(&[Word::Watchdog]);
        self.next = now + every;
    }
}
