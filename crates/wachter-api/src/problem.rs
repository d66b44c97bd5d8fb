use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a request was not carried out: problem details (RFC 9457), as `application/problem+json`.
///
/// `detail` is for the person at the other end: what is wrong, where, and what to do. What is only
/// for the node's log never comes here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// Which kind of problem: a relative reference, stable, for programs.
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    /// The HTTP status, once more.
    pub status: u16,
    /// What is wrong here.
    pub detail: String,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The request is not what the endpoint takes.
    Invalid,
    /// The caller may not do this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// It does not fit what is going on.
    Conflict,
    /// A signature, a grant or a check did not hold.
    Refused,
    /// There is too much to do, or no room: the same again later may go well.
    Unavailable,
    /// Nobody answered in time.
    TimedOut,
    /// A fault of the node.
    Internal,
}

impl Problem {
    /// Of this kind, said in a sentence for the caller.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let status = match kind {
            ProblemKind::Invalid => 400,
            ProblemKind::Forbidden => 403,
            ProblemKind::NotFound => 404,
            ProblemKind::Conflict => 409,
            ProblemKind::Refused => 422,
            ProblemKind::Unavailable => 503,
            ProblemKind::TimedOut => 504,
            ProblemKind::Internal => 500,
        };
        Self { kind, status, detail: detail.into() }
    }

    /// The request is not what the endpoint takes.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Invalid, detail)
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::NotFound, detail)
    }

    /// A fault of the node.
    #[must_use]
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Internal, detail)
    }
}
