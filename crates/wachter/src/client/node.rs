use std::path::PathBuf;
use std::time::Duration;

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
        let asked = self.client.call_at::<E>(parameter, query, body).await;
        asked.map_err(|error| failure(&error))
    }

    /// Asks for what comes line by line.
    pub(crate) async fn stream<E: Streaming>(
        &self,
        query: &E::Query,
    ) -> Result<Lines<E::Answer>, CommandError>
    where
        E::Body: Default,
    {
        self.client.stream::<E>(query).await.map_err(|error| failure(&error))
    }

    /// Asks the node if there is one; none where nobody has its data. A node that is starting is
    /// waited for.
    pub(crate) async fn ask<E: Single>(
        &self,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<Option<E::Answer>, CommandError> {
        let until = tokio::time::Instant::now() + STARTING;
        loop {
            match self.client.call::<E>(query, body).await {
                Ok(answer) => return Ok(Some(answer)),
                Err(error @ ClientError::NotRunning { .. }) => {
                    // Who does not know where the data are has none to work on instead.
                    let Ok(data) = data_of(&self.options) else { return Err(failure(&error)) };
                    let Some(holder) = data_lock::node(&data)? else { return Ok(None) };
                    if tokio::time::Instant::now() > until {
                        return Err(CommandError::new(
                            ExitKind::NoNode,
                            format!(
                                "the node (process {}) does not answer; see its log, and start it again",
                                holder.process
                            ),
                        ));
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(failure(&error)),
            }
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
            "under `api`",
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
