use std::collections::BTreeSet;

use jiff::Timestamp;
use wachter_gitops::{ChangeKind, ObjectId, Policy, Snapshot};
use wachter_trust::{
    CommitId, PublicKey, ReleaseCandidate, ReleaseError, ReleaseStatement, ReleaseTag, Sequence,
    Signer, TagObject, TrustFile, verify_release,
};

use super::Request;
use super::checks;
use super::history::{Baseline, History};
use super::plan::{self, Plan};
use super::signers::{may_sign, signers, tagger};
use crate::failure::{CommandError, CommandResult, chain};
use crate::place::HostOptions;
use crate::repository::Repository;
use crate::trust::{self, KnownRoots};

/// A release that is checked and not yet signed.
pub(crate) struct Draft {
    pub(crate) plan: Plan,
    statement: ReleaseStatement,
    trust: TrustFile,
    changes: Vec<(String, ChangeKind)>,
    /// The tags of those who signed before.
    tags: Vec<TagObject>,
    floor: Option<Sequence>,
}

impl Draft {
    /// Checks everything that a node would, and says what a release would be.
    ///
    /// # Errors
    /// What makes it pointless to look further; everything else stands in the plan's problems.
    pub(crate) fn prepare(
        repository: &Repository,
        request: &Request<'_>,
        host: &HostOptions,
        key: Option<&PublicKey>,
        now: Timestamp,
    ) -> Result<Self, CommandError> {
        let commit = released_commit(repository, request)?;
        let id: ObjectId = commit.parse()?;
        let mut objects = repository.objects()?;
        let snapshot = objects.snapshot(id).map_err(|refusal| {
            let reason = chain(&refusal);
            CommandError::refused(format!("no node would take commit {commit}: {reason}"))
        })?;
        let (trust_text, trust_signatures) = checks::texts(&snapshot)?;
        let unchecked = TrustFile::parse(&trust_text)?;
        let roots = match trust::find_roots(request.roots, host, unchecked.repository())? {
            Some(roots) => roots,
            None => trust::assume_roots(&trust_text, &trust_signatures, unchecked.repository())?,
        };
        let trust = checks::trust(&snapshot, &roots, None, now)?;
        let history = History::read(repository, &objects, &trust, &roots.roots)?;
        let tags = request.cosign.map_or(Vec::new(), |sequence| history.tags(sequence).to_vec());
        let (baseline, mut notes) = history.last(&mut objects, request.cosign);
        let mut problems = Vec::new();
        if let Some(baseline) = &baseline {
            let (bytes, signatures) = checks::texts(&baseline.snapshot)?;
            if (bytes, signatures) != (trust_text, trust_signatures) {
                problems.extend(succession(&snapshot, &roots, baseline, now)?);
            }
            let before = baseline.snapshot.commit();
            if let Err(refusal) = objects.check_descent(id, before, Policy::HISTORY) {
                problems.push(format!(
                    "the commit does not descend from release {}: {}; merge it first",
                    baseline.sequence,
                    chain(&refusal)
                ));
            }
        }
        if roots.assumed {
            notes.push("the nodes' roots are not known here, so whether they take the trust file was not checked; name them with --root".to_owned());
        }
        let statement = match request.cosign {
            Some(sequence) => stated(sequence, &tags)?,
            None => ReleaseStatement {
                repository: trust.repository(),
                sequence: history.next(&objects)?,
                commit: commit.parse::<CommitId>()?,
                tree: snapshot.digest(),
                not_after: request.not_after.from(now).map_err(CommandError::usage)?,
                ring: request.ring.clone(),
                previous: baseline.as_ref().map(|baseline| baseline.sequence),
            },
        };
        if let Some(compared) = baseline.as_ref().map(|baseline| baseline.sequence)
            && statement.previous.is_some_and(|previous| previous != compared)
        {
            notes.push(format!(
                "the first signer did not compare with release {compared}, as is done here"
            ));
        }
        let changes = snapshot.changes_since(baseline.as_ref().map(|baseline| &baseline.snapshot));
        let modules = checks::modules(&snapshot, &trust, &mut problems)?;
        checks::configuration(&snapshot, &mut problems)?;
        if request.cosign.is_some() && snapshot.digest() != statement.tree {
            problems.push(
                "the release states another tree than its commit holds; do not sign it".to_owned(),
            );
        }
        if now > statement.not_after {
            problems
                .push(format!("the release expired at {}; make a new one", statement.not_after));
        }
        problems.extend(unknown_ring(&trust, &statement));
        if statement.not_after > trust.not_after() {
            notes.push(format!(
                "the trust file ends before the release, at {}; nodes that are new then refuse it",
                trust.not_after()
            ));
        }
        let mut signed = match &request.cosign {
            Some(_) => signers(&tags, &trust).unwrap_or_else(|error| {
                problems.push(chain(&error));
                BTreeSet::new()
            }),
            None => BTreeSet::new(),
        };
        match key.map(|key| may_sign(&trust, key)) {
            Some(Ok(name)) if !signed.insert(name.clone()) => {
                problems.push(format!("`{name}` signed this release already"));
            }
            Some(Err(reason)) => problems.push(reason),
            Some(Ok(_)) | None => {}
        }
        let before =
            baseline.as_ref().map(|baseline| checks::summaries(&baseline.snapshot)).transpose()?;
        let mut plan = Plan::new(&statement);
        plan.changes = plan::files(&changes);
        plan.modules = plan::modules(&changes, &before.unwrap_or_default(), &modules);
        plan.signers = plan::needs(&trust, &changes, &signed);
        plan.problems = problems;
        plan.notes = notes;
        let floor = baseline.map(|baseline| baseline.sequence);
        Ok(Self { plan, statement, trust, changes, tags, floor })
    }

    /// Signs the release, stores the tag, and judges the whole as a node does.
    ///
    /// # Errors
    /// The signer or `git` refuses. A tag of that name is never replaced.
    pub(crate) fn sign(
        &mut self,
        repository: &Repository,
        signer: &mut dyn Signer,
        now: Timestamp,
    ) -> CommandResult {
        let name = self.tag_name();
        let tagger = tagger(repository, &self.trust, signer.public_key(), now);
        let tag = TagObject::sign(&self.statement, name, &tagger, signer)?;
        self.tags.push(tag.clone());
        let paths = self.changes.iter().map(|(path, _)| path.as_str());
        let repository_id = self.trust.repository();
        self.plan.complete =
            match verify_release(&self.trust, &self.tags, paths, now, self.floor, repository_id) {
                Ok(_) => true,
                Err(ReleaseError::TooFewSigners { .. }) => false,
                Err(error) => {
                    return Err(CommandError::refused(format!(
                        "nodes would refuse it: {}",
                        chain(&error)
                    )));
                }
            };
        let git = repository.git();
        let id = git.run(&["hash-object", "-t", "tag", "-w", "--stdin"], tag.as_bytes())?;
        let id = String::from_utf8(id)?;
        // The empty old value: only where there is no such tag yet.
        git.run(
            &["update-ref", "-m", "wachter release", &format!("refs/tags/{name}"), id.trim(), ""],
            b"",
        )?;
        self.plan.tag = Some(name.to_string());
        Ok(())
    }

    /// The first name that is free.
    fn tag_name(&self) -> ReleaseTag {
        let mut name = ReleaseTag::first(self.statement.sequence);
        while self.tags.iter().any(|tag| tag.name() == name.to_string()) {
            name = name.next();
        }
        name
    }
}

/// The commit that is released: the present one, with nothing uncommitted beside it, or the one
/// that others signed.
fn released_commit(repository: &Repository, request: &Request<'_>) -> Result<String, CommandError> {
    let git = repository.git();
    if let Some(sequence) = request.cosign {
        let reference = format!("refs/tags/{}^{{commit}}", ReleaseTag::first(sequence));
        return git.text(&["rev-parse", "--verify", "--quiet", &reference]).map_err(|_| {
            CommandError::failed(format!(
                "there is no tag wachter/{sequence} here; get it with `git fetch --tags`"
            ))
        });
    }
    if !git.has_head() {
        return Err(CommandError::refused("nothing is committed yet; commit first"));
    }
    let dirty = git.dirty_paths()?;
    if !dirty.is_empty() {
        let shown: Vec<String> =
            dirty.iter().take(5).map(|path| path.escape_debug().to_string()).collect();
        let more = dirty.len().checked_sub(shown.len()).filter(|more| *more > 0);
        let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
        return Err(CommandError::refused(format!(
            "there are changes that are not committed: {}{more}; commit them, or put them away with `git stash`",
            shown.join(", ")
        )));
    }
    git.text(&["rev-parse", "--verify", "HEAD^{commit}"])
}

/// What is to be co-signed.
fn stated(sequence: Sequence, tags: &[TagObject]) -> Result<ReleaseStatement, CommandError> {
    let candidate = ReleaseCandidate::new(tags).map_err(|error| {
        CommandError::refused(format!("release {sequence} cannot be co-signed: {}", chain(&error)))
    })?;
    Ok(candidate.statement().clone())
}

/// Why nodes that follow the last release would not take this trust file.
fn succession(
    snapshot: &Snapshot,
    roots: &KnownRoots,
    baseline: &Baseline,
    now: Timestamp,
) -> Result<Option<String>, CommandError> {
    let (bytes, _) = checks::texts(&baseline.snapshot)?;
    let previous = TrustFile::parse(&bytes)?;
    Ok(checks::trust(snapshot, roots, Some(&previous), now).err().map(|error| error.message))
}

fn unknown_ring(trust: &TrustFile, statement: &ReleaseStatement) -> Option<String> {
    let rings = &trust.releases().rings;
    if rings.contains(&statement.ring) {
        return None;
    }
    let known: Vec<&str> = rings.iter().map(wachter_trust::Ring::as_str).collect();
    Some(format!("the trust file has no ring `{}`; it has {}", statement.ring, known.join(", ")))
}
