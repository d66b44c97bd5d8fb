//! What was released before, as far as someone who is trusted vouches for it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use wachter_trust::{PreviousTrust, ReleaseCandidate, Roots, Sequence, SignerName, TagObject, TrustFile};

use super::tree::Tree;
use crate::failure::{CommandError, chain};
use crate::repository::{Repository, TRUST, TRUST_SIGNATURES};

/// How many versions of the trust file are looked at.
const MAX_VERSIONS: usize = 100;

/// The releases of a repository.
pub(crate) struct History<'a> {
    repository: &'a Repository,
    /// The trust file that counts from now on.
    trust: &'a TrustFile,
    /// The ones that counted before.
    earlier: Vec<TrustFile>,
    tags: BTreeMap<Sequence, Vec<TagObject>>,
}

/// The release that a new one is compared with.
#[derive(Debug)]
pub(crate) struct Baseline {
    pub(crate) sequence: Sequence,
    pub(crate) commit: String,
    pub(crate) tree: Tree,
    pub(crate) signers: Vec<SignerName>,
}

impl<'a> History<'a> {
    /// Reads the tags, and the versions of the trust file in the history of `commit` that the roots
    /// signed.
    ///
    /// # Errors
    /// `git` fails.
    pub(crate) fn read(
        repository: &'a Repository,
        trust: &'a TrustFile,
        roots: &Roots,
        commit: &str,
    ) -> Result<Self, CommandError> {
        let mut tags: BTreeMap<Sequence, Vec<TagObject>> = BTreeMap::new();
        for tag in repository.tags()? {
            if let Ok(name) = tag.name().parse::<wachter_trust::ReleaseTag>() {
                tags.entry(name.sequence()).or_default().push(tag);
            }
        }
        let most = format!("-n{MAX_VERSIONS}");
        let commits = repository.git().text(&["log", &most, "--format=%H", commit, "--", TRUST, TRUST_SIGNATURES])?;
        let mut objects = repository.git().objects()?;
        let mut earlier: Vec<TrustFile> = Vec::new();
        for commit in commits.lines() {
            // Absent, damaged or unsigned ones counted for nobody.
            let (Ok(bytes), Ok(signatures)) = (
                objects.read(&format!("{commit}:{TRUST}")),
                objects.read(&format!("{commit}:{TRUST_SIGNATURES}")),
            ) else {
                continue;
            };
            let accepted =
                TrustFile::accept(roots, PreviousTrust::None, &bytes, &signatures, Timestamp::UNIX_EPOCH);
            earlier.extend(accepted.ok().filter(|file| file.digest() != trust.digest()));
        }
        Ok(Self { repository, trust, earlier, tags })
    }

    /// The tags of one release.
    pub(crate) fn tags(&self, sequence: Sequence) -> &[TagObject] {
        self.tags.get(&sequence).map_or(&[], Vec::as_slice)
    }

    /// The highest release below `before` that has enough signers, by the trust file that counts
    /// now or one that counted before; and why higher ones were passed over.
    ///
    /// Signatures of keys that are revoked now do not count, whenever they were made: who stole a
    /// key could otherwise choose what the author gets to see as changed.
    ///
    /// # Errors
    /// A commit that is not there.
    pub(crate) fn last(&self, before: Option<Sequence>) -> Result<(Option<Baseline>, Vec<String>), CommandError> {
        let mut notes = Vec::new();
        for (&sequence, tags) in self.tags.iter().rev() {
            if before.is_some_and(|before| sequence >= before) {
                continue;
            }
            match self.judge(tags)? {
                Ok(baseline) => return Ok((Some(baseline), notes)),
                Err(reason) => notes.push(format!("release {sequence} is not compared with: {reason}")),
            }
        }
        Ok((None, notes))
    }

    /// The number of the next release: above every one that a known key signed.
    ///
    /// # Errors
    /// There is no higher number.
    pub(crate) fn next(&self) -> Result<Sequence, CommandError> {
        // A revoked key's release may have been taken by nodes while the key was good.
        let known = |tag: &&TagObject| {
            let key = tag.signature().key();
            let listed = |file: &TrustFile| file.signers().values().flatten().any(|listed| listed == key);
            (listed(self.trust) || self.earlier.iter().any(listed) || self.trust.revoked().contains(key))
                && tag.signature().verify(wachter_trust::Namespace::GIT, tag.signed_bytes()).is_ok()
        };
        let last = self.tags.iter().rev().find(|(_, tags)| tags.iter().any(|tag| known(&tag)));
        let mut next = last.map_or(Some(Sequence::FIRST), |(sequence, _)| sequence.next());
        while let Some(taken) = next.filter(|next| self.tags.contains_key(next)) {
            next = taken.next();
        }
        next.ok_or_else(|| CommandError::refused("a tag has the highest number that there is; delete it with `git tag -d`"))
    }

    /// The release, or why nobody vouches for it.
    fn judge(&self, tags: &[TagObject]) -> Result<Result<Baseline, String>, CommandError> {
        let live: Vec<TagObject> =
            tags.iter().filter(|tag| !self.trust.revoked().contains(tag.signature().key())).cloned().collect();
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
        let previous = previous.map(|tag| Tree::read(self.repository.git(), tag.object().as_str())).transpose()?;
        let changes = tree.changes(previous.as_ref());
        let paths = || changes.iter().map(|change| change.path.as_str());
        let mut reason = String::new();
        for trust in std::iter::once(self.trust).chain(&self.earlier) {
            let judged = candidate.clone().who_signed(trust).and_then(|signed| signed.enough_for(paths()));
            match judged {
                Ok(release) => {
                    let commit = statement.commit.to_string();
                    let signers = release.signers().iter().cloned().collect();
                    return Ok(Ok(Baseline { sequence: statement.sequence, commit, tree, signers }));
                }
                // The first is the one that counts now.
                Err(error) if reason.is_empty() => reason = chain(&error),
                Err(_) => {}
            }
        }
        Ok(Err(reason))
    }
}
