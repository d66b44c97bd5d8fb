//! What was released before, as far as someone who is trusted vouches for it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use wachter_trust::{
    Namespace, PreviousTrust, PublicKey, ReleaseCandidate, ReleaseTag, Roots, Sequence, TagObject,
    TrustFile,
};

use super::tree::Tree;
use crate::failure::{CommandError, chain};
use crate::repository::{Repository, TRUST, TRUST_SIGNATURES};

/// The releases of a repository.
pub(crate) struct History<'a> {
    repository: &'a Repository,
    /// The trust file that counts from now on.
    trust: &'a TrustFile,
    roots: &'a Roots,
    tags: BTreeMap<Sequence, Vec<TagObject>>,
}

/// The release that a new one is compared with.
#[derive(Debug)]
pub(crate) struct Baseline {
    pub(crate) sequence: Sequence,
    pub(crate) commit: String,
    pub(crate) tree: Tree,
}

impl<'a> History<'a> {
    /// Reads the tags.
    ///
    /// # Errors
    /// `git` fails.
    pub(crate) fn read(
        repository: &'a Repository,
        trust: &'a TrustFile,
        roots: &'a Roots,
    ) -> Result<Self, CommandError> {
        let mut tags: BTreeMap<Sequence, Vec<TagObject>> = BTreeMap::new();
        for tag in repository.tags()? {
            if let Ok(name) = tag.name().parse::<ReleaseTag>() {
                tags.entry(name.sequence()).or_default().push(tag);
            }
        }
        Ok(Self { repository, trust, roots, tags })
    }

    /// The tags of one release.
    pub(crate) fn tags(&self, sequence: Sequence) -> &[TagObject] {
        self.tags.get(&sequence).map_or(&[], Vec::as_slice)
    }

    /// The highest release below `before` that has enough signers, by the trust file that it brought
    /// along if the roots signed that, else by the present one; and why higher ones were passed over.
    ///
    /// Signatures of keys that are revoked now do not count, whenever they were made: who stole a
    /// key could otherwise choose what the author gets to see as changed.
    ///
    /// # Errors
    /// A commit that is not there.
    pub(crate) fn last(
        &self,
        before: Option<Sequence>,
    ) -> Result<(Option<Baseline>, Vec<String>), CommandError> {
        let mut notes = Vec::new();
        for (&sequence, tags) in self.tags.iter().rev() {
            if before.is_some_and(|before| sequence >= before) {
                continue;
            }
            match self.judge(tags)? {
                Ok(baseline) => return Ok((Some(baseline), notes)),
                Err(reason) => {
                    notes.push(format!("release {sequence} is not compared with: {reason}"));
                }
            }
        }
        Ok((None, notes))
    }

    /// The number of the next release: above every one that a known key signed.
    ///
    /// # Errors
    /// There is no higher number.
    pub(crate) fn next(&self) -> Result<Sequence, CommandError> {
        let listed = |trust: &TrustFile, key: &PublicKey| {
            trust.signers().values().flatten().any(|one| one == key)
        };
        let known = |tag: &TagObject| {
            let key = tag.signature().key();
            // A revoked key's release may have been taken by nodes while the key was good.
            let named = listed(self.trust, key)
                || self.trust.revoked().contains(key)
                || self.own_trust(tag.object().as_str()).is_some_and(|trust| listed(&trust, key));
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
    fn judge(&self, tags: &[TagObject]) -> Result<Result<Baseline, String>, CommandError> {
        let live: Vec<TagObject> = tags
            .iter()
            .filter(|tag| !self.trust.revoked().contains(tag.signature().key()))
            .cloned()
            .collect();
        if live.is_empty() {
            return Ok(Err("its signers' keys are revoked".to_owned()));
        }
        let candidate = match ReleaseCandidate::new(&live) {
            Ok(candidate) => candidate,
            Err(error) => return Ok(Err(chain(&error))),
        };
        let statement = candidate.statement().clone();
        if statement.repository != self.trust.repository() {
            return Ok(Err(format!("it is of repository {}", statement.repository)));
        }
        let tree = Tree::read(self.repository.git(), statement.commit.as_str())?;
        let previous = statement.previous.and_then(|previous| self.tags(previous).first());
        let previous = previous
            .map(|tag| Tree::read(self.repository.git(), tag.object().as_str()))
            .transpose()?;
        let changes = tree.changes(previous.as_ref());
        let own = self.own_trust(statement.commit.as_str());
        let signed = candidate.who_signed(own.as_ref().unwrap_or(self.trust));
        match signed
            .and_then(|signed| signed.enough_for(changes.iter().map(|change| change.path.as_str())))
        {
            Ok(_) => {
                let commit = statement.commit.to_string();
                Ok(Ok(Baseline { sequence: statement.sequence, commit, tree }))
            }
            Err(error) => Ok(Err(chain(&error))),
        }
    }

    /// The trust file of a commit, if the roots signed it: what nodes judged that commit by. One that
    /// is absent, damaged or unsigned counted for nobody.
    fn own_trust(&self, commit: &str) -> Option<TrustFile> {
        let read = |path: &str| {
            self.repository.git().run(&["cat-file", "blob", &format!("{commit}:{path}")], b"").ok()
        };
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
