use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix_object::Kind;
use wachter_file::{Readers, replace_durably};
use wachter_model::Digest;
use wachter_trust::TreeListing;

use super::walk::{HostileTree, TreeFiles};
use super::{ObjectError, ObjectReader, ObjectStore};
use crate::ObjectId;

/// First bytes of the file: what it is, and its version.
const MAGIC: &[u8; 16] = b"wachter-sha256 1";

/// Object id, digest, size.
const RECORD_BYTES: usize = ObjectId::BYTES + 32 + 8;

/// Beyond this many files it pays to hash with several threads.
const FILES_PER_THREAD: usize = 256;

/// SHA-256 of file contents by object id, kept between runs.
///
/// An object id is itself a digest, which every object is checked against when it arrives and when
/// its content is first hashed here, with detection of SHA-1 collisions. So content that was hashed
/// once need not be read again to be known: an unchanged file costs nothing at the next release. The
/// file is written by the node alone, beside its state, and is worth as much; a damaged one is left
/// out of account.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Empty where nothing is kept.
    file: PathBuf,
    known: HashMap<ObjectId, (Digest, u64)>,
    changed: bool,
}

impl Contents {
    /// Reads what was kept. A file that is missing or damaged is an empty one.
    pub(crate) fn load(file: PathBuf) -> Self {
        let known = fs::read(&file).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default();
        Self { file, known, changed: false }
    }

    /// Writes what is known, of `keep` alone, when it differs from what was read.
    pub(crate) fn save(&mut self, keep: &TreeFiles) -> io::Result<()> {
        if self.changed {
            let known = |id: ObjectId| Some((id, *self.known.get(&id)?));
            let records: BTreeMap<_, _> =
                keep.files.iter().filter_map(|file| known(file.id)).collect();
            replace_durably(&self.file, &render(&records), Readers::Owner)?;
            self.changed = false;
        }
        Ok(())
    }

    /// The size of a file whose content was hashed before.
    pub(crate) fn size(&self, id: ObjectId) -> Option<u64> {
        self.known.get(&id).map(|(_, size)| *size)
    }

    /// The digest that a release of these files must state ([`TreeListing`]).
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub(crate) fn listing(
        &mut self,
        store: &ObjectStore,
        tree: &TreeFiles,
    ) -> Result<Digest, HostileTree> {
        let mut missing: Vec<(ObjectId, &str, u64)> = tree
            .files
            .iter()
            .filter(|file| !self.known.contains_key(&file.id))
            .map(|file| (file.id, file.path.as_str(), file.size))
            .collect();
        missing.sort_unstable();
        missing.dedup_by_key(|(id, ..)| *id);
        self.changed |= !missing.is_empty();
        self.known.extend(hash_all(store, &missing)?);
        let mut listing = TreeListing::new();
        for file in &tree.files {
            let (digest, _) = self.known[&file.id];
            listing.push(file.mode, digest, &file.path).map_err(|error| HostileTree::Object {
                path: file.path.clone(),
                source: ObjectError::Unreadable { id: file.id, reason: error.to_string() },
            })?;
        }
        Ok(listing.digest())
    }
}

type Hashed = Vec<(ObjectId, (Digest, u64))>;

fn hash_all(store: &ObjectStore, files: &[(ObjectId, &str, u64)]) -> Result<Hashed, HostileTree> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = files.len().div_ceil(FILES_PER_THREAD).clamp(1, cores);
    let share = files.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let running: Vec<_> = files
            .chunks(share)
            .map(|part| scope.spawn(|| hash_part(&store.reader(), part)))
            .collect();
        let mut hashed = Vec::with_capacity(files.len());
        for thread in running {
            hashed.extend(thread.join().expect("hashing does not panic")?);
        }
        Ok(hashed)
    })
}

fn hash_part(
    reader: &ObjectReader,
    files: &[(ObjectId, &str, u64)],
) -> Result<Hashed, HostileTree> {
    let mut buffer = Vec::new();
    let hash = |(id, path, size): &(ObjectId, &str, u64)| {
        let content = reader.read(*id, Kind::Blob, *size, &mut buffer);
        let content =
            content.map_err(|source| HostileTree::Object { path: (*path).to_owned(), source })?;
        Ok((*id, (Digest::of(content), *size)))
    };
    files.iter().map(hash).collect()
}

fn render(records: &BTreeMap<ObjectId, (Digest, u64)>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (id, (digest, size)) in records {
        bytes.extend(id.as_bytes());
        bytes.extend(digest.as_bytes());
        bytes.extend(size.to_le_bytes());
    }
    let check = Digest::of(&bytes);
    bytes.extend(check.as_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<HashMap<ObjectId, (Digest, u64)>> {
    let (body, check) = bytes.split_last_chunk::<32>()?;
    if Digest::of(body).as_bytes() != check {
        return None;
    }
    let records = body.strip_prefix(MAGIC)?.chunks_exact(RECORD_BYTES);
    if !records.remainder().is_empty() {
        return None;
    }
    let mut known = HashMap::new();
    for record in records {
        let (id, rest) = record.split_first_chunk()?;
        let (digest, rest) = rest.split_first_chunk()?;
        let size = u64::from_le_bytes(rest.try_into().ok()?);
        known.insert(ObjectId::from_bytes(*id), (Digest::from_bytes(*digest), size));
    }
    Some(known)
}

/// Where the digests of a node's repository are kept.
pub(crate) fn file(data: &Path) -> PathBuf {
    data.join("contents.sha256")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips_and_notices_damage(
            records in proptest::collection::btree_map(any::<[u8; 20]>(), (any::<[u8; 32]>(), any::<u64>()), 0..20),
            flip in any::<prop::sample::Index>(),
        ) {
            let records: BTreeMap<_, _> = records.into_iter()
                .map(|(id, (digest, size))| (ObjectId::from_bytes(id), (Digest::from_bytes(digest), size)))
                .collect();
            let mut bytes = render(&records);
            prop_assert_eq!(parse(&bytes), Some(records.into_iter().collect()));
            let at = flip.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert_eq!(parse(&bytes), None);
        }
    }
}
