use serde::{Deserialize, Serialize};

/// Why a worker could not bring what was asked for. It never holds a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FetchFailure {
    /// 401 or 403.
    #[error(
        "the server refused the credential (status {status}); check that the token is valid and may read this repository"
    )]
    Credential {
        /// The HTTP status.
        status: u16,
    },
    /// 404: often what a server says to those who may not know that a repository exists.
    #[error(
        "the server knows no such repository (status 404); check the URL and what the token may read"
    )]
    NotFound,
    /// 429, or 503 with `Retry-After`.
    #[error("the server asks to wait (status {status}); fetch less often")]
    TooManyRequests {
        /// The HTTP status.
        status: u16,
        /// Seconds that the server asked for.
        retry_after: Option<u64>,
    },
    /// Any other status.
    #[error("the server answered with status {status}; try again later")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// A redirect that would leave the server, or TLS.
    #[error("the server redirects to {to}; put that URL into the settings if it is the right one")]
    Redirect {
        /// Where to, cut to 200 characters.
        to: String,
    },
    /// HTTP without TLS.
    #[error(
        "plain HTTP is used only to this machine; use https, or allow it by name in the local file"
    )]
    PlainHttp,
    /// More than a limit allows.
    #[error(
        "the limit of {limit} {what} was reached; raise it if the repository is meant to be that large"
    )]
    Limit {
        /// What there was too much of.
        what: LimitKind,
        /// The limit.
        limit: u64,
    },
    /// No connection, or one that broke.
    #[error("the server could not be reached: {reason}; check network, name and port")]
    Unreachable {
        /// What the network said.
        reason: String,
    },
    /// Certificates.
    #[error(
        "no trusted TLS connection: {reason}; check the certificate and the certificates that are trusted here"
    )]
    Tls {
        /// What the TLS library said.
        reason: String,
    },
    /// A server that is not one, or is broken.
    #[error("the server did not speak Git's protocol as it should: {reason}")]
    Protocol {
        /// What was wrong.
        reason: String,
    },
    /// What was received is damaged or hostile.
    #[error("the pack that was received is refused: {reason}")]
    Pack {
        /// What was wrong.
        reason: String,
    },
    /// The branch is not there.
    #[error("the server has no branch `{branch}`")]
    NoBranch {
        /// Its name.
        branch: String,
    },
    /// A shallow clone cannot show its history.
    #[error("the server's repository is a shallow clone; fetch from one with its whole history")]
    Shallow,
    /// `ssh` or `git` said no.
    #[error("`{program}` failed: {stderr}")]
    Program {
        /// Which.
        program: String,
        /// The end of what it wrote to stderr, control characters escaped.
        stderr: String,
    },
    /// The bundle file.
    #[error("the bundle cannot be used: {reason}")]
    Bundle {
        /// What was wrong.
        reason: String,
    },
    /// The repository of the node.
    #[error("the node's own repository cannot be used: {reason}")]
    Repository {
        /// What was wrong.
        reason: String,
    },
    /// Another worker is at it.
    #[error("another fetch into the same repository is running; wait for it")]
    Busy,
    /// A confinement that the kernel has, but refused.
    #[error("the worker could not confine itself: {reason}")]
    Confinement {
        /// What was wrong.
        reason: String,
    },
    /// The job itself.
    #[error("the worker could not read its job: {reason}")]
    Job {
        /// What was wrong.
        reason: String,
    },
}

/// What a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitKind {
    /// Received bytes.
    Bytes,
    /// Objects in a pack.
    Objects,
    /// Listed references.
    References,
}

impl std::fmt::Display for LimitKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bytes => "received bytes",
            Self::Objects => "objects",
            Self::References => "references",
        })
    }
}

/// Makes a text from outside safe to print, and short.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let escaped: String = text.trim().chars().flat_map(char::escape_debug).collect();
    match escaped.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &escaped[..end]),
        None => escaped,
    }
}
