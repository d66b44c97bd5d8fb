use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use gix_object::Kind;
use wachter_trust::TagObject;

use crate::check::{Commit, Contents, HostileTree, ObjectReader, ObjectStore, TreeLimits, find};
use crate::release::{Refusal, check_descent, judge_tree, read_tag};
use crate::{ObjectId, Snapshot};

/// A repository of this machine, such as its author's own, judged as a node judges the one that it
/// fetched: by the same code, with the same refusals and the same digests.
///
/// Only its objects are read, and nothing is written: no reference, configuration, hook, index or work
/// tree is looked at, and no replacement or graft is followed. Objects that the repository borrows
/// from another one (`objects/info/alternates`) count as its own, since a push sends them along.
#[derive(Debug)]
pub struct LocalRepository {
    store: ObjectStore,
    contents: Contents,
    limits: TreeLimits,
    snapshots: BTreeMap<ObjectId, Snapshot>,
}

/// Why a repository of this machine cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the objects in `{}` cannot be read", folder.display())]
pub struct LocalOpenError {
    /// Where.
    folder: PathBuf,
    /// What the system said.
    #[source]
    source: io::Error,
}

/// Snapshots that are remembered; each is the list of a commit's files.
const REMEMBERED: usize = 4;

impl LocalRepository {
    /// Opens the objects below `objects`: the folder that `git rev-parse --git-path objects` names.
    /// A tree may hold what `limits` allow, as in [`Policy`](crate::Policy).
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(objects: &Path, limits: TreeLimits) -> Result<Self, LocalOpenError> {
        let store = ObjectStore::of_objects(objects)
            .map_err(|source| LocalOpenError { folder: objects.to_owned(), source })?;
        Ok(Self { store, contents: Contents::default(), limits, snapshots: BTreeMap::new() })
    }

    /// The files of a commit, if a node would take them into its hands: names, modes, links, sizes and
    /// counts are checked, every content is hashed, and [`Snapshot::digest`] is what a release of this
    /// commit has to state.
    ///
    /// # Errors
    /// What a node would say; an object that is missing or damaged.
    pub fn snapshot(&mut self, commit: ObjectId) -> Result<Snapshot, Refusal> {
        if let Some(known) = self.snapshots.get(&commit) {
            return Ok(known.clone());
        }
        let reader = self.store.reader();
        let root = Commit::read(&reader, commit, &mut Vec::new())?.tree;
        let (files, digest) =
            judge_tree(&self.store, &reader, &mut self.contents, root, &self.limits)?;
        let snapshot = Snapshot::new(self.store.clone(), files, commit, digest);
        if self.snapshots.len() == REMEMBERED {
            self.snapshots.pop_first();
        }
        self.snapshots.insert(commit, snapshot.clone());
        Ok(snapshot)
    }

    /// Whether a node that accepted `old` would take `new` for what comes after it. At most `history`
    /// commits are read.
    ///
    /// # Errors
    /// It would not, or it cannot be said.
    pub fn check_descent(
        &self,
        new: ObjectId,
        old: ObjectId,
        history: usize,
    ) -> Result<(), Refusal> {
        check_descent(&self.store.reader(), new, old, history)
    }

    /// One file of a commit, without a look at the others; nothing where there is none.
    ///
    /// # Errors
    /// More than `limit` bytes; an object that is missing or damaged.
    pub fn file(
        &self,
        commit: ObjectId,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let reader: ObjectReader = self.store.reader();
        let mut buffer = Vec::new();
        let root = Commit::read(&reader, commit, &mut buffer)?.tree;
        let Some(id) = find(&reader, root, path)? else { return Ok(None) };
        reader
            .read(id, Kind::Blob, limit, &mut buffer)
            .map_err(|source| HostileTree::Object { path: path.to_owned(), source })?;
        Ok(Some(buffer))
    }

    /// The tag object of the reference `refs/tags/<name>`, if a node would look at it as a release:
    /// signed, on a commit, and named as it calls itself.
    ///
    /// # Errors
    /// As a node says.
    pub fn tag(&self, name: &str, id: ObjectId) -> Result<TagObject, Refusal> {
        read_tag(&self.store.reader(), name, id)
    }
}
