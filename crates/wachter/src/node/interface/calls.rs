//! Who asked the node to change something, as events in the journal.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;
use wachter_api::Called;

use crate::node::announce::{API_CALLED, Announcer};

/// Calls that may wait to be written; more are counted and not kept.
const QUEUE: usize = 1_024;
/// How long a caller who was turned away is not told of again for the same endpoint.
const QUIET: Duration = Duration::from_secs(60);
/// Callers and endpoints whose refusals are remembered.
const MOST_REFUSALS: usize = 1_024;

/// What is to be told of a call, and how often it was made since that was last told.
type Told = (Called, u64);

/// Takes note of calls without keeping them waiting. The task that writes them ends with what is
/// returned.
pub(super) fn observer(announcer: Announcer) -> impl Fn(Called) + Send + Sync + 'static {
    let (queue, calls) = mpsc::channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let refusals = Mutex::new(Refusals::default());
    drop(tokio::spawn(write(announcer, calls, Arc::clone(&dropped))));
    move |called| {
        let admitted = if called.status == 403 {
            let mut refusals = refusals.lock().unwrap_or_else(PoisonError::into_inner);
            refusals.admit(&called, Instant::now())
        } else {
            Some(1)
        };
        if let Some(times) = admitted
            && queue.try_send((called, times)).is_err()
        {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn write(announcer: Announcer, mut calls: mpsc::Receiver<Told>, dropped: Arc<AtomicU64>) {
    while let Some((Called { caller, route, path, status }, times)) = calls.recv().await {
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(
                calls = lost,
                "calls of the interface are not in the journal: it takes events too slowly"
            );
        }
        let data = json!({
            "user": caller.user,
            "name": caller.name,
            "role": caller.role,
            "endpoint": route.name,
            "method": route.method.to_string(),
            "path": path,
            "status": status,
            "times": times,
            "lost_before": lost,
        });
        announcer.tell(API_CALLED, route.name, &data).await;
    }
}

/// Who was turned away, so that somebody without a role cannot fill the journal.
#[derive(Debug, Default)]
struct Refusals(BTreeMap<(u32, &'static str), Refusal>);

#[derive(Debug)]
struct Refusal {
    told: Instant,
    /// Calls since then.
    more: u64,
}

impl Refusals {
    /// Says whether to tell of it, and of how many at once.
    fn admit(&mut self, called: &Called, now: Instant) -> Option<u64> {
        let key = (called.caller.user, called.route.name);
        if let Some(refusal) = self.0.get_mut(&key) {
            if now.duration_since(refusal.told) < QUIET {
                refusal.more += 1;
                return None;
            }
            let times = refusal.more + 1;
            *refusal = Refusal { told: now, more: 0 };
            return Some(times);
        }
        if self.0.len() >= MOST_REFUSALS {
            self.0.retain(|_, refusal| now.duration_since(refusal.told) < QUIET);
        }
        if self.0.len() >= MOST_REFUSALS {
            return None;
        }
        self.0.insert(key, Refusal { told: now, more: 0 });
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use wachter_api::{Caller, Endpoint as _, FreezeEffects, ThawEffects};

    use super::*;

    fn called(user: u32, route: wachter_api::Route) -> Called {
        let caller = Caller { user, name: user.to_string(), role: None };
        Called { caller, route, path: route.path.to_owned(), status: 403 }
    }

    #[test]
    fn who_is_turned_away_again_and_again_is_told_of_once_a_minute() {
        let mut refusals = Refusals::default();
        let begin = Instant::now();
        let mut check = |seconds: u64, user: u32, route, expected: Option<u64>| {
            let now = begin + Duration::from_secs(seconds);
            assert_eq!(refusals.admit(&called(user, route), now), expected, "{seconds} {user}");
        };
        check(0, 1, ThawEffects::ROUTE, Some(1));
        check(1, 1, ThawEffects::ROUTE, None);
        check(59, 1, ThawEffects::ROUTE, None);
        check(59, 2, ThawEffects::ROUTE, Some(1));
        check(59, 1, FreezeEffects::ROUTE, Some(1));
        check(60, 1, ThawEffects::ROUTE, Some(3));
        check(61, 1, ThawEffects::ROUTE, None);
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let mut refusals = Refusals::default();
        let begin = Instant::now();
        for user in 0..5_000 {
            refusals.admit(&called(user, ThawEffects::ROUTE), begin);
        }
        assert_eq!(refusals.0.len(), MOST_REFUSALS);
        let later = begin + QUIET;
        assert_eq!(refusals.admit(&called(9_999, ThawEffects::ROUTE), later), Some(1));
        assert_eq!(refusals.0.len(), 1);
    }
}
