//! The snapshots of the host that a run was handed.

use std::time::Duration;

use wachter_module::Context;
use wachter_module::host::{Processes, View, ViewError};

/// For how long a problem stays open whose subject may only have been left out of a view.
pub(crate) const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The same for a process, unit or container: those with the most memory and work are in the view, so that
/// what is not for so long has hardly a problem.
pub(crate) const PATIENCE_OF_PROCESSES: Duration = Duration::from_secs(60 * 60);

/// Whether a process, as in `web[2211]`, or a group of them, which is not in the view, may be there all the
/// same: there are too many.
pub(crate) fn may_be_left_out(view: &Processes, subject: &str) -> bool {
    let number = subject.strip_suffix(']').and_then(|subject| subject.rsplit_once('['));
    match number.and_then(|(_, number)| number.parse().ok()) {
        Some(pid) => view.may_be_left_out(pid),
        None => view.left_out.as_ref().is_some_and(|left_out| left_out.with_memory > 0),
    }
}

/// A view, or a sentence that it is not there. One that the node tried to take has its own
/// sentence already.
///
/// # Errors
/// A view of a shape that this version does not know.
pub(crate) fn seen<T: View, S>(
    context: &Context<S>,
    unseen: &mut Vec<String>,
) -> Result<Option<T>, ViewError> {
    match context.host() {
        Ok(view) => Ok(Some(view)),
        Err(ViewError::Absent(view)) => {
            let prefix = format!("{view}: ");
            if !context.missing().iter().any(|sentence| sentence.starts_with(&prefix)) {
                unseen
                    .push(format!("{view}: not handed in; grant `host: [{view}]` to this module"));
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
