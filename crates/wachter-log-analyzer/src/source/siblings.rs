use std::cmp::Reverse;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::open::{Identity, milliseconds};

/// A file that a log was rotated to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sibling {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) modified: i64,
    pub(crate) size: u64,
    generation: Option<u32>,
}

/// Rotated files of one log that are looked at.
const MAX_SIBLINGS: usize = 1_000;
/// Entries of one folder that are looked at.
const MAX_ENTRIES: usize = 100_000;
const COMPRESSIONS: [&str; 4] = [".gz", ".zst", ".xz", ".bz2"];

/// The regular files that `base` was rotated to, the oldest first. A file that is being compressed
/// stands in for its compressed form, which may be half written.
///
/// # Errors
/// A folder that cannot be read.
pub(crate) fn siblings(base: &Path) -> io::Result<Vec<Sibling>> {
    let (Some(folder), Some(name)) =
        (base.parent(), base.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(Vec::new());
    };
    let mut found: Vec<(String, Sibling)> = Vec::new();
    for entry in folder.read_dir()?.take(MAX_ENTRIES) {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(other) = file_name.to_str().filter(|other| is_rotated(name, other)) else {
            continue;
        };
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // A link would be followed by name later, to who knows what.
        if !metadata.is_file() {
            continue;
        }
        let sibling = Sibling {
            path: entry.path(),
            identity: Identity { device: metadata.dev(), inode: metadata.ino() },
            modified: milliseconds(&metadata),
            size: metadata.len(),
            generation: generation(name, other),
        };
        found.push((other.to_owned(), sibling));
        if found.len() == MAX_SIBLINGS {
            break;
        }
    }
    let names: std::collections::HashSet<String> =
        found.iter().map(|(name, _)| name.clone()).collect();
    found.retain(|(other, _)| {
        plain(other).is_none_or(|plain| !names.contains(plain) && plain != name)
    });
    let numbered = found.iter().all(|(_, sibling)| sibling.generation.is_some());
    found.sort_by(|(left_name, left), (right_name, right)| {
        let by_number = Reverse(left.generation).cmp(&Reverse(right.generation));
        let by_time = left.modified.cmp(&right.modified).then_with(|| left_name.cmp(right_name));
        if numbered { by_number.then(by_time) } else { by_time }
    });
    Ok(found.into_iter().map(|(_, sibling)| sibling).collect())
}

/// The name without the ending of a compressed file.
fn plain(name: &str) -> Option<&str> {
    COMPRESSIONS.iter().find_map(|ending| name.strip_suffix(ending))
}

/// Whether a file is what another was rotated to: `app.log.1`, `app.log-20260101.gz`,
/// `app-20260101.log`, `app.1.log.zst`, `app.log.old`.
pub(crate) fn is_rotated(base: &str, other: &str) -> bool {
    let name = plain(other).unwrap_or(other);
    let digits = |text: &str| {
        !text.is_empty()
            && text.bytes().any(|byte| byte.is_ascii_digit())
            && text.bytes().all(|byte| {
                byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'T' | b'Z')
            })
    };
    if let Some(rest) = name.strip_prefix(base) {
        let Some(after) = rest.strip_prefix(['.', '-', '_']) else {
            return rest.is_empty() && name != other;
        };
        return digits(after) || after == "old";
    }
    let Some((stem, extension)) = base.rsplit_once('.') else { return false };
    name.strip_suffix(extension)
        .and_then(|name| name.strip_suffix('.'))
        .and_then(|name| name.strip_prefix(stem))
        .and_then(|middle| middle.strip_prefix(['.', '-', '_']))
        .is_some_and(digits)
}

/// The number that counts up with age. A long one is a date.
fn generation(base: &str, other: &str) -> Option<u32> {
    let name = plain(other).unwrap_or(other);
    let number = match name.strip_prefix(base) {
        Some(rest) => rest,
        None => {
            let (stem, extension) = base.rsplit_once('.')?;
            name.strip_prefix(stem)?.strip_suffix(extension)?.strip_suffix('.')?
        }
    };
    let number = number.trim_start_matches(['.', '-', '_']);
    (number.len() <= 4).then(|| number.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_files() {
        for (base, other, expected) in [
            ("app.log", "app.log.1", true),
            ("app.log", "app.log.12.gz", true),
            ("app.log", "app.log-20260101", true),
            ("app.log", "app.log-20260101-1430.zst", true),
            ("app.log", "app-2026-01-01.log", true),
            ("app.log", "app.3.log.gz", true),
            ("app.log", "app.log.old", true),
            ("app.log", "app.log.gz", true),
            ("app.log", "app.log", false),
            ("app.log", "app.log.lock", false),
            ("app.log", "apply.log.1", false),
            ("app.log", "app-error.log", false),
            ("app.log", "app.log.", false),
            ("syslog", "syslog.1", true),
            ("syslog", "syslog-ng.log", false),
        ] {
            assert_eq!(is_rotated(base, other), expected, "{base} {other}");
        }
    }

    #[test]
    fn the_oldest_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.log", "a.log.1", "a.log.10.gz", "a.log.2", "a.log.2.gz", "b.log.1"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let found = siblings(&folder.path().join("a.log")).unwrap();
        let names: Vec<_> = found.iter().map(|sibling| sibling.path.file_name().unwrap()).collect();
        assert_eq!(names, ["a.log.10.gz", "a.log.2", "a.log.1"]);
    }
}
