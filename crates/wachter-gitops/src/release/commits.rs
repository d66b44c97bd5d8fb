use std::collections::BTreeSet;

use wachter_trust::{CommitObject, ReleaseError, SignerName, TrustFile};

use super::accept::{Judge, Passed};
use super::refusal::{Refusal, Refused};
use super::state::AcceptedRelease;
use crate::check::{Commit, changes, first_parents};
use crate::{BranchName, ObjectId};

impl Judge<'_> {
    /// The head of a branch, when every commit from the last accepted one up to it is signed.
    pub(crate) fn branch(&mut self, branch: &BranchName) -> (Option<Passed>, Vec<Refused>) {
        match self.head(branch) {
            Ok(passed) => (passed, Vec::new()),
            Err(reason) => (None, vec![Refused { sequence: None, reason }]),
        }
    }

    fn head(&mut self, branch: &BranchName) -> Result<Option<Passed>, Refusal> {
        let name = branch.to_string();
        let head = *self.references.branches.get(&name).ok_or(Refusal::NoBranch(name))?;
        let newest = self.state.newest().cloned();
        if newest.as_ref().is_some_and(|newest| newest.commit == head) {
            return Ok(None);
        }
        let now = self.judged_at();
        let commit = Commit::read(&self.reader, head, &mut Vec::new())?;
        let trust = self.trust_for(head, &commit, now)?;
        let way = match &newest {
            None => vec![head],
            Some(newest) => first_parents(&self.reader, head, newest.commit, self.policy.history)?
                .ok_or(Refusal::NotDescended { new: head, old: newest.commit })?,
        };
        let signers = self.signers(&way, &trust.file)?;
        let (files, digest) = self.tree(commit.tree)?;
        let before = self.files_before()?;
        let sequence = newest.map_or(0, |newest| newest.sequence).saturating_add(1);
        let changed = changes(&before, &files);
        let changed = changed.into_iter().map(|(path, _)| path);
        check_rules(&trust.file, &signers, changed, sequence)?;
        let release = AcceptedRelease {
            sequence,
            commit: head,
            tree: digest,
            signers: signers.iter().map(ToString::to_string).collect(),
            ring: None,
            not_after: None,
            accepted_at: self.now,
            trust_serial: trust.file.serial(),
        };
        Ok(Some(Passed { release, files }))
    }

    /// Oldest first, so that the first commit that went wrong is the one that is named.
    fn signers(
        &self,
        way: &[ObjectId],
        trust: &TrustFile,
    ) -> Result<BTreeSet<SignerName>, Refusal> {
        let mut signers = BTreeSet::new();
        let mut buffer = Vec::new();
        for id in way.iter().rev().copied() {
            let bytes = Commit::bytes(&self.reader, id, &mut buffer)?;
            let commit =
                CommitObject::parse(bytes).map_err(|source| Refusal::Unsigned { id, source })?;
            let signer =
                commit.signer(trust).map_err(|source| Refusal::Untrusted { id, source })?;
            signers.insert(signer.clone());
        }
        Ok(signers)
    }
}

/// A commit has one signer. So where a rule asks for several, commits are not enough; and where it
/// names some, everyone on the way must be among them, as any of the commits may hold the change.
fn check_rules<'a>(
    trust: &TrustFile,
    signers: &BTreeSet<SignerName>,
    changed: impl Iterator<Item = &'a str>,
    number: u64,
) -> Result<(), Refusal> {
    let rules = trust.releases();
    if rules.threshold > 1 {
        let sequence = number.to_string().parse().map_err(|_| ReleaseError::NoTag)?;
        let not_counted = Vec::new();
        let too_few = ReleaseError::TooFewSigners {
            sequence,
            path: None,
            have: 1,
            need: rules.threshold,
            not_counted,
        };
        return Err(too_few.into());
    }
    for path in changed {
        for rule in rules.paths.iter().filter(|rule| rule.covers(path)) {
            if rule.threshold > 1 || !signers.is_subset(&rule.signers) {
                return Err(Refusal::PathRule { path: path.to_owned() });
            }
        }
    }
    Ok(())
}
