//! What the node tells of its agents: durable where people decide by it, ephemeral where they watch.

use serde_json::{Value, json};
use wachter_model::{AgentName, Event};

use super::Dispatcher;
use super::wake::topic;
use crate::schedule::{Change, Transition};

/// An agent was taken up, or is another than before.
pub const AGENT_REGISTERED: &str = "agent.registered";
/// The configuration has an agent no more.
pub const AGENT_REMOVED: &str = "agent.removed";
/// An agent failed so often in a row that it is held back. Told at the first of these failures, and
/// then each time that there are twice as many.
pub const AGENT_DEGRADED: &str = "agent.degraded";
/// An agent that was degraded works again, or one whose module could not run may run it.
pub const AGENT_RECOVERED: &str = "agent.recovered";
/// A person holds an agent.
pub const AGENT_PAUSED: &str = "agent.paused";
/// A person lets an agent go on.
pub const AGENT_RESUMED: &str = "agent.resumed";
/// An agent's module may not run. Told once, until the reason is another.
pub const AGENT_HELD: &str = "agent.held";
/// An agent went from one state to another. Ephemeral.
pub const AGENT_STATE: &str = "agent.state";
/// How an agent does. Ephemeral, twice a minute.
pub const AGENT_HEARTBEAT: &str = "agent.heartbeat";

impl Dispatcher {
    /// An event about an agent, of the node itself.
    fn news(&self, text: &str, agent: &AgentName, cause: Option<&Event>, data: &Value) -> Event {
        let event = Event::builder(self.sources.node(), &topic(text))
            .subject(agent.as_str())
            .partition_key(agent.as_str())
            .time(self.now())
            .json(data);
        let event = match cause {
            Some(cause) => event.caused_by(cause),
            None => event,
        };
        event.build().expect("names, and identities of events, may stand in attributes")
    }

    /// Tells it in the journal.
    pub(super) fn announce(
        &mut self,
        text: &str,
        agent: &AgentName,
        cause: Option<&Event>,
        data: &Value,
    ) {
        let event = self.news(text, agent, cause, data);
        self.publish(agent, event);
    }

    /// Takes note of a change, and tells who watches. One that cannot have happened changes nothing:
    /// what was to be undone was undone already. Says whether it happened.
    pub(super) fn apply(
        &mut self,
        agent: &AgentName,
        change: Change,
        cause: Option<&Event>,
    ) -> bool {
        let worker = self.workers.get_mut(agent).or_else(|| self.leaving.get_mut(agent));
        let Some(applied) = worker.map(|worker| worker.standing.apply(change)) else {
            return false;
        };
        if let Ok(Some(Transition { from, to, reason })) = &applied {
            let data = json!({ "from": from, "to": to, "reason": reason });
            let event = self.news(AGENT_STATE, agent, cause, &data);
            self.options.bus.publish_ephemeral(event);
        }
        applied.is_ok()
    }

    /// Says of each agent how it does, to who listens.
    pub(super) fn send_heartbeats(&self) {
        for report in self.report() {
            let data = json!({
                "state": report.state,
                "reason": report.reason,
                "waits_for": report.waits_for,
                "next": report.next,
                "running": report.running,
                "queued": report.queued,
                "runs": report.runs,
                "failures": report.failures,
                "condition_errors": report.condition_errors,
            });
            let event = self.news(AGENT_HEARTBEAT, &report.agent.name, None, &data);
            self.options.bus.publish_ephemeral(event);
        }
    }
}
