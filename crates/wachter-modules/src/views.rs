//! The snapshots of the host that a run was handed.

use wachter_module::Context;
use wachter_module::host::{View, ViewError};

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
