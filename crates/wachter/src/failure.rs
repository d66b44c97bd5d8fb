//! How a command fails: what is said, and with which exit code.

use std::error::Error;
use std::fmt;

pub(crate) use wachter_model::chain;

/// The exit codes, as documented under "Exit codes".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// It could not be done: a file, the network, the launcher.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// It was refused: a signature, a grant, a check did not hold.
    Refused = 3,
    /// The run was begun and did not succeed.
    RunFailed = 4,
    /// No node answers: none runs here, or it went away in the middle.
    NoNode = 5,
}

/// Why a command failed, in one line, and what to do next.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) kind: ExitKind,
    pub(crate) message: String,
}

pub(crate) type CommandResult = Result<(), CommandError>;

impl CommandError {
    pub(crate) fn new(kind: ExitKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(ExitKind::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitKind::Usage, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(ExitKind::Refused, message)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error of a library becomes a failure that tells the whole chain.
impl<E: Error> From<E> for CommandError {
    fn from(error: E) -> Self {
        Self::failed(chain(&error))
    }
}
