use std::collections::BTreeMap;

use wachter_model::Digest;
use wachter_trust::{FileMode, TreeListing};

use super::hostile;
use crate::failure::CommandError;
use crate::git::{Git, Objects, TreeLine};

/// The files of a commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, TreeFile>,
    /// What no node takes.
    pub(crate) problems: Vec<String>,
}

/// One file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeFile {
    pub(crate) mode: FileMode,
    /// Git's name of the content.
    pub(crate) id: String,
}

/// One file that differs between two commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) kind: ChangeKind,
}

/// How a file differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Added,
    Changed,
    Removed,
}

impl Tree {
    /// Lists a commit.
    ///
    /// # Errors
    /// A commit that is not there.
    pub(crate) fn read(git: &Git, commit: &str) -> Result<Self, CommandError> {
        let lines = git.tree(commit)?;
        let problems = hostile::problems(git, &lines)?;
        let file = |line: TreeLine| {
            let mode = hostile::mode(&line.mode)?;
            Some((line.path, TreeFile { mode, id: line.id }))
        };
        Ok(Self { files: lines.into_iter().filter_map(file).collect(), problems })
    }

    /// The files by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &TreeFile)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// The files below a folder, which is written with its slash; their paths from there.
    pub(crate) fn below<'a>(
        &'a self,
        folder: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a TreeFile)> {
        let files = self.files.range(folder.to_owned()..);
        files.map_while(move |(path, file)| Some((path.strip_prefix(folder)?, file)))
    }

    /// One file.
    pub(crate) fn get(&self, path: &str) -> Option<&TreeFile> {
        self.files.get(path)
    }

    /// SHA-256 of the content of every file.
    ///
    /// # Errors
    /// An object that is missing.
    pub(crate) fn digests(
        &self,
        objects: &mut Objects,
    ) -> Result<BTreeMap<&str, Digest>, CommandError> {
        self.files().map(|(path, file)| Ok((path, objects.digest(&file.id)?))).collect()
    }

    /// The digest that a release states.
    ///
    /// # Errors
    /// A path that no release may hold.
    pub(crate) fn listing(&self, digests: &BTreeMap<&str, Digest>) -> Result<Digest, CommandError> {
        let mut listing = TreeListing::new();
        for (path, file) in self.files() {
            listing.push(file.mode, digests[path], path)?;
        }
        Ok(listing.digest())
    }

    /// What differs from an older tree; everything where there is none.
    pub(crate) fn changes(&self, old: Option<&Self>) -> Vec<Change> {
        let empty = Self::default();
        let old = old.unwrap_or(&empty);
        let mut changes = Vec::new();
        for (path, file) in &self.files {
            match old.files.get(path) {
                None => changes.push(Change { path: path.clone(), kind: ChangeKind::Added }),
                Some(before) if before != file => {
                    changes.push(Change { path: path.clone(), kind: ChangeKind::Changed });
                }
                Some(_) => {}
            }
        }
        for path in old.files.keys().filter(|path| !self.files.contains_key(*path)) {
            changes.push(Change { path: path.clone(), kind: ChangeKind::Removed });
        }
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        changes
    }
}

impl ChangeKind {
    /// In one word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}
