use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::broadcast;
use wachter_model::Event;

use crate::hub::Hub;
use crate::subscription::EventFilter;

/// Receives events that are kept nowhere: heartbeats, progress, metrics.
///
/// 1,024 events are held for all receivers together; one that is slower misses the oldest, and is told
/// how many.
pub struct Ephemeral {
    filter: EventFilter,
    events: broadcast::Receiver<Arc<Event>>,
    hub: Arc<Hub>,
}

/// What a receiver of ephemeral events gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An event.
    Event(Arc<Event>),
    /// So many events were missed, whether they were wanted or not.
    Missed(u64),
}

impl Ephemeral {
    pub(crate) fn new(filter: EventFilter, hub: &Arc<Hub>) -> Self {
        Self { filter, events: hub.ephemeral.subscribe(), hub: Arc::clone(hub) }
    }

    /// Waits for the next event that the filter wants. Dropping this before it is done loses none.
    pub async fn next(&mut self) -> Heard {
        loop {
            match self.events.recv().await {
                Ok(event) if self.filter.wants(&event) => return Heard::Event(event),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    self.hub.counters.ephemeral_lagged.fetch_add(count, Ordering::Relaxed);
                    return Heard::Missed(count);
                }
                // The hub holds the sender, and this holds the hub.
                Err(broadcast::error::RecvError::Closed) => std::future::pending::<()>().await,
            }
        }
    }
}

impl fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ephemeral").field(&self.filter).finish()
    }
}
