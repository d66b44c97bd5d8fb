use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Location;
use crate::ObjectId;

/// What a worker is to bring into a repository.
#[derive(Clone, Debug)]
pub struct Job {
    /// The bare repository to bring it into. It is made when it does not exist.
    pub repository: PathBuf,
    /// Where to take it from.
    pub source: Source,
    /// A branch to bring along with the release tags: what `verify: commits` follows.
    pub branch: Option<BranchName>,
    /// What to stop at.
    pub limits: FetchLimits,
    /// Whether to go on where the kernel has no Landlock or no seccomp. What holds is reported in any
    /// case; the rules on TCP ports, which take Linux 6.7, are never insisted on.
    pub accept_unconfined: bool,
}

/// Where objects come from.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each fetch, and never a list of them"
)]
pub enum Source {
    /// A Git server, or a repository of this machine.
    Remote(Remote),
    /// A file made by `git bundle create`.
    Bundle(PathBuf),
    /// Nothing from outside: what can be reached from the references and from these objects is put
    /// into few packs, and the rest is dropped. No reference changes.
    Own(Vec<ObjectId>),
}

/// A Git server and how to reach it.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Where it is.
    pub location: Location,
    /// What to log in with, for HTTP. SSH uses the keys and agent of the user.
    pub credential: Option<Credential>,
    /// Whose certificates to trust, for HTTPS.
    pub certificates: Certificates,
    /// Whether HTTP without TLS is allowed to other machines than this one.
    pub allow_plain_http: bool,
    /// The program to run for SSH: `ssh` unless said otherwise.
    pub ssh_program: Option<PathBuf>,
}

impl Remote {
    /// A remote without credential, with the system's certificates.
    #[must_use]
    pub fn new(location: Location) -> Self {
        Self {
            location,
            credential: None,
            certificates: Certificates::default(),
            allow_plain_http: false,
            ssh_program: None,
        }
    }
}

/// Certificates (PEM) to trust instead of the system's. Where nothing is named, those of the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificates {
    /// A file of any number of them.
    pub file: Option<PathBuf>,
    /// Folders of such files, named as `openssl rehash` names them (`HASH.0`).
    pub folders: Vec<PathBuf>,
}

impl Certificates {
    /// What `SSL_CERT_FILE` and `SSL_CERT_DIR` name, as OpenSSL and curl read them: a file, and folders
    /// between colons. An empty variable counts as one that is not set.
    #[must_use]
    pub fn from_environment() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let folders = set("SSL_CERT_DIR")
            .map(|value| std::env::split_paths(&value).filter(|path| *path != *"").collect());
        Self { file: set("SSL_CERT_FILE").map(PathBuf::from), folders: folders.unwrap_or_default() }
    }

    /// Whether nothing is named.
    #[must_use]
    pub fn is_of_system(&self) -> bool {
        self.file.is_none() && self.folders.is_empty()
    }

    /// Everything that is named.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.file.iter().chain(&self.folders)
    }
}

/// A username and a token. It cannot be printed, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Credential {
    /// The username; `x-access-token` for GitHub.
    pub username: String,
    token: Zeroizing<String>,
}

impl Credential {
    /// Takes a token.
    #[must_use]
    pub fn new(username: impl Into<String>, token: impl Into<Zeroizing<String>>) -> Self {
        Self { username: username.into(), token: token.into() }
    }

    /// The token itself, for the one place that sends it.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A branch that can be asked for by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BranchName(String);

/// Why a text is not a branch's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a branch's name is 1 to 200 letters, digits and `._/-`, without `..`, `//` or a leading `-`, `.` or `/`"
)]
pub struct BranchNameError;

impl TryFrom<String> for BranchName {
    type Error = BranchNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let character = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
        let good = (1..=200).contains(&name.len())
            && name.bytes().all(character)
            && !name.starts_with('-')
            && !name.ends_with(".lock")
            && !name.contains("..")
            && name
                .split('/')
                .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.'));
        if good { Ok(Self(name)) } else { Err(BranchNameError) }
    }
}

impl std::str::FromStr for BranchName {
    type Err = BranchNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        name.to_owned().try_into()
    }
}

impl From<BranchName> for String {
    fn from(name: BranchName) -> Self {
        name.0
    }
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one fetch may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchLimits {
    /// Bytes received, protocol included.
    pub bytes: u64,
    /// Objects in the pack, as its header announces them.
    pub objects: u32,
    /// Bytes of one object after decompression, and of one delta's result.
    pub object_bytes: u64,
    /// Seconds from start to end; the worker is killed then.
    #[serde(with = "seconds")]
    pub time: Duration,
    /// References that the server lists, of those that were asked for.
    pub references: usize,
}

impl Default for FetchLimits {
    /// 1 GiB, a million objects, 256 MiB an object, ten minutes, 20,000 references.
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            objects: 1_000_000,
            object_bytes: 256 << 20,
            time: Duration::from_secs(600),
            references: 20_000,
        }
    }
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(value.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_does_not_print_its_token() {
        let credential = Credential::new("x-access-token", "hunter2".to_owned());
        assert!(!format!("{credential:?} {credential:#?}").contains("hunter2"));
    }

    #[test]
    fn branch_names_are_plain() {
        for good in ["main", "release/1.2", "a-b_c.d"] {
            assert!(good.parse::<BranchName>().is_ok(), "{good}");
        }
        for bad in [
            "", "-x", "a..b", "a//b", "/a", "a/", ".a", "a/.b", "a b", "a\nb", "a~1", "a.lock", "é",
        ] {
            assert!(bad.parse::<BranchName>().is_err(), "{bad}");
        }
    }
}
