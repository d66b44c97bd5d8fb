use std::fmt;

use serde::{Deserialize, Serialize};

/// How an agent does, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// It waits for what wakes it.
    Idle,
    /// It has runs under way.
    Running,
    /// It fails again and again, and is held back.
    Degraded,
    /// A person holds it.
    Paused,
    /// It cannot run, or is not to.
    Stopped,
}

/// All that can happen to an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A run began.
    Began,
    /// A run ended, however it did.
    Ended,
    /// It failed so often that it is held back: why.
    CrashLooped(String),
    /// It was quiet long enough.
    Recovered,
    /// A person paused it: why.
    Paused(String),
    /// A person resumed it.
    Resumed,
    /// It can no longer run: why. Its module is gone, lacks a grant, or the node shuts down.
    Stopped(String),
    /// It can run again.
    Restored,
}

/// How an agent does, and why.
///
/// What holds it back is kept apart, so that nothing is forgotten when two things do: an agent that is
/// resumed may still be degraded. Its state is the gravest of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    runs: u32,
    degraded: Option<String>,
    paused: Option<String>,
    stopped: Option<String>,
}

/// From one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What it was.
    pub from: AgentState,
    /// What it is.
    pub to: AgentState,
    /// Why it is that, where something holds it back.
    pub reason: Option<String>,
}

/// Why something cannot have happened to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It is held back.
    #[error("a run began while the agent was {0}")]
    Began(AgentState),
    /// None was under way.
    #[error("a run ended, and none was under way")]
    Ended,
    /// It was not.
    #[error("the agent was not {0}")]
    Not(AgentState),
}

impl Standing {
    /// Takes note of a change. The transition, or `None` where the state stays.
    ///
    /// A paused agent that is paused again, and likewise a degraded or stopped one, takes the new
    /// reason.
    ///
    /// # Errors
    /// It cannot have happened; the standing stays.
    pub fn apply(&mut self, change: Change) -> Result<Option<Transition>, ChangeError> {
        let from = self.state();
        let undo = |reason: &mut Option<String>, state| {
            reason.take().map(drop).ok_or(ChangeError::Not(state))
        };
        match change {
            Change::Began if self.paused.is_some() || self.stopped.is_some() => {
                return Err(ChangeError::Began(from));
            }
            Change::Began => self.runs += 1,
            Change::Ended => self.runs = self.runs.checked_sub(1).ok_or(ChangeError::Ended)?,
            Change::CrashLooped(reason) => self.degraded = Some(reason),
            Change::Recovered => undo(&mut self.degraded, AgentState::Degraded)?,
            Change::Paused(reason) => self.paused = Some(reason),
            Change::Resumed => undo(&mut self.paused, AgentState::Paused)?,
            Change::Stopped(reason) => self.stopped = Some(reason),
            Change::Restored => undo(&mut self.stopped, AgentState::Stopped)?,
        }
        let to = self.state();
        let reason = self.reason().map(str::to_owned);
        Ok((from != to).then_some(Transition { from, to, reason }))
    }

    /// In one word.
    #[must_use]
    pub fn state(&self) -> AgentState {
        match self {
            Self { stopped: Some(_), .. } => AgentState::Stopped,
            Self { paused: Some(_), .. } => AgentState::Paused,
            Self { degraded: Some(_), .. } => AgentState::Degraded,
            Self { runs: 1.., .. } => AgentState::Running,
            _ => AgentState::Idle,
        }
    }

    /// Why it is stopped, paused or degraded.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.stopped.as_deref().or(self.paused.as_deref()).or(self.degraded.as_deref())
    }

    /// Why it is in this state, whatever else it is; `None` where it is not, and of a state that needs
    /// no reason.
    #[must_use]
    pub fn reason_of(&self, state: AgentState) -> Option<&str> {
        match state {
            AgentState::Stopped => self.stopped.as_deref(),
            AgentState::Paused => self.paused.as_deref(),
            AgentState::Degraded => self.degraded.as_deref(),
            AgentState::Idle | AgentState::Running => None,
        }
    }

    /// Runs under way, which go on whatever the state.
    #[must_use]
    pub fn runs(&self) -> u32 {
        self.runs
    }
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AgentState::{Degraded, Idle, Paused, Running, Stopped};

    fn because(reason: &str) -> String {
        reason.to_owned()
    }

    #[test]
    fn the_gravest_of_what_holds_is_the_state() {
        let mut standing = Standing::default();
        for (change, state, reason) in [
            (Change::Began, Running, None),
            (Change::Began, Running, None),
            (Change::Ended, Running, None),
            (Change::CrashLooped(because("exit 1")), Degraded, Some("exit 1")),
            (Change::Paused(because("upgrade")), Paused, Some("upgrade")),
            (Change::Ended, Paused, Some("upgrade")),
            (Change::Stopped(because("no grant")), Stopped, Some("no grant")),
            (Change::Resumed, Stopped, Some("no grant")),
            (Change::Restored, Degraded, Some("exit 1")),
            (Change::Began, Degraded, Some("exit 1")),
            (Change::Recovered, Running, None),
            (Change::Ended, Idle, None),
        ] {
            let before = standing.state();
            let transition = standing.apply(change).unwrap();
            assert_eq!((standing.state(), standing.reason()), (state, reason));
            let expected = (before != state).then(|| Transition {
                from: before,
                to: state,
                reason: reason.map(str::to_owned),
            });
            assert_eq!(transition, expected);
        }
    }

    #[test]
    fn what_cannot_have_happened_changes_nothing() {
        let paused = Standing { paused: Some(because("upgrade")), ..Standing::default() };
        let stopped = Standing { stopped: Some(because("gone")), ..Standing::default() };
        for (standing, change, expected) in [
            (Standing::default(), Change::Ended, ChangeError::Ended),
            (Standing::default(), Change::Recovered, ChangeError::Not(Degraded)),
            (Standing::default(), Change::Resumed, ChangeError::Not(Paused)),
            (Standing::default(), Change::Restored, ChangeError::Not(Stopped)),
            (paused, Change::Began, ChangeError::Began(Paused)),
            (stopped, Change::Began, ChangeError::Began(Stopped)),
        ] {
            let mut after = standing.clone();
            assert_eq!(after.apply(change), Err(expected));
            assert_eq!(after, standing);
        }
    }
}
