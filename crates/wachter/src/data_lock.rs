//! One process at a time writes to a data folder.

use std::path::Path;

use wachter_file::{FileLock, Holder, LockError};

use crate::failure::{CommandError, chain};

/// What the file is called, in the data folder.
const NAME: &str = "lock";

/// What a node writes into its lock. Only who says this is told to look, by a signal that would end
/// another program.
pub(crate) const NODE: &str = "run";

/// Why a data folder is not ours.
pub(crate) enum Locked {
    /// A node has it.
    Node(Holder),
    /// Another command has it, or a node that is only starting.
    Other(Option<Holder>),
    /// It cannot be used.
    Failed(CommandError),
}

impl Locked {
    /// What to tell a person who wanted to change something.
    pub(crate) fn into_error(self) -> CommandError {
        match self {
            Self::Node(Holder { process, .. }) => CommandError::failed(format!(
                "a node has just started (process {process}); run the command again"
            )),
            Self::Other(Some(Holder { process, purpose })) => CommandError::failed(format!(
                "`wachter {purpose}` is at work on the same data (process {process}); wait for it and try again"
            )),
            Self::Other(None) => CommandError::failed(
                "another command is at work on the same data; wait for it and try again",
            ),
            Self::Failed(error) => error,
        }
    }
}

/// Takes the data folder for `purpose`, the command's name, and makes it where it is missing.
///
/// # Errors
/// Another process has it, or it cannot be made.
pub(crate) fn take(data: &Path, purpose: &str) -> Result<FileLock, Locked> {
    make_private(data).map_err(|error| {
        Locked::Failed(CommandError::failed(format!("cannot use {}: {error}", data.display())))
    })?;
    FileLock::take(&data.join(NAME), purpose).map_err(|error| match error {
        LockError::Held(holder) => held(holder),
        LockError::File(..) => Locked::Failed(CommandError::failed(chain(&error))),
    })
}

/// The node that has the data folder now, if one has it.
///
/// # Errors
/// The lock cannot be looked at.
pub(crate) fn node(data: &Path) -> Result<Option<Holder>, CommandError> {
    Ok(FileLock::holder(&data.join(NAME))?.and_then(|holder| match held(holder) {
        Locked::Node(holder) => Some(holder),
        _ => None,
    }))
}

fn held(holder: Option<Holder>) -> Locked {
    match holder {
        Some(holder) if holder.purpose == NODE => Locked::Node(holder),
        other => Locked::Other(other),
    }
}

/// Nobody else reads what a node knows.
pub(crate) fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
