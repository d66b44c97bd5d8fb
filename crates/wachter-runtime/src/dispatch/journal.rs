//! Whether the journal can be written. While it cannot, no run begins: what would come of it could not
//! be kept, and what it does to the world would be done once more.

use tokio::sync::broadcast::{self, error::RecvError};
use wachter_bus::{Bus, Notice};

use super::Dispatcher;

/// What is known of the journal.
pub(super) struct Journal {
    bus: Bus,
    notices: broadcast::Receiver<Notice>,
    fails: bool,
}

impl Journal {
    pub(super) fn new(bus: Bus) -> Self {
        let notices = bus.notices();
        let fails = bus.status().failing.is_some();
        Self { bus, notices, fails }
    }

    /// Waits until writing begins to fail, or works again; says which. None once the bus is closed.
    pub(super) async fn changed(&mut self) -> Option<bool> {
        loop {
            let fails = match self.notices.recv().await {
                Ok(Notice::Failing(_)) => true,
                Ok(Notice::Recovered) => false,
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => self.bus.status().failing.is_some(),
                Err(RecvError::Closed) => return None,
            };
            if fails != self.fails {
                return Some(fails);
            }
        }
    }

    pub(super) const fn fails(&self) -> bool {
        self.fails
    }
}

impl Dispatcher {
    /// Begins nothing while the journal cannot be written, and goes on afterwards.
    pub(super) async fn heed(&mut self, fails: bool) {
        self.journal.fails = fails;
        if !fails {
            self.offer_again().await;
        }
    }
}
