//! Watches how much the granted folders grow during a run.
//!
//! A folder of the host has no size limit of its own, so this looks, at most four times a second,
//! at the blocks that files below it use. A run can write beyond its limit for as long as one look
//! and the pause before it take: at 1 GiB/s and 250 ms, a quarter of a gibibyte. `/tmp` is a file
//! system of its own and cannot be overshot.
//!
//! Files that were removed and are still open use space that no folder shows. They are looked for in
//! the run's processes, and only when the whole file system has lost more than the run may use. What
//! a module keeps only in a message between two of its sockets is not found.

use std::collections::{BTreeMap, BTreeSet};
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

    /// Whether more was written than may be, by `init` and all that it started.
    pub(crate) fn exceeded(&mut self, init: i32) -> bool {
        let (now, pause) = measure(&self.folders);
        self.pause = pause;
        let lost = now.file_systems.saturating_sub(self.before.file_systems);
        match (now.files, self.before.files) {
            (Some(now), Some(before)) => {
                let grown = now.saturating_sub(before);
                grown > self.limit
                    || lost > self.limit
                        && removed(init, &self.folders)
                            .is_none_or(|removed| grown + removed > self.limit)
            }
            // What others write counts too then; a module that hides what it writes is not trusted.
            _ => lost > self.limit,
        }
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
                Err(error)
                    if error.kind() == std::io::ErrorKind::PermissionDenied
                        && status.uid() == own =>
                {
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

/// Bytes of removed files that are open or mapped in what `init` started. None where a process does
/// not let this one look, which only the module could have asked for.
fn removed(init: i32, folders: &[PathBuf]) -> Option<u64> {
    let devices: BTreeSet<u64> = folders
        .iter()
        .filter_map(|folder| std::fs::metadata(folder).ok())
        .map(|status| status.dev())
        .collect();
    let mut found = BTreeMap::new();
    for process in processes_of_run(init) {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let gone = |error: &std::io::Error| error.kind() != std::io::ErrorKind::PermissionDenied;
        match std::fs::read_dir(folder.join("fd")) {
            Ok(descriptors) => {
                for status in
                    descriptors.flatten().filter_map(|entry| std::fs::metadata(entry.path()).ok())
                {
                    if status.nlink() == 0 && devices.contains(&status.dev()) {
                        found.insert((status.dev(), status.ino()), status.blocks() * 512);
                    }
                }
            }
            Err(error) if gone(&error) => continue,
            Err(_) => return None,
        }
        let maps = std::fs::read_to_string(folder.join("maps")).unwrap_or_default();
        for (file, bytes) in maps.lines().filter_map(removed_mapping) {
            let known = found.entry(file).or_insert(bytes);
            *known = bytes.max(*known);
        }
    }
    Some(found.values().sum())
}

/// The device and inode of a removed file, and the bytes mapped of it (proc_pid_maps(5)).
fn removed_mapping(line: &str) -> Option<((u64, u64), u64)> {
    let mut words = line.strip_suffix(" (deleted)")?.split_ascii_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let (major, minor) = words.nth(2)?.split_once(':')?;
    let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
    let device = rustix::fs::makedev(
        u32::from_str_radix(major, 16).ok()?,
        u32::from_str_radix(minor, 16).ok()?,
    );
    let inode: u64 = words.next()?.parse().ok()?;
    // A file without a device is memory, which has its own limits.
    (major != "00")
        .then_some(((device, inode), hexadecimal(end)?.saturating_sub(hexadecimal(begin)?)))
}

/// All processes of the run but its first. The monitor follows process 1 into the view, whose
/// `/proc` shows the run and not the monitor; without namespaces it is the host's, and shows all.
fn processes_of_run(init: i32) -> Vec<i32> {
    if !Path::new("/proc/self").exists() {
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        return all
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|process| *process > 1)
            .collect();
    }
    let mut found = children(init);
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children(*process));
        next += 1;
    }
    found
}

/// The children of a process, of all its threads.
fn children(process: i32) -> Vec<i32> {
    let threads =
        std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| {
            text.split_ascii_whitespace()
                .filter_map(|child| child.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect()
}

fn used_by_file_system(path: &Path) -> u64 {
    rustix::fs::statvfs(path)
        .map_or(0, |status| (status.f_blocks - status.f_bfree) * status.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_files_count() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("before"), vec![1; 1 << 20]).unwrap();
        let mut watch = Watch::begin(&[folder.path().to_owned()], 1 << 20).unwrap();
        assert!(!watch.exceeded(0));
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        for number in 0..300 {
            std::fs::write(folder.path().join(format!("deep/{number}")), vec![1; 4096]).unwrap();
        }
        assert!(watch.exceeded(0));
    }

    #[test]
    fn mappings_of_removed_files() {
        let line =
            "7f0000000000-7f0000002000 rw-s 00000000 fe:00 77                 /srv/a b (deleted)";
        assert_eq!(removed_mapping(line), Some(((rustix::fs::makedev(0xfe, 0), 77), 0x2000)));
        for other in [
            "",
            "7f-80 rw-s 0 fe:00 77 /srv/a",
            "7f0-7f1 rw-s 0 00:01 5 /memfd:a (deleted)",
            "x (deleted)",
            " (deleted)",
        ] {
            assert_eq!(removed_mapping(other), None, "{other}");
        }
    }
}
