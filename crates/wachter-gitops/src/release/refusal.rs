use wachter_model::Digest;
use wachter_trust::{
    CommitObjectError, CommitTrustError, ReleaseError, Ring, TagObjectError, TrustError,
};

use crate::ObjectId;
use crate::check::{AncestryError, CommitError, HostileTree, ObjectError};

/// A release, or a branch's head, that is not followed, and why. What is in force stays in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The release; absent for a branch.
    pub sequence: Option<u64>,
    /// Why.
    pub reason: Refusal,
}

/// Why a release is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A tag object that is missing or damaged.
    #[error("the tag `{tag}` cannot be read")]
    Object {
        /// Its name.
        tag: String,
        /// Why.
        #[source]
        source: ObjectError,
    },
    /// Not a signed tag on a commit.
    #[error("the tag `{tag}` is not a release")]
    Tag {
        /// Its name.
        tag: String,
        /// Why.
        #[source]
        source: TagObjectError,
    },
    /// A tag that was put under another name, to pass for another release.
    #[error("the reference `{reference}` holds the tag `{tag}`; somebody renamed it")]
    Renamed {
        /// The reference.
        reference: String,
        /// What the tag calls itself.
        tag: String,
    },
    /// What the release says, or who signed it.
    #[error("the release is not valid here")]
    Release(#[from] ReleaseError),
    /// For other nodes.
    #[error("the release is for ring `{0}`, which this node does not follow")]
    OtherRing(Ring),
    /// The server shows an older state than it did before.
    #[error(
        "the server offers nothing above release {highest}, and {floor} was accepted before; it shows an old state, by mistake or on purpose"
    )]
    ServerBehind {
        /// The highest that it offers; 0 for none.
        highest: u64,
        /// The highest accepted.
        floor: u64,
    },
    /// The tag of the accepted release stands on another commit now.
    #[error("the tag of release {sequence} was moved; the node stays with the commit it accepted")]
    Moved {
        /// The release.
        sequence: u64,
    },
    /// The commit.
    #[error("the commit cannot be used")]
    Commit(#[from] CommitError),
    /// History.
    #[error(
        "the commit {new} does not descend from {old}, which was accepted before; history was rewritten"
    )]
    NotDescended {
        /// The commit.
        new: ObjectId,
        /// The accepted one.
        old: ObjectId,
    },
    /// History that cannot be read.
    #[error("it cannot be said where the commit comes from")]
    Ancestry(#[from] AncestryError),
    /// The tree.
    #[error("the tree is refused")]
    Tree(#[from] HostileTree),
    /// No trust file, or one that is not a file.
    #[error("the commit has no `{path}`; sign one with `wachter trust sign`")]
    NoTrustFile {
        /// Which file.
        path: &'static str,
    },
    /// The trust file.
    #[error("the trust file is refused")]
    Trust(#[from] TrustError),
    /// A commit without a signature that can be read.
    #[error("commit {id} is not signed as it must be")]
    Unsigned {
        /// Which.
        id: ObjectId,
        /// Why.
        #[source]
        source: CommitObjectError,
    },
    /// A commit that the wrong person signed.
    #[error("commit {id} is not trusted")]
    Untrusted {
        /// Which.
        id: ObjectId,
        /// Why.
        #[source]
        source: CommitTrustError,
    },
    /// A path that takes more than one signature, which a commit cannot have.
    #[error("`{path}` takes more signers than commits can have; change it in a release instead")]
    PathRule {
        /// Which.
        path: String,
    },
    /// There is no such branch.
    #[error("the branch `{0}` was not fetched")]
    NoBranch(String),
}

/// The digest of a tree did not match what was recorded when it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree of the accepted release holds {found}, and {expected} was accepted")]
pub struct TreeChanged {
    /// What was recorded.
    pub expected: Digest,
    /// What is there.
    pub found: Digest,
}
