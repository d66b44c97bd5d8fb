use std::num::NonZeroU32;

use wachter_config::{AgentRole, Overlap};
use wachter_model::{AgentName, RunId};

/// A run that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The run that it is to be.
    pub run: RunId,
    /// Whose.
    pub agent: AgentName,
    /// What the agent is for, which decides whether it has effects.
    pub role: AgentRole,
    /// The value of `concurrency.key`: runs of the agent with the same one share the limit.
    pub key: Option<String>,
    /// How many of them may be under way, except under [`Overlap::Allow`].
    pub limit: NonZeroU32,
    /// What happens when there are as many.
    pub overlap: Overlap,
    /// How it stands against the work of others.
    pub priority: Priority,
}

/// How much work matters against other work that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// When there is nothing else.
    Low,
    /// Schedules and events.
    #[default]
    Normal,
    /// A person waits.
    High,
}

/// What became of work that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Offered {
    /// It is to start now.
    Start,
    /// It waits, and will be among those that may start, or be given up.
    Queued {
        /// How much waits for its agent and key, this included.
        place: usize,
    },
    /// It will not run.
    TurnedAway(TurnedAway),
    /// It stands in for others, and waits for the end of what it replaces.
    Replaces {
        /// The run under way that is to be ended now, unless an earlier replacement ends it already.
        end: Option<RunId>,
        /// What waited and will not run.
        given_up: Vec<RunId>,
        /// Whether it is to start now after all, as nothing under way is in its place.
        start: bool,
    },
}

/// Why work will not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnedAway {
    /// One like it is under way or waits, and `overlap` says to skip.
    #[error("a run like it is under way or waits; set `overlap: queue` to have it wait too")]
    Overlap,
    /// A person paused the agent.
    #[error("its agent is paused; resume it and offer it again")]
    Paused,
    /// Effects are held on this node.
    #[error("effects are frozen on this node; thaw it and offer it again")]
    Frozen,
    /// As much waits for the agent as may.
    #[error("as much waits for its agent as may; offer it again later")]
    AgentQueueFull,
    /// As much waits on the node as may.
    #[error("as much waits on this node as may; offer it again later")]
    QueueFull,
    /// The same run was offered before.
    #[error("this run is under way or waits already")]
    Known,
}

impl Work {
    /// Whether it changes something outside of Wachter. Such work is held while effects are frozen.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        has_effects(self.role)
    }

    /// How many runs with its agent and key may be under way once it is.
    pub(super) fn most(&self) -> usize {
        match self.overlap {
            Overlap::Allow => usize::MAX,
            Overlap::Skip | Overlap::Queue | Overlap::Replace => {
                usize::try_from(self.limit.get()).unwrap_or(usize::MAX)
            }
        }
    }
}

/// Whether agents of this role change something outside of Wachter. Their runs are held while effects
/// are frozen, and withhold effects in a replay.
#[must_use]
pub const fn has_effects(role: AgentRole) -> bool {
    match role {
        AgentRole::Remediation | AgentRole::Maintenance => true,
        AgentRole::Scanner
        | AgentRole::Analysis
        | AgentRole::Monitoring
        | AgentRole::Notification => false,
    }
}
