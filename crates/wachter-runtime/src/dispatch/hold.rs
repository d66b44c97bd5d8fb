use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use wachter_model::AgentName;

use super::Dispatcher;
use super::worker::{Withheld, Worker};
use crate::Deployment;
use crate::schedule::AgentState;

/// Why an agent starts nothing and takes nothing out of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// A person paused it.
    Paused,
    /// It has effects, and they are frozen on this node.
    Frozen,
    /// Its module may not run yet: what it waits for.
    Module(String),
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
            Self::Module(reason) => write!(f, "its module cannot run yet: {reason}"),
            Self::Window(opens) => write!(f, "its window is closed and opens at {opens}"),
            Self::Failing(next) => {
                write!(f, "it failed over and over and is tried again at {next}")
            }
        }
    }
}

impl Dispatcher {
    /// What holds an agent now. That its module may not run at all holds nobody: what is meant for it
    /// is given up.
    pub(super) fn hold_of(&self, worker: &Worker) -> Option<Hold> {
        if worker.standing.reason_of(AgentState::Paused).is_some() {
            return Some(Hold::Paused);
        }
        if self.admission.is_frozen() && worker.has_effects() {
            return Some(Hold::Frozen);
        }
        let deployment = self.deployment.as_deref();
        if let Some(reason) = deployment.and_then(|deployment| worker.waits_for(deployment)) {
            return Some(Hold::Module(reason.to_owned()));
        }
        worker.held_by_clock(self.now())
    }

    /// Has agents whose module waits do so, and those go on whose module has what it needs. Meanwhile
    /// no tick of theirs is due: afterwards those count as missed, as if the node had been away.
    pub(super) fn wait_for_modules(&mut self, deployment: &Deployment) {
        let waits = |worker: &Worker| worker.waits_for(deployment).is_some();
        let changed =
            self.workers.iter().filter(|(_, worker)| waits(worker) != worker.withheld.is_some());
        let changed: Vec<AgentName> = changed.map(|(name, _)| name.clone()).collect();
        for name in changed {
            let Some(worker) = self.workers.get_mut(&name) else { continue };
            match worker.withheld.take() {
                None => worker.withheld = Some(Withheld(self.timetable.forget(&name))),
                Some(Withheld(kept)) => {
                    let paused = worker.pause.is_some();
                    self.declare_times(&name, kept);
                    // What people did in the meantime reached no schedule.
                    match paused {
                        true => drop(self.timetable.pause(&name)),
                        false => drop(self.timetable.resume(&name, self.now())),
                    }
                    self.outbox.keep_times(&name);
                }
            }
            self.review(&name);
        }
    }
}

impl Worker {
    fn held_by_clock(&self, now: Timestamp) -> Option<Hold> {
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
