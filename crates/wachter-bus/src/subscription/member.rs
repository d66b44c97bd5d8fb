use std::fmt;
use std::sync::Arc;

use super::SubscriptionName;
use super::bury::BuryJob;
use super::delivery::Delivery;
use super::mark::MarkJob;
use super::shared::Shared;
use super::state::Step;
use crate::hub::Hub;
use crate::{ReadError, Seq, lock};

/// A member of a subscription. Clones are further members; they compete.
pub struct Subscription {
    shared: Arc<Shared>,
    hub: Arc<Hub>,
}

/// How a subscription stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SubscriptionStatus {
    /// Its name.
    pub name: SubscriptionName,
    /// Members that it has now.
    pub members: usize,
    /// All up to here is settled.
    pub floor: Seq,
    /// Events in the journal beyond what it has looked at.
    pub behind: u64,
    /// Deliveries that are not settled.
    pub in_flight: usize,
    /// Events that wait for their next attempt.
    pub retrying: usize,
    /// Events that its predicate turned down, ever.
    pub skipped: u64,
    /// Events that retention dropped, or that were damaged, before they were delivered, ever.
    pub lost: u64,
    /// Deliveries since the bus was opened.
    pub delivered: u64,
    /// Acknowledgements since the bus was opened.
    pub acknowledged: u64,
}

impl Subscription {
    pub(crate) fn new(shared: Arc<Shared>, hub: Arc<Hub>) -> Self {
        lock(&shared.state).members += 1;
        Self { shared, hub }
    }

    /// Waits for the next delivery. No event is lost if this is dropped before it is done.
    ///
    /// # Errors
    /// The bus was closed or the subscription was removed.
    pub async fn next(&self) -> Result<Delivery, ReadError> {
        loop {
            let woken = self.shared.wake.notified();
            tokio::pin!(woken);
            // Registered before looking, so that what happens in between is not missed.
            woken.as_mut().enable();
            let step = {
                let mut state = lock(&self.shared.state);
                if state.removed || self.hub.is_closed() {
                    return Err(ReadError::Closed);
                }
                state.step(self.hub.clock.elapsed())
            };
            match step {
                Step::Deliver(leased) => {
                    // Others may have what they can do, too.
                    self.shared.wake.notify_one();
                    return Ok(Delivery::new(&self.shared, &self.hub, leased));
                }
                Step::Record => self.hub.submit(Box::new(MarkJob::new(&self.shared))),
                Step::Bury { seq, reason } => {
                    self.hub.submit(Box::new(BuryJob::new(&self.shared, seq, reason)));
                }
                Step::Read { missing, room } => self.shared.read(&self.hub, missing, room)?,
                Step::Wait(Some(until)) => {
                    tokio::select! {
                        () = woken => {}
                        () = self.hub.clock.wait_until(until) => {}
                    }
                }
                Step::Wait(None) => woken.await,
            }
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &SubscriptionName {
        &self.shared.name
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> SubscriptionStatus {
        self.shared.status(&self.hub)
    }
}

impl Clone for Subscription {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared), Arc::clone(&self.hub))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.members -= 1;
        let was_last = state.members == 0;
        if was_last {
            state.idle(self.hub.offered());
        }
        drop(state);
        if was_last {
            self.hub.feeds_nobody(self.shared.id);
        }
        // It may have been woken for what another can do.
        self.shared.wake.notify_waiters();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.shared.name.as_str()).finish()
    }
}
