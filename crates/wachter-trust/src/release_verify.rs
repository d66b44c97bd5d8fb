use std::collections::BTreeSet;

use jiff::Timestamp;
use wachter_model::Digest;

use crate::RepositoryId;
use crate::names::{CommitId, Ring, SignerName};
use crate::release_statement::{ReleaseStatement, ReleaseTag, Sequence, StatementError};
use crate::tag_object::TagObject;
use crate::{Fingerprint, KeyOwner, Namespace, TrustFile, VerifyError};

/// A team larger than this signs with a threshold of some of its members.
const MAX_TAGS: usize = 64;

/// A release as its tags state it; nothing is verified yet.
#[derive(Clone, Debug)]
pub struct ReleaseCandidate<'a> {
    statement: ReleaseStatement,
    first: &'a TagObject,
    /// The tags of the other signers.
    others: Vec<(ReleaseTag, &'a TagObject)>,
    not_counted: Vec<ReleaseError>,
}

/// A release whose signatures hold; whether they are enough depends on what it changes.
#[derive(Clone, Debug)]
pub struct SignedRelease<'t> {
    trust: &'t TrustFile,
    statement: ReleaseStatement,
    signers: BTreeSet<SignerName>,
    not_counted: Vec<ReleaseError>,
}

/// A release that a node may follow, once it has compared the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRelease {
    statement: ReleaseStatement,
    signers: BTreeSet<SignerName>,
}

/// Why a release is not followed. The last good one stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// No `wachter/SEQUENCE` among the tags, or more than 64 of them.
    #[error("there is no tag `wachter/SEQUENCE`, or there are more than {MAX_TAGS} signatures")]
    NoTag,
    /// The tag's message.
    #[error("the message of tag `{tag}` is not a release statement")]
    Statement {
        /// The tag's name.
        tag: String,
        /// Why.
        #[source]
        source: StatementError,
    },
    /// The tag is called otherwise than its statement says.
    #[error("tag `{}` states release {sequence}; make releases with `wachter release`", tag.escape_debug())]
    TagName {
        /// The tag's name.
        tag: String,
        /// What it states.
        sequence: Sequence,
    },
    /// The tag stands on another commit than its statement says.
    #[error(
        "tag `{tag}` stands on commit {object} and states {commit}; it was moved or tampered with"
    )]
    CommitMismatch {
        /// The tag.
        tag: ReleaseTag,
        /// Where it stands.
        object: CommitId,
        /// What it states.
        commit: CommitId,
    },
    /// A further signer signed something else.
    #[error(
        "tag `{tag}` states something else than the release's first tag; sign the same statement"
    )]
    OtherStatement {
        /// The tag.
        tag: ReleaseTag,
    },
    /// A release of another repository.
    #[error(
        "release {sequence} is of repository {found}, this node follows {expected}; check the node's repository address"
    )]
    WrongRepository {
        /// The release.
        sequence: Sequence,
        /// What the node follows.
        expected: RepositoryId,
        /// What the release states.
        found: RepositoryId,
    },
    /// Replayed: this release or a later one was accepted before.
    #[error(
        "release {sequence} is not above {floor}, which was accepted before; make a new one with `wachter release`"
    )]
    NotAboveFloor {
        /// The release.
        sequence: Sequence,
        /// The highest accepted one.
        floor: Sequence,
    },
    /// Too old to be accepted for the first time.
    #[error("release {sequence} expired at {not_after}; make a new one with `wachter release`")]
    Expired {
        /// The release.
        sequence: Sequence,
        /// What it states.
        not_after: Timestamp,
    },
    /// For nodes that do not exist.
    #[error(
        "release {sequence} is for ring `{ring}`, which the trust file does not have; add it to `rings`"
    )]
    UnknownRing {
        /// The release.
        sequence: Sequence,
        /// What it states.
        ring: Ring,
    },
    /// Signed by a key that the trust file does not have.
    #[error(
        "tag `{tag}` is signed by the unknown key {key}; add its owner to the trust file's release signers"
    )]
    UnknownSigner {
        /// The tag.
        tag: ReleaseTag,
        /// Whose signature it is.
        key: Fingerprint,
    },
    /// Signed by a key that was revoked.
    #[error("tag `{tag}` is signed by the revoked key {key}; sign again with another key")]
    RevokedSigner {
        /// The tag.
        tag: ReleaseTag,
        /// The key.
        key: Fingerprint,
    },
    /// Signed by someone who may not sign releases.
    #[error(
        "tag `{tag}` is signed by `{signer}`, who may not sign releases; add the name to the trust file's release signers"
    )]
    NotReleaseSigner {
        /// The tag.
        tag: ReleaseTag,
        /// Who signed.
        signer: SignerName,
    },
    /// The tag is not the one that was signed.
    #[error("the signature of tag `{tag}` does not hold; the tag was tampered with")]
    BadSignature {
        /// The tag.
        tag: ReleaseTag,
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// Valid signatures, but not enough of them.
    #[error(
        "release {sequence} has {have} of {need} required signers{}; co-sign it with `wachter release --cosign`{}",
        for_path(path.as_ref()), and_not_counted(not_counted)
    )]
    TooFewSigners {
        /// The release.
        sequence: Sequence,
        /// The changed path that takes more; absent when every release does.
        path: Option<String>,
        /// How many count.
        have: usize,
        /// How many it takes.
        need: usize,
        /// Why further signatures were left out.
        not_counted: Vec<ReleaseError>,
    },
    /// The commit holds other files than were signed.
    #[error(
        "release {sequence} states tree {expected}, its commit holds {found}; the repository was tampered with"
    )]
    TreeMismatch {
        /// The release.
        sequence: Sequence,
        /// What it states.
        expected: Digest,
        /// What the commit holds.
        found: Digest,
    },
}

/// Decides whether a node may follow a release, all at once. See [`ReleaseCandidate`] for the steps.
///
/// `changed_paths` are all paths that differ from the release in force; for a first release, all
/// paths. `floor` is the highest sequence ever accepted.
///
/// # Errors
/// The first reason not to, the cheap checks first.
pub fn verify_release<'a>(
    trust: &TrustFile,
    tags: &[TagObject],
    changed_paths: impl IntoIterator<Item = &'a str>,
    now: Timestamp,
    floor: Option<Sequence>,
    repository: RepositoryId,
) -> Result<VerifiedRelease, ReleaseError> {
    let candidate = ReleaseCandidate::new(tags)?;
    candidate.check(repository, floor, now)?;
    candidate.who_signed(trust)?.enough_for(changed_paths)
}

impl<'a> ReleaseCandidate<'a> {
    /// Reads the tags of one release: `wachter/N` and, in any order, `wachter/N.2` and so on.
    ///
    /// # Errors
    /// The first tag is missing, or inconsistent in itself. A further tag that is so is left out: who
    /// can push a tag must not be able to block a release that has enough signers.
    pub fn new(tags: &'a [TagObject]) -> Result<Self, ReleaseError> {
        let is_first = |tag: &&TagObject| tag.name().parse().is_ok_and(ReleaseTag::is_first);
        let first = tags.iter().find(is_first).filter(|_| tags.len() <= MAX_TAGS);
        let first = first.ok_or(ReleaseError::NoTag)?;
        let (_, statement) = read(first)?;
        let mut candidate = Self { statement, first, others: Vec::new(), not_counted: Vec::new() };
        for tag in tags.iter().filter(|tag| !std::ptr::eq(*tag, first)) {
            match read(tag) {
                Ok((name, statement)) if statement == candidate.statement => {
                    candidate.others.push((name, tag));
                }
                Ok((tag, _)) => candidate.not_counted.push(ReleaseError::OtherStatement { tag }),
                Err(error) => candidate.not_counted.push(error),
            }
        }
        Ok(candidate)
    }

    /// What the tags state. Nobody has vouched for it yet.
    #[must_use]
    pub fn statement(&self) -> &ReleaseStatement {
        &self.statement
    }

    /// The checks that need no key: repository, sequence, date.
    ///
    /// # Errors
    /// The first one that fails.
    pub fn check(
        &self,
        repository: RepositoryId,
        floor: Option<Sequence>,
        now: Timestamp,
    ) -> Result<(), ReleaseError> {
        let ReleaseStatement { sequence, not_after, repository: found, .. } = self.statement;
        if found != repository {
            return Err(ReleaseError::WrongRepository { sequence, expected: repository, found });
        }
        if let Some(floor) = floor.filter(|floor| sequence <= *floor) {
            return Err(ReleaseError::NotAboveFloor { sequence, floor });
        }
        if now > not_after {
            return Err(ReleaseError::Expired { sequence, not_after });
        }
        Ok(())
    }

    /// Verifies the signatures.
    ///
    /// # Errors
    /// An unknown ring; a first tag whose signature does not hold or does not count. A further tag
    /// of that kind is left out.
    pub fn who_signed(self, trust: &TrustFile) -> Result<SignedRelease<'_>, ReleaseError> {
        let ReleaseStatement { sequence, ref ring, .. } = self.statement;
        if !trust.releases().rings.contains(ring) {
            return Err(ReleaseError::UnknownRing { sequence, ring: ring.clone() });
        }
        let mut signers = BTreeSet::new();
        signers.insert(signer(trust, ReleaseTag::first(sequence), self.first)?);
        let mut not_counted = self.not_counted;
        for (name, tag) in self.others {
            match signer(trust, name, tag) {
                Ok(signer) => {
                    signers.insert(signer);
                }
                Err(error) => not_counted.push(error),
            }
        }
        Ok(SignedRelease { trust, statement: self.statement, signers, not_counted })
    }
}

impl SignedRelease<'_> {
    /// What was signed.
    #[must_use]
    pub fn statement(&self) -> &ReleaseStatement {
        &self.statement
    }

    /// Who signed it.
    #[must_use]
    pub fn signers(&self) -> &BTreeSet<SignerName> {
        &self.signers
    }

    /// Why further signatures were left out.
    #[must_use]
    pub fn not_counted(&self) -> &[ReleaseError] {
        &self.not_counted
    }

    /// Checks that the signers are enough for a release that changes these paths: the threshold of
    /// every release, and that of every rule that a path falls under.
    ///
    /// # Errors
    /// The first path that takes more signers.
    pub fn enough_for<'p>(
        self,
        changed_paths: impl IntoIterator<Item = &'p str>,
    ) -> Result<VerifiedRelease, ReleaseError> {
        let rules = self.trust.releases();
        self.enough(&rules.signers, rules.threshold, None)?;
        for path in changed_paths {
            for rule in rules.paths.iter().filter(|rule| rule.covers(path)) {
                self.enough(&rule.signers, rule.threshold, Some(path))?;
            }
        }
        Ok(VerifiedRelease { statement: self.statement, signers: self.signers })
    }

    fn enough(
        &self,
        allowed: &BTreeSet<SignerName>,
        need: usize,
        path: Option<&str>,
    ) -> Result<(), ReleaseError> {
        let have = self.signers.intersection(allowed).count();
        if have >= need {
            return Ok(());
        }
        Err(ReleaseError::TooFewSigners {
            sequence: self.statement.sequence,
            path: path.map(str::to_owned),
            have,
            need,
            not_counted: self.not_counted.clone(),
        })
    }
}

impl VerifiedRelease {
    /// What was signed.
    #[must_use]
    pub fn statement(&self) -> &ReleaseStatement {
        &self.statement
    }

    /// Who signed it.
    #[must_use]
    pub fn signers(&self) -> &BTreeSet<SignerName> {
        &self.signers
    }

    /// Compares what the commit holds with what was signed; `found` is what
    /// [`TreeListing`](crate::TreeListing) computed.
    ///
    /// # Errors
    /// They differ.
    pub fn check_tree(&self, found: Digest) -> Result<(), ReleaseError> {
        let ReleaseStatement { sequence, tree: expected, .. } = self.statement;
        if expected == found {
            Ok(())
        } else {
            Err(ReleaseError::TreeMismatch { sequence, expected, found })
        }
    }
}

/// Reads a tag and checks it against its own statement.
fn read(tag: &TagObject) -> Result<(ReleaseTag, ReleaseStatement), ReleaseError> {
    let statement = ReleaseStatement::parse(tag.message()).map_err(|source| {
        ReleaseError::Statement { tag: tag.name().escape_debug().to_string(), source }
    })?;
    let sequence = statement.sequence;
    let name = tag.name().parse().ok().filter(|name: &ReleaseTag| name.sequence() == sequence);
    let name =
        name.ok_or_else(|| ReleaseError::TagName { tag: tag.name().to_owned(), sequence })?;
    if *tag.object() != statement.commit {
        let (object, commit) = (tag.object().clone(), statement.commit);
        return Err(ReleaseError::CommitMismatch { tag: name, object, commit });
    }
    Ok((name, statement))
}

/// Whose valid signature a tag has.
fn signer(
    trust: &TrustFile,
    name: ReleaseTag,
    tag: &TagObject,
) -> Result<SignerName, ReleaseError> {
    let signature = tag.signature();
    let key = signature.key().fingerprint();
    let signer = match trust.owner(signature.key()) {
        KeyOwner::Signer(signer) => signer.clone(),
        KeyOwner::Revoked => return Err(ReleaseError::RevokedSigner { tag: name, key }),
        KeyOwner::Unknown => return Err(ReleaseError::UnknownSigner { tag: name, key }),
    };
    let rules = trust.releases();
    let by_path = rules.paths.iter().any(|rule| rule.signers.contains(&signer));
    if !by_path && !rules.signers.contains(&signer) {
        return Err(ReleaseError::NotReleaseSigner { tag: name, signer });
    }
    signature
        .verify(Namespace::GIT, tag.signed_bytes())
        .map_err(|source| ReleaseError::BadSignature { tag: name, source })?;
    Ok(signer)
}

fn for_path(path: Option<&String>) -> String {
    path.map(|path| format!(" for `{}`", path.escape_debug())).unwrap_or_default()
}

fn and_not_counted(errors: &[ReleaseError]) -> String {
    match errors.len() {
        0 => String::new(),
        1 => " (1 further signature did not count)".to_owned(),
        count => format!(" ({count} further signatures did not count)"),
    }
}
