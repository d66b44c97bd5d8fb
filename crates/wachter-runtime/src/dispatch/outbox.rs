//! What is to be in the journal: ticks, and what the node has to say of its agents.

use std::collections::BTreeSet;
use std::time::Duration;

use wachter_bus::{Expect, KeyChange, PublishError, PublishReason};
use wachter_model::{AgentName, Event, chain};

use super::turn::PAUSE;
use super::{Dispatcher, wake};
use crate::NodeEvent;

/// The bucket of schedules: where each agent's stood, by agent.
pub(super) const TIMES_BUCKET: &str = "agent-times";

/// What may wait for a journal that takes nothing. Ticks are not asked for meanwhile, so it fills by
/// what people do alone.
const MOST: usize = 4_096;
/// What is published in one batch.
const BATCH: usize = 512;

/// What the journal has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    events: Vec<Event>,
    /// Whose times are to be kept, once the events are safe.
    times: BTreeSet<AgentName>,
    /// Whether some of the events are ticks.
    ticks: bool,
    retry_at: Option<Duration>,
}

impl Outbox {
    /// Has the times of an agent kept.
    pub(super) fn keep_times(&mut self, agent: &AgentName) {
        self.times.insert(agent.clone());
    }

    /// When the journal is tried again, while it takes nothing.
    pub(super) fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }
}

impl Dispatcher {
    /// Has an event published, as soon as the journal takes it.
    pub(super) fn publish(&mut self, agent: &AgentName, event: Event) {
        if self.outbox.events.len() < MOST {
            self.outbox.events.push(event);
        } else {
            let reason = format!("`{}`: too much waits for it already", event.event_type());
            self.notes.push(NodeEvent::Untold { agent: agent.clone(), reason });
        }
    }

    /// Publishes what is due and what there is to say, and keeps what follows from it in the same write.
    /// Of more than one batch that is the last: who dies in between tells the others again, ticks under
    /// the same names.
    pub(super) async fn tell(&mut self) {
        let elapsed = self.options.clock.elapsed();
        if self.outbox.retry_at.is_some_and(|at| at > elapsed) {
            return;
        }
        if !self.outbox.ticks {
            self.take_ticks();
        }
        let mut most = BATCH;
        while !self.outbox.events.is_empty() {
            let rest = self.outbox.events.split_off(most.min(self.outbox.events.len()));
            let batch = std::mem::replace(&mut self.outbox.events, rest);
            let changes = if self.outbox.events.is_empty() { self.changes() } else { Vec::new() };
            let kept = !changes.is_empty();
            // Waiting for room in the queue would keep people from being answered.
            let published = match self.options.bus.try_publish_with(batch, changes) {
                Ok(publishing) => publishing.await,
                Err(error) => Err(error),
            };
            match published {
                Ok(_) if kept => self.kept(),
                Ok(_) => {}
                Err(PublishError { reason, mut batch }) => {
                    let goes_on = self.pass_over(&reason, &mut batch, &mut most);
                    batch.append(&mut self.outbox.events);
                    self.outbox.events = batch;
                    if !goes_on {
                        self.outbox.retry_at = Some(elapsed + PAUSE);
                        return;
                    }
                }
            }
        }
        self.outbox.ticks = false;
        self.outbox.retry_at = None;
        let changes = self.changes();
        if changes.is_empty() {
            self.outbox.times.clear();
        } else if self.options.bus.change_keys(changes).await.is_ok() {
            self.kept();
        } else {
            self.outbox.retry_at = Some(elapsed + PAUSE);
        }
    }

    /// Makes a batch that was refused one that may be taken now: without the event that never will be,
    /// or smaller. Says whether it did; else the journal takes nothing, and says by itself why.
    fn pass_over(
        &mut self,
        reason: &PublishReason,
        batch: &mut Vec<Event>,
        most: &mut usize,
    ) -> bool {
        let never = match reason {
            PublishReason::TooLarge { index, .. } | PublishReason::Topic { index, .. } => *index,
            PublishReason::BatchTooLarge { .. } | PublishReason::Full if batch.len() > 1 => {
                *most = batch.len() / 2;
                return true;
            }
            PublishReason::BatchTooLarge { .. } => 0,
            PublishReason::Full | PublishReason::Key(_) | PublishReason::Write(_) => return false,
        };
        if never >= batch.len() {
            return false;
        }
        let event = batch.remove(never);
        // All that is told here is about an agent.
        if let Some(Ok(agent)) = event.subject().map(str::parse) {
            let reason = format!("`{}`: {}", event.event_type(), chain(reason));
            self.notes.push(NodeEvent::Untold { agent, reason });
        }
        true
    }

    fn take_ticks(&mut self) {
        let now = self.now();
        let due = self.timetable.due(now);
        for tick in &due.ticks {
            let scope = self.workers.get(&tick.agent).map(|worker| worker.agent.scope);
            if let Ok(event) = wake::tick_event(&self.sources, scope, tick, now) {
                self.outbox.events.push(event);
                self.outbox.ticks = true;
            }
            self.outbox.times.insert(tick.agent.clone());
        }
        self.outbox.times.extend(due.passed.into_iter().map(|passed| passed.agent));
    }

    /// What is to be kept with what is told.
    fn changes(&mut self) -> Vec<KeyChange> {
        let times = self.outbox.times.iter().filter_map(|name| {
            let kept = serde_json::to_vec(&self.timetable.kept(name)?).ok()?;
            Some(set_key(TIMES_BUCKET, name, Some(kept)))
        });
        let mut changes: Vec<KeyChange> = times.collect();
        if let Some(registry) = &mut self.registry {
            changes.extend(registry.changes());
        }
        changes
    }

    /// All of it is kept.
    fn kept(&mut self) {
        self.outbox.times.clear();
        if let Some(registry) = &mut self.registry {
            registry.kept();
        }
    }
}

/// A change of what is kept under an agent's name, whatever it was.
pub(super) fn set_key(bucket: &str, agent: &AgentName, value: Option<Vec<u8>>) -> KeyChange {
    KeyChange {
        bucket: bucket.to_owned(),
        key: agent.to_string(),
        value,
        expect: Expect::Anything,
        lasts: None,
    }
}
