//! What the end of a run means for its agent, and for what waits.

use serde_json::json;

use super::news::AGENT_DEGRADED;
use super::run::{Ended, Settled};
use super::worker::{Row, held_back};
use super::{Dispatcher, RunnerGone};
use crate::schedule::{AgentState, Change};
use crate::{NodeEvent, RunRecord};

impl Dispatcher {
    /// A run is over.
    ///
    /// # Errors
    /// Who starts modules is gone.
    pub(super) async fn ended(&mut self, ended: Ended) -> Result<(), RunnerGone> {
        let Ended { run, agent, cause, settled, keeps_state } = ended;
        self.running.remove(&run);
        let started = self.admission.finished(run);
        self.apply(&agent, Change::Ended, Some(&cause));
        if keeps_state && self.workers.contains_key(&agent) {
            self.admission.run_alone(agent.clone());
        }
        match settled {
            Settled::Finished(record) => {
                self.judge(&record, &cause);
                self.notes.push(NodeEvent::Finished(record));
            }
            Settled::NotKept(reason) => {
                self.notes.push(NodeEvent::NotKept { agent: agent.clone(), reason });
            }
            Settled::Gone => return Err(RunnerGone),
        }
        if self.leaving.contains_key(&agent) {
            self.finish_leaving(&agent).await;
        }
        self.start_all(started).await;
        self.offer_again().await;
        Ok(())
    }

    /// Counts a run for or against its agent.
    fn judge(&mut self, record: &RunRecord, cause: &wachter_model::Event) {
        let (now, Some(agent)) = (self.now(), record.cause.agent()) else { return };
        let Some(worker) = self.workers.get_mut(agent) else { return };
        let counted = worker.count(record, now);
        if let Some(registry) = &mut self.registry {
            registry.failed(agent, worker.row());
        }
        match counted {
            Row::Short => {}
            Row::None => {
                let degraded = worker.standing.reason_of(AgentState::Degraded).is_some();
                let told = self.registry.as_ref().and_then(|registry| registry.of(agent));
                if degraded || told.is_some_and(|told| told.degraded) {
                    self.recover(agent, Change::Recovered, Some(cause), now);
                }
            }
            Row::Degraded { failures, next, tell } => {
                let reason = held_back(failures, next);
                self.apply(agent, Change::CrashLooped(reason), Some(cause));
                if tell {
                    let data = json!({
                        "reason": record.message.as_ref().unwrap_or(&record.outcome),
                        "failures": failures,
                        "next": next,
                        "run": record.run,
                    });
                    self.announce(AGENT_DEGRADED, agent, Some(cause), &data);
                }
                if let Some(registry) = &mut self.registry
                    && registry.of(agent).is_some_and(|told| !told.degraded)
                {
                    registry.change(agent, |told| told.degraded = true);
                }
            }
        }
        self.review(agent);
    }
}
