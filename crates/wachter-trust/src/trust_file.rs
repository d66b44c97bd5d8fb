use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use wachter_model::{Digest, ModuleName, NodeName};

use crate::RepositoryId;
use crate::names::{Ring, RoleName, SignerName};
use crate::{Fingerprint, Namespace, PatternList, PublicKey, RevokedKeys};

/// The trust file, `trust/trust.yaml`: who may sign releases, publish modules and approve.
///
/// ```yaml
/// version: 1                                  # of this format
/// repository: 6f6b1a0e-2c8f-4b1d-9d4e-0c7d4f3a2b19
/// serial: 3                                   # one more with every change
/// not_after: 2027-01-31T00:00:00Z             # not accepted for the first time after this
/// signers:
///   alice: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIlizSIN3DQV78VPNjVvvwjgf+P5HqbPYCYu3BOMdjAE
///   bob: [ssh-ed25519 AAAA..., sk-ssh-ed25519@openssh.com AAAA...]
/// releases:
///   signers: [alice, bob]
///   threshold: 1
///   paths:                                    # every rule that a changed path falls under must be met
///     - { path: modules/, threshold: 2 }
///   rings: [stable, early]                    # `stable` alone when left out
/// publishers:
///   - { signer: alice, modules: ["*"] }       # all; or a name, or a beginning such as web-*
/// approvers: [alice]
/// recipients:
///   - { name: web-1, key: age1... }
/// node_roles:
///   web: ["web-*"]
/// revoked:                                    # only grows
///   - { fingerprint: "SHA256:...", reason: laptop stolen, since: 2026-05-01T00:00:00Z }
/// ```
///
/// A value of this type is consistent in itself: every name exists, every threshold can be reached
/// with keys that are not revoked, and no key stands under two names. Whether it is *signed* is what
/// [`TrustFile::accept`] says; [`TrustFile::parse`] is for those who write one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustFile {
    pub(crate) digest: Digest,
    pub(crate) repository: RepositoryId,
    pub(crate) serial: u64,
    pub(crate) not_after: Timestamp,
    pub(crate) signers: BTreeMap<SignerName, Vec<PublicKey>>,
    pub(crate) releases: ReleaseRules,
    pub(crate) publishers: Vec<Publisher>,
    pub(crate) approvers: BTreeSet<SignerName>,
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) node_roles: BTreeMap<RoleName, PatternList>,
    pub(crate) revocations: Vec<Revocation>,
    pub(crate) revoked: RevokedKeys,
}

/// Who may sign releases, and how many it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRules {
    /// Who may sign.
    pub signers: BTreeSet<SignerName>,
    /// How many every release takes.
    pub threshold: usize,
    /// What a release takes besides, by what it changes.
    pub paths: Vec<PathRule>,
    /// The rings that a release may be for.
    pub rings: BTreeSet<Ring>,
}

/// What a change below a path takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// A folder or file of the repository, without a slash at its end.
    pub path: String,
    /// How many signers it takes.
    pub threshold: usize,
    /// Which signers count for it.
    pub signers: BTreeSet<SignerName>,
}

/// Who may publish which modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// Who.
    pub signer: SignerName,
    /// Which.
    pub modules: Vec<ModulePattern>,
}

/// Which modules a publisher may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModulePattern {
    /// `*`: every module.
    All,
    /// `web-*`: every module whose name begins so.
    Prefix(String),
    /// One module.
    Exact(ModuleName),
}

/// Who can read the repository's secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// A person or a node.
    pub name: SignerName,
    /// An age recipient, `age1...`.
    pub key: String,
}

/// A key that never counts again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Which key.
    pub fingerprint: Fingerprint,
    /// Why.
    pub reason: String,
    /// Since when it is known to be lost. For the reader only: when a signature was really made
    /// cannot be known, so a revoked key counts for nothing, whatever the date.
    pub since: Timestamp,
}

/// What a signature is to be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Tags that are releases.
    Release,
    /// The digests of modules.
    Module,
}

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOwner<'a> {
    /// A signer's, and not revoked.
    Signer(&'a SignerName),
    /// It was revoked.
    Revoked,
    /// The trust file does not have it.
    Unknown,
}

impl TrustFile {
    /// SHA-256 of the file's bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The repository that the file is about.
    #[must_use]
    pub fn repository(&self) -> RepositoryId {
        self.repository
    }

    /// The number of this version of the file; only ever goes up.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The last moment at which a node that has not seen this file accepts it.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The signers and their keys, the revoked ones included.
    #[must_use]
    pub fn signers(&self) -> &BTreeMap<SignerName, Vec<PublicKey>> {
        &self.signers
    }

    /// Who may sign releases.
    #[must_use]
    pub fn releases(&self) -> &ReleaseRules {
        &self.releases
    }

    /// Who may publish modules.
    #[must_use]
    pub fn publishers(&self) -> &[Publisher] {
        &self.publishers
    }

    /// Who may approve actions.
    #[must_use]
    pub fn approvers(&self) -> &BTreeSet<SignerName> {
        &self.approvers
    }

    /// Who can read the repository's secrets.
    #[must_use]
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// The roles of a node.
    pub fn roles_of(&self, node: &NodeName) -> impl Iterator<Item = &RoleName> {
        let node = node.as_str().to_owned();
        self.node_roles.iter().filter(move |(_, nodes)| nodes.matches(&node)).map(|(role, _)| role)
    }

    /// The revocations, in the order of the file.
    #[must_use]
    pub fn revocations(&self) -> &[Revocation] {
        &self.revocations
    }

    /// The revoked keys.
    #[must_use]
    pub fn revoked(&self) -> &RevokedKeys {
        &self.revoked
    }

    /// Whose key `key` is.
    #[must_use]
    pub fn owner(&self, key: &PublicKey) -> KeyOwner<'_> {
        if self.revoked.contains(key) {
            return KeyOwner::Revoked;
        }
        match self.signers.iter().find(|(_, keys)| keys.contains(key)) {
            Some((name, _)) => KeyOwner::Signer(name),
            None => KeyOwner::Unknown,
        }
    }

    /// Whether `signer` may publish `module`.
    #[must_use]
    pub fn may_publish(&self, signer: &SignerName, module: &ModuleName) -> bool {
        self.publishers
            .iter()
            .filter(|publisher| publisher.signer == *signer)
            .any(|publisher| publisher.modules.iter().any(|pattern| pattern.matches(module)))
    }

    /// The keys that count for `purpose`, as an OpenSSH `allowed_signers` file: for
    /// `git config gpg.ssh.allowedSignersFile` and `ssh-keygen -Y verify -f`.
    ///
    /// Thresholds, paths and module names are beyond that format: plain `git verify-tag` says who
    /// signed, not whether that was enough.
    #[must_use]
    pub fn allowed_signers(&self, purpose: Purpose) -> String {
        let names: BTreeSet<&SignerName> = match purpose {
            Purpose::Release => {
                let rules = &self.releases;
                let by_path = rules.paths.iter().flat_map(|rule| &rule.signers);
                rules.signers.iter().chain(by_path).collect()
            }
            Purpose::Module => self.publishers.iter().map(|publisher| &publisher.signer).collect(),
        };
        let mut text = String::new();
        for name in names {
            for key in self.signers[name].iter().filter(|key| !self.revoked.contains(key)) {
                let namespace = purpose.namespace();
                writeln!(text, "{name} namespaces=\"{namespace}\" {key}")
                    .expect("writing to a string does not fail");
            }
        }
        text
    }

    /// The keys of `signer` that are not revoked.
    pub(crate) fn live_keys(&self, signer: &SignerName) -> usize {
        let keys = self.signers.get(signer).into_iter().flatten();
        keys.filter(|key| !self.revoked.contains(key)).count()
    }
}

impl Purpose {
    /// The namespace that signatures for this purpose are made in.
    #[must_use]
    pub const fn namespace(self) -> Namespace<'static> {
        match self {
            Self::Release => Namespace::GIT,
            Self::Module => Namespace::MODULE,
        }
    }
}

impl PathRule {
    /// Whether a change of `path` falls under the rule.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl ModulePattern {
    /// Whether `module` is meant.
    #[must_use]
    pub fn matches(&self, module: &ModuleName) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => module.as_str().starts_with(prefix.as_str()),
            Self::Exact(name) => name == module,
        }
    }
}

/// Writes the pattern as it stands in the trust file.
impl std::fmt::Display for ModulePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Exact(name) => write!(f, "{name}"),
        }
    }
}
