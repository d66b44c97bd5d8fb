use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// The most folders and files that are looked at.
const MAX_ENTRIES: usize = 20_000;

/// How deep folders lie in one another at most.
const MAX_DEPTH: usize = 16;

/// The most bytes of a file. A bundle of all authorities has a quarter of this.
const MAX_FILE: u64 = 1 << 20;

/// What certificates' files are called.
const ENDINGS: [&str; 5] = ["pem", "crt", "cer", "cert", "der"];

/// A file that is called like one with a certificate.
pub(super) enum Found {
    /// Its content.
    Content(Vec<u8>),
    /// Why it cannot be read.
    Unreadable(String),
}

/// Hands over all files below `folders`, in order, but for those in `ignore`. Links to files are followed,
/// links to folders are not.
///
/// # Errors
/// Why not all was looked at: a folder that cannot be listed, or too much. The rest was handed over.
pub(super) fn walk(
    folders: &[PathBuf],
    ignore: &BTreeSet<PathBuf>,
    mut each: impl FnMut(&Path, Found),
) -> Result<(), String> {
    let mut left = MAX_ENTRIES;
    let mut reason = None;
    for folder in folders {
        if let Err(error) = list(folder, ignore, MAX_DEPTH, &mut left, &mut each) {
            reason.get_or_insert(error);
        }
    }
    reason.map_or(Ok(()), Err)
}

fn list(
    folder: &Path,
    ignore: &BTreeSet<PathBuf>,
    depth: usize,
    left: &mut usize,
    each: &mut impl FnMut(&Path, Found),
) -> Result<(), String> {
    if ignore.contains(folder) {
        return Ok(());
    }
    if depth == 0 {
        return Err(format!(
            "folders lie deeper than {MAX_DEPTH} in one another at {}",
            folder.display()
        ));
    }
    let listed = fs::read_dir(folder).map_err(|error| {
        format!(
            "{} cannot be listed: {error}; grant it under `filesystem.read`, and a group that may read it under `groups`",
            folder.display()
        )
    })?;
    let mut entries: Vec<_> = listed.take(*left + 1).filter_map(Result::ok).collect();
    if entries.len() > *left {
        return Err(format!("there are more than {MAX_ENTRIES} files"));
    }
    *left -= entries.len();
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut reason = None;
    for entry in entries {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if let Err(error) = list(&path, ignore, depth - 1, left, each) {
                reason.get_or_insert(error);
            }
        } else if !ignore.contains(&path)
            && path.extension().is_some_and(|ending| {
                ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
            })
        {
            // By what a link leads to. A pipe would be waited for.
            match fs::metadata(&path) {
                Ok(kind) if kind.is_file() => each(&path, read(&path)),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => each(&path, Found::Unreadable(error.to_string())),
            }
        }
    }
    reason.map_or(Ok(()), Err)
}

fn read(path: &Path) -> Found {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)) {
        Ok(length) if u64::try_from(length) == Ok(MAX_FILE) => {
            Found::Unreadable(format!("it has more than {MAX_FILE} bytes"))
        }
        Ok(_) => Found::Content(bytes),
        Err(error) => Found::Unreadable(error.to_string()),
    }
}
