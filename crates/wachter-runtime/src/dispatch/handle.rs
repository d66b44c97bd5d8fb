use tokio::sync::{mpsc, oneshot};
use wachter_model::{AgentName, Event};

use super::{AgentReport, Explanation};

/// Asks and tells a [`Dispatcher`](super::Dispatcher); cheap to clone.
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
    /// It would not have survived a restart, so it was not done.
    #[error("the journal does not take it ({0}); see `wachter status`, and try again")]
    NotKept(String),
}

#[derive(Debug)]
pub(super) enum Command {
    Report(oneshot::Sender<Vec<AgentReport>>),
    Explain(Option<Box<Event>>, oneshot::Sender<Vec<Explanation>>),
    Pause { agent: AgentName, reason: String, by: String, answer: Answer },
    Resume { agent: AgentName, by: String, answer: Answer },
    Freeze(oneshot::Sender<()>),
    Thaw(oneshot::Sender<()>),
}

pub(super) type Answer = oneshot::Sender<Result<(), HandleError>>;

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

    /// Why an event would reach each agent now, or not; without one, what wakes each. See
    /// [`explain`](super::explain).
    ///
    /// # Errors
    /// The dispatcher is not at work.
    pub async fn explain(&self, event: Option<Event>) -> Result<Vec<Explanation>, HandleError> {
        self.ask(|answer| Command::Explain(event.map(Box::new), answer)).await
    }

    /// Makes an agent wait; runs under way go on. Survives a restart, a change of the agent, and its
    /// absence from the configuration.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn pause(&self, agent: AgentName, reason: String) -> Result<(), HandleError> {
        self.pause_by(agent, reason, String::new()).await
    }

    /// The same, and keeps who it was.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn pause_by(
        &self,
        agent: AgentName,
        reason: String,
        by: String,
    ) -> Result<(), HandleError> {
        self.ask(|answer| Command::Pause { agent, reason, by, answer }).await?
    }

    /// Lets an agent go on. That it was not paused is no error.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn resume(&self, agent: AgentName) -> Result<(), HandleError> {
        self.resume_by(agent, String::new()).await
    }

    /// The same, and keeps who it was.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn resume_by(&self, agent: AgentName, by: String) -> Result<(), HandleError> {
        self.ask(|answer| Command::Resume { agent, by, answer }).await?
    }

    /// Begins no run that has effects. It is the caller who remembers that over a restart: see
    /// [`DispatcherOptions::frozen`](super::DispatcherOptions::frozen).
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
