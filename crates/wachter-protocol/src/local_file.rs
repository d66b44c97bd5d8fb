//! The node's local file: what the owner of a host says, and nobody else can.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wachter_document::{DocumentError, Node};
use wachter_model::{ByteSize, Duration, ModuleName, NodeName, RepositoryId};

use crate::{AbsolutePath, Allowance, IndexError, Mechanism, Profile, Python};

/// The local file, `/etc/wachter/node.yaml` for root. The launcher reads it too, so it belongs to
/// root where the launcher runs as root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LocalFile {
    /// The version of this format: 1.
    pub version: u32,
    /// The node's name; the host's name where left out.
    #[serde(default)]
    pub node: Option<NodeName>,
    /// Where the node keeps its state. `/var/lib/wachter` for root, `$XDG_STATE_HOME/wachter` for
    /// others, where left out.
    #[serde(default)]
    pub data: Option<AbsolutePath>,
    /// Labels, which configuration selects nodes by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The managed repository.
    pub repository: Repository,
    /// Whose word counts above all.
    pub roots: Roots,
    /// How modules are confined.
    #[serde(default)]
    pub confinement: Confinement,
    /// What leaves the host.
    #[serde(default)]
    pub egress: Egress,
    /// How the secrets of the managed repository are opened here.
    #[serde(default)]
    pub secrets: Secrets,
    /// How environments of Python modules are built.
    #[serde(default)]
    pub python: Python,
    /// What each module may touch.
    #[serde(default)]
    pub grants: BTreeMap<ModuleName, Allowance>,
    /// Settings of this node, laid over those of the managed repository; see `settings.v1`. They are
    /// read by the node alone.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub settings: serde_json::Value,
}

/// Where the managed repository is and how it is fetched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// `https://…`, `ssh://…`, `user@host:path` or an absolute path. Never with a password in it.
    pub url: String,
    /// The repository's own identifier, which every release names.
    pub id: RepositoryId,
    /// What is shown to the server.
    #[serde(default)]
    pub credential: Credential,
    /// Allows `http://` to other hosts than this one. What is fetched is verified all the same, but
    /// anyone on the way can read it and see the credential.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// What counts as accepted.
    #[serde(default)]
    pub verify: VerifyMode,
    /// The rings whose releases are for this node; every ring where left out.
    #[serde(default)]
    pub rings: Option<BTreeSet<String>>,
    /// The most that one fetch may bring.
    #[serde(default)]
    pub limits: FetchLimits,
}

/// Where a token for HTTPS comes from; at most one key may be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Credential {
    /// A file with the token on its first line.
    pub file: Option<AbsolutePath>,
    /// An environment variable of the node.
    pub environment: Option<String>,
    /// A systemd credential (`LoadCredential=`).
    pub systemd: Option<String>,
    /// A file encrypted with age, and the identity that opens it.
    pub age: Option<AgeCredential>,
    /// A GitHub App, whose private key makes short-lived tokens.
    pub github_app: Option<GithubAppCredential>,
}

/// A token in a file encrypted with age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AgeCredential {
    /// The encrypted file.
    pub file: AbsolutePath,
    /// The file with the identity.
    pub identity: AbsolutePath,
}

/// A GitHub App.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GithubAppCredential {
    /// The client identifier or the application identifier.
    pub client: String,
    /// The installation.
    pub installation: u64,
    /// The file with the private key (PEM).
    pub private_key: AbsolutePath,
    /// The API's address; `https://api.github.com` where left out.
    #[serde(default)]
    pub api: Option<String>,
}

/// What a node accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum VerifyMode {
    /// The highest valid signed release.
    #[default]
    Releases,
    /// The branch, when every commit since the last accepted one is signed.
    Commits,
}

/// The most that one fetch may bring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FetchLimits {
    /// Bytes received.
    pub bytes: ByteSize,
    /// Objects received.
    pub objects: u32,
    /// Time taken.
    pub time: Duration,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self { bytes: ByteSize::from_mib(512), objects: 500_000, time: Duration::from_secs(300) }
    }
}

/// The keys that sign `trust/trust.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Roots {
    /// How many of the keys must have signed.
    pub threshold: u32,
    /// OpenSSH public keys, one text each: `ssh-ed25519 AAAA… name`.
    pub keys: Vec<String>,
}

/// How modules are confined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Confinement {
    /// The profile; the strongest that the host offers where left out.
    pub profile: Option<Profile>,
    /// Mechanisms that may be missing. Each is an invitation to think twice.
    pub accept_absent: BTreeSet<Mechanism>,
    /// Allows code that nobody signed to run as the user who asks (`wachter exec PATH`,
    /// `wachter module test`).
    pub development: bool,
    /// The users that runs get, one each, when the launcher is root.
    pub users: UserRange,
}

/// A range of numeric users that nothing else on the host uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct UserRange {
    /// The first.
    pub first: u32,
    /// How many: the most runs at one time.
    pub count: u32,
}

impl Default for UserRange {
    /// Above what systemd assigns to anything (its `UIDS-GIDS` page), below 2^31.
    fn default() -> Self {
        Self { first: 1_879_048_192, count: 1_024 }
    }
}

/// How the secrets of the managed repository are opened here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// The file with the age identities that open them, made by `wachter secret identity`. It belongs
    /// to the user that the launcher runs as, and nobody else can read it.
    pub identity: Option<AbsolutePath>,
}

/// Quotas for what leaves the host, for each run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Egress {
    /// Connections at one time.
    pub connections: u32,
    /// Bytes sent and received together.
    pub bytes: ByteSize,
}

impl Default for Egress {
    fn default() -> Self {
        Self { connections: 32, bytes: ByteSize::from_mib(1_024) }
    }
}

/// Why a local file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalFileError {
    /// Not a local file.
    #[error("{0}")]
    Document(DocumentError),
    /// From a later version.
    #[error("has format version {0}, this build reads version 1; upgrade Wachter on this node")]
    Version(u32),
    /// A threshold that no set of keys can meet, or that nobody has to meet.
    #[error("`roots.threshold` is {threshold}, but must lie between 1 and the {keys} keys given")]
    Threshold {
        /// What the file says.
        threshold: u32,
        /// How many keys it names.
        keys: usize,
    },
    /// A password in the address.
    #[error(
        "`repository.url` holds a user's password or token; name it under `repository.credential`"
    )]
    SecretInUrl,
    /// A node that no release is for.
    #[error("`repository.rings` names no ring; name one, or leave it out to follow every ring")]
    Rings,
    /// More than one source of one credential.
    #[error("`repository.credential` names {0} sources; name one")]
    Credentials(usize),
    /// Users that belong to people or services.
    #[error("`confinement.users` must be 1 to 65536 users from 65536 upwards and below 2147483648")]
    Users,
    /// A package index that is none.
    #[error("{0}")]
    Index(IndexError),
    /// Capabilities for a module that does not run as root.
    #[error("`grants.{0}.capabilities` need `user: root` beside them")]
    Capabilities(ModuleName),
}

impl LocalFile {
    /// Reads a local file in YAML or JSON.
    ///
    /// # Errors
    /// What is not a local file of this version, with the place of the fault.
    pub fn read(text: &str) -> Result<Self, LocalFileError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let document = Node::read(text, 0).map_err(LocalFileError::Document)?;
        if let Ok(Version { version }) = document.to()
            && version != 1
        {
            return Err(LocalFileError::Version(version));
        }
        let file: Self = document.to().map_err(LocalFileError::Document)?;
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Result<(), LocalFileError> {
        let Roots { threshold, keys } = &self.roots;
        let reachable = usize::try_from(*threshold).is_ok_and(|threshold| threshold <= keys.len());
        if *threshold == 0 || !reachable {
            return Err(LocalFileError::Threshold { threshold: *threshold, keys: keys.len() });
        }
        if has_password(&self.repository.url) {
            return Err(LocalFileError::SecretInUrl);
        }
        if self.repository.rings.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(LocalFileError::Rings);
        }
        let Credential { file, environment, systemd, age, github_app } =
            &self.repository.credential;
        let sources = usize::from(file.is_some())
            + usize::from(environment.is_some())
            + usize::from(systemd.is_some())
            + usize::from(age.is_some())
            + usize::from(github_app.is_some());
        if sources > 1 {
            return Err(LocalFileError::Credentials(sources));
        }
        let UserRange { first, count } = self.confinement.users;
        let last = first.checked_add(count);
        if first < 65_536
            || !(1..=65_536).contains(&count)
            || last.is_none_or(|last| last > 1 << 31)
        {
            return Err(LocalFileError::Users);
        }
        self.python.endpoint().map_err(LocalFileError::Index)?;
        for (module, allowance) in &self.grants {
            if !allowance.capabilities.is_empty() && allowance.user.as_deref() != Some("root") {
                return Err(LocalFileError::Capabilities(module.clone()));
            }
        }
        Ok(())
    }
}

/// Whether an address such as `https://name:secret@host/` or `https://token@host/` carries a
/// secret. The user of `ssh://git@host/` is none.
fn has_password(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return false };
    scheme.starts_with("http") || user.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "version: 1
repository: { url: https://git.example.com/infra.git, id: 6f0c1c53-8c2c-4f0c-a6ab-3f0a8f5a2a11 }
roots: { threshold: 1, keys: [ssh-ed25519 AAAA root] }
";

    #[test]
    fn little_has_to_be_said() {
        let file = LocalFile::read(SMALL).unwrap();
        assert_eq!(file.confinement.users.first, 1_879_048_192);
    }

    #[test]
    fn says_what_is_wrong() {
        for (change, expected) in [
            (("version: 1", "version: 2"), "format version 2"),
            (("threshold: 1", "threshold: 2"), "between 1 and the 1 keys"),
            (("threshold: 1", "threshold: 0"), "between 1 and the 1 keys"),
            (("https://git", "https://token@git"), "holds a user's password or token"),
            (("repository: {", "repository: { rings: [],"), "names no ring"),
            (("roots:", "rots:"), "unknown key `rots`: did you mean `roots`?"),
            (("id: 6f0c1c53", "id: 6f0c1c5"), "line 2"),
            (
                ("version: 1", "version: 1\nconfinement: { accept_absent: [secomp] }"),
                "did you mean `seccomp`?",
            ),
            (
                ("version: 1", "version: 1\nconfinement: { users: { first: 0, count: 5 } }"),
                "from 65536 upwards",
            ),
            (("version: 1", "version: 1\npython: { index: pypi.org }"), "no `https://host/path`"),
            (
                ("version: 1", "version: 1\ngrants: { a: { capabilities: [chown] } }"),
                "need `user: root`",
            ),
        ] {
            let message =
                LocalFile::read(&SMALL.replacen(change.0, change.1, 1)).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn secrets_in_addresses_are_seen() {
        for (url, expected) in [
            ("https://host/a", false),
            ("https://host/a@b", false),
            ("https://token@host/a", true),
            ("https://user:secret@host/a", true),
            ("ssh://git@host/a", false),
            ("ssh://git:secret@host/a", true),
            ("git@host:a", false),
            ("/srv/a", false),
        ] {
            assert_eq!(has_password(url), expected, "{url}");
        }
    }
}
