use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::member::SubscriptionStatus;
use super::state::{CursorChange, State};
use super::{Cursor, EventFilter, SubscriptionName, SubscriptionOptions, Waits};
use crate::hub::Hub;
use crate::{Seq, lock};

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

    /// The cursor as it is to be written with `change`, the waits that are written beside it, and what
    /// [`written`](Self::written) is to be told.
    pub(crate) fn place(&self, offered: Seq, change: &CursorChange) -> (Cursor, Waits, u64) {
        let clock = self.hub.upgrade().map(|hub| Arc::clone(&hub.clock));
        let mut state = lock(&self.state);
        let waits = clock.map(|clock| {
            state.waits(change, clock.elapsed(), crate::clock::to_millis(clock.now()))
        });
        (state.cursor(offered, change), waits.unwrap_or_default(), state.version())
    }

    /// Has what is open wait as before a restart.
    pub(super) fn put_off(&self, hub: &Hub, waits: &Waits) {
        let now = crate::clock::to_millis(hub.clock.now());
        lock(&self.state).put_off(waits.at(now), hub.clock.elapsed());
    }

    /// A cursor is on disk; what changed since it was made is not.
    pub(crate) fn written(&self, version: u64, position: Seq) {
        lock(&self.state).written(version, position);
    }

    /// Whether the cursor on disk should be written again.
    pub(crate) fn is_unwritten(&self, offered: Seq, last: bool) -> bool {
        lock(&self.state).is_unwritten(offered, last)
    }

    /// The last event that it does not need any more.
    pub(crate) fn floor(&self, offered: Seq) -> Seq {
        lock(&self.state).floor(offered)
    }

    pub(crate) fn filter(&self) -> EventFilter {
        lock(&self.state).options.filter.clone()
    }

    pub(crate) fn lag_limit(&self) -> Option<std::time::Duration> {
        lock(&self.state).options.lag_limit
    }

    /// How many events it would lose if those up to `last` were dropped.
    pub(crate) fn would_lose(&self, last: Seq, offered: Seq) -> u64 {
        lock(&self.state).would_lose(last, offered)
    }

    /// Events up to `last` were dropped.
    pub(crate) fn give_up(&self, last: Seq, offered: Seq) {
        lock(&self.state).give_up(last, offered);
    }

    pub(crate) fn wake_all(&self) {
        self.wake.notify_waiters();
    }

    pub(crate) fn revive(&self, seq: Seq, owed: bool) {
        lock(&self.state).revive(seq, owed);
        self.wake.notify_waiters();
    }

    pub(crate) fn status(&self, hub: &Hub) -> SubscriptionStatus {
        let (last, offered) = (hub.last(), hub.offered());
        let mut state = lock(&self.state);
        let floor = state.floor(offered);
        SubscriptionStatus {
            name: self.name.clone(),
            members: state.members,
            floor,
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
