//! One process at a time writes to a data folder, and one user.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wachter_file::{FileLock, Holder, LockError};

use crate::failure::{CommandError, chain};
use crate::output;
use crate::place::user_name;

/// What the file is called, in the data folder.
const NAME: &str = "lock";

/// What a node writes into its lock. Only who says this is told to look, by a signal that would end
/// another program.
const NODE: &str = "run";

/// How long a node that starts waits for a command, and how often it looks. Commands take a moment:
/// whoever asks a machine that boots is not to keep its node from starting.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

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
/// Another process has it, it belongs to another user, or it cannot be made.
pub(crate) fn take(data: &Path, purpose: &str) -> Result<FileLock, Locked> {
    make_private(data).map_err(|error| {
        Locked::Failed(CommandError::failed(format!("cannot use {}: {error}", data.display())))
    })?;
    check_owner(data).map_err(Locked::Failed)?;
    FileLock::take(&data.join(NAME), purpose).map_err(|error| match error {
        LockError::Held(holder) => held(holder),
        LockError::File(..) => Locked::Failed(CommandError::failed(chain(&error))),
    })
}

/// What root writes into a folder of the node's user would be root's, and the node could not read it any
/// more: whoever it belongs to is the one to work on it.
///
/// # Errors
/// It belongs to another user, or is not there.
pub(crate) fn check_owner(data: &Path) -> Result<(), CommandError> {
    let (owner, own) = (std::fs::metadata(data)?.uid(), rustix::process::geteuid().as_raw());
    if owner == own {
        return Ok(());
    }
    let name = user_name(owner);
    Err(CommandError::failed(format!(
        "no node answers, and {} belongs to {name}; start the node, or do it as that user: `runuser -u {name} -- wachter …`",
        data.display()
    )))
}

/// Takes the data folder for a node, after the commands that are at work on it.
///
/// # Errors
/// A node has it, a command did not end in half a minute, or it cannot be made.
pub(crate) async fn take_for_node(data: &Path) -> Result<FileLock, Locked> {
    let until = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        match take(data, NODE) {
            Err(Locked::Other(holder)) if Instant::now() < until => {
                if !std::mem::replace(&mut told, true) {
                    let name = holder.map_or_else(
                        || "another command".to_owned(),
                        |Holder { process, purpose }| {
                            format!("`wachter {purpose}` (process {process})")
                        },
                    );
                    output::talk(format_args!(
                        "waiting for {name}, which is at work on the same data"
                    ));
                }
                sleep(PAUSE).await;
            }
            other => return other,
        }
    }
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
