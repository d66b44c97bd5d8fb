use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::cursor::Open;
use super::deliver::Delivery;
use super::settle::{BuryJob, MarkJob};
use super::state::{State, Step};
use super::{Cursor, SubscriptionName, SubscriptionOptions};
use crate::hub::Hub;
use crate::{ReadError, Seq, lock};

/// A subscription, known to the writer, to its members and to what they were delivered.
pub(crate) struct Shared {
    pub(crate) id: i64,
    pub(crate) name: SubscriptionName,
    pub(super) hub: Weak<Hub>,
    pub(super) state: Mutex<State>,
    pub(super) wake: Notify,
}

impl Shared {
    pub(super) fn new(
        id: i64,
        hub: &Arc<Hub>,
        options: SubscriptionOptions,
        cursor: Cursor,
        careful: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            name: options.name.clone(),
            hub: Arc::downgrade(hub),
            state: Mutex::new(State::new(options, cursor, careful)),
            wake: Notify::new(),
        })
    }

    /// The cursor as it is to be written now.
    pub(crate) fn cursor(&self) -> Cursor {
        lock(&self.state).cursor()
    }

    /// The cursor as it will be once these events are back from the dead letters.
    pub(crate) fn cursor_with(&self, revived: impl Iterator<Item = Seq>) -> Cursor {
        let mut cursor = self.cursor();
        for seq in revived {
            if let Err(place) = cursor.open.binary_search_by_key(&seq, |open| open.seq) {
                cursor.open.insert(place, Open { seq, attempts: 0, revived: true });
            }
        }
        cursor
    }

    /// Whether the cursor has moved since it was written.
    pub(crate) fn moved(&self) -> bool {
        lock(&self.state).moved
    }

    pub(crate) fn written(&self) {
        lock(&self.state).moved = false;
    }

    /// The last event that it does not need any more.
    pub(crate) fn floor(&self) -> Seq {
        lock(&self.state).floor()
    }

    pub(crate) fn lag_limit(&self) -> Option<std::time::Duration> {
        lock(&self.state).options.lag_limit
    }

    /// How many events it would lose if those up to `last` were dropped.
    pub(crate) fn would_lose(&self, last: Seq) -> u64 {
        lock(&self.state).would_lose(last)
    }

    /// Events up to `last` were dropped.
    pub(crate) fn give_up(&self, last: Seq) {
        lock(&self.state).give_up(last);
    }

    pub(crate) fn wake_all(&self) {
        self.wake.notify_waiters();
    }

    pub(crate) fn revive(&self, seq: Seq) {
        lock(&self.state).revive(seq);
        self.wake.notify_waiters();
    }
}

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
                Step::Bury(seq) => {
                    let reason = "not settled within its deadline, or the node went down meanwhile";
                    self.hub.submit(Box::new(BuryJob::new(&self.shared, seq, reason.into(), None)));
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
        self.shared.status(self.hub.last())
    }
}

impl Shared {
    pub(crate) fn status(&self, last: Seq) -> SubscriptionStatus {
        let state = lock(&self.state);
        SubscriptionStatus {
            name: self.name.clone(),
            members: state.members,
            floor: state.floor(),
            behind: last.get().saturating_sub(state.position.get()),
            in_flight: state.in_flight(),
            retrying: state.waiting(),
            skipped: state.skipped,
            lost: state.lost,
            delivered: state.delivered,
            acknowledged: state.acknowledged,
        }
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
        if state.members == 0 {
            state.idle();
        }
        drop(state);
        // It may have been woken for what another can do.
        self.shared.wake.notify_waiters();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.shared.name.as_str()).finish()
    }
}
