use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use wachter_model::Event;

use super::IdempotencyKey;
use super::outputs::{AckError, Acknowledged, Outputs};
use super::settle::{Outcome, SettleJob, Verdict};
use super::shared::Shared;
use super::state::Leased;
use crate::hub::Hub;
use crate::{Seq, WriteError, lock};

/// An event, leased to one member until it is settled or its deadline is past.
///
/// Dropping it gives the event back as [`give_back`](Self::give_back) does: a task that panics or is
/// cancelled is interrupted, and has not failed.
pub struct Delivery {
    event: Arc<Event>,
    seq: Seq,
    deliveries: u32,
    failures: u32,
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
            deliveries: leased.deliveries,
            failures: leased.failures,
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

    /// Which delivery of this event it is, from 1. After a crash a delivery may be missing from the
    /// count, if nothing was written while it was under way.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.deliveries
    }

    /// How often this event failed before. What was told by [`nak_with`](Self::nak_with) is never
    /// missing from the count; what was told by [`nak`](Self::nak) is on disk a moment later, and a
    /// deadline that was past within [`Options::upkeep`](crate::Options::upkeep).
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
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
        self.settle(Verdict::Done, outputs).await
    }

    /// Says that the work failed, and commits what came of it: the failure is counted and `outputs`
    /// are there, or neither is. The event is delivered again after `delay`, or after what the retry
    /// policy says if that is `None`, also where the bus is opened anew in between; if it was the last
    /// attempt, the event is among the dead letters with `reason`. Returns once that is on disk.
    ///
    /// # Errors
    /// As of [`ack`](Self::ack).
    pub async fn nak_with(
        &mut self,
        outputs: Outputs,
        delay: Option<Duration>,
        reason: impl Into<String>,
    ) -> Result<Acknowledged, AckError> {
        let verdict = self.failed(delay, reason.into());
        self.settle(verdict, outputs).await
    }

    /// Gives the event up, and commits what came of it: the event is among the dead letters with
    /// `reason`, whatever attempts are left, and `outputs` are there, or neither is. Returns once that
    /// is on disk.
    ///
    /// # Errors
    /// As of [`ack`](Self::ack).
    pub async fn dead_letter_with(
        &mut self,
        outputs: Outputs,
        reason: impl Into<String>,
    ) -> Result<Acknowledged, AckError> {
        self.settle(Verdict::GivenUp { reason: reason.into() }, outputs).await
    }

    /// Hands the event back as [`put_back`](Self::put_back) does, and commits what came of it: the
    /// delivery counts no more and `outputs` are there, or neither is. Returns once that is on disk.
    ///
    /// # Errors
    /// As of [`ack`](Self::ack).
    pub async fn put_back_with(
        &mut self,
        outputs: Outputs,
        delay: Duration,
    ) -> Result<Acknowledged, AckError> {
        let until = self.hub.clock.elapsed() + delay;
        self.settle(Verdict::PutBack { until }, outputs).await
    }

    /// Says that the work failed, as [`nak_with`](Self::nak_with) does, with nothing that came of it,
    /// and waits for nothing. If it cannot be written, the failure is counted in memory alone.
    pub fn nak(mut self, delay: Option<Duration>, reason: impl Into<String>) {
        self.settled = true;
        let verdict = self.failed(delay, reason.into());
        if let Ok(job) = self.job(verdict, Outputs::default(), None) {
            self.hub.submit(Box::new(job));
        }
    }

    /// Gives the event up, as [`dead_letter_with`](Self::dead_letter_with) does, with nothing that came
    /// of it.
    ///
    /// # Errors
    /// The deadline was past, or it could not be written; the event is delivered again then.
    pub async fn dead_letter(mut self, reason: impl Into<String>) -> Result<(), AckError> {
        self.dead_letter_with(Outputs::default(), reason).await.map(drop)
    }

    /// Gives the event back although it did not fail: whoever worked on it is lost. It is delivered
    /// again after `delay`, or after what the retry policy says if that is `None`; where the bus is
    /// closed and opened anew in between, after what is left of `delay`, or at once. This is an
    /// interruption, which [`Retry::interruptions`](crate::Retry::interruptions) bounds, and no failure.
    pub fn give_back(mut self, delay: Option<Duration>) {
        self.interrupt(delay);
    }

    /// Hands the event back as if it had never been delivered, to be delivered again after `delay`: the
    /// node stops in good order, or what would do the work is not there. Unlike
    /// [`give_back`](Self::give_back) it uses up nothing, so who may do it again and again must be sure
    /// that the event is not what is wrong.
    pub fn put_back(mut self, delay: Duration) {
        self.settled = true;
        let now = self.hub.clock.elapsed();
        lock(&self.shared.state).put_back(self.seq, self.token, now + delay);
        self.shared.wake.notify_one();
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

    fn failed(&self, delay: Option<Duration>, reason: String) -> Verdict {
        let until = delay.map(|delay| self.hub.clock.elapsed() + delay);
        Verdict::Failed { until, reason }
    }

    async fn settle(
        &mut self,
        verdict: Verdict,
        outputs: Outputs,
    ) -> Result<Acknowledged, AckError> {
        let (answer, answered) = oneshot::channel();
        let job = self.job(verdict, outputs, Some(answer))?;
        self.hub.submit(Box::new(job));
        let outcome = answered.await.map_err(|_| AckError::Write(WriteError::Closed))?;
        self.settled = matches!(outcome, Ok(_) | Err(AckError::Expired));
        outcome
    }

    fn job(
        &self,
        verdict: Verdict,
        outputs: Outputs,
        answer: Option<oneshot::Sender<Outcome>>,
    ) -> Result<SettleJob, AckError> {
        let (seq, token) = (self.seq, self.token);
        SettleJob::prepare(&self.hub, &self.shared, (seq, token), verdict, outputs, answer)
    }

    fn interrupt(&mut self, delay: Option<Duration>) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let now = self.hub.clock.elapsed();
        let until = delay.map(|delay| now + delay);
        lock(&self.shared.state).interrupt(self.seq, self.token, until, now);
        self.shared.wake.notify_one();
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.interrupt(None);
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("subscription", &self.shared.name.as_str())
            .field("seq", &self.seq)
            .field("attempt", &self.deliveries)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}
