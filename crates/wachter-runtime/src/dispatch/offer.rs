//! From a delivery to work: what is admitted, what waits, what is put off.

use std::sync::atomic::Ordering;
use std::time::Duration;

use wachter_bus::Delivery;
use wachter_model::AgentName;

use super::wake::Wake;
use super::{Dispatcher, NodeEvent};
use crate::schedule::{Offered, TurnedAway};

impl Dispatcher {
    /// A delivery came.
    pub(super) async fn offer(&mut self, name: AgentName, delivery: Delivery) {
        match Wake::of(delivery.event(), &self.sources) {
            Some(wake) => self.consider(&name, wake, delivery).await,
            None => self.skip(&name, delivery, "it is no command of this node").await,
        }
    }

    /// Offers again what was put off, of agents that nothing holds.
    pub(super) async fn offer_again(&mut self) {
        let names: Vec<AgentName> = self.put_off.keys().cloned().collect();
        for name in names {
            self.offer_again_of(&name).await;
        }
    }

    pub(super) async fn offer_again_of(&mut self, name: &AgentName) {
        if self.is_held(name) {
            return;
        }
        for (wake, delivery) in self.put_off.remove(name).unwrap_or_default() {
            self.consider(name, wake, delivery).await;
        }
    }

    /// Whether nothing of it begins now.
    pub(super) fn is_held(&self, name: &AgentName) -> bool {
        self.stuck.is_any()
            || self.workers.get(name).and_then(|worker| self.hold_of(worker)).is_some()
    }

    pub(super) fn put_off(&mut self, name: &AgentName, wake: Wake, delivery: Delivery) {
        self.put_off.entry(name.clone()).or_default().push((wake, delivery));
    }

    async fn consider(&mut self, name: &AgentName, wake: Wake, delivery: Delivery) {
        if self.is_held(name) {
            return self.put_off(name, wake, delivery);
        }
        // Of an agent that is no more, nobody takes it.
        let Some(worker) = self.workers.get(name) else {
            return delivery.put_back(Duration::ZERO);
        };
        let allowed = worker.allow(&wake, self.deployment.as_deref());
        let work = match allowed.and_then(|()| worker.work(&wake, delivery.event())) {
            Ok(work) => work,
            Err(reason) => {
                self.notes.push(NodeEvent::Held { agent: name.clone(), reason: reason.clone() });
                return self.give_up(name, delivery, reason).await;
            }
        };
        let run = work.run;
        match self.admission.offer(work) {
            Offered::Start => self.start(run, name, wake, delivery).await,
            Offered::Queued { .. } => drop(self.waiting.insert(run, (wake, delivery))),
            Offered::TurnedAway(why @ (TurnedAway::Overlap | TurnedAway::Known)) => {
                self.skip(name, delivery, &why.to_string()).await;
            }
            Offered::TurnedAway(_) => self.put_off(name, wake, delivery),
            Offered::Replaces { end, given_up, start } => {
                for run in given_up {
                    if let Some((_, delivery)) = self.waiting.remove(&run) {
                        self.skip(name, delivery, "a newer one took its place").await;
                    }
                }
                if let Some(underway) = end.and_then(|run| self.running.get(&run)) {
                    underway.replaced.store(true, Ordering::Relaxed);
                    underway.cancel.cancel();
                }
                if start {
                    self.start(run, name, wake, delivery).await;
                } else {
                    self.waiting.insert(run, (wake, delivery));
                }
            }
        }
    }
}
