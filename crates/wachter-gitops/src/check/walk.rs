use std::collections::HashSet;

use gix_object::Kind;
use wachter_trust::FileMode;

use super::tree::{self, EntryMode, TreeEntry};
use super::{NameError, ObjectError, ObjectReader, TreeError, name};
use crate::ObjectId;

/// Folders in which nothing may point elsewhere: what is in them is signed file by file.
const WITHOUT_LINKS: &[&str] = &["modules", "config", "trust"];

/// The longest target of a symbolic link, in bytes.
const MAX_LINK_BYTES: u64 = 1024;

/// No limit on depth is above this: the walk takes stack for every folder.
const MAX_DEPTH: usize = 256;

/// What a tree may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLimits {
    /// Files and folders.
    pub entries: usize,
    /// Folders within folders; at most 256.
    pub depth: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// Bytes of one path.
    pub path_bytes: usize,
}

impl TreeLimits {
    /// What any tree may hold that passed a node's own limits before, which may have been others.
    pub(crate) const ACCEPTED: Self = Self {
        entries: usize::MAX / 1024,
        depth: MAX_DEPTH,
        file_bytes: u64::MAX,
        total_bytes: u64::MAX,
        path_bytes: usize::MAX,
    };
}

impl Default for TreeLimits {
    /// 50,000 entries, 32 deep, 64 MiB a file, 512 MiB in all, paths of 1,024 bytes.
    fn default() -> Self {
        Self {
            entries: 50_000,
            depth: 32,
            file_bytes: 64 << 20,
            total_bytes: 512 << 20,
            path_bytes: 1024,
        }
    }
}

/// The files of a tree that passed every check, in ascending order of their paths' bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreeFiles {
    pub(crate) files: Vec<TreeFile>,
}

/// One file, or symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeFile {
    pub(crate) path: String,
    pub(crate) mode: FileMode,
    pub(crate) id: ObjectId,
    pub(crate) size: u64,
}

/// Why a tree is refused. The first thing that is found is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostileTree {
    /// The object.
    #[error("`{path}` cannot be read")]
    Object {
        /// Where; empty for the root.
        path: String,
        /// Why.
        #[source]
        source: ObjectError,
    },
    /// The tree object's form.
    #[error("the folder `{path}` is malformed")]
    Malformed {
        /// Where; empty for the root.
        path: String,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// A name.
    #[error("the folder `{path}` holds a name that is refused: `{name}`")]
    Name {
        /// The folder.
        path: String,
        /// The name, escaped.
        name: String,
        /// Why.
        #[source]
        source: NameError,
    },
    /// Two names that one file system or another takes for one.
    #[error(
        "the folder `{path}` holds `{one}` and `{other}`, which differ by case alone; rename one"
    )]
    CaseClash {
        /// The folder.
        path: String,
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
    /// A commit of another repository.
    #[error("`{path}` is a submodule; put its files into the repository instead")]
    Submodule {
        /// Where.
        path: String,
    },
    /// A symbolic link in a folder that may have none, or out of the tree.
    #[error("`{path}` is a symbolic link {why}")]
    Link {
        /// Where.
        path: String,
        /// What about it.
        why: &'static str,
    },
    /// Too much of something.
    #[error("at `{path}` the tree has more than {limit} {what}")]
    TooMuch {
        /// Where.
        path: String,
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

impl TreeFiles {
    /// Walks a whole tree and checks all of it. `size` gives the size of a file that is known
    /// without looking.
    ///
    /// # Errors
    /// The first thing that is refused.
    pub(crate) fn read(
        reader: &ObjectReader,
        root: ObjectId,
        limits: &TreeLimits,
        size: &dyn Fn(ObjectId) -> Option<u64>,
    ) -> Result<Self, HostileTree> {
        let mut walk = Walk { reader, limits, size, files: Vec::new(), entries: 0, bytes: 0 };
        walk.folder(root, "", 0)?;
        Ok(Self { files: walk.files })
    }

    /// One file by its path.
    pub(crate) fn get(&self, path: &str) -> Option<&TreeFile> {
        let index = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        self.files.get(index)
    }
}

/// How a file differs between two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Only the new one has it.
    Added,
    /// Its mode or its content differs.
    Changed,
    /// Only the old one had it.
    Removed,
}

/// The paths whose mode or content differs between two trees, in order. Without an old tree: all.
pub(crate) fn changes<'a>(old: &'a TreeFiles, new: &'a TreeFiles) -> Vec<(&'a str, ChangeKind)> {
    let mut changed = Vec::new();
    let (mut before, mut after) = (old.files.iter().peekable(), new.files.iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return changed,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(&new.path),
        };
        let gone = if order.is_le() { before.next() } else { None };
        let come = if order.is_ge() { after.next() } else { None };
        let same = |(old, new): (&TreeFile, &TreeFile)| (old.mode, old.id) == (new.mode, new.id);
        let change = match (gone, come) {
            (Some(old), Some(new)) if same((old, new)) => continue,
            (Some(file), Some(_)) => (file, ChangeKind::Changed),
            (Some(file), None) => (file, ChangeKind::Removed),
            (None, Some(file)) => (file, ChangeKind::Added),
            (None, None) => return changed,
        };
        changed.push((change.0.path.as_str(), change.1));
    }
}

struct Walk<'a> {
    reader: &'a ObjectReader,
    limits: &'a TreeLimits,
    size: &'a dyn Fn(ObjectId) -> Option<u64>,
    files: Vec<TreeFile>,
    entries: usize,
    bytes: u64,
}

impl Walk<'_> {
    /// Bounded by the limit on depth, so that outside input cannot exhaust the stack.
    fn folder(&mut self, id: ObjectId, path: &str, depth: usize) -> Result<(), HostileTree> {
        let too_much = |what, limit| HostileTree::TooMuch { path: path.to_owned(), what, limit };
        let deepest = self.limits.depth.min(MAX_DEPTH);
        if depth > deepest {
            return Err(too_much("folders within folders", deepest as u64));
        }
        let mut buffer = Vec::new();
        // An entry takes at least 28 bytes; names of 255 are the exception.
        let most = self.limits.entries as u64 * 300;
        let bytes = self
            .reader
            .read(id, Kind::Tree, most, &mut buffer)
            .map_err(|source| HostileTree::Object { path: path.to_owned(), source })?;
        let entries = tree::parse(bytes)
            .map_err(|source| HostileTree::Malformed { path: path.to_owned(), source })?;
        self.entries += entries.len();
        if self.entries > self.limits.entries {
            return Err(too_much("entries", self.limits.entries as u64));
        }
        let names = check_names(&entries, path)?;
        for (entry, name) in entries.iter().zip(names) {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            if path.len() > self.limits.path_bytes {
                let limit = self.limits.path_bytes as u64;
                return Err(HostileTree::TooMuch { path, what: "bytes in a path", limit });
            }
            match entry.mode {
                EntryMode::Folder => self.folder(entry.id, &path, depth + 1)?,
                EntryMode::Submodule => return Err(HostileTree::Submodule { path }),
                EntryMode::Regular => self.file(entry.id, path, FileMode::Regular)?,
                EntryMode::Executable => self.file(entry.id, path, FileMode::Executable)?,
                EntryMode::Symlink => {
                    self.check_link(entry.id, &path)?;
                    self.file(entry.id, path, FileMode::Symlink)?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, id: ObjectId, path: String, mode: FileMode) -> Result<(), HostileTree> {
        let limit = self.limits.file_bytes;
        // What was hashed once need not be unpacked again, but it must be there.
        let known = (self.size)(id).filter(|size| *size <= limit && self.reader.exists(id));
        let size = match known {
            Some(size) => size,
            None => self
                .reader
                .header(id, Kind::Blob, limit)
                .map_err(|source| HostileTree::Object { path: path.clone(), source })?,
        };
        self.bytes += size;
        if self.bytes > self.limits.total_bytes {
            let limit = self.limits.total_bytes;
            return Err(HostileTree::TooMuch { path, what: "bytes in all files", limit });
        }
        self.files.push(TreeFile { path, mode, id, size });
        Ok(())
    }

    /// A link may stay within the tree, outside of the folders that are signed file by file. It is
    /// kept as what it is: nothing here ever follows one.
    fn check_link(&self, id: ObjectId, path: &str) -> Result<(), HostileTree> {
        let refused = |why| Err(HostileTree::Link { path: path.to_owned(), why });
        let top = path.split('/').next().unwrap_or_default();
        if WITHOUT_LINKS.contains(&name::fold(top).as_ref()) {
            return refused("in a folder that may have none; put the file itself there");
        }
        let mut buffer = Vec::new();
        let target = self
            .reader
            .read(id, Kind::Blob, MAX_LINK_BYTES, &mut buffer)
            .map_err(|source| HostileTree::Object { path: path.to_owned(), source })?;
        let Ok(target) = std::str::from_utf8(target) else {
            return refused("to something that is not text");
        };
        if target.is_empty() || target.starts_with('/') {
            return refused("to an absolute path");
        }
        let mut depth = path.matches('/').count();
        for part in target.split('/') {
            match part {
                "." => {}
                ".." if depth == 0 => return refused("out of the repository"),
                ".." => depth -= 1,
                part if name::check(part.as_bytes()).is_err() => {
                    return refused("to a name that is refused");
                }
                _ => depth += 1,
            }
        }
        Ok(())
    }
}

fn check_names<'a>(entries: &[TreeEntry<'a>], path: &str) -> Result<Vec<&'a str>, HostileTree> {
    let mut names = Vec::with_capacity(entries.len());
    for entry in entries {
        names.push(name::check(entry.name).map_err(|source| {
            let name = entry.name.escape_ascii().to_string().chars().take(80).collect();
            HostileTree::Name { path: path.to_owned(), name, source }
        })?);
    }
    let mut folded = HashSet::with_capacity(names.len());
    if let Some(clash) = names.iter().position(|name| !folded.insert(name::fold(name))) {
        let same = |name: &&&str| name::fold(name) == name::fold(names[clash]);
        let one = names.iter().find(same).copied().unwrap_or_default().to_owned();
        let other = names[clash].to_owned();
        return Err(HostileTree::CaseClash { path: path.to_owned(), one, other });
    }
    Ok(names)
}

/// Finds one regular file by its path, reading only the folders on the way.
pub(crate) fn find(
    reader: &ObjectReader,
    root: ObjectId,
    path: &str,
) -> Result<Option<ObjectId>, HostileTree> {
    let mut folder = root;
    let mut buffer = Vec::new();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let bytes = reader
            .read(folder, Kind::Tree, TreeLimits::default().entries as u64 * 300, &mut buffer)
            .map_err(|source| HostileTree::Object { path: path.to_owned(), source })?;
        let entries = tree::parse(bytes)
            .map_err(|source| HostileTree::Malformed { path: path.to_owned(), source })?;
        let entry = entries.iter().find(|entry| entry.name == part.as_bytes());
        match (entry.map(|entry| (entry.mode, entry.id)), parts.peek()) {
            (Some((EntryMode::Regular | EntryMode::Executable, id)), None) => return Ok(Some(id)),
            (Some((EntryMode::Folder, id)), Some(_)) => folder = id,
            _ => return Ok(None),
        }
    }
    Ok(None)
}
