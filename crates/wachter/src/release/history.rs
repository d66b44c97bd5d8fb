//! What was released before, as far as someone who is trusted vouches for it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use wachter_gitops::{LocalRepository, ObjectId, Snapshot};
use wachter_trust::{
    Namespace, PreviousTrust, PublicKey, ReleaseCandidate, ReleaseTag, Roots, Sequence, TagObject,
    TrustFile,
};

use crate::failure::{CommandError, chain};
use crate::repository::{Repository, TRUST, TRUST_SIGNATURES};

/// The most bytes of a trust file that are looked at, and of its signatures.
const MAX_TRUST_BYTES: u64 = 1 << 20;

/// The releases of a repository.
pub(crate) struct History<'a> {
    /// The trust file that counts from now on.
    trust: &'a TrustFile,
    roots: &'a Roots,
    tags: BTreeMap<Sequence, Vec<TagObject>>,
}

/// The release that a new one is compared with.
#[derive(Debug)]
pub(crate) struct Baseline {
    pub(crate) sequence: Sequence,
    pub(crate) snapshot: Snapshot,
}

impl<'a> History<'a> {
    /// Reads the tags.
    ///
    /// # Errors
    /// `git` fails.
    pub(crate) fn read(
        repository: &Repository,
        objects: &LocalRepository,
        trust: &'a TrustFile,
        roots: &'a Roots,
    ) -> Result<Self, CommandError> {
        let mut tags: BTreeMap<Sequence, Vec<TagObject>> = BTreeMap::new();
        for tag in repository.tags(objects)? {
            if let Ok(name) = tag.name().parse::<ReleaseTag>() {
                tags.entry(name.sequence()).or_default().push(tag);
            }
        }
        Ok(Self { trust, roots, tags })
    }

    /// The tags of one release.
    pub(crate) fn tags(&self, sequence: Sequence) -> &[TagObject] {
        self.tags.get(&sequence).map_or(&[], Vec::as_slice)
    }

    /// The highest release below `before` that has enough signers, by the trust file that it brought
    /// along if the roots signed that, else by the present one; and why higher ones were passed over.
    ///
    /// A release that keys which are revoked now signed alone does not count, whenever it was made: who
    /// stole a key could otherwise choose what the author gets to see as changed. Beside the signature
    /// of somebody who is still trusted they count as they did, so that revoking the key of one who
    /// co-signed takes nothing away from what the other vouches for.
    ///
    pub(crate) fn last(
        &self,
        objects: &mut LocalRepository,
        before: Option<Sequence>,
    ) -> (Option<Baseline>, Vec<String>) {
        let mut notes = Vec::new();
        for (&sequence, tags) in self.tags.iter().rev() {
            if before.is_some_and(|before| sequence >= before) {
                continue;
            }
            match self.judge(objects, tags) {
                Ok(baseline) => return (Some(baseline), notes),
                Err(reason) => {
                    notes.push(format!("release {sequence} is not compared with: {reason}"));
                }
            }
        }
        (None, notes)
    }

    /// The number of the next release: above every one that a known key signed.
    ///
    /// # Errors
    /// There is no higher number.
    pub(crate) fn next(&self, objects: &LocalRepository) -> Result<Sequence, CommandError> {
        let known = |tag: &TagObject| {
            let key = tag.signature().key();
            // A revoked key's release may have been taken by nodes while the key was good.
            let named = is_listed(self.trust, key)
                || self.trust.revoked().contains(key)
                || self.own_trust(objects, tag).is_some_and(|trust| is_listed(&trust, key));
            named && tag.signature().verify(Namespace::GIT, tag.signed_bytes()).is_ok()
        };
        let last = self.tags.iter().rev().find(|(_, tags)| tags.iter().any(known));
        let mut next = last.map_or(Some(Sequence::FIRST), |(sequence, _)| sequence.next());
        while let Some(taken) = next.filter(|next| self.tags.contains_key(next)) {
            next = taken.next();
        }
        next.ok_or_else(|| {
            CommandError::refused(
                "a tag has the highest number that there is; delete it with `git tag -d`",
            )
        })
    }

    /// The release, or why nobody vouches for it.
    fn judge(&self, objects: &mut LocalRepository, tags: &[TagObject]) -> Result<Baseline, String> {
        let candidate = ReleaseCandidate::new(tags).map_err(|error| chain(&error))?;
        let statement = candidate.statement().clone();
        if statement.repository != self.trust.repository() {
            return Err(format!("it is of repository {}", statement.repository));
        }
        // The tags that are one release are all on one commit.
        let signed = tags
            .iter()
            .find(|tag| tag.object().as_str() == statement.commit.as_str())
            .ok_or("its tag is not on its commit")?;
        let own = self.own_trust(objects, signed);
        let judge = own.as_ref().unwrap_or(self.trust);
        let vouches = |tag: &TagObject| {
            let key = tag.signature().key();
            tag.object() == signed.object()
                && !self.trust.revoked().contains(key)
                && is_listed(judge, key)
                && tag.signature().verify(Namespace::GIT, tag.signed_bytes()).is_ok()
        };
        if !tags.iter().any(vouches) {
            return Err("nobody signed it whose key is good now".to_owned());
        }
        let mut read = |tag: &TagObject| {
            let commit = commit_of(tag).ok_or("its commit has no name that Git knows")?;
            objects.snapshot(commit).map_err(|refusal| chain(&refusal))
        };
        let snapshot = read(signed)?;
        let previous = statement.previous.and_then(|previous| self.tags(previous).first());
        let previous = previous.map(read).transpose()?;
        let changes = snapshot.changes_since(previous.as_ref());
        candidate
            .who_signed(judge)
            .and_then(|signed| signed.enough_for(changes.iter().map(|(path, _)| path.as_str())))
            .map_err(|error| chain(&error))?;
        Ok(Baseline { sequence: statement.sequence, snapshot })
    }

    /// The trust file of a commit, if the roots signed it: what nodes judged that commit by. One that
    /// is absent, damaged or unsigned counted for nobody.
    fn own_trust(&self, objects: &LocalRepository, tag: &TagObject) -> Option<TrustFile> {
        let commit = commit_of(tag)?;
        let read = |path: &str| objects.file(commit, path, MAX_TRUST_BYTES).ok().flatten();
        let (bytes, signatures) = (read(TRUST)?, read(TRUST_SIGNATURES)?);
        // It was in time when it was taken.
        TrustFile::accept(
            self.roots,
            PreviousTrust::None,
            &bytes,
            &signatures,
            Timestamp::UNIX_EPOCH,
        )
        .ok()
    }
}

/// Whether a key is somebody's by a trust file.
fn is_listed(trust: &TrustFile, key: &PublicKey) -> bool {
    trust.signers().values().flatten().any(|one| one == key)
}

/// The commit that a tag is on.
fn commit_of(tag: &TagObject) -> Option<ObjectId> {
    tag.object().as_str().parse().ok()
}
