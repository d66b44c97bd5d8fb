use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use wachter_file::{Readers, replace_durably};

use super::accept::{Judge, Passed, Policy, Verdict, Verify};
use super::refusal::{Refusal, Refused, TreeChanged};
use super::state::{AcceptedRelease, Pin, Rollback, State, VERSION};
use super::trust::{KnownTrust, TrustFiles};
use crate::ObjectId;
use crate::check::{
    Commit, CommitError, Contents, HostileTree, ObjectStore, TreeFiles, TreeLimits, contents_file,
};
use crate::layout::{self, LayoutError};
use crate::references::References;
use crate::snapshot::Snapshot;

/// How many packs there may be before they are put together. Each costs a look when an object is
/// searched, and each fetch brings one.
const MAX_PACKS: usize = 20;

/// How many bytes the packs beside the largest may have before they are put together.
const MAX_LOOSE_BYTES: u64 = 256 << 20;

/// A node's side of a managed repository: what was fetched, what was accepted, what is in force.
///
/// ```text
/// <data>/repository.git/    objects and references, written by workers alone
/// <data>/state.json         what was accepted (State)
/// <data>/contents.sha256    digests of file contents, to save work
/// ```
///
/// One process at a time may have it open for writing; the node does.
#[derive(Debug)]
pub struct Repository {
    data: PathBuf,
    store: ObjectStore,
    references: References,
    state: State,
    contents: Contents,
}

/// A release tag that was fetched and not yet judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The release.
    pub sequence: u64,
    /// How many tags there are for it: one for each signer.
    pub tags: usize,
}

/// Why a node's data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The Git repository.
    #[error("the node's repository cannot be used")]
    Layout(#[from] LayoutError),
    /// The state.
    #[error("the node's state cannot be used")]
    State(#[from] StateError),
}

/// Why `state.json` cannot be used. It is never put aside silently: a node without it would accept
/// again what it refused before.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system.
    #[error("`{path}` cannot be read or written")]
    File {
        /// Where.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Not what this program writes.
    #[error(
        "`{path}` is damaged; restore it from a backup, or remove it to start over as a new node"
    )]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What is wrong with it, when it is not JSON.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// Written by a newer program.
    #[error("`{path}` has version {found}, this program knows {VERSION}; update it")]
    Version {
        /// Where.
        path: PathBuf,
        /// Which.
        found: u32,
    },
    /// About another repository.
    #[error(
        "this node followed repository {found} before, and the local file names {expected}; give it a new data folder"
    )]
    OtherRepository {
        /// What the local file says.
        expected: String,
        /// What the state says.
        found: String,
    },
    /// The accepted trust file is gone.
    #[error(
        "the trust file that was accepted cannot be read again; restore the data folder from a backup"
    )]
    Trust(#[source] Box<Refusal>),
}

/// Why a release cannot be put into force by hand.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Not one of those that were accepted.
    #[error("release {sequence} is not among the accepted ones; `wachter status` lists them")]
    Unknown {
        /// Which.
        sequence: u64,
    },
    /// There is nothing to go back to.
    #[error("there is no earlier release to go back to")]
    NothingEarlier,
    /// A pin without a future.
    #[error("the pin would end at {until}, which is not after now ({now}); give a later date")]
    EndsInPast {
        /// The end.
        until: Timestamp,
        /// The clock.
        now: Timestamp,
    },
    /// Nothing to undo.
    #[error("nothing is pinned or rolled back")]
    NotHeld,
    /// The state.
    #[error("the choice could not be remembered, and was not made")]
    State(#[from] StateError),
}

/// Why the release in force cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotOpenError {
    /// Its commit.
    #[error("the accepted release cannot be read")]
    Commit(#[from] CommitError),
    /// Its tree.
    #[error("the accepted release's tree cannot be read")]
    Tree(#[from] HostileTree),
    /// It is not what was accepted.
    #[error("the accepted release is damaged; remove the node's repository and fetch again")]
    Changed(#[from] TreeChanged),
}

impl Repository {
    /// The folder into which workers fetch, below a node's data folder.
    #[must_use]
    pub fn git_folder(data: &Path) -> PathBuf {
        data.join("repository.git")
    }

    /// Opens, and makes where it is missing, what a node keeps below `data`.
    ///
    /// # Errors
    /// A repository with replaced objects, grafts, alternates or foreign references; a state that is
    /// damaged.
    pub fn open(data: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let data = data.into();
        let folder = Self::git_folder(&data);
        layout::create(&folder)?;
        let (store, references) = ObjectStore::open(&folder)?;
        let state = load_state(&state_file(&data))?;
        let contents = Contents::load(contents_file(&data));
        Ok(Self { data, store, references, state, contents })
    }

    /// Reads again what a worker brought. Call it after every fetch that changed something.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn refresh(&mut self) -> Result<(), LayoutError> {
        (self.store, self.references) = ObjectStore::open(&Self::git_folder(&self.data))?;
        Ok(())
    }

    /// The release tags that were fetched, highest first.
    #[must_use]
    pub fn candidates(&self) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for name in self.references.tags.keys().rev() {
            match candidates.last_mut().filter(|last| last.sequence == name.sequence) {
                Some(last) => last.tags += 1,
                None => candidates.push(Candidate { sequence: name.sequence, tags: 1 }),
            }
        }
        candidates
    }

    /// Whether there are so many packs, or so large ones, that it is time to put them together: more
    /// than 20, or all but the largest take more than 256 MiB and more than the largest. The job for a
    /// worker is then [`Source::Own`](crate::Source) with [`Repository::kept`]; call
    /// [`Repository::refresh`] after it.
    ///
    /// # Errors
    /// The folder of packs cannot be read.
    pub fn is_untidy(&self) -> io::Result<bool> {
        let (mut packs, mut bytes, mut largest) = (0, 0, 0);
        for entry in fs::read_dir(Self::git_folder(&self.data).join("objects/pack"))? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "pack") {
                let size = entry.metadata()?.len();
                (packs, bytes, largest) = (packs + 1, bytes + size, largest.max(size));
            }
        }
        Ok(packs > MAX_PACKS || bytes - largest > MAX_LOOSE_BYTES.max(largest))
    }

    /// What is needed beside that which references name: the commits of the accepted releases that are
    /// remembered, and the one with the trust file.
    #[must_use]
    pub fn kept(&self) -> Vec<ObjectId> {
        let releases = self.state.history.iter().map(|release| release.commit);
        let mut kept: Vec<ObjectId> =
            releases.chain(self.state.trust.map(|mark| mark.commit)).collect();
        kept.sort_unstable();
        kept.dedup();
        kept
    }

    /// Judges what was fetched and accepts the highest release that passes, if it is new.
    ///
    /// What is accepted is remembered, on disk, before this returns. What is refused changes nothing,
    /// but for a newer trust file, which is remembered as well. A pin or a rollback does not keep a
    /// release from being accepted, only from being in force.
    ///
    /// # Errors
    /// When the state cannot be used or written; a refusal is no error, and is in the verdict.
    pub fn accept(&mut self, policy: &Policy, now: Timestamp) -> Result<Verdict, StateError> {
        let expected = policy.repository.to_string();
        if let Some(found) = self.state.repository.as_ref().filter(|found| **found != expected) {
            return Err(StateError::OtherRepository { expected, found: found.clone() });
        }
        let reader = self.store.reader();
        let known = self.state.trust.map(|mark| KnownTrust::load(&reader, mark)).transpose();
        let mut judge = Judge {
            policy,
            now,
            trust: known.map_err(|refusal| StateError::Trust(Box::new(refusal)))?,
            store: &self.store,
            reader,
            references: &self.references,
            state: &self.state,
            contents: &mut self.contents,
        };
        let (passed, refused) = match &policy.verify {
            Verify::Releases => judge.releases(),
            Verify::Commits(branch) => judge.branch(branch),
        };
        let trust = judge.trust.map(|trust| trust.mark);
        let accepted = self.remember(expected, trust, passed)?;
        Ok(Verdict { accepted, refused })
    }

    fn remember(
        &mut self,
        repository: String,
        trust: Option<super::TrustMark>,
        passed: Option<Passed>,
    ) -> Result<Option<AcceptedRelease>, StateError> {
        let mut state = self.state.clone();
        // The same file in a later commit is not news.
        let serial = |mark: &Option<super::TrustMark>| mark.map(|mark| mark.serial);
        if serial(&trust) > serial(&state.trust) {
            state.trust = trust;
            state.repository = Some(repository);
        }
        let accepted = passed.map(|passed| {
            state.push(passed.release.clone());
            // Only a saving of work: without it the next start hashes again.
            let _ = self.contents.save(&passed.files);
            passed.release
        });
        self.replace_state(state)?;
        Ok(accepted)
    }

    /// What is remembered.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The newest trust file that the roots signed, which is in force whatever release is; nothing
    /// before the first is accepted.
    ///
    /// # Errors
    /// Objects that are missing or damaged on disk.
    pub fn trust(&self) -> Result<Option<TrustFiles>, Refusal> {
        self.state.trust.map(|mark| super::trust::files(&self.store.reader(), mark)).transpose()
    }

    /// The files of the release in force at `now`; nothing before the first is accepted. The whole
    /// tree is checked again against the digest that was accepted.
    ///
    /// # Errors
    /// Objects that are missing or damaged on disk.
    pub fn snapshot(&mut self, now: Timestamp) -> Result<Option<Snapshot>, SnapshotOpenError> {
        let Some(release) = self.state.in_force(now) else { return Ok(None) };
        self.snapshot_of(&release.clone()).map(Some)
    }

    /// The files of a release that was accepted, in force or not. The whole tree is checked again
    /// against the digest that was accepted.
    ///
    /// # Errors
    /// Objects that are missing or damaged on disk.
    pub fn snapshot_of(
        &mut self,
        release: &AcceptedRelease,
    ) -> Result<Snapshot, SnapshotOpenError> {
        let (id, expected): (ObjectId, _) = (release.commit, release.tree);
        let reader = self.store.reader();
        let commit = Commit::read(&reader, id, &mut Vec::new())?;
        let contents = &self.contents;
        let files =
            TreeFiles::read(&reader, commit.tree, &TreeLimits::ACCEPTED, &|id| contents.size(id))?;
        let found = self.contents.listing(&self.store, &files)?;
        if found != expected {
            return Err(TreeChanged { expected, found }.into());
        }
        Ok(Snapshot::new(self.store.clone(), Arc::new(files), id, found))
    }

    /// Puts an earlier accepted release into force: `to`, or the one before the one in force. It
    /// holds until a release is accepted that is newer than all that were accepted so far. Floor and
    /// trust stay where they are.
    ///
    /// # Errors
    /// No such release, or nothing earlier.
    pub fn rollback(&mut self, to: Option<u64>, now: Timestamp) -> Result<u64, HoldError> {
        let in_force = self.state.in_force(now).map_or(0, |release| release.sequence);
        let to = match to {
            Some(sequence) if self.state.find(sequence).is_some() => sequence,
            Some(sequence) => return Err(HoldError::Unknown { sequence }),
            None => {
                let earlier =
                    self.state.history.iter().rev().find(|release| release.sequence < in_force);
                earlier.ok_or(HoldError::NothingEarlier)?.sequence
            }
        };
        let from = self.state.newest().map_or(0, |newest| newest.sequence);
        let rollback = Some(Rollback { to, from });
        // A pin would hide the choice that was made last.
        self.replace_state(State { rollback, pin: None, ..self.state.clone() })?;
        Ok(to)
    }

    /// Holds one accepted release in force until a date.
    ///
    /// # Errors
    /// No such release, or a date that is past.
    pub fn pin(
        &mut self,
        sequence: u64,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), HoldError> {
        if until <= now {
            return Err(HoldError::EndsInPast { until, now });
        }
        if self.state.find(sequence).is_none() {
            return Err(HoldError::Unknown { sequence });
        }
        let pin = Some(Pin { sequence, until });
        Ok(self.replace_state(State { pin, ..self.state.clone() })?)
    }

    /// Ends a pin and a rollback: the newest accepted release is in force again.
    ///
    /// # Errors
    /// When there is neither.
    pub fn unpin(&mut self) -> Result<(), HoldError> {
        if self.state.pin.is_none() && self.state.rollback.is_none() {
            return Err(HoldError::NotHeld);
        }
        Ok(self.replace_state(State { pin: None, rollback: None, ..self.state.clone() })?)
    }

    /// On disk first: what is not remembered did not happen.
    fn replace_state(&mut self, state: State) -> Result<(), StateError> {
        if state == self.state {
            return Ok(());
        }
        let path = state_file(&self.data);
        let text = serde_json::to_vec_pretty(&state)
            .map_err(|source| StateError::File { path: path.clone(), source: source.into() })?;
        replace_durably(&path, &text, Readers::Owner)
            .map_err(|source| StateError::File { path, source })?;
        self.state = state;
        Ok(())
    }
}

impl State {
    /// Reads what the node with the data folder `data` remembers; an empty state where there is none
    /// yet. For who wants to know, beside the node that has it open: it may change at once.
    ///
    /// # Errors
    /// It is damaged, or of a newer program.
    pub fn read(data: &Path) -> Result<Self, StateError> {
        load_state(&state_file(data))
    }
}

impl Verdict {
    /// Whether anything was refused that someone should look at.
    #[must_use]
    pub fn refusals(&self) -> &[Refused] {
        &self.refused
    }
}

fn state_file(data: &Path) -> PathBuf {
    data.join("state.json")
}

fn load_state(path: &Path) -> Result<State, StateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
        Err(source) => return Err(StateError::File { path: path.to_owned(), source }),
    };
    let damaged = |source| StateError::Damaged { path: path.to_owned(), source };
    // The version first: a newer format may not even be readable as this one.
    let document: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| damaged(Some(error)))?;
    match document.get("version").and_then(serde_json::Value::as_u64) {
        Some(found) if found == u64::from(VERSION) => {}
        Some(found) => {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(StateError::Version { path: path.to_owned(), found });
        }
        None => return Err(damaged(None)),
    }
    let state: State = serde_json::from_value(document).map_err(|error| damaged(Some(error)))?;
    if state.version() == VERSION && state.is_consistent() { Ok(state) } else { Err(damaged(None)) }
}
