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
/// Entries that one look counts. A folder with more is watched by its file system's free space.
const ENTRIES: usize = 100_000;

/// What was there before the run, and what may come.
pub(crate) struct Watch {
    folders: Vec<PathBuf>,
    before: u64,
    limit: u64,
    pub(crate) pause: Duration,
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
        now.saturating_sub(self.before) > self.limit
    }
}

/// Bytes used, and how long to wait before looking again: looking takes a tenth of the time at most.
fn measure(folders: &[PathBuf]) -> (u64, Duration) {
    let begin = Instant::now();
    let total = used(folders)
        .unwrap_or_else(|| folders.iter().map(|folder| used_by_file_system(folder)).sum());
    (total, PAUSE.max(begin.elapsed() * 10))
}

/// None where there is too much to count, or a path too long to follow.
fn used(folders: &[PathBuf]) -> Option<u64> {
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
            let Ok(folder) = std::fs::read_dir(&path) else { continue };
            open.extend(folder.flatten().map(|entry| entry.path()));
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
