use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use wachter_model::Event;

use super::settle::{AckError, Acknowledged, BuryJob, Outcome, Outputs, SettleJob};
use super::shared::Shared;
use super::state::Leased;
use crate::hub::Hub;
use crate::{Seq, WriteError, lock};

/// Names one event to one subscription: the same at each attempt, after each crash, and when the event
/// comes back from the dead letters. A receiver that remembers it does nothing twice.
///
/// A UUID version 8 (RFC 9562) from a SHA-256 over journal, subscription and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct IdempotencyKey(uuid::Uuid);

impl IdempotencyKey {
    pub(crate) fn of(journal: &str, subscription: &str, seq: Seq) -> Self {
        let mut hash = Sha256::new();
        for part in
            [b"wachter idempotency v1".as_slice(), journal.as_bytes(), subscription.as_bytes()]
        {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(seq.get().to_be_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// An event, leased to one member until it is settled or its deadline is past.
///
/// Dropping it is a [`nak`](Self::nak): a task that panics or is cancelled gives its event back.
pub struct Delivery {
    event: Arc<Event>,
    seq: Seq,
    attempt: u32,
    replay: bool,
    token: u64,
    shared: Arc<Shared>,
    hub: Arc<Hub>,
    settled: bool,
}

impl Delivery {
    pub(super) fn new(shared: &Arc<Shared>, hub: &Arc<Hub>, leased: Leased) -> Self {
        Self {
            event: leased.stored.event,
            seq: leased.stored.seq,
            attempt: leased.attempt,
            replay: leased.replay,
            token: leased.token,
            shared: Arc::clone(shared),
            hub: Arc::clone(hub),
            settled: false,
        }
    }

    /// The event.
    #[must_use]
    pub const fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// Its place in the journal.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// Which delivery of this event it is, from 1. After a crash an attempt may be missing from the
    /// count, if nothing was written while it was under way.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the subscription was set back, and has had this event before.
    #[must_use]
    pub const fn is_replay(&self) -> bool {
        self.replay
    }

    /// What names this event to this subscription.
    #[must_use]
    pub fn idempotency_key(&self) -> IdempotencyKey {
        IdempotencyKey::of(&self.hub.journal, self.shared.name.as_str(), self.seq)
    }

    /// Says that the work is done, and commits what came of it: the event counts as settled, and
    /// `outputs` are there, or neither is. Returns once that is on disk.
    ///
    /// # Errors
    /// Nothing was written. Of [`AckError::Conflict`], [`AckError::Refused`] and [`AckError::Write`]
    /// the delivery is the caller's as before, and may be settled in another way.
    pub async fn ack(&mut self, outputs: Outputs) -> Result<Acknowledged, AckError> {
        let (answer, answered) = oneshot::channel();
        let job =
            SettleJob::prepare(&self.hub, &self.shared, self.seq, self.token, outputs, answer)?;
        self.hub.submit(Box::new(job));
        let outcome = answered.await.map_err(|_| AckError::Write(WriteError::Closed))?;
        match outcome {
            Outcome::Done(done) => {
                self.settled = true;
                Ok(done)
            }
            Outcome::Failed(error) => {
                self.settled = matches!(error, AckError::Expired);
                Err(error)
            }
        }
    }

    /// Gives the event back: it is delivered again after `delay`, or after what the retry policy says
    /// if that is `None`; after its last attempt it goes to the dead letters with `reason`.
    pub fn nak(mut self, delay: Option<Duration>, reason: impl Into<String>) {
        self.give_back(delay, reason.into());
    }

    /// Gives the work until `by` from now.
    ///
    /// # Errors
    /// The deadline was past already, and the event is given to somebody else.
    pub fn extend(&mut self, by: Duration) -> Result<(), AckError> {
        let until = self.hub.clock.elapsed() + by;
        let held = lock(&self.shared.state).extend(self.seq, self.token, until);
        if held { Ok(()) } else { Err(AckError::Expired) }
    }

    /// Gives the event up: it goes to the dead letters now, whatever attempts are left.
    ///
    /// # Errors
    /// The deadline was past, or it could not be written; it is tried again after a while then.
    pub async fn dead_letter(mut self, reason: impl Into<String>) -> Result<(), AckError> {
        self.settled = true;
        if !lock(&self.shared.state).begin_burying(self.seq, self.token) {
            return Err(AckError::Expired);
        }
        let (answer, answered) = oneshot::channel();
        let job = BuryJob::new(&self.shared, self.seq, reason.into(), Some(answer));
        self.hub.submit(Box::new(job));
        answered.await.map_err(|_| AckError::Write(WriteError::Closed))?.map_err(AckError::Write)
    }

    fn give_back(&mut self, delay: Option<Duration>, reason: String) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let now = self.hub.clock.elapsed();
        let mut state = lock(&self.shared.state);
        let exhausted = state.holds(self.seq, self.token) && state.fail(self.seq, delay, now);
        drop(state);
        if exhausted {
            self.hub.submit(Box::new(BuryJob::new(&self.shared, self.seq, reason, None)));
        }
        self.shared.wake.notify_one();
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.give_back(None, "dropped without being settled".into());
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("subscription", &self.shared.name.as_str())
            .field("seq", &self.seq)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
