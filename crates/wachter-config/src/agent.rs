use serde::{Deserialize, Serialize};
use serde_json::Value;
use wachter_model::{AgentName, Duration, ModuleName};

/// A named worker: a module, what wakes it and what it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Its name; the same as its file's.
    pub name: AgentName,
    /// What it is for.
    pub role: AgentRole,
    /// The module that it runs.
    pub module: ModuleName,
    /// The time from one start to the next.
    pub every: Duration,
    /// What the module is told.
    pub with: Value,
}

/// What an agent is for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AgentRole {
    /// Looks for problems.
    Scanner,
    /// Makes sense of what was found.
    Analysis,
    /// Puts things right.
    Remediation,
    /// Watches.
    Monitoring,
    /// Tells people.
    Notification,
    /// Keeps the machine in order.
    #[default]
    Maintenance,
}

/// The file of an agent, as it is written.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentFile {
    /// The agent's name.
    pub(crate) name: AgentName,
    /// What it is for; maintenance where left out.
    #[serde(default)]
    pub(crate) role: AgentRole,
    /// The module that it runs.
    pub(crate) module: ModuleName,
    /// What wakes it.
    pub(crate) on: Wake,
    /// What the module is told.
    #[serde(default)]
    pub(crate) with: Value,
}

/// What wakes an agent. `every` is short for `schedule: { every: … }`.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Wake {
    pub(crate) every: Option<Duration>,
    pub(crate) schedule: Option<Schedule>,
}

/// When an agent wakes.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Schedule {
    pub(crate) every: Option<Duration>,
}

/// The shortest interval: below it, starting would be most of the work.
pub(crate) const SHORTEST: Duration = Duration::from_millis(100);

impl AgentFile {
    /// The agent, or one sentence on what is wrong.
    pub(crate) fn check(self) -> Result<Agent, String> {
        let every = match (self.on.every, self.on.schedule.and_then(|schedule| schedule.every)) {
            (Some(every), None) | (None, Some(every)) => every,
            (Some(_), Some(_)) => {
                return Err(
                    "`on.every` and `on.schedule.every` say the same thing; keep one".to_owned()
                );
            }
            (None, None) => {
                return Err(
                    "nothing wakes this agent; write `on: { schedule: { every: 5m } }`".to_owned()
                );
            }
        };
        if every < SHORTEST {
            return Err(format!("`every: {every}` is too short; {SHORTEST} is the shortest"));
        }
        Ok(Agent { name: self.name, role: self.role, module: self.module, every, with: self.with })
    }
}
