use jiff::Timestamp;
use wachter_model::AgentName;

/// What has become due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// What is to be done, the longest due first.
    pub ticks: Vec<Tick>,
    /// What is not going to be done.
    pub passed: Vec<Passed>,
}

/// A time at which an agent is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The agent.
    pub agent: AgentName,
    /// The time that its schedule named, without jitter: with the agent it names this tick, on every
    /// node and after every restart.
    pub scheduled_for: Timestamp,
    /// Why it is now.
    pub reason: Reason,
    /// How often the clock was set back by more than is waited for. The times that it then shows again
    /// are other ticks than those that had them before.
    pub era: u32,
}

/// Why a tick is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The agent is new and has an interval: it does not wait one out first.
    First,
    /// It is its time.
    Regular,
    /// Its time was outside of the agent's window, which has opened. It stands for all that were.
    Deferred,
    /// Its time is over, and its schedule makes up for that.
    Missed {
        /// For how many ticks it stands; as many as are looked at can be more.
        count: u32,
    },
}

/// Ticks that were missed and that no run stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The agent.
    pub agent: AgentName,
    /// How many; as many as are looked at can be more.
    pub count: u32,
    /// The latest of them.
    pub latest: Timestamp,
}

impl Tick {
    /// What names this tick among all: an event that is published under it is published once.
    #[must_use]
    pub fn key(&self) -> String {
        match self.era {
            0 => format!("{}@{}", self.agent, self.scheduled_for),
            era => format!("{}@{}+{era}", self.agent, self.scheduled_for),
        }
    }
}
