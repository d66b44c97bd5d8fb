use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::worker::Worker;
use crate::schedule::AgentState;

/// Why an agent starts nothing and takes nothing out of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// A person paused it.
    Paused,
    /// It has effects, and they are frozen on this node.
    Frozen,
    /// It is outside of its window, which opens then.
    Window(Timestamp),
    /// It failed over and over, and is tried again then.
    Failing(Timestamp),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused => f.write_str("it is paused, until a person resumes it"),
            Self::Frozen => {
                f.write_str("effects are frozen on this node, until a person thaws them")
            }
            Self::Window(opens) => write!(f, "its window is closed and opens at {opens}"),
            Self::Failing(next) => {
                write!(f, "it failed over and over and is tried again at {next}")
            }
        }
    }
}

impl Worker {
    /// What holds it, whatever its module.
    pub(super) fn hold(&self, frozen: bool, now: Timestamp) -> Option<Hold> {
        if self.standing.reason_of(AgentState::Paused).is_some() {
            return Some(Hold::Paused);
        }
        if frozen && self.has_effects() {
            return Some(Hold::Frozen);
        }
        let opening = self.agent.window.as_ref().and_then(|window| window.opening(now));
        if let Some(opens) = opening.filter(|opens| *opens > now) {
            return Some(Hold::Window(opens));
        }
        let next = self.restarts.next_try(now);
        (next > now).then_some(Hold::Failing(next))
    }

    /// When the clock alone changes what holds it.
    pub(super) fn changes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let window = self.agent.window.as_ref().and_then(|window| match window.opening(now) {
            Some(opens) if opens > now => Some(opens),
            _ => window.closing(now),
        });
        let next = self.restarts.next_try(now);
        let quiet = self.restarts.quiet_at().filter(|_| self.restarts.is_degraded(now));
        let times = window.into_iter().chain(Some(next)).chain(quiet);
        times.filter(|at| *at > now).min()
    }
}
