use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use gix_object::Kind;
use jiff::Timestamp;
use wachter_model::Digest;
use wachter_trust::{
    ReleaseCandidate, ReleaseError, RepositoryId, Ring, Roots, Sequence, TagObject, ValidityClock,
};

use super::refusal::{Refusal, Refused};
use super::state::{AcceptedRelease, State};
use super::trust::KnownTrust;
use crate::check::{
    Commit, Contents, ObjectReader, ObjectStore, TreeFiles, TreeLimits, changes, descends_from,
};
use crate::references::{References, TagName};
use crate::{BranchName, ObjectId};

/// The most bytes of a tag object.
const MAX_TAG_BYTES: u64 = 64 << 10;

/// How many releases above the floor are looked at before giving up. Whoever can push tags must not
/// be able to keep a node busy; each costs about a millisecond until its signature is found wanting.
const MAX_CANDIDATES: usize = 1_000;

/// How many signatures of one release are looked at.
const MAX_SIGNATURES: usize = 64;

/// What a node insists on. It comes from the node's own local file, never from the repository.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Who signs the trust file.
    pub roots: Roots,
    /// The repository that is followed.
    pub repository: RepositoryId,
    /// The rings that are followed; absent for all that the trust file knows.
    pub rings: Option<BTreeSet<Ring>>,
    /// What counts.
    pub verify: Verify,
    /// What a tree may hold.
    pub limits: TreeLimits,
    /// How many commits are read to find out where one comes from.
    pub history: usize,
    /// When this program was built: no clock is right that is before it.
    pub build_date: Timestamp,
}

impl Policy {
    /// How many commits are read, unless told otherwise, to find out where one comes from.
    pub const HISTORY: usize = 100_000;

    /// Follows signed releases of every ring, with the usual limits: those of [`TreeLimits`], and
    /// 100,000 commits between two releases.
    #[must_use]
    pub fn new(roots: Roots, repository: RepositoryId, build_date: Timestamp) -> Self {
        Self {
            roots,
            repository,
            rings: None,
            verify: Verify::Releases,
            limits: TreeLimits::default(),
            history: Self::HISTORY,
            build_date,
        }
    }
}

/// What counts as the word of the repository's owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Signed tags `wachter/<sequence>`.
    Releases,
    /// Every commit on the first-parent way of a branch, each signed. The first head that is accepted
    /// is taken as it is, with its own signature alone: what came before it is not looked at.
    Commits(BranchName),
}

/// What came of judging what was fetched.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The release that was accepted now, if there was a new one.
    pub accepted: Option<AcceptedRelease>,
    /// What was refused, newest first, even when an older one was accepted.
    pub refused: Vec<Refused>,
}

/// Everything that a judgement reads.
pub(crate) struct Judge<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) now: Timestamp,
    pub(crate) store: &'a ObjectStore,
    pub(crate) reader: ObjectReader,
    pub(crate) references: &'a References,
    pub(crate) state: &'a State,
    pub(crate) contents: &'a mut Contents,
    pub(crate) trust: Option<KnownTrust>,
}

/// A release that passed, with its files.
pub(crate) struct Passed {
    pub(crate) release: AcceptedRelease,
    pub(crate) files: Arc<TreeFiles>,
}

impl Judge<'_> {
    /// The time that dates are compared with.
    pub(crate) fn judged_at(&self) -> Timestamp {
        let floor = self.state.time_floor.unwrap_or(self.policy.build_date);
        ValidityClock { now: self.now, floor, build_date: self.policy.build_date }.judge()
    }

    /// The highest release above the floor that passes every check, and why the higher ones do not.
    pub(crate) fn releases(&mut self) -> (Option<Passed>, Vec<Refused>) {
        let mut by_sequence: BTreeMap<u64, Vec<(TagName, ObjectId)>> = BTreeMap::new();
        for (name, id) in &self.references.tags {
            by_sequence.entry(name.sequence).or_default().push((*name, *id));
        }
        let floor = self.state.newest().map_or(0, |newest| newest.sequence);
        let mut refused = Vec::new();
        let highest = by_sequence.keys().next_back().copied().unwrap_or(0);
        if highest < floor {
            let reason = Refusal::ServerBehind { highest, floor };
            refused.push(Refused { sequence: Some(highest), reason });
        }
        refused.extend(self.moved(&by_sequence));
        for (sequence, tags) in
            by_sequence.range((Bound::Excluded(floor), Bound::Unbounded)).rev().take(MAX_CANDIDATES)
        {
            match self.release(*sequence, tags) {
                Ok(passed) => return (Some(passed), refused),
                Err(reason) => refused.push(Refused { sequence: Some(*sequence), reason }),
            }
        }
        (None, refused)
    }

    /// Whether the tag of the newest accepted release stands elsewhere now.
    fn moved(&self, tags: &BTreeMap<u64, Vec<(TagName, ObjectId)>>) -> Option<Refused> {
        let newest = self.state.newest()?;
        let (name, id) =
            tags.get(&newest.sequence)?.first().filter(|(name, _)| name.signature == 1)?;
        let moved = self
            .tag(*name, *id)
            .map_or(true, |tag| tag.object().as_str() != newest.commit.to_string());
        let sequence = newest.sequence;
        moved.then_some(Refused { sequence: Some(sequence), reason: Refusal::Moved { sequence } })
    }

    fn release(&mut self, sequence: u64, names: &[(TagName, ObjectId)]) -> Result<Passed, Refusal> {
        let mut tags = Vec::new();
        for (name, id) in names.iter().take(MAX_SIGNATURES) {
            match self.tag(*name, *id) {
                Ok(tag) => tags.push(tag),
                // Whoever can push a tag must not be able to block a release with it.
                Err(_) if name.signature != 1 => {}
                Err(refusal) => return Err(refusal),
            }
        }
        let candidate = ReleaseCandidate::new(&tags)?;
        let floor = self.state.newest().and_then(|newest| sequence_number(newest.sequence));
        let now = self.judged_at();
        candidate.check(self.policy.repository, floor, now)?;
        let statement = candidate.statement().clone();
        if self.policy.rings.as_ref().is_some_and(|rings| !rings.contains(&statement.ring)) {
            return Err(Refusal::OtherRing(statement.ring));
        }
        let malformed = ReleaseError::NoTag;
        let id: ObjectId = statement.commit.as_str().parse().map_err(|_| malformed)?;
        let commit = Commit::read(&self.reader, id, &mut Vec::new())?;
        let trust = self.trust_for(id, &commit, now)?;
        let signed = candidate.who_signed(&trust.file)?;
        self.check_descent(id)?;
        let (files, digest) = self.tree(commit.tree)?;
        let before = self.files_before()?;
        let changed = changes(&before, &files);
        let verified = signed.enough_for(changed.into_iter().map(|(path, _)| path))?;
        verified.check_tree(digest)?;
        let release = AcceptedRelease {
            sequence,
            commit: id,
            tree: digest,
            signers: verified.signers().iter().map(ToString::to_string).collect(),
            ring: Some(statement.ring.to_string()),
            not_after: Some(statement.not_after),
            accepted_at: self.now,
            trust_serial: trust.file.serial(),
        };
        Ok(Passed { release, files })
    }

    fn tag(&self, name: TagName, id: ObjectId) -> Result<TagObject, Refusal> {
        read_tag(&self.reader, &name.to_string(), id)
    }

    /// The trust file to judge a commit by. A newer one is kept even when the commit is refused later:
    /// the roots signed it, and a revocation must not wait for a good release.
    pub(crate) fn trust_for(
        &mut self,
        id: ObjectId,
        commit: &Commit,
        now: Timestamp,
    ) -> Result<KnownTrust, Refusal> {
        let roots = self.policy.roots.clone().for_repository(self.policy.repository);
        let trust =
            KnownTrust::newest(self.trust.as_ref(), &self.reader, id, commit.tree, &roots, now)?;
        self.trust = Some(trust.clone());
        Ok(trust)
    }

    fn check_descent(&self, new: ObjectId) -> Result<(), Refusal> {
        let Some(newest) = self.state.newest() else { return Ok(()) };
        check_descent(&self.reader, new, newest.commit, self.policy.history)
    }

    pub(crate) fn tree(&mut self, root: ObjectId) -> Result<(Arc<TreeFiles>, Digest), Refusal> {
        judge_tree(self.store, &self.reader, self.contents, root, &self.policy.limits)
    }

    /// The files of the newest accepted release; none before the first. It is not the release in
    /// force that counts, which people may have rolled back: what was approved once is no change.
    pub(crate) fn files_before(&self) -> Result<TreeFiles, Refusal> {
        let Some(newest) = self.state.newest() else { return Ok(TreeFiles::default()) };
        let commit = Commit::read(&self.reader, newest.commit, &mut Vec::new())?;
        let contents = &*self.contents;
        Ok(TreeFiles::read(&self.reader, commit.tree, &TreeLimits::ACCEPTED, &|id| {
            contents.size(id)
        })?)
    }
}

/// The files of a tree and the digest that a release of them states, if a node takes them.
pub(crate) fn judge_tree(
    store: &ObjectStore,
    reader: &ObjectReader,
    contents: &mut Contents,
    root: ObjectId,
    limits: &TreeLimits,
) -> Result<(Arc<TreeFiles>, Digest), Refusal> {
    let files = TreeFiles::read(reader, root, limits, &|id| contents.size(id))?;
    let digest = contents.listing(store, &files)?;
    Ok((Arc::new(files), digest))
}

/// Whether `new` is `old` or comes after it.
pub(crate) fn check_descent(
    reader: &ObjectReader,
    new: ObjectId,
    old: ObjectId,
    history: usize,
) -> Result<(), Refusal> {
    match descends_from(reader, new, old, history)? {
        true => Ok(()),
        false => Err(Refusal::NotDescended { new, old }),
    }
}

/// A tag that may be a release: signed, on a commit, and of the name under which it was found.
pub(crate) fn read_tag(
    reader: &ObjectReader,
    name: &str,
    id: ObjectId,
) -> Result<TagObject, Refusal> {
    let mut buffer = Vec::new();
    let tag = name.to_owned();
    let bytes = reader
        .read(id, Kind::Tag, MAX_TAG_BYTES, &mut buffer)
        .map_err(|source| Refusal::Object { tag: tag.clone(), source })?;
    let object =
        TagObject::parse(bytes).map_err(|source| Refusal::Tag { tag: tag.clone(), source })?;
    if object.name() != tag {
        let shown = object.name().chars().take(80).flat_map(char::escape_debug).collect();
        return Err(Refusal::Renamed { reference: tag, tag: shown });
    }
    Ok(object)
}

fn sequence_number(sequence: u64) -> Option<Sequence> {
    sequence.to_string().parse().ok()
}
