//! A journal that cannot be written. What came of a run waits for it then, and no other run begins: what
//! would come of that could not be kept either.
//!
//! That the bus says of itself that something fails is no reason to stop: it says so of what it reads,
//! too, and of damage in a page that nobody needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Counts the runs that are over and wait for the journal.
#[derive(Clone, Debug, Default)]
pub(super) struct Stuck(Arc<AtomicUsize>);

/// One of them, as long as it is held.
#[derive(Debug)]
pub(super) struct StuckRun {
    all: Stuck,
    /// Since when, by the time that only passes.
    pub(super) since: Duration,
}

impl Stuck {
    pub(super) fn one(&self, since: Duration) -> StuckRun {
        self.0.fetch_add(1, Ordering::Relaxed);
        StuckRun { all: self.clone(), since }
    }

    pub(super) fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for StuckRun {
    fn drop(&mut self) {
        self.all.0.fetch_sub(1, Ordering::Relaxed);
    }
}
