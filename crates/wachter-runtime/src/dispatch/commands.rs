//! What people have the dispatcher do.

use serde_json::json;
use wachter_model::{AgentName, chain};

use super::handle::Command;
use super::news::{AGENT_PAUSED, AGENT_RESUMED};
use super::{Dispatcher, Explanation, HandleError, Pause, Routes, explain};
use crate::schedule::Change;

impl Dispatcher {
    pub(super) async fn carry_out(&mut self, command: Command) {
        // Who asked may have gone away in the meantime.
        match command {
            Command::Report(answer) => drop(answer.send(self.report())),
            Command::Explain(event, answer) => {
                drop(answer.send(self.explain(event.as_deref())));
            }
            Command::Pause { agent, reason, by, answer } => {
                let pause = Pause { reason, by, since: self.now() };
                let _ = answer.send(self.pause(&agent, pause).await);
            }
            Command::Resume { agent, by, answer } => {
                let _ = answer.send(self.resume(&agent, by).await);
            }
            Command::Freeze(answer) => {
                self.admission.freeze();
                self.review_all();
                let _ = answer.send(());
            }
            Command::Thaw(answer) => {
                let started = self.admission.thaw();
                self.review_all();
                self.start_all(started).await;
                self.offer_again().await;
                let _ = answer.send(());
            }
        }
    }

    fn explain(&self, event: Option<&wachter_model::Event>) -> Vec<Explanation> {
        let Some(deployment) = &self.deployment else { return Vec::new() };
        let reports = self.report();
        let routes = Routes { node: &self.options.node, deployment, reports: &reports };
        explain(event, &routes)
    }

    async fn pause(&mut self, name: &AgentName, pause: Pause) -> Result<(), HandleError> {
        if !self.workers.contains_key(name) {
            return Err(HandleError::Unknown(name.clone()));
        }
        self.keep_pause(vec![pause.begin(name)]).await?;
        self.hold_back(name, &pause);
        self.outbox.keep_times(name);
        let data = json!({ "reason": pause.reason, "by": pause.by });
        self.announce(AGENT_PAUSED, name, None, &data);
        Ok(())
    }

    /// Holds an agent for a person.
    pub(super) fn hold_back(&mut self, name: &AgentName, pause: &Pause) {
        self.timetable.pause(name);
        self.admission.pause(name.clone());
        self.apply(name, Change::Paused(pause.sentence()), None);
        if let Some(worker) = self.workers.get_mut(name) {
            worker.pause = Some(pause.clone());
        }
        self.review(name);
    }

    async fn resume(&mut self, name: &AgentName, by: String) -> Result<(), HandleError> {
        let worker = self.workers.get(name).ok_or_else(|| HandleError::Unknown(name.clone()))?;
        let Some(pause) = worker.pause.clone() else { return Ok(()) };
        self.keep_pause(vec![Pause::end(name)]).await?;
        if let Some(worker) = self.workers.get_mut(name) {
            worker.pause = None;
        }
        self.apply(name, Change::Resumed, None);
        let now = self.now();
        self.timetable.resume(name, now);
        self.outbox.keep_times(name);
        let data = json!({ "by": by, "reason": pause.reason, "since": pause.since });
        self.announce(AGENT_RESUMED, name, None, &data);
        let started = self.admission.resume(name);
        self.review(name);
        self.start_all(started).await;
        self.offer_again_of(name).await;
        Ok(())
    }

    async fn keep_pause(&self, changes: Vec<wachter_bus::KeyChange>) -> Result<(), HandleError> {
        let kept = self.options.bus.change_keys(changes).await;
        kept.map(drop).map_err(|error| HandleError::NotKept(chain(&error)))
    }
}
