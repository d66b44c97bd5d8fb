use std::sync::Arc;

use gix_object::Kind;
use wachter_model::Digest;
use wachter_trust::FileMode;

use crate::ObjectId;
use crate::check::{ChangeKind, ObjectError, ObjectStore, TreeFiles, changes};

/// The files of one accepted release, read straight from Git's objects. Cheap to clone, and can be
/// used from any thread. It stays what it is, whatever is fetched later.
///
/// There is no work tree: nothing is written to disk, and no symbolic link is followed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    store: ObjectStore,
    files: Arc<TreeFiles>,
    commit: ObjectId,
    digest: Digest,
}

/// One file of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotFile<'a> {
    /// From the root, with `/` between components.
    pub path: &'a str,
    /// What it is.
    pub mode: FileMode,
    /// Bytes of content.
    pub size: u64,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not there.
    #[error("the release has no file `{path}`")]
    NotFound {
        /// Which.
        path: String,
    },
    /// A symbolic link.
    #[error("`{path}` is a symbolic link; put the file itself there")]
    Link {
        /// Which.
        path: String,
    },
    /// The object.
    #[error("`{path}` cannot be read")]
    Object {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: ObjectError,
    },
}

impl Snapshot {
    pub(crate) fn new(
        store: ObjectStore,
        files: Arc<TreeFiles>,
        commit: ObjectId,
        digest: Digest,
    ) -> Self {
        Self { store, files, commit, digest }
    }

    /// Reads a file. Its content is checked against its name each time.
    ///
    /// # Errors
    /// No such file, a symbolic link, or an object that is damaged on disk.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, SnapshotError> {
        let file = self
            .files
            .get(path)
            .ok_or_else(|| SnapshotError::NotFound { path: path.to_owned() })?;
        if file.mode == FileMode::Symlink {
            return Err(SnapshotError::Link { path: path.to_owned() });
        }
        let mut content = Vec::new();
        self.store
            .reader()
            .read(file.id, Kind::Blob, file.size, &mut content)
            .map_err(|source| SnapshotError::Object { path: path.to_owned(), source })?;
        Ok(content)
    }

    /// The files whose paths begin with `prefix`, in ascending order of bytes. An empty prefix lists
    /// all; for one folder, end it with a slash.
    pub fn list<'s>(&'s self, prefix: &'s str) -> impl Iterator<Item = SnapshotFile<'s>> {
        let start = self.files.files.partition_point(|file| file.path.as_str() < prefix);
        let files = self.files.files[start..].iter();
        files.take_while(move |file| file.path.starts_with(prefix)).map(|file| SnapshotFile {
            path: &file.path,
            mode: file.mode,
            size: file.size,
        })
    }

    /// What differs from an older one, in ascending order of the paths' bytes; all files where there is
    /// none.
    #[must_use]
    pub fn changes_since(&self, old: Option<&Self>) -> Vec<(String, ChangeKind)> {
        let empty = TreeFiles::default();
        let old = old.map_or(&empty, |old| &*old.files);
        let owned = |(path, kind): (&str, ChangeKind)| (path.to_owned(), kind);
        changes(old, &self.files).into_iter().map(owned).collect()
    }

    /// One file's entry; nothing where there is none.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<SnapshotFile<'_>> {
        let file = self.files.get(path)?;
        Some(SnapshotFile { path: &file.path, mode: file.mode, size: file.size })
    }

    /// SHA-256 over the whole tree, as the release states it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The commit that it is of.
    #[must_use]
    pub fn commit(&self) -> ObjectId {
        self.commit
    }
}
