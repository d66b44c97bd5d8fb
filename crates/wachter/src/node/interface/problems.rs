//! What went wrong in the node, as its callers are told.

use wachter_api::{Problem, ProblemKind};
use wachter_bus::{PublishError, PublishReason, ReadError, WriteError};
use wachter_model::chain;
use wachter_runtime::dispatch::HandleError;

use crate::failure::{CommandError, ExitKind};

/// The journal could not be read.
pub(super) fn unreadable(error: &ReadError) -> Problem {
    let kind = match error {
        ReadError::Closed => ProblemKind::Unavailable,
        ReadError::Sqlite(_) | ReadError::Thread(_) | ReadError::Damaged(_) => {
            ProblemKind::Internal
        }
    };
    Problem::new(kind, chain(error))
}

/// The journal could not be written.
pub(super) fn unwritten(error: &WriteError) -> Problem {
    Problem::new(ProblemKind::Unavailable, chain(error))
}

/// An event could not be taken.
pub(super) fn unpublished(error: &PublishError) -> Problem {
    let kind = match error.reason {
        PublishReason::Topic { .. }
        | PublishReason::TooLarge { .. }
        | PublishReason::BatchTooLarge { .. } => ProblemKind::Invalid,
        PublishReason::Full | PublishReason::Key(_) | PublishReason::Write(_) => {
            ProblemKind::Unavailable
        }
    };
    Problem::new(kind, chain(&error.reason))
}

/// Who runs agents did not do something.
pub(super) fn unhandled(error: &HandleError) -> Problem {
    let kind = match error {
        HandleError::Unknown(_) => ProblemKind::NotFound,
        HandleError::Away | HandleError::NotKept(_) => ProblemKind::Unavailable,
    };
    Problem::new(kind, error.to_string())
}

/// An order was not carried out; `otherwise` says what it is where it was neither refused nor wrong.
pub(super) fn undone(error: &CommandError, otherwise: ProblemKind) -> Problem {
    let kind = match error.kind {
        ExitKind::Refused => ProblemKind::Refused,
        ExitKind::Usage => ProblemKind::Invalid,
        ExitKind::Failed | ExitKind::RunFailed | ExitKind::NoNode => otherwise,
    };
    Problem::new(kind, &*error.message)
}

/// What a person may give as a reason, in bytes: it stands in lists, and in an event, which has a limit.
const LONGEST_REASON: usize = 4 << 10;

/// A reason as it is kept, without white space around it.
///
/// # Errors
/// It is too long.
pub(super) fn reason(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.len() > LONGEST_REASON {
        return Err(Problem::invalid(format!(
            "`reason` has {} bytes and {LONGEST_REASON} are allowed; say it shorter",
            text.len()
        )));
    }
    Ok(text.to_owned())
}

/// There is nothing of this name.
pub(super) fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
    list: &str,
) -> Problem {
    let hint = match wachter_document::nearest(name, known) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("`{list}` lists them"),
    };
    Problem::not_found(format!("there is no {what} `{name}`; {hint}"))
}

/// The node goes down.
pub(super) fn stopping() -> Problem {
    Problem::new(ProblemKind::Unavailable, "the node is stopping; try again when it runs")
}

/// Nothing is deployed.
pub(super) fn no_release() -> Problem {
    Problem::new(
        ProblemKind::Conflict,
        "no release is in force on this host yet; run `wachter sync`, and see what it says",
    )
}
