//! Who may decide what: SSH signatures, the trust file, signed releases, module digests.
//!
//! # Where to start
//! [`TrustFile::accept`] decides who is trusted, [`verify_release`] what a node follows, and
//! [`verify_module`] what it runs. [`Signer`] is the other side of all three.
//!
//! # Features
//! All are on by default; what runs as root has none of them.
//! - `p384`, `rsa`: verifying signatures of these algorithms, for releases alone. Without them such keys
//!   are read and compared all the same, so that every build reads one trust file alike.
//! - `private-keys`: signing with a key in memory.
//!
//! # Invariants
//! - This crate opens no file, no socket and no process, and reads no clock and no environment: bytes,
//!   streams and the time are handed in.
//! - No content is looked at before its signature holds, but for a release's own claims (repository,
//!   sequence, date), which only ever lead to a refusal.
//! - There is no format of its own for signatures: all are OpenSSH's, and `ssh-keygen -Y verify` and
//!   `git verify-tag` agree.
//! - There is no second form of a signed text: what a parser takes is, to the byte, what the renderer
//!   writes. Nothing is normalized, trimmed or passed over.
//! - A bad line is never skipped where skipping it could widen trust.
//! - There is no unsafe code, no recursion over outside input, and no allocation that outside input
//!   sizes without a limit.

mod agent;
mod algorithm;
mod allowed_signer_options;
mod allowed_signers;
mod armor;
mod clock;
mod commit_object;
#[cfg(feature = "private-keys")]
mod file_key;
mod file_mode;
mod key;
mod module_digests;
mod module_verify;
mod names;
mod pattern;
mod release_statement;
mod release_verify;
mod revoked_keys;
mod safe_path;
mod signer;
mod sshsig;
mod tag_object;
mod tree_listing;
mod trust_accept;
mod trust_check;
mod trust_document;
mod trust_draft;
mod trust_file;
mod trust_problem;
mod wire;
pub use agent::{Agent, AgentError, AgentIdentity, AgentSigner};
pub use allowed_signers::{
    AllowedSigner, AllowedSigners, AllowedSignersError, LineError, NotAllowedError,
};
pub use armor::ArmorError;
pub use clock::ValidityClock;
pub use commit_object::{CommitObject, CommitObjectError, CommitTrustError};
#[cfg(feature = "private-keys")]
pub use file_key::{FileKey, FileKeyError};
pub use file_mode::FileMode;
pub use key::{Fingerprint, KeyError, ParseFingerprintError, PublicKey};
pub use module_digests::{
    ModuleDigests, ModuleDigestsError, ModuleFile, ModuleVersion, ParseModuleVersionError,
};
pub use module_verify::{ModuleTrustError, VerifiedModule, verify_module};
pub use names::{
    CommitId, ParseCommitIdError, ParseRingError, ParseRoleNameError, ParseSignerNameError, Ring,
    RoleName, SignerName,
};
pub use pattern::{PatternError, PatternList};
pub use release_statement::{
    ParseReleaseTagError, ParseSequenceError, ReleaseStatement, ReleaseTag, Sequence,
    StatementError,
};
pub use release_verify::{
    ReleaseCandidate, ReleaseError, SignedRelease, VerifiedRelease, verify_release,
};
pub use revoked_keys::{RevokedKeys, RevokedKeysError};
pub use safe_path::PathError;
pub use signer::{SignError, Signer};
pub use sshsig::{EmptyNamespace, Namespace, Signature, SignatureError, VerifyError};
pub use tag_object::{TagObject, TagObjectError, TagSignError, Tagger};
pub use tree_listing::{TreeListing, TreeListingError};
pub use trust_accept::{PreviousTrust, Roots, RootsError, TrustError};
pub use trust_draft::TrustDraft;
pub use trust_file::{
    KeyOwner, ModulePattern, PathRule, Publisher, Purpose, Recipient, ReleaseRules, Revocation,
    TrustFile,
};
pub use trust_problem::{TrustFileError, TrustFileProblem};
pub use wachter_model::{ParseRepositoryIdError, RepositoryId};
