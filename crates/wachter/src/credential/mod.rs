//! Where the token for the Git server comes from. It is read anew for each fetch, so that a rotated
//! one counts at once, and it goes nowhere but into the worker's pipe.
//!
//! # Invariants
//! - No error here holds a part of a secret, or of the file that it is in.
//! - Nothing is written: what GitHub gives an App is kept in memory.
//! - What every user of the host can read opens nothing: no token, and neither an identity nor a
//!   private key, which not even a group may read.

mod age;
mod github_app;
mod secret_file;

use std::env::{self, VarError};
use std::path::Path;

use jiff::Timestamp;
use wachter_github::TokenCache;
use wachter_gitops::{Credential, FetchError, FetchFailure};
use wachter_protocol::{Credential as Source, Repository};
use zeroize::Zeroizing;

pub(crate) use self::age::identities as read_identities;
use crate::failure::CommandError;

/// The username that GitHub, GitLab and Gitea take with any token.
const USERNAME: &str = "x-access-token";

/// More than any token has.
const MAX_TOKEN_BYTES: usize = 4 * 1024;

/// Reads the token that the local file names, if it names one.
#[derive(Debug)]
pub(crate) struct CredentialReader {
    source: Source,
    /// The repository that tokens are for.
    url: String,
    cache: TokenCache,
}

impl CredentialReader {
    /// Reads nothing yet.
    pub(crate) fn new(repository: &Repository) -> Self {
        Self {
            source: repository.credential.clone(),
            url: repository.url.clone(),
            cache: TokenCache::default(),
        }
    }

    /// The token, read now. One of a GitHub App may take a request, of 30 s at most.
    ///
    /// # Errors
    /// What is missing, open to others or not a token; what GitHub refuses.
    pub(crate) fn read(&mut self, now: Timestamp) -> Result<Option<Credential>, CommandError> {
        let Source { file, environment, systemd, age, github_app } = &self.source;
        let token = if let Some(path) = file {
            first_line(&secret_file::read_token(path.as_path(), "token")?)?
        } else if let Some(name) = environment {
            first_line(from_environment(name)?.as_bytes())?
        } else if let Some(name) = systemd {
            first_line(&from_systemd(name)?)?
        } else if let Some(source) = age {
            first_line(&age::decrypt(source)?)?
        } else if let Some(source) = github_app {
            self.cache.token(now, || github_app::app(source, &self.url))?.secret().clone()
        } else {
            return Ok(None);
        };
        Ok(Some(Credential::new(USERNAME, token)))
    }

    /// Learns how a fetch failed: a token that the server refused is used no more.
    pub(crate) fn learn(&mut self, error: &FetchError) {
        // GitHub says 404 where a token may not know of a repository.
        if let FetchError::Failed(FetchFailure::Credential { .. } | FetchFailure::NotFound) = error
        {
            self.cache.forget();
        }
    }
}

fn from_environment(name: &str) -> Result<Zeroizing<String>, CommandError> {
    env::var(name).map(Zeroizing::new).map_err(|error| {
        let what = match error {
            VarError::NotPresent => "is not set",
            VarError::NotUnicode(_) => "is not a token",
        };
        CommandError::failed(format!(
            "the environment variable `{name}`, which `repository.credential` names, {what}; \
             set it to the token where the node is started"
        ))
    })
}

fn from_systemd(name: &str) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    if name.contains('/') || matches!(name, "" | "." | "..") {
        return Err(CommandError::failed(
            "`repository.credential.systemd` is the name of a credential, without a folder",
        ));
    }
    let folder = env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        CommandError::failed(format!(
            "there are no systemd credentials; add `LoadCredential={name}:FILE` to the unit"
        ))
    })?;
    secret_file::read_token(&Path::new(&folder).join(name), "token")
}

/// A token is the first line, without the space around it.
fn first_line(text: &[u8]) -> Result<Zeroizing<String>, CommandError> {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    if line.is_empty() {
        return Err(CommandError::failed(
            "the token that `repository.credential` names is empty; it stands on the first line",
        ));
    }
    match std::str::from_utf8(line) {
        Ok(line)
            if line.len() <= MAX_TOKEN_BYTES
                && line.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(Zeroizing::new(line.to_owned()))
        }
        _ => Err(CommandError::failed(
            "what `repository.credential` names is not a token, which is one line of ASCII letters, \
             digits and signs without a space; check that it is the right file",
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        match (first_line(text.as_bytes()), expected) {
            (Ok(token), Ok(expected)) => assert_eq!(token.as_str(), expected),
            (Err(error), Err(part)) => assert!(error.message.contains(part), "{error}"),
            (found, _) => panic!("{text:?}: {:?}", found.map(|token| token.to_string())),
        }
    }

    #[test]
    fn a_token_is_the_first_line() {
        check("ghp_x", Ok("ghp_x"));
        check(" ghp_x \r\nnote\n", Ok("ghp_x"));
        check("", Err("is empty"));
        check("\nghp_x", Err("is empty"));
        check("two words", Err("is not a token"));
        check("ghp_\u{e9}", Err("is not a token"));
        check("ghp_\0", Err("is not a token"));
        check(&"x".repeat(MAX_TOKEN_BYTES + 1), Err("is not a token"));
    }

    #[test]
    fn a_name_of_systemd_stays_in_its_folder() {
        for name in ["", ".", "..", "../token", "/etc/shadow"] {
            let error = from_systemd(name).unwrap_err();
            assert!(error.message.contains("without a folder"), "{name}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_fits_a_header(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            match first_line(&bytes) {
                Ok(token) => prop_assert!(token.bytes().all(|byte| byte.is_ascii_graphic())),
                Err(error) => prop_assert!(error.message.is_ascii()),
            }
        }
    }
}
