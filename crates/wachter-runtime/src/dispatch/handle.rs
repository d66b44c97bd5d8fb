use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use wachter_config::Agent;
use wachter_model::AgentName;

use super::{Dispatcher, NodeEvent};
use crate::RunRecord;
use crate::schedule::{AgentState, Change};

/// Asks and tells a [`Dispatcher`]; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Command>);

/// Why the dispatcher did not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// There is no such agent here.
    #[error("there is no agent `{0}` on this node; `wachter agents` lists them")]
    Unknown(AgentName),
    /// The dispatcher is not at work: the node stops, or waits for its launcher.
    #[error("the node is not running agents at present; `wachter status` says why")]
    Away,
}

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
    /// Work that waits.
    pub queued: usize,
    /// Runs since the node started.
    pub runs: u64,
    /// Those that did not succeed.
    pub failures: u64,
    /// Events whose condition could not be worked out.
    pub condition_errors: u64,
    /// The last run.
    pub last: Option<Box<RunRecord>>,
}

#[derive(Debug)]
pub(super) enum Command {
    Report(oneshot::Sender<Vec<AgentReport>>),
    Pause(AgentName, String, oneshot::Sender<Result<(), HandleError>>),
    Resume(AgentName, oneshot::Sender<Result<(), HandleError>>),
    Freeze(oneshot::Sender<()>),
    Thaw(oneshot::Sender<()>),
}

impl Handle {
    pub(super) const fn new(commands: mpsc::Sender<Command>) -> Self {
        Self(commands)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, HandleError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(command(answer)).await.map_err(|_| HandleError::Away)?;
        answered.await.map_err(|_| HandleError::Away)
    }

    /// How all agents do, by name.
    ///
    /// # Errors
    /// The dispatcher is not at work.
    pub async fn report(&self) -> Result<Vec<AgentReport>, HandleError> {
        self.ask(Command::Report).await
    }

    /// Makes an agent wait; runs under way go on. Survives a restart.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn pause(&self, agent: AgentName, reason: String) -> Result<(), HandleError> {
        self.ask(|answer| Command::Pause(agent, reason, answer)).await?
    }

    /// Lets an agent go on.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn resume(&self, agent: AgentName) -> Result<(), HandleError> {
        self.ask(|answer| Command::Resume(agent, answer)).await?
    }

    /// Begins no run that has effects.
    ///
    /// # Errors
    /// The dispatcher is not at work.
    pub async fn freeze(&self) -> Result<(), HandleError> {
        self.ask(Command::Freeze).await
    }

    /// Undoes [`freeze`](Self::freeze).
    ///
    /// # Errors
    /// The dispatcher is not at work.
    pub async fn thaw(&self) -> Result<(), HandleError> {
        self.ask(Command::Thaw).await
    }
}

impl Dispatcher {
    pub(super) async fn carry_out(
        &mut self,
        command: Command,
        observe: &mut impl FnMut(NodeEvent),
    ) {
        // Who asked may have gone away in the meantime.
        match command {
            Command::Report(answer) => drop(answer.send(self.report())),
            Command::Pause(agent, reason, answer) => {
                let _ = answer.send(self.pause(&agent, reason).await);
            }
            Command::Resume(agent, answer) => {
                let _ = answer.send(self.resume(&agent, observe).await);
            }
            Command::Freeze(answer) => {
                self.admission.freeze();
                let _ = answer.send(());
            }
            Command::Thaw(answer) => {
                let started = self.admission.thaw();
                self.start_all(started, observe).await;
                self.offer_again(observe).await;
                let _ = answer.send(());
            }
        }
    }

    fn report(&self) -> Vec<AgentReport> {
        let report = |(name, worker): (&AgentName, &super::Worker)| AgentReport {
            agent: worker.agent.as_ref().clone(),
            state: worker.standing.state(),
            reason: worker.standing.reason().map(str::to_owned),
            next: self.timetable.next_of(name),
            running: self.admission.running_of(name),
            queued: self.admission.queued_of(name).count(),
            runs: worker.counts.runs,
            failures: worker.counts.failures,
            condition_errors: worker.condition_errors(),
            last: worker.counts.last.clone(),
        };
        self.workers.iter().map(report).collect()
    }

    async fn pause(&mut self, name: &AgentName, reason: String) -> Result<(), HandleError> {
        let worker =
            self.workers.get_mut(name).ok_or_else(|| HandleError::Unknown(name.clone()))?;
        worker.apply(Change::Paused(reason));
        self.timetable.pause(name);
        self.admission.pause(name.clone());
        self.keep_times(std::slice::from_ref(name)).await;
        Ok(())
    }

    async fn resume(
        &mut self,
        name: &AgentName,
        observe: &mut impl FnMut(NodeEvent),
    ) -> Result<(), HandleError> {
        let worker =
            self.workers.get_mut(name).ok_or_else(|| HandleError::Unknown(name.clone()))?;
        worker.apply(Change::Resumed);
        self.timetable.resume(name, Timestamp::now());
        let started = self.admission.resume(name);
        self.keep_times(std::slice::from_ref(name)).await;
        self.start_all(started, observe).await;
        self.offer_again(observe).await;
        Ok(())
    }
}
