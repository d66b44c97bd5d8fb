//! One jailed process, that of a run or of a build, from the order to its end: it is fed and heard, and
//! ended where it says too much or nobody wants it any more.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;
use wachter_model::RunId;
use wachter_protocol::launcher::{BuildOutcome, Refused, Stop, StopReason, ToLauncher};

use crate::egress::{Broker, Connection};
use crate::launcher::{Begun, Ended, Launcher, LauncherGone};
use crate::output::OutputError;

/// How long what is still in pipes and connections may take to arrive after the end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long a launcher may take to say that it ended what had not begun.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// What is asked for.
pub(crate) struct Jailed {
    /// Its name.
    pub(crate) run: RunId,
    /// What the launcher is told.
    pub(crate) request: ToLauncher,
    /// Whether it is asked to end when it is cancelled, and may say something then.
    pub(crate) politely: bool,
    /// What it reads on stdin.
    pub(crate) input: Vec<u8>,
    /// Its way to the network.
    pub(crate) broker: Arc<Broker>,
}

/// What became of it.
pub(crate) enum Course {
    /// It was refused.
    Refused(Refused),
    /// There was nothing to build.
    Built(BuildOutcome),
    /// It was cancelled before it began.
    Cancelled,
    /// It began, and is over.
    Over(Over),
}

/// A process that is over.
pub(crate) struct Over {
    /// Whether all that it said was accepted.
    pub(crate) heard: Result<(), OutputError>,
    /// How it ended; none where the launcher did not live to say so.
    pub(crate) ended: Option<Ended>,
    /// What it connected to.
    pub(crate) connections: Vec<Connection>,
}

impl Jailed {
    /// Has it begun and waits until it is over. `hear` reads stdout and stderr to their end; at its
    /// first error the process is ended at once.
    ///
    /// Once `cancel` is cancelled this ends within seconds where the process has not begun, whatever
    /// the launcher does; where it has, the launcher sees to its end.
    ///
    /// # Errors
    /// The launcher is gone before it began.
    pub(crate) async fn see_through<F>(
        self,
        launcher: &Launcher,
        cancel: &CancellationToken,
        hear: impl FnOnce(OwnedFd, OwnedFd) -> F,
    ) -> Result<Course, LauncherGone>
    where
        F: Future<Output = Result<(), OutputError>>,
    {
        let Self { run, request, politely, input, broker } = self;
        if cancel.is_cancelled() {
            return Ok(Course::Cancelled);
        }
        // Whoever gives up waiting gives the process up.
        let mut abandoned = Abandoned { launcher, run, armed: true };
        let (begun, mut cancelled) = begin(launcher, run, request, cancel).await?;
        let (launched, descriptors, exit) = match begun {
            Some(Begun::Launched { launched, descriptors, exit }) => (launched, descriptors, exit),
            other => {
                abandoned.armed = false;
                return Ok(match other {
                    Some(Begun::Built(outcome)) => Course::Built(outcome),
                    Some(Begun::Refused(refused)) if !cancelled => Course::Refused(refused),
                    _ => Course::Cancelled,
                });
            }
        };
        let mut descriptors = descriptors.into_iter();
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (descriptors.next(), descriptors.next(), descriptors.next())
        else {
            return Err(LauncherGone);
        };
        let serving = broker.serve(launched.listeners.into_iter().zip(descriptors));
        let stop = |at_once, reason| launcher.stop_soon(Stop { run, at_once, reason });
        let mut fed = std::pin::pin!(feed(stdin, input));
        let mut hearing = std::pin::pin!(hear(stdout, stderr));
        let mut exit = std::pin::pin!(exit);
        let (mut heard, mut feeding) = (None, true);
        let ended = loop {
            tokio::select! {
                // It may end, or say too much, without having read anything.
                () = &mut fed, if feeding => feeding = false,
                // What it says when it is asked to end is heard as well.
                all = &mut hearing, if heard.is_none() => {
                    if let Err(error) = &all {
                        stop(true, reason(error));
                    }
                    heard = Some(all);
                }
                () = cancel.cancelled(), if !cancelled => {
                    cancelled = true;
                    stop(!politely, StopReason::Cancelled);
                }
                ended = &mut exit => break ended.ok(),
            }
        };
        // All its processes are gone, so its pipes end; unless the launcher died and they are not.
        let heard = match heard {
            Some(heard) => heard,
            None => tokio::time::timeout(LAST_WORDS, hearing).await.unwrap_or(Ok(())),
        };
        abandoned.armed = false;
        serving.finish(LAST_WORDS).await;
        Ok(Course::Over(Over { heard, ended, connections: broker.connections() }))
    }
}

/// Waits for what becomes of an order, and says whether it was cancelled meanwhile. None where it was
/// and the launcher does not say even then what became of it; what it begins later it is told to end.
async fn begin(
    launcher: &Launcher,
    run: RunId,
    request: ToLauncher,
    cancel: &CancellationToken,
) -> Result<(Option<Begun>, bool), LauncherGone> {
    let mut answer = std::pin::pin!(launcher.order(run, request));
    tokio::select! {
        // In this order: no stop overtakes the order that it is about.
        biased;
        begun = &mut answer => return Ok((Some(begun?), false)),
        () = cancel.cancelled() => {}
    }
    launcher.stop_soon(Stop { run, at_once: true, reason: StopReason::Cancelled });
    match tokio::time::timeout(LAST_ANSWER, answer).await {
        Ok(begun) => Ok((Some(begun?), true)),
        Err(_) => Ok((None, true)),
    }
}

/// Why a process is ended whose output is not accepted.
fn reason(error: &OutputError) -> StopReason {
    match error {
        OutputError::TooMuch => StopReason::Output,
        OutputError::Message { .. } | OutputError::AfterResult => StopReason::Protocol,
    }
}

/// Writes the input and closes stdin.
async fn feed(stdin: OwnedFd, input: Vec<u8>) {
    let Ok(mut sender) = pipe::Sender::from_owned_fd(stdin) else { return };
    // It may well end without having read anything.
    let _ = sender.write_all(&input).await;
}

/// Ends a process that nobody waits for any more.
struct Abandoned<'a> {
    launcher: &'a Launcher,
    run: RunId,
    armed: bool,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if self.armed {
            let reason = StopReason::Cancelled;
            self.launcher.stop_soon(Stop { run: self.run, at_once: true, reason });
        }
    }
}
