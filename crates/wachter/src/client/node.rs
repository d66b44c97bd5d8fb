use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use wachter_api::{Client, ClientError, Lines, Nothing, ProblemKind, Single, Streaming};

use crate::data_lock;
use crate::failure::{CommandError, ExitKind, chain};
use crate::place::HostOptions;

/// The node of this host, as commands speak with it.
pub(crate) struct Node {
    client: Client,
    options: HostOptions,
}

/// How long a node that has its data, and so is starting or stopping, is waited for.
const STARTING: Duration = Duration::from_secs(10);
/// How often it is asked meanwhile.
const AGAIN: Duration = Duration::from_millis(50);

impl Node {
    /// Nothing is opened yet.
    pub(crate) fn new(options: &HostOptions) -> Self {
        Self { client: options.client(), options: options.clone() }
    }

    /// Asks what takes neither query nor body.
    pub(crate) async fn get<E>(&self) -> Result<E::Answer, CommandError>
    where
        E: Single<Query = Nothing, Body = Nothing>,
    {
        self.call::<E>(&Nothing {}, &Nothing {}).await
    }

    /// Asks.
    pub(crate) async fn call<E: Single>(
        &self,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Answer, CommandError> {
        self.call_at::<E>("", query, body).await
    }

    /// Asks about the one that `parameter` names.
    pub(crate) async fn call_at<E: Single>(
        &self,
        parameter: &str,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Answer, CommandError> {
        let asking =
            self.once_started(async |client| client.call_at::<E>(parameter, query, body).await);
        asking.await.map_err(Unanswered::into_error)
    }

    /// Asks for what comes line by line.
    pub(crate) async fn stream<E: Streaming>(
        &self,
        query: &E::Query,
    ) -> Result<Lines<E::Answer>, CommandError>
    where
        E::Body: Default,
    {
        let asking = self.once_started(async |client| client.stream::<E>(query).await);
        asking.await.map_err(Unanswered::into_error)
    }

    /// Asks the node if there is one; none where nobody has its data.
    pub(crate) async fn ask<E: Single>(
        &self,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<Option<E::Answer>, CommandError> {
        match self.once_started(async |client| client.call::<E>(query, body).await).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Unanswered::NoNode { data_known: true, .. }) => Ok(None),
            Err(unanswered) => Err(unanswered.into_error()),
        }
    }

    /// A node that has its data and does not listen yet is waited for.
    async fn once_started<T>(
        &self,
        ask: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, Unanswered> {
        let until = Instant::now() + STARTING;
        loop {
            let error = match ask(&self.client).await {
                Ok(answer) => return Ok(answer),
                Err(error @ ClientError::NotRunning { .. }) => error,
                Err(error) => return Err(Unanswered::Other(failure(&error))),
            };
            let Ok(data) = data_of(&self.options) else {
                return Err(Unanswered::NoNode { error: failure(&error), data_known: false });
            };
            // Who may not look at the lock is no user of this data either.
            let Ok(Some(holder)) = data_lock::node(&data) else {
                return Err(Unanswered::NoNode { error: failure(&error), data_known: true });
            };
            if Instant::now() > until {
                return Err(Unanswered::Other(CommandError::new(
                    ExitKind::NoNode,
                    format!(
                        "the node (process {}) does not answer; see its log, and start it again",
                        holder.process
                    ),
                )));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Why there is no answer.
enum Unanswered {
    /// No node has the data, as far as it is known where those are.
    NoNode { error: CommandError, data_known: bool },
    /// Anything else.
    Other(CommandError),
}

impl Unanswered {
    fn into_error(self) -> CommandError {
        match self {
            Self::NoNode { error, .. } | Self::Other(error) => error,
        }
    }
}

/// Where the data of this host's node are. That takes no local file where an option says it.
pub(super) fn data_of(options: &HostOptions) -> Result<PathBuf, CommandError> {
    match &options.data {
        Some(data) => Ok(std::path::absolute(data)?),
        None => Ok(options.host()?.data),
    }
}

/// The next line of a stream; none after the last.
pub(crate) async fn next<T: serde::de::DeserializeOwned>(
    lines: &mut Lines<T>,
) -> Result<Option<T>, CommandError> {
    lines.next().await.map_err(|error| failure(&error))
}

/// How a command fails when a call brought no answer.
pub(crate) fn failure(error: &ClientError) -> CommandError {
    let kind = match error {
        ClientError::NotRunning { .. } | ClientError::Connection(_) | ClientError::CutOff => {
            ExitKind::NoNode
        }
        ClientError::Denied { .. } => ExitKind::Refused,
        ClientError::Problem(problem) => match problem.kind {
            ProblemKind::Invalid => ExitKind::Usage,
            ProblemKind::Forbidden | ProblemKind::Refused => ExitKind::Refused,
            ProblemKind::NotFound
            | ProblemKind::Conflict
            | ProblemKind::Unavailable
            | ProblemKind::TimedOut
            | ProblemKind::Internal => ExitKind::Failed,
        },
        _ => ExitKind::Failed,
    };
    // That there is no socket says no more than that there is no node.
    let message = match error {
        ClientError::NotRunning { .. } | ClientError::Denied { .. } => error.to_string(),
        _ => chain(error),
    };
    CommandError::new(kind, message)
}

#[cfg(test)]
mod tests {
    use std::io;

    use wachter_api::Problem;

    use super::*;

    #[test]
    fn each_failure_has_its_exit_code() {
        let check = |error: ClientError, kind: ExitKind, words: &str| {
            let failed = failure(&error);
            assert_eq!(failed.kind, kind, "{}", failed.message);
            assert!(failed.message.contains(words), "{}", failed.message);
        };
        let socket = || "/data/node.sock".into();
        let gone = || io::ErrorKind::NotFound.into();
        check(
            ClientError::NotRunning { socket: socket(), source: gone() },
            ExitKind::NoNode,
            "wachter run",
        );
        check(
            ClientError::Denied { socket: socket(), source: gone() },
            ExitKind::Refused,
            "under `settings.api.roles`",
        );
        check(ClientError::CutOff, ExitKind::NoNode, "cut off");
        let problems = [
            (ProblemKind::Invalid, ExitKind::Usage),
            (ProblemKind::Forbidden, ExitKind::Refused),
            (ProblemKind::NotFound, ExitKind::Failed),
            (ProblemKind::Conflict, ExitKind::Failed),
            (ProblemKind::Refused, ExitKind::Refused),
            (ProblemKind::Unavailable, ExitKind::Failed),
            (ProblemKind::TimedOut, ExitKind::Failed),
            (ProblemKind::Internal, ExitKind::Failed),
        ];
        for (problem, kind) in problems {
            check(Problem::new(problem, "the reason").into(), kind, "the reason");
        }
    }
}
