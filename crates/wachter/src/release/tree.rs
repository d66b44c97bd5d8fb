use std::collections::{BTreeMap, BTreeSet};

use wachter_model::Digest;
use wachter_trust::{FileMode, TreeListing};

use crate::failure::CommandError;
use crate::git::{Git, Objects};

/// Folders whose files are signed one by one, or read by nodes: no links.
const WITHOUT_LINKS: [&str; 3] = ["config/", "modules/", "trust/"];

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
        let mut tree = Self::default();
        let mut folded = BTreeSet::new();
        for line in git.tree(commit)? {
            let mode = match line.mode.as_str() {
                "100644" => FileMode::Regular,
                "100755" => FileMode::Executable,
                "120000" => FileMode::Symlink,
                "160000" => {
                    tree.problems.push(format!(
                        "{} is a submodule; put the files themselves there",
                        line.path
                    ));
                    continue;
                }
                mode => {
                    tree.problems
                        .push(format!("{} has mode {mode}, which no release may hold", line.path));
                    continue;
                }
            };
            if mode == FileMode::Symlink
                && WITHOUT_LINKS.iter().any(|folder| line.path.starts_with(folder))
            {
                tree.problems.push(format!("{} is a link; put the file itself there", line.path));
            }
            if !folded.insert(line.path.to_lowercase()) {
                tree.problems.push(format!(
                    "{} differs from another file only in case; rename one",
                    line.path
                ));
            }
            tree.files.insert(line.path, TreeFile { mode, id: line.id });
        }
        Ok(tree)
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
