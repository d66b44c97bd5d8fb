use std::collections::BTreeMap;

use jiff::Timestamp;
use wachter_config::Agent;
use wachter_model::{AgentName, RunId};

use super::worker::Worker;
use super::{Dispatcher, Hold, Pause};
use crate::RunRecord;
use crate::schedule::AgentState;

/// An agent, and how it does.
#[derive(Clone, Debug)]
pub struct AgentReport {
    /// The agent.
    pub agent: Agent,
    /// How it does, in a word.
    pub state: AgentState,
    /// Why, where that needs one.
    pub reason: Option<String>,
    /// When its schedule wakes it next.
    pub next: Option<Timestamp>,
    /// Runs under way.
    pub running: usize,
    /// The same by the value of `concurrency.key`.
    pub running_by_key: BTreeMap<Option<String>, usize>,
    /// Work that waits.
    pub queued: usize,
    /// Runs since the node started.
    pub runs: u64,
    /// Those that did not succeed.
    pub failures: u64,
    /// Events whose condition could not be worked out.
    pub condition_errors: u64,
    /// The last run.
    pub last: Option<LastRun>,
    /// Who paused it, where somebody did.
    pub pause: Option<Pause>,
    /// What holds it, where something does: then it takes nothing out of the journal.
    pub waits_for: Option<Hold>,
}

/// What is known of an agent's last run; all of it is in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// The run.
    pub run: RunId,
    /// When it was begun.
    pub started: Timestamp,
    /// As in its record.
    pub outcome: String,
    /// As in its record.
    pub message: Option<String>,
}

impl From<&RunRecord> for LastRun {
    fn from(record: &RunRecord) -> Self {
        let RunRecord { run, started, outcome, message, .. } = record;
        Self { run: *run, started: *started, outcome: outcome.clone(), message: message.clone() }
    }
}

impl Dispatcher {
    /// How all agents do, by name.
    pub(super) fn report(&self) -> Vec<AgentReport> {
        let report = |(name, worker): (&AgentName, &Worker)| AgentReport {
            agent: worker.agent.as_ref().clone(),
            state: worker.standing.state(),
            reason: worker.standing.reason().map(str::to_owned),
            next: self.timetable.next_of(name),
            running: self.admission.running_of(name),
            running_by_key: self.admission.running_by_key(name),
            queued: self.admission.queued_of(name).count()
                + self.put_off.get(name).map_or(0, Vec::len),
            runs: worker.counts.runs,
            failures: worker.counts.failures,
            condition_errors: worker.condition_errors(),
            last: worker.counts.last.clone(),
            pause: worker.pause.clone(),
            waits_for: self.hold_of(worker),
        };
        self.workers.iter().map(report).collect()
    }
}
