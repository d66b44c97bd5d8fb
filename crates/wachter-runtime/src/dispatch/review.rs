//! What the clock alone changes: windows that open and close, pauses of a crash loop that are over.

use jiff::Timestamp;
use serde_json::json;
use wachter_model::AgentName;

use super::Dispatcher;
use super::news::AGENT_RECOVERED;
use crate::schedule::{AgentState, Change};

impl Dispatcher {
    /// Looks at agents whose time for it has come; at all, if the clock went back.
    pub(super) async fn review_due(&mut self) {
        let now = self.now();
        if self.seen.is_some_and(|seen| now < seen) {
            self.review_all();
        }
        self.seen = Some(now);
        while self.reviews.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, agent)) = self.reviews.pop_first() else { break };
            self.review(&agent);
            self.offer_again_of(&agent).await;
        }
    }

    pub(super) fn review_all(&mut self) {
        let all: Vec<AgentName> = self.workers.keys().cloned().collect();
        all.iter().for_each(|agent| self.review(agent));
    }

    /// Has an agent listen, or not, as is right now, and works out when to look again.
    pub(super) fn review(&mut self, agent: &AgentName) {
        let now = self.now();
        let Some(worker) = self.workers.get(agent) else { return };
        worker.listen(self.hold_of(worker).is_none());
        let Some(worker) = self.workers.get_mut(agent) else { return };
        if let Some(at) = worker.review_at.take() {
            self.reviews.remove(&(at, agent.clone()));
        }
        worker.review_at = worker.changes_at(now);
        if let Some(at) = worker.review_at {
            self.reviews.insert((at, agent.clone()));
        }
        let quiet =
            worker.standing.reason_of(AgentState::Degraded).is_some() && !worker.is_degraded(now);
        if quiet {
            self.recover(agent, Change::Recovered, None, now);
        }
    }

    /// What held an agent back is over: says so.
    pub(super) fn recover(
        &mut self,
        agent: &AgentName,
        change: Change,
        cause: Option<&wachter_model::Event>,
        now: Timestamp,
    ) {
        let from = match change {
            Change::Restored => AgentState::Stopped,
            _ => AgentState::Degraded,
        };
        self.apply(agent, change, cause);
        // Also what an earlier life of this node told and this one has not seen.
        let Some(registry) = &mut self.registry else { return };
        let told = registry.of(agent).is_some_and(|told| match from {
            AgentState::Stopped => told.held.is_some(),
            _ => told.degraded,
        });
        if told {
            registry.change(agent, |told| match from {
                AgentState::Stopped => told.held = None,
                _ => told.degraded = false,
            });
            let data = json!({ "from": from, "at": now });
            self.announce(AGENT_RECOVERED, agent, cause, &data);
        }
    }
}
