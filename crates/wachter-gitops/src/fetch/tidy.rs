//! Few packs instead of many, and nothing that nobody refers to any more.
//!
//! Every fetch that brings something leaves a pack. From time to time all that can be reached from the
//! references and from what the node remembers is written into one new pack, and the old ones go.
//!
//! # Invariants
//! - The new pack is whole, synced, indexed, and holds every object that it is to stand for, before
//!   the first old one is removed. A process that is killed at any point has lost nothing: what it
//!   left half is removed by the next worker.
//! - Whatever can be reached stays, the whole history behind it included: a server that is told of a
//!   commit takes it that everything before it is here too.
//! - Nothing is decided by what an object says: one that makes no sense is kept, and leads nowhere.
//!
//! # Limits
//! - A pack that is more than [`LARGE`] times as large as all others together stays as it is, unless
//!   more than a quarter of it is waste: what is written each time is in proportion to what came.
//! - Chains of deltas stay below [`MAX_CHAIN`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix_hash::ObjectId as GitId;
use gix_object::{CommitRefIter, Find as _, Kind, TagRefIter, TreeRefIter};
use gix_pack::data::entry::Header;
use gix_zlib::Compression;
use gix_zlib::stream::deflate;
use wachter_file::sync_folder;

use super::failure::{FetchFailure, printable};
use super::job::FetchLimits;
use super::pack;
use crate::ObjectId;

const HASH: gix_hash::Kind = gix_hash::Kind::Sha1;

/// How many times as large as the others a pack is that is left alone.
const LARGE: u64 = 4;

/// The most deltas that lead to one object. Git's own limit is 50 as well.
const MAX_CHAIN: usize = 50;

/// The most deltas that are followed before an object is written whole; also the end of a circle.
const MAX_WAY: usize = 4_096;

/// Puts what can be reached from `roots` into as few packs as makes sense.
///
/// # Errors
/// An object that is damaged, or the disk; then all packs are as they were.
pub(crate) fn tidy(
    repository: &Path,
    store: &Arc<gix_odb::Store>,
    roots: impl IntoIterator<Item = ObjectId>,
    limits: &FetchLimits,
) -> Result<(), FetchFailure> {
    let packs_folder = repository.join("objects/pack");
    let mut packs = open_packs(&packs_folder)?;
    let handle = store.to_handle_arc();
    let keep = reachable(&handle, roots)?;
    let left_alone = large(&packs, &keep).map(|at| packs.remove(at));
    if packs.is_empty() {
        return Ok(());
    }
    let elsewhere =
        |id: &GitId| left_alone.as_ref().is_some_and(|pack| pack.index.lookup(id).is_some());
    let wanted: HashSet<GitId> = packs
        .iter()
        .flat_map(|pack| pack.entries.values().map(|entry| entry.id))
        .filter(|id| keep.contains(id) && !elsewhere(id))
        .collect();
    let new = if wanted.is_empty() {
        None
    } else {
        let unindexed = repository.join("incoming/tidy");
        write(&unindexed, &packs, &wanted, &handle).map_err(|error| pack::own(&error))?;
        let mut input = BufReader::new(File::open(&unindexed).map_err(|error| pack::own(&error))?);
        let limits = FetchLimits { objects: u32::MAX, ..*limits };
        let (data, index) = pack::index(&mut input, repository, store, &limits)?;
        // What is removed below is gone: the new pack is asked, not the code that wrote it.
        let indexed = gix_pack::index::File::at(&index, HASH).map_err(|error| broken(&error))?;
        if let Some(missing) = wanted.iter().find(|id| indexed.lookup(id).is_none()) {
            let reason = format!("object {missing} was lost while packs were put together");
            return Err(FetchFailure::Repository { reason });
        }
        pack::install(&data, &index, &packs_folder).map_err(|error| pack::own(&error))?;
        data.file_name().map(|name| packs_folder.join(name))
    };
    let old = packs.iter().map(|pack| &pack.path).filter(|path| Some(*path) != new.as_ref());
    remove(old, &packs_folder).map_err(|error| pack::own(&error))?;
    pack::clean(repository)
}

/// A pack of the repository, with what is where in it.
struct Pack {
    path: PathBuf,
    data: gix_pack::data::File,
    index: gix_pack::index::File,
    /// By offset.
    entries: BTreeMap<u64, PackEntry>,
}

struct PackEntry {
    id: GitId,
    /// The offset after its last byte.
    end: u64,
}

/// The packs, in the order in which they came: a delta's base mostly came before it.
fn open_packs(folder: &Path) -> Result<Vec<Pack>, FetchFailure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| pack::own(&error))? {
        let path = entry.map_err(|error| pack::own(&error))?.path();
        if path.extension().is_some_and(|extension| extension == "idx") {
            let data = path.metadata().map_err(|error| pack::own(&error))?;
            found.push((data.mtime(), data.mtime_nsec(), path));
        }
    }
    found.sort();
    found.into_iter().map(|(.., path)| open_pack(&path)).collect()
}

fn open_pack(index: &Path) -> Result<Pack, FetchFailure> {
    let gix_pack::Bundle { pack: data, index } =
        gix_pack::Bundle::at(index, HASH).map_err(|error| broken(&error))?;
    let ids: BTreeMap<u64, GitId> =
        index.iter().map(|entry| (entry.pack_offset, entry.oid)).collect();
    let ends = ids.keys().copied().skip(1).chain([data.pack_end() as u64]);
    let entries = ids.iter().zip(ends).map(|((at, id), end)| (*at, PackEntry { id: *id, end }));
    let entries = entries.collect();
    Ok(Pack { path: data.path().to_owned(), data, index, entries })
}

/// Everything that can be reached. Blobs are not looked at: what a folder names as a file is one.
fn reachable(
    handle: &gix_odb::store::Handle<Arc<gix_odb::Store>>,
    roots: impl IntoIterator<Item = ObjectId>,
) -> Result<HashSet<GitId>, FetchFailure> {
    let mut open: Vec<GitId> = roots.into_iter().map(|id| id.0).collect();
    let mut seen: HashSet<GitId> = open.iter().copied().collect();
    let mut buffer = Vec::new();
    while let Some(id) = open.pop() {
        // What is not here cannot be lost.
        let Some(object) = handle.try_find(&id, &mut buffer).map_err(|error| broken(&error))?
        else {
            continue;
        };
        let mut follow: Vec<GitId> = Vec::new();
        match object.kind {
            Kind::Tag => follow.extend(TagRefIter::from_bytes(object.data, HASH).target_id()),
            Kind::Commit => {
                let mut commit = CommitRefIter::from_bytes(object.data, HASH);
                follow.extend(commit.tree_id());
                follow.extend(CommitRefIter::from_bytes(object.data, HASH).parent_ids());
            }
            Kind::Tree => {
                for entry in TreeRefIter::from_bytes(object.data, HASH).map_while(Result::ok) {
                    if entry.mode.is_tree() {
                        follow.push(entry.oid.to_owned());
                    } else if !entry.mode.is_commit() {
                        seen.insert(entry.oid.to_owned());
                    }
                }
            }
            Kind::Blob => {}
        }
        open.extend(follow.into_iter().filter(|id| seen.insert(*id)));
    }
    Ok(seen)
}

/// The pack that is not worth writing again.
fn large(packs: &[Pack], keep: &HashSet<GitId>) -> Option<usize> {
    let size = |pack: &Pack| pack.data.data_len() as u64;
    let (at, largest) = packs.iter().enumerate().max_by_key(|(_, pack)| size(pack))?;
    let others: u64 = packs.iter().map(size).sum::<u64>() - size(largest);
    let used: u64 = largest
        .entries
        .iter()
        .filter(|(_, entry)| keep.contains(&entry.id))
        .map(|(start, entry)| entry.end - start)
        .sum();
    let wasteful = used < size(largest) / 4 * 3;
    (size(largest) > others.saturating_mul(LARGE) && !wasteful).then_some(at)
}

/// Writes `wanted` into one pack (gitformat-pack, version 2). Entries are copied as they are where
/// their base is in the new pack too, and written whole where it is not.
fn write(
    path: &Path,
    packs: &[Pack],
    wanted: &HashSet<GitId>,
    handle: &gix_odb::store::Handle<Arc<gix_odb::Store>>,
) -> io::Result<()> {
    let count = u32::try_from(wanted.len()).map_err(io::Error::other)?;
    let file = BufWriter::new(File::create(path)?);
    let mut output = Output {
        writer: gix_hash::io::Write::new(file, HASH),
        offset: 0,
        written: HashMap::with_capacity(wanted.len()),
    };
    output.put(&gix_pack::data::header::encode(gix_pack::data::Version::V2, count))?;
    let mut buffer = Vec::new();
    for pack in packs {
        for (start, entry) in &pack.entries {
            if !wanted.contains(&entry.id) {
                continue;
            }
            // A base may stand behind what is made from it: the way to it first, then back.
            let mut way = vec![*start];
            while let Some(base) = way.last().and_then(|at| pack.base(*at)) {
                let known = pack.entries.get(&base);
                if !known.is_some_and(|entry| wanted.contains(&entry.id)) || way.len() > MAX_WAY {
                    break;
                }
                way.push(base);
                if known.is_some_and(|entry| output.written.contains_key(&entry.id)) {
                    break;
                }
            }
            for at in way.into_iter().rev() {
                if !output.written.contains_key(&pack.entries[&at].id) {
                    output.object(pack, at, handle, &mut buffer)?;
                }
            }
        }
    }
    let checksum = output.writer.hash.try_finalize().map_err(io::Error::other)?;
    let mut file = output.writer.inner;
    file.write_all(checksum.as_slice())?;
    file.flush()
}

impl Pack {
    /// Where the base of a delta is in this pack; nothing for what is whole.
    fn base(&self, at: u64) -> Option<u64> {
        match self.data.entry(at).ok()?.header {
            Header::OfsDelta { base_distance } => {
                Header::verified_base_pack_offset(at, base_distance)
            }
            Header::RefDelta { base_id } => {
                Some(self.index.pack_offset_at_index(self.index.lookup(base_id)?))
            }
            _ => None,
        }
    }
}

/// A pack that is being written.
struct Output {
    writer: gix_hash::io::Write<BufWriter<File>>,
    offset: u64,
    /// Where an object is, and how many deltas lead to it.
    written: HashMap<GitId, (u64, usize)>,
}

impl Output {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn object(
        &mut self,
        pack: &Pack,
        at: u64,
        handle: &gix_odb::store::Handle<Arc<gix_odb::Store>>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        let PackEntry { id, end } = pack.entries[&at];
        let start = self.offset;
        let entry = pack.data.entry(at).map_err(io::Error::other)?;
        let base = pack.base(at).and_then(|base| pack.entries.get(&base));
        let base = base.and_then(|base| self.written.get(&base.id).copied());
        let (header, chain) = match (entry.header.is_delta(), base) {
            (false, _) => (Some(entry.header), 0),
            (true, Some((base, chain))) if chain < MAX_CHAIN => {
                (Some(Header::OfsDelta { base_distance: start - base }), chain + 1)
            }
            (true, _) => (None, 0),
        };
        let mut bytes = Vec::new();
        if let Some(header) = header {
            header.write_to(entry.decompressed_size, &mut bytes)?;
            let content = pack.data.entry_slice(entry.data_offset..end);
            bytes.extend_from_slice(content.ok_or(io::ErrorKind::UnexpectedEof)?);
        } else {
            let object = handle.try_find(&id, buffer).map_err(io::Error::other)?;
            let object = object.ok_or(io::ErrorKind::NotFound)?;
            let header = match object.kind {
                Kind::Tree => Header::Tree,
                Kind::Blob => Header::Blob,
                Kind::Commit => Header::Commit,
                Kind::Tag => Header::Tag,
            };
            header.write_to(object.data.len() as u64, &mut bytes)?;
            let mut deflated = deflate::Write::new(bytes, Compression::DEFAULT);
            deflated.write_all(object.data)?;
            deflated.flush()?;
            bytes = deflated.into_inner();
        }
        self.put(&bytes)?;
        self.written.insert(id, (start, chain));
        Ok(())
    }
}

/// Removes packs: what makes each visible goes first, so that none is ever seen half.
fn remove<'p>(packs: impl Iterator<Item = &'p PathBuf>, folder: &Path) -> io::Result<()> {
    let packs: Vec<&PathBuf> = packs.collect();
    // The new names are on disk for certain before an old one goes.
    sync_folder(folder)?;
    for pack in packs {
        fs::remove_file(pack.with_extension("idx"))?;
        fs::remove_file(pack)?;
    }
    sync_folder(folder)
}

fn broken(error: &dyn std::fmt::Display) -> FetchFailure {
    FetchFailure::Repository { reason: printable(&format!("{error:#}"), 400) }
}
