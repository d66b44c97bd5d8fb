//! Watches how much the granted folders grow during a run.
//!
//! A folder of the host has no size limit of its own, so this looks, at most four times a second,
//! at the blocks that files below it use. A run can write beyond its limit for as long as one look
//! and the pause before it take: at 1 GiB/s and 250 ms, a quarter of a gibibyte. `/tmp` is a file
//! system of its own and cannot be overshot.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The shortest pause between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// Entries that one look counts. A folder with more is watched by its file system's used space.
const ENTRIES: usize = 100_000;

/// What was there before the run, and what may come.
pub(crate) struct Watch {
    folders: Vec<PathBuf>,
    before: Used,
    limit: u64,
    pub(crate) pause: Duration,
}

/// Bytes used, told in two ways that must not be mixed.
struct Used {
    /// By the files there are. None where they cannot be counted.
    files: Option<u64>,
    /// On the whole file systems that they lie on.
    file_systems: u64,
}

impl Watch {
    /// None where there is nothing to watch.
    pub(crate) fn begin(folders: &[PathBuf], limit: u64) -> Option<Self> {
        if folders.is_empty() {
            return None;
        }
        let (before, pause) = measure(folders);
        Some(Self { folders: folders.to_vec(), before, limit, pause })
    }

    /// Whether more was written than may be.
    pub(crate) fn exceeded(&mut self) -> bool {
        let (now, pause) = measure(&self.folders);
        self.pause = pause;
        let grown = match (now.files, self.before.files) {
            (Some(now), Some(before)) => now.saturating_sub(before),
            // What others write counts too then; a module that hides what it writes is not trusted.
            _ => now.file_systems.saturating_sub(self.before.file_systems),
        };
        grown > self.limit
    }
}

/// Bytes used, and how long to wait before looking again: looking takes a tenth of the time at most.
fn measure(folders: &[PathBuf]) -> (Used, Duration) {
    let begin = Instant::now();
    let file_systems = folders.iter().map(|folder| used_by_file_system(folder)).sum();
    let used = Used { files: used(folders), file_systems };
    (used, PAUSE.max(begin.elapsed() * 10))
}

/// None where there is too much to count, a path is too long to follow, or a folder of the run's own
/// user is closed to it: only the run could have done that.
fn used(folders: &[PathBuf]) -> Option<u64> {
    let own = rustix::process::geteuid().as_raw();
    let mut total = 0;
    let mut entries = 0;
    let mut open = folders.to_vec();
    while let Some(path) = open.pop() {
        let status = match std::fs::symlink_metadata(&path) {
            Ok(status) => status,
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => return None,
            // Gone since it was listed.
            Err(_) => continue,
        };
        total += status.blocks() * 512;
        if status.is_dir() {
            match std::fs::read_dir(&path) {
                Ok(folder) => open.extend(folder.flatten().map(|entry| entry.path())),
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && status.uid() == own => {
                    return None;
                }
                Err(_) => {}
            }
            // Without the right to search, names can be listed and nothing behind them seen.
            if status.uid() == own && status.mode() & 0o100 == 0 {
                return None;
            }
        }
        entries += 1;
        if entries + open.len() > ENTRIES {
            return None;
        }
    }
    Some(total)
}

fn used_by_file_system(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |status| (status.f_blocks - status.f_bfree) * status.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_files_count() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("before"), vec![1; 1 << 20]).unwrap();
        let mut watch = Watch::begin(&[folder.path().to_owned()], 1 << 20).unwrap();
        assert!(!watch.exceeded());
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        for number in 0..300 {
            std::fs::write(folder.path().join(format!("deep/{number}")), vec![1; 4096]).unwrap();
        }
        assert!(watch.exceeded());
    }
}
