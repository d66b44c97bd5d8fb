use crate::InstallationId;

/// Why GitHub gave no token. It never holds a key, an assertion or a token, and no words of the
/// server, which could repeat one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// 401, and the clocks differ by more than an assertion bears.
    #[error(
        "GitHub refused the App's assertion (status 401): the clock of this machine is {seconds} s {} GitHub's; \
         set it right, best by NTP",
        if *.ahead { "ahead of" } else { "behind" }
    )]
    ClockSkew {
        /// By how much.
        seconds: u64,
        /// Whether this machine's clock shows the later time.
        ahead: bool,
    },
    /// 401 otherwise.
    #[error(
        "GitHub refused the App's assertion (status 401); check that `private_key` is a key of the App \
         that `client` names, and that it was not deleted on the App's settings page"
    )]
    Unauthorized,
    /// 404: the App is not installed under this number.
    #[error(
        "the App has no installation {0} (status 404); the number ends the address of the page that \
         `Configure` leads to, under the account's installed GitHub Apps"
    )]
    NoInstallation(InstallationId),
    /// 403 that is no rate limit.
    #[error(
        "GitHub forbids the installation a token (status 403); check whether the App is suspended there, \
         or an IP allow list leaves this machine out"
    )]
    Forbidden,
    /// 403 or 429 with a rate limit.
    #[error(
        "GitHub's rate limit is reached (status {status}); it is asked again in {seconds} s at the earliest: \
         raise the setting `sync.interval` if that repeats"
    )]
    RateLimited {
        /// The HTTP status.
        status: u16,
        /// How long to wait.
        seconds: u64,
    },
    /// 422: more was asked for than was given, or on a repository that the installation does not have.
    #[error(
        "the App may not read the repository's contents in this installation (status 422); check that it is \
         installed on the repository that `repository.url` ends with, and give it the repository permission \
         `Contents: Read-only` on its settings page, which the account's owner accepts"
    )]
    NotGranted,
    /// Any redirect: an assertion is not sent elsewhere.
    #[error(
        "the API redirects (status {status}), and the App's assertion goes nowhere else; \
         check `api` in the local file"
    )]
    Redirect {
        /// The HTTP status.
        status: u16,
    },
    /// Any other status.
    #[error(
        "the API answered with status {status}; check `api` in the local file, or try again later"
    )]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// Not what the API documents, or larger.
    #[error("the API's answer is not a token with its end; check `api` in the local file")]
    Answer,
    /// No connection, or one that broke.
    #[error("the API could not be reached: {reason}; check network, name and port")]
    Unreachable {
        /// What the network said.
        reason: String,
    },
    /// Certificates.
    #[error(
        "no trusted TLS connection to the API: {reason}; check the certificates that are trusted here"
    )]
    Tls {
        /// What the TLS library said.
        reason: String,
    },
}
