use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
pub use wachter_model::AgentName;
use wachter_model::{ModuleName, RunId};

/// A named worker, and how it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Agent {
    /// Its name.
    pub name: AgentName,
    /// What it is for.
    pub role: String,
    /// What it runs.
    pub module: ModuleName,
    /// How it does.
    pub state: AgentState,
    /// Why, where that needs a word.
    pub reason: Option<String>,
    /// When its schedule wakes it next.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub next: Option<Timestamp>,
    /// What wakes it: its schedule and the topics it listens to, in words.
    pub wakes_on: Vec<String>,
    /// Runs under way.
    pub running: u32,
    /// Work that waits.
    pub queued: u32,
    /// Runs since the node started.
    pub runs: u64,
    /// Those that did not succeed.
    pub failures: u64,
    /// Its last run.
    pub last_run: Option<RunId>,
    /// When that began.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_started: Option<Timestamp>,
    /// What came of it.
    pub last_outcome: Option<String>,
    /// What it said.
    pub last_message: Option<String>,
}

/// The states of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AgentState {
    /// Waits for what wakes it.
    Idle,
    /// A run is under way.
    Running,
    /// Its last runs failed; it is tried more and more rarely.
    Degraded,
    /// A person said that it should wait.
    Paused,
    /// It may not run here.
    Stopped,
}

/// A run on demand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// A JSON object that is laid over the agent's own input, key by key.
    #[serde(default)]
    pub input: Value,
    /// Withholds effects.
    #[serde(default)]
    pub dry_run: bool,
}

/// Why an agent is to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// For whoever finds it paused; who paused it, where left out.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Which event to explain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRoutes {
    /// A CloudEvent in JSON. Without one, every agent's routes are listed.
    #[serde(default)]
    pub event: Option<Value>,
}

/// Why an event does or does not reach an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteExplanation {
    /// The agent.
    pub agent: AgentName,
    /// The topics that it listens to.
    pub topics: Vec<String>,
    /// Its condition.
    pub condition: Option<String>,
    /// Whether the event reaches it; none where no event was given.
    pub reached: Option<bool>,
    /// Why, in a sentence.
    pub reason: String,
}
