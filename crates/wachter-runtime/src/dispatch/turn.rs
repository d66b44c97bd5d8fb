use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::run::LEASE;
use super::{Dispatcher, RunnerGone};
use crate::{Deployment, NodeEvent};

/// How long the task waits at most before it looks at the clock again, which may have been set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long what could not be written or read is left alone.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// How often agents give a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How often a delivery that waits here is held on to.
const EXTEND: Duration = Duration::from_secs(LEASE.as_secs() / 4);

/// What comes back again and again, by the time that only passes.
#[derive(Debug)]
pub(super) struct Beats {
    heartbeat: Duration,
    extend: Duration,
    pub(super) lease: Duration,
    /// When agents that could not be taken up are tried again.
    pub(super) complete: Option<Duration>,
}

impl Beats {
    pub(super) fn new(elapsed: Duration) -> Self {
        Self {
            heartbeat: elapsed + HEARTBEAT,
            extend: elapsed + EXTEND,
            lease: elapsed,
            complete: None,
        }
    }
}

impl Dispatcher {
    /// Works until shutdown, then gives back what is under way and ends.
    ///
    /// # Errors
    /// Who starts modules is gone. What was under way was given back; make a new dispatcher.
    pub async fn run(
        mut self,
        mut deployments: watch::Receiver<Option<Arc<Deployment>>>,
        mut observe: impl FnMut(NodeEvent),
    ) -> Result<(), RunnerGone> {
        let mut open = true;
        let (shutdown, clock) = (self.shutdown.clone(), Arc::clone(&self.options.clock));
        let ended = loop {
            let deployment = deployments.borrow_and_update().clone();
            if deployment.as_ref().map(Arc::as_ptr) != self.deployment.as_ref().map(Arc::as_ptr)
                && let Some(deployment) = deployment
            {
                self.take_up(deployment).await;
            }
            self.beat().await;
            self.notes.drain(..).for_each(&mut observe);
            let until = self.next_turn();
            tokio::select! {
                changed = deployments.changed(), if open => open = changed.is_ok(),
                Some((agent, delivery)) = self.delivered.recv() => self.offer(agent, delivery).await,
                Some(ended) = self.runs.join_next() => match ended {
                    Ok(ended) => if self.ended(ended).await.is_err() { break Err(RunnerGone) },
                    // The panic of a run's task gave its delivery back; whose it was is not known, so
                    // all is begun anew.
                    Err(_) => break Err(RunnerGone),
                },
                Some(command) = self.commands.recv() => self.carry_out(command).await,
                () = clock.wait_until(until) => {}
                () = shutdown.cancelled() => break Ok(()),
            }
        };
        if ended.is_ok() {
            self.give_back().await;
        }
        self.notes.drain(..).for_each(observe);
        ended
    }

    /// Does what time brings.
    async fn beat(&mut self) {
        let elapsed = self.options.clock.elapsed();
        if self.beats.complete.is_some_and(|at| at <= elapsed) {
            self.complete().await;
        }
        if self.beats.extend <= elapsed {
            self.beats.extend = elapsed + EXTEND;
            self.extend();
        }
        if self.beats.lease <= elapsed {
            self.hold_leases().await;
        }
        self.review_due().await;
        self.tell().await;
        if self.beats.heartbeat <= elapsed {
            self.beats.heartbeat = elapsed + HEARTBEAT;
            self.send_heartbeats();
        }
    }

    /// When to look again, if nothing else happens.
    fn next_turn(&mut self) -> Duration {
        let (now, elapsed) = (self.now(), self.options.clock.elapsed());
        // While the journal takes nothing, nothing is asked of the timetable.
        let retry = self.outbox.retry_at();
        let tick = if retry.is_none() { self.timetable.next_wake(now) } else { None };
        let review = self.reviews.first().map(|(at, _)| *at);
        let wait = tick.into_iter().chain(review).min().map_or(LONGEST_WAIT, |at| {
            Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
        });
        let beats = [self.beats.heartbeat, self.beats.extend, self.beats.lease];
        let others = beats.into_iter().chain(self.beats.complete).chain(retry);
        others.fold(elapsed + wait.min(LONGEST_WAIT), Duration::min)
    }

    /// What waits is not taken for lost.
    fn extend(&mut self) {
        let waiting = self.waiting.values_mut();
        for (_, delivery) in waiting.chain(self.put_off.values_mut().flatten()) {
            // Of one that is held no more, settling says so.
            let _ = delivery.extend(LEASE);
        }
    }

    /// Hands back what only waits; those who listen do the same with what they have.
    fn put_back(&mut self) {
        self.delivered.close();
        let put_off = std::mem::take(&mut self.put_off).into_values().flatten();
        for (_, delivery) in self.waiting.drain().map(|(_, waits)| waits).chain(put_off) {
            delivery.put_back(Duration::ZERO);
        }
        while let Ok((_, delivery)) = self.delivered.try_recv() {
            delivery.put_back(Duration::ZERO);
        }
    }

    /// Ends what is under way; what is not done is delivered again after the next start.
    async fn give_back(&mut self) {
        self.put_back();
        while let Some(ended) = self.runs.join_next().await {
            if let Ok(ended) = ended
                && let super::run::Settled::Finished(record) = ended.settled
            {
                self.notes.push(NodeEvent::Finished(record));
            }
        }
        // Who goes on with the schedules of the fleet need not wait for the leases to run out.
        self.release_leases().await;
        self.tell().await;
    }
}

/// However it ends: whoever starts modules may be gone, and what it did not start is not lost with it.
impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.put_back();
    }
}
