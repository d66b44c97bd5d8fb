use wachter_document::Located;

use crate::names::{ParseRingError, ParseRoleNameError, ParseSignerNameError};
use crate::safe_path::PathError;
use crate::{
    Fingerprint, KeyError, ParseFingerprintError, ParseRepositoryIdError, PatternError, SignerName,
};

/// Where a trust file is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column} of the trust file is wrong; correct it and sign it again")]
pub struct TrustFileError {
    /// Counted from 1.
    pub line: u64,
    /// Counted from 1, in characters.
    pub column: u64,
    /// What is wrong there.
    #[source]
    pub problem: TrustFileProblem,
}

/// What is wrong with a trust file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustFileProblem {
    /// Beyond 1 MiB.
    #[error("the file is larger than {0} bytes")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// Not YAML, a missing or unknown key, or a value of another kind.
    #[error("{0}")]
    Shape(String),
    /// A format of the future.
    #[error("format version {0} is not known, only 1 is; update Wachter")]
    Version(u64),
    /// The repository's identity.
    #[error(transparent)]
    Repository(#[from] ParseRepositoryIdError),
    /// A time.
    #[error("`{}` is not a time; write it in UTC and whole seconds, as in 2027-01-31T00:00:00Z", .0.escape_debug())]
    Time(String),
    /// The first serial is 1.
    #[error("serials start at 1")]
    SerialZero,
    /// A name of a signer.
    #[error(transparent)]
    SignerName(#[from] ParseSignerNameError),
    /// A reference to nobody.
    #[error("no signer is called `{0}`; add the name and its key under `signers`")]
    UnknownSigner(SignerName),
    /// A name twice in a list, or two entries that mean the same.
    #[error("`{0}` stands twice")]
    Repeated(String),
    /// A key.
    #[error("the key of `{signer}` cannot be used")]
    Key {
        /// Whose.
        signer: SignerName,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// A key of an algorithm that the launcher does not verify.
    #[error(
        "`{signer}` publishes modules and has the {algorithm} key {fingerprint}, which the launcher does not \
         verify; use an Ed25519 or ECDSA P-256 key (`ssh-keygen -t ed25519`), and give the other another name"
    )]
    PublisherKey {
        /// Whose.
        signer: SignerName,
        /// The key.
        fingerprint: Fingerprint,
        /// Its algorithm.
        algorithm: &'static str,
    },
    /// A signer without keys.
    #[error("`{0}` has no key")]
    NoKey(SignerName),
    /// One key under two names, which would count twice.
    #[error(
        "the key {fingerprint} of `{second}` is also a key of `{first}`; every signature must count once"
    )]
    SharedKey {
        /// The key.
        fingerprint: Fingerprint,
        /// Who has it already.
        first: SignerName,
        /// Who has it too.
        second: SignerName,
    },
    /// A threshold that none or nobody can reach.
    #[error(
        "a threshold of {threshold} cannot be: {reachable} of these signers have a key that is not revoked, and 1 is the least"
    )]
    Threshold {
        /// How many are asked for.
        threshold: usize,
        /// How many there are.
        reachable: usize,
    },
    /// A path in a rule.
    #[error("the path cannot be used; write a folder or file of the repository, as in `modules/`")]
    Path(#[source] PathError),
    /// A pattern for modules.
    #[error("`{}` is not a module, a beginning such as `web-*`, or `*`", .0.escape_debug())]
    ModulePattern(String),
    /// A publisher of nothing.
    #[error("a publisher without modules can publish nothing; write `[\"*\"]` for all")]
    NoModules,
    /// A role's name.
    #[error(transparent)]
    Role(#[from] ParseRoleNameError),
    /// Patterns for nodes.
    #[error("the node names are not patterns of lower-case letters, digits, `-`, `*` and `?`")]
    NodePattern(#[source] PatternError),
    /// Other characters in a pattern for nodes.
    #[error("`{}` is not a pattern of lower-case letters, digits, `-`, `*` and `?`", .0.escape_debug())]
    NodePatternCharacter(String),
    /// A ring's name.
    #[error(transparent)]
    Ring(#[from] ParseRingError),
    /// No ring at all.
    #[error("an empty list of rings allows no release; leave `rings` out for `stable` alone")]
    NoRings,
    /// Grants are not read yet.
    #[error(
        "grants in the trust file are not yet supported; give them in the node's local file and leave `grants` empty"
    )]
    Grants,
    /// An age recipient.
    #[error("`{}` is not an age recipient; paste the line that starts with `age1`", .0.escape_debug())]
    Recipient(String),
    /// Neither or both ways to name a revoked key.
    #[error("name the revoked key by either `key` or `fingerprint`")]
    RevokedKey,
    /// The key of a revocation.
    #[error("the revoked key cannot be read")]
    RevokedKeyText(#[source] KeyError),
    /// The fingerprint of a revocation.
    #[error(transparent)]
    RevokedFingerprint(#[from] ParseFingerprintError),
    /// A revocation without a reason.
    #[error("say why the key is revoked; whoever reads it later will want to know")]
    NoReason,
}

impl TrustFileError {
    pub(crate) fn at<T>(place: &Located<T>, problem: impl Into<TrustFileProblem>) -> Self {
        Self { line: place.line.max(1), column: place.column.max(1), problem: problem.into() }
    }
}
