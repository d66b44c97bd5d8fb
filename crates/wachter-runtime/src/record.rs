use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wachter_model::{AgentName, Digest, EmittedEvent, Finding, ModuleName, RunId};
use wachter_protocol::GrantId;
use wachter_protocol::launcher::Usage;
use wachter_protocol::module::{IdempotencyKey, Metric};
use wachter_sandbox::{RunReport, Verdict};

use crate::shorten::shorten;

/// What is kept of a message, in bytes: it stands in lists, and in what other agents are told.
const LONGEST_MESSAGE: usize = 4 << 10;

/// What is kept of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The version of this format: 1.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// What it was for, the same for every try; records of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,
    /// Why it was.
    pub cause: Cause,
    /// The module.
    pub module: ModuleName,
    /// Which of its versions.
    pub module_digest: Digest,
    /// What it was granted.
    pub grant: GrantId,
    /// The SHA-256 of its input as JSON.
    pub input_digest: Digest,
    /// Whether effects were withheld.
    pub dry_run: bool,
    /// When it was begun.
    pub started: Timestamp,
    /// `succeeded`, `failed`, `refused`, `not-begun` or `cancelled`.
    pub outcome: String,
    /// Why, where it did not succeed; what the module said, where it did. Up to 4 KiB, with an ellipsis
    /// where there was more.
    pub message: Option<String>,
    /// Whether anything is different from before.
    pub changed: bool,
    /// What the caller asked to know.
    pub output: Value,
    /// What was emitted.
    pub events: Vec<EmittedEvent>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What was measured.
    pub metrics: Vec<Metric>,
    /// Connections that left the host, and those that were not let out.
    pub connections: Value,
    /// What was used.
    pub usage: Usage,
    /// What becomes of what caused it; records of earlier versions say nothing.
    #[serde(default, skip_serializing_if = "Aftermath::is_settled")]
    pub aftermath: Aftermath,
}

/// What becomes of an event after a run that it caused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aftermath {
    /// It is done with: this run decides.
    #[default]
    Settled,
    /// It is tried again, at this time or when its agent may run then.
    Retried(Timestamp),
    /// It was given up, and is among the dead letters.
    GivenUp,
}

impl Aftermath {
    fn is_settled(&self) -> bool {
        *self == Self::Settled
    }
}

/// Why a run was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// An agent's schedule.
    Schedule {
        /// The agent.
        agent: AgentName,
    },
    /// An event that an agent listens to.
    Event {
        /// The agent.
        agent: AgentName,
        /// The event's source.
        source: String,
        /// Its identifier there.
        id: String,
    },
    /// Somebody had an agent run.
    Requested {
        /// The agent.
        agent: AgentName,
        /// Who.
        by: String,
    },
    /// A person ran a module by hand.
    AdHoc,
}

impl Cause {
    /// The agent; none of a run by hand.
    #[must_use]
    pub const fn agent(&self) -> Option<&AgentName> {
        match self {
            Self::Schedule { agent }
            | Self::Event { agent, .. }
            | Self::Requested { agent, .. } => Some(agent),
            Self::AdHoc => None,
        }
    }
}

impl RunRecord {
    /// Of what was asked and what came of it.
    #[must_use]
    pub fn new(request: &crate::RunRequest, started: Timestamp, report: &RunReport) -> Self {
        let (outcome, reason) = match &report.verdict {
            Verdict::Succeeded => ("succeeded", None),
            Verdict::Failed(failure) => ("failed", Some(failure.to_string())),
            Verdict::Refused(reason) => ("refused", Some(reason.clone())),
            Verdict::NotBegun { reason, .. } => ("not-begun", Some(reason.clone())),
            Verdict::Cancelled => ("cancelled", None),
        };
        let result = report.result.clone().unwrap_or_default();
        let mut record = Self {
            version: 1,
            run: report.run,
            idempotency_key: Some(request.idempotency_key),
            cause: request.cause.clone(),
            module: request.manifest.name.clone(),
            module_digest: request.digest,
            grant: request.grant.id(),
            input_digest: Digest::of(request.input.to_string().as_bytes()),
            dry_run: request.dry_run,
            started,
            outcome: outcome.to_owned(),
            message: reason.or(result.message),
            changed: result.changed,
            output: result.output,
            events: report.events.clone(),
            findings: report.findings.clone(),
            metrics: report.metrics.clone(),
            connections: serde_json::to_value(&report.connections).unwrap_or_default(),
            usage: report.usage,
            aftermath: Aftermath::Settled,
        };
        record.shorten_message();
        record
    }

    /// Cuts the message to what is kept of one.
    pub(crate) fn shorten_message(&mut self) {
        if let Some(message) = &mut self.message {
            shorten(message, LONGEST_MESSAGE);
        }
    }

    /// Leaves out what the module told about itself, which may be large: an event has a limit.
    pub(crate) fn leave_out(&mut self) {
        self.output = Value::from("left out: too large for the journal");
        self.metrics.clear();
        self.events.clear();
        self.findings.clear();
        self.connections = Value::Null;
    }

    /// Whether the module did what it was asked to do.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.outcome == "succeeded"
    }
}
