//! Why an agent wakes, as events: everything that makes an agent run is in the journal first.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wachter_config::Scope;
use wachter_model::{
    AgentName, AttributeError, Event, EventId, EventKind, NodeName, Source, Topic,
};

use crate::schedule::{Reason, Tick};

/// An agent's time has come.
pub const AGENT_DUE: &str = "agent.due";
/// A person, or another agent, wants an agent to run.
pub const AGENT_REQUESTED: &str = "agent.requested";

/// Where events of a node come from. The node alone stamps these: a module cannot name its source.
#[derive(Clone, Debug)]
pub struct Sources {
    node: NodeName,
}

impl Sources {
    /// Of this node.
    #[must_use]
    pub const fn new(node: NodeName) -> Self {
        Self { node }
    }

    /// Its scheduler.
    #[must_use]
    pub fn scheduler(&self) -> Source {
        self.part("scheduler")
    }

    /// The scheduler of all nodes together: they agree on the names of its ticks, so that a tick that
    /// two of them tell is one event.
    #[must_use]
    pub fn fleet_scheduler(&self) -> Source {
        "/fleet/scheduler".parse().expect("is a path")
    }

    /// Its interface, on behalf of a person.
    #[must_use]
    pub fn interface(&self) -> Source {
        self.part("interface")
    }

    /// Itself: what it does and finds.
    #[must_use]
    pub fn node(&self) -> Source {
        self.part("node")
    }

    /// One of its agents.
    #[must_use]
    pub fn agent(&self, agent: &AgentName) -> Source {
        self.part(&format!("agents/{agent}"))
    }

    fn part(&self, part: &str) -> Source {
        let source = format!("/nodes/{}/{part}", self.node);
        source.parse().expect("names are made of letters, digits and hyphens")
    }
}

pub(super) fn topic(text: &str) -> Topic {
    text.parse().expect("the topics of this crate are topics")
}

/// What a request for a run says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequested {
    /// Laid over the agent's own input, key by key.
    #[serde(default)]
    pub input: Value,
    /// Withholds effects.
    #[serde(default)]
    pub dry_run: bool,
    /// Who asked.
    #[serde(default)]
    pub by: String,
}

/// The command of a tick. Two with one key are one event, so a tick that is told again after a crash
/// is not run again.
pub(super) fn tick_event(
    sources: &Sources,
    scope: Option<Scope>,
    tick: &Tick,
    now: Timestamp,
) -> Result<Event, AttributeError> {
    let missed = match tick.reason {
        Reason::Missed { count } => count,
        Reason::First | Reason::Regular | Reason::Deferred => 0,
    };
    let source = match scope {
        Some(Scope::Fleet) => sources.fleet_scheduler(),
        Some(Scope::Node) | None => sources.scheduler(),
    };
    Event::builder(source, &topic(AGENT_DUE))
        .id(tick.key().parse::<EventId>()?)
        .kind(EventKind::Command)
        .target(tick.agent.as_str())
        .subject(tick.agent.as_str())
        .time(now)
        .json(&json!({ "scheduled_for": tick.scheduled_for, "missed": missed }))
        .build()
}

/// The command of somebody who wants a run.
///
/// # Errors
/// `request` cannot be put into an event.
pub fn request_event(
    sources: &Sources,
    agent: &AgentName,
    request: &RunRequested,
    now: Timestamp,
) -> Result<Event, AttributeError> {
    Event::builder(sources.interface(), &topic(AGENT_REQUESTED))
        .kind(EventKind::Command)
        .target(agent.as_str())
        .subject(agent.as_str())
        .time(now)
        .json(&json!(request))
        .build()
}

/// Why an agent wakes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wake {
    /// Its time has come.
    Due,
    /// Somebody asked.
    Requested(RunRequested),
    /// An event that it listens to.
    Event,
}

impl Wake {
    /// Of an event that its subscription handed out. A command counts only from the node itself;
    /// a tick also from the schedule that nodes have in common, since it says no more than the time.
    pub(super) fn of(event: &Event, sources: &Sources) -> Option<Self> {
        let ours = |source: Source| event.kind() == EventKind::Command && *event.source() == source;
        match event.event_type() {
            AGENT_DUE => {
                let due = ours(sources.scheduler()) || ours(sources.fleet_scheduler());
                due.then_some(Self::Due)
            }
            AGENT_REQUESTED if ours(sources.interface()) => {
                let request =
                    event.data().to_json().and_then(|data| serde_json::from_value(data).ok());
                request.map(Self::Requested)
            }
            AGENT_REQUESTED => None,
            _ => Some(Self::Event),
        }
    }
}
