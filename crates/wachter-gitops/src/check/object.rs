use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix_object::{Find as _, Kind};

use crate::ObjectId;
use crate::layout::{self, LayoutError};
use crate::references::References;

/// The objects of a node's repository. Cheap to clone, and can be used from any thread.
///
/// No replacement, graft, alternate or shallow boundary is ever followed: a repository that has one
/// cannot be opened.
#[derive(Clone)]
pub(crate) struct ObjectStore {
    path: Arc<PathBuf>,
    store: Arc<gix_odb::Store>,
}

/// Reads objects, for one thread. Each is hashed again when it is read, with detection of SHA-1
/// collisions: Git does so only when objects arrive.
pub(crate) struct ObjectReader {
    handle: gix_odb::store::Handle<Arc<gix_odb::Store>>,
}

/// Why an object cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Not there.
    #[error("object {id} is missing; fetch again")]
    Missing {
        /// Which.
        id: ObjectId,
    },
    /// A blob where a tree should be, and so on.
    #[error("object {id} is a {found}, not a {expected}")]
    Kind {
        /// Which.
        id: ObjectId,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Larger than allowed.
    #[error("object {id} has {size} bytes, more than {limit}")]
    TooLarge {
        /// Which.
        id: ObjectId,
        /// How large.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The bytes do not have that name, or are part of a SHA-1 collision.
    #[error(
        "object {id} does not hold what its name says; remove the node's repository and fetch again"
    )]
    Damaged {
        /// Which.
        id: ObjectId,
    },
    /// The pack cannot be read.
    #[error("object {id} cannot be read: {reason}")]
    Unreadable {
        /// Which.
        id: ObjectId,
        /// Why.
        reason: String,
    },
}

impl ObjectStore {
    /// Opens a node's repository and reads its references, or says why it cannot be trusted.
    pub(crate) fn open(repository: &Path) -> Result<(Self, References), LayoutError> {
        let references = layout::inspect(repository)?;
        let objects = repository.join("objects");
        let store = Self::of_objects(&objects)
            .map_err(|source| LayoutError::File { path: objects, source })?;
        Ok((store, references))
    }

    /// Opens a folder of objects, whatever else lies beside it.
    pub(crate) fn of_objects(objects: &Path) -> std::io::Result<Self> {
        // Only what a fetch writes: an index a pack. A second index over all of them is not read.
        let options =
            gix_odb::store::init::Options { use_multi_pack_index: false, ..Default::default() };
        let none = &mut std::iter::empty();
        let hash = gix_hash::Kind::Sha1;
        let store = gix_odb::Store::at_opts(objects.to_owned(), hash, none, options)?;
        Ok(Self { path: Arc::new(objects.to_owned()), store: Arc::new(store) })
    }

    pub(crate) fn reader(&self) -> ObjectReader {
        let mut handle = self.store.to_handle_arc();
        handle.ignore_replacements = true;
        ObjectReader { handle }
    }
}

impl std::fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectStore({})", self.path.display())
    }
}

impl ObjectReader {
    /// Reads an object of one kind, of at most `limit` bytes, into `buffer`.
    ///
    /// # Errors
    /// Missing, of another kind, too large, or not what its name says.
    pub(crate) fn read<'b>(
        &self,
        id: ObjectId,
        kind: Kind,
        limit: u64,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], ObjectError> {
        // The size is looked at first: what is too large is not unpacked.
        self.header(id, kind, limit)?;
        match self.handle.try_find(&id.0, buffer) {
            Ok(Some(object)) => {
                object.verify_checksum(&id.0).map_err(|_| ObjectError::Damaged { id })?;
                Ok(object.data)
            }
            Ok(None) => Err(ObjectError::Missing { id }),
            Err(error) => Err(unreadable(id, &error)),
        }
    }

    /// Whether an object is there, whatever it is.
    pub(crate) fn exists(&self, id: ObjectId) -> bool {
        gix_object::Exists::exists(&self.handle, &id.0)
    }

    /// The size of an object, by its header alone.
    ///
    /// # Errors
    /// Missing, of another kind, or too large.
    pub(crate) fn header(&self, id: ObjectId, kind: Kind, limit: u64) -> Result<u64, ObjectError> {
        let header = gix_odb::Header::try_header(&self.handle, &id.0)
            .map_err(|error| unreadable(id, &error))?;
        let header = header.ok_or(ObjectError::Missing { id })?;
        if header.kind() != kind {
            return Err(ObjectError::Kind { id, expected: name(kind), found: name(header.kind()) });
        }
        let size = header.size();
        if size > limit {
            return Err(ObjectError::TooLarge { id, size, limit });
        }
        Ok(size)
    }
}

fn unreadable(id: ObjectId, error: &gix_error::Error) -> ObjectError {
    ObjectError::Unreadable { id, reason: format!("{error:#}").chars().take(200).collect() }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Tree => "tree",
        Kind::Blob => "blob",
        Kind::Commit => "commit",
        Kind::Tag => "tag",
    }
}
