use std::path::PathBuf;

use jiff::Timestamp;
use tokio::sync::oneshot;
use wachter_api::shapes::{ReleaseReport, Reloaded};

use crate::failure::CommandError;

/// Where an answer goes. Who asked may have gone away in the meantime.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, CommandError>>;

/// What the task that follows the repository can be told. It alone changes what is in force, so that
/// two changes never meet.
#[derive(Debug)]
pub(crate) enum Order {
    /// Look for a release now.
    Look(Answer<ReleaseReport>),
    /// Read the local file again.
    Reload(Answer<Reloaded>),
    /// Go back to an earlier release; the one before where none is named.
    RollBack(Option<u64>, Answer<ReleaseReport>),
    /// Stay on a release, the one in force where none is named.
    Pin(Option<u64>, Timestamp, Answer<ReleaseReport>),
    /// Follow new releases again.
    Unpin(Answer<ReleaseReport>),
    /// Take a release from a bundle.
    Apply(PathBuf, Answer<ReleaseReport>),
}
