use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gix_pack::data::input::Mode;
use gix_utils::progress::Discard;
use wachter_file::sync_folder;

use super::failure::{FetchFailure, LimitKind, printable};
use super::job::FetchLimits;

/// Signature, version, number of objects (gitformat-pack).
const HEADER_BYTES: usize = 12;

/// Indexes a pack while it is received and puts it into the repository: `incoming/` first, and from
/// there, synced and complete, into `objects/pack/`. Every object's hash is computed on the way, with
/// collision detection; the trailing checksum is checked.
///
/// Returns how many objects the pack announced.
pub(crate) fn receive(
    input: &mut dyn BufRead,
    repository: &Path,
    store: &Arc<gix_odb::Store>,
    limits: &FetchLimits,
) -> Result<u32, FetchFailure> {
    let (data, index, objects) = match indexed(input, repository, store, limits)? {
        (Some((data, index)), objects) => (data, index, objects),
        (None, _) => return Ok(0),
    };
    install(&data, &index, &repository.join("objects/pack")).map_err(|error| own(&error))?;
    clean(repository)?;
    Ok(objects)
}

/// As [`receive`], and leaves pack and index in `incoming/`: what a pack of ours must come to.
///
/// Returns where they are.
pub(crate) fn index(
    input: &mut dyn BufRead,
    repository: &Path,
    store: &Arc<gix_odb::Store>,
    limits: &FetchLimits,
) -> Result<(PathBuf, PathBuf), FetchFailure> {
    let empty = || FetchFailure::Pack { reason: "it is empty".to_owned() };
    indexed(input, repository, store, limits)?.0.ok_or_else(empty)
}

type Indexed = (Option<(PathBuf, PathBuf)>, u32);

fn indexed(
    input: &mut dyn BufRead,
    repository: &Path,
    store: &Arc<gix_odb::Store>,
    limits: &FetchLimits,
) -> Result<Indexed, FetchFailure> {
    let mut header = [0; HEADER_BYTES];
    input.read_exact(&mut header).map_err(|error| refused(&error))?;
    let objects = announced(&header)?;
    if objects > limits.objects {
        return Err(FetchFailure::Limit { what: LimitKind::Objects, limit: limits.objects.into() });
    }
    if objects == 0 {
        io::copy(input, &mut io::sink()).map_err(|error| refused(&error))?;
        return Ok((None, 0));
    }
    let incoming = repository.join("incoming");
    let options = gix_pack::bundle::write::Options {
        iteration_mode: Mode::Verify,
        alloc_limit_bytes: Some(usize::try_from(limits.object_bytes).unwrap_or(usize::MAX)),
        ..gix_pack::bundle::write::Options::default()
    };
    let mut whole = BufReader::new(Cursor::new(header).chain(input));
    let outcome = gix_pack::Bundle::write_to_directory(
        &mut whole,
        Some(&incoming),
        &mut Discard,
        &AtomicBool::new(false),
        Some(store.to_handle_arc()),
        gix_hash::Kind::Sha1,
        options,
    )
    .map_err(|error| FetchFailure::Pack { reason: printable(&format!("{error:#}"), 400) })?;
    Ok((outcome.data_path.zip(outcome.index_path), objects))
}

fn announced(header: &[u8; HEADER_BYTES]) -> Result<u32, FetchFailure> {
    let word = |at: usize| {
        u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes are four bytes"))
    };
    if &header[..4] != b"PACK" || !matches!(word(4), 2 | 3) {
        return Err(FetchFailure::Pack { reason: "it does not begin like a pack".to_owned() });
    }
    Ok(word(8))
}

/// Moves a pack into place. The index goes last, as it is what makes a pack visible.
pub(crate) fn install(data: &Path, index: &Path, packs: &Path) -> io::Result<()> {
    for file in [data, index] {
        File::open(file)?.sync_all()?;
    }
    for file in [data, index] {
        let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        fs::rename(file, packs.join(name))?;
    }
    sync_folder(packs)
}

/// Removes what lies in `incoming/`: what is left of an index that was made, or of a worker that was
/// killed; and packs without an index, which such a worker was about to add or to remove. Only for who
/// holds the repository's lock.
pub(crate) fn clean(repository: &Path) -> Result<(), FetchFailure> {
    let remove = || {
        for entry in fs::read_dir(repository.join("incoming"))? {
            fs::remove_file(entry?.path())?;
        }
        for entry in fs::read_dir(repository.join("objects/pack"))? {
            let path = entry?.path();
            let is_pack = path.extension().is_some_and(|extension| extension == "pack");
            if is_pack && !path.with_extension("idx").try_exists()? {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    };
    remove().map_err(|error| own(&error))
}

fn refused(error: &io::Error) -> FetchFailure {
    FetchFailure::Pack { reason: printable(&error.to_string(), 200) }
}

pub(crate) fn own(error: &io::Error) -> FetchFailure {
    FetchFailure::Repository { reason: error.to_string() }
}
