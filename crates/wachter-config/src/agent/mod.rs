//! Agents: their files, and what is checked of them.

mod check;
mod file;
mod input;
mod names;

use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wachter_expression::Expression;
use wachter_model::{AgentName, Duration, ModuleName, TopicFilter};
use wachter_protocol::LimitsAsked;

pub(crate) use check::{Context, check, expression_fault};
pub(crate) use file::AgentFile;
pub use file::{AgentRole, Scope};
pub use input::{InputFault, InputRefused, InputSchema};
pub(crate) use names::holds_for;
pub use names::node_environment;

use crate::{Overlap, Retry, Schedule, Window};

/// A named worker: a module, what wakes it and what it is told.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its name; the same as its file's.
    pub name: AgentName,
    /// What it is for.
    pub role: AgentRole,
    /// The module that it runs.
    pub module: ModuleName,
    /// Whether each node runs it, or one for all.
    pub scope: Scope,
    /// What wakes it.
    pub on: Triggers,
    /// What the module is told: the module's default input, the agent's and the host's laid over each
    /// other.
    pub with: Value,
    /// How many of its runs there are at one time.
    pub concurrency: Concurrency,
    /// What becomes of a run that failed.
    pub retry: Retry,
    /// When it may run; always where there is none.
    pub window: Option<Window>,
    /// Limits below those of the module's manifest.
    pub limits: LimitsAsked,
    /// The interval of `on.schedule`, for who knows no other trigger; a day where there is none.
    pub every: Duration,
}

/// What wakes an agent. Where there is nothing, it runs on demand.
#[derive(Clone, Debug, Default)]
pub struct Triggers {
    /// By time.
    pub schedule: Option<Schedule>,
    /// By events of these types.
    pub events: Vec<TopicFilter>,
    /// Which of these events; all where there is none. An error means no.
    pub condition: Option<Arc<Expression>>,
}

/// How many runs of an agent there are at one time.
#[derive(Clone, Debug)]
pub struct Concurrency {
    /// The most, of all or of those with one key.
    pub limit: NonZeroU32,
    /// What tells runs apart that do not share the limit.
    pub key: Option<Arc<Expression>>,
    /// What becomes of a wake when there are that many.
    pub overlap: Overlap,
}

impl Agent {
    /// All that a run depends on, for comparison: expressions count by their text.
    fn summary(&self) -> impl PartialEq + '_ {
        let text = |expression: &'_ Option<Arc<Expression>>| {
            expression.as_ref().map(|expression| expression.text().to_owned())
        };
        (
            (&self.name, self.role, &self.module, self.scope, &self.on.schedule, &self.on.events),
            (text(&self.on.condition), &self.with, self.concurrency.limit),
            (text(&self.concurrency.key), self.concurrency.overlap, self.retry, &self.window),
            &self.limits,
        )
    }
}

impl PartialEq for Agent {
    fn eq(&self, other: &Self) -> bool {
        self.summary() == other.summary()
    }
}

/// An agent's name and state here, for lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It runs here.
    Here,
    /// `nodes` leaves this node out.
    Elsewhere,
    /// A setting switched it off here.
    Disabled,
}
