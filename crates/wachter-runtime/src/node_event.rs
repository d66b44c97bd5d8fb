use wachter_model::AgentName;

use crate::RunRecord;

/// Something that a person who watches a node wants to see.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// A run is over and kept.
    Finished(Box<RunRecord>),
    /// An agent was due, and its module may not run: why.
    Held {
        /// The agent.
        agent: AgentName,
        /// Why.
        reason: String,
    },
    /// The node had something to say of an agent that the journal never takes: what, and why.
    Untold {
        /// The agent.
        agent: AgentName,
        /// The event's type, and why.
        reason: String,
    },
    /// A run is over and could not be kept: why.
    NotKept {
        /// The agent.
        agent: AgentName,
        /// Why.
        reason: String,
    },
}
