//! The files of the log: `node.log` is written, `node-<time>.log` are closed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

/// When a file is closed, and how much all of them may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// A file is closed before it would be larger than so many bytes.
    pub size: u64,
    /// A file is closed when its first line is so old.
    pub age: Duration,
    /// Closed files are deleted, oldest first, before all together would take more bytes.
    pub total: u64,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { size: 16 << 20, age: Duration::from_secs(86_400), total: 128 << 20 }
    }
}

/// The name of the file that is written.
const CURRENT: &str = "node.log";

pub(crate) fn current(folder: &Path) -> PathBuf {
    folder.join(CURRENT)
}

/// The closed files, oldest first.
pub(crate) fn closed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("node-") && name.ends_with(".log") {
            files.push(path);
        }
    }
    // Their names hold their times, so they sort by them.
    files.sort();
    Ok(files)
}

/// Writes lines and keeps to the limits.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    limits: FileLimits,
    file: File,
    size: u64,
    began: Timestamp,
}

impl Files {
    /// Opens the folder, and goes on with the file that is there.
    pub(crate) fn open(folder: &Path, limits: FileLimits) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = append(folder)?;
        let metadata = file.metadata()?;
        let began = metadata.created().ok().and_then(|time| Timestamp::try_from(time).ok());
        let (size, began) = (metadata.len(), began.unwrap_or_else(Timestamp::now));
        Ok(Self { folder: folder.to_owned(), limits, file, size, began })
    }

    pub(crate) const fn limit(&mut self, limits: FileLimits) {
        self.limits = limits;
    }

    pub(crate) fn write(&mut self, text: &str, now: Timestamp) -> io::Result<()> {
        let length = text.len() as u64;
        let age = Duration::try_from(now.duration_since(self.began)).unwrap_or_default();
        if self.size > 0 && (self.size + length > self.limits.size || age >= self.limits.age) {
            self.close_file(now)?;
        }
        self.make_room(length)?;
        // One write of a whole line to a file that is appended to; what a full disk cut off is made
        // a line of its own by the next one.
        self.file.write_all(text.as_bytes())?;
        self.size += length;
        Ok(())
    }

    fn close_file(&mut self, now: Timestamp) -> io::Result<()> {
        let mut name = format!("node-{}.log", now.strftime("%Y%m%dT%H%M%S%.6fZ"));
        let mut count = 0;
        // A clock that went back must not overwrite what is there.
        while self.folder.join(&name).exists() {
            count += 1;
            name = format!("node-{}-{count}.log", now.strftime("%Y%m%dT%H%M%S%.6fZ"));
        }
        match fs::rename(current(&self.folder), self.folder.join(name)) {
            // Somebody else took it away; that is no reason to write nothing more.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.file = append(&self.folder)?;
        (self.size, self.began) = (0, now);
        Ok(())
    }

    fn make_room(&self, length: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for path in closed(&self.folder)? {
            files.push((fs::metadata(&path)?.len(), path));
        }
        let mut total: u64 = files.iter().map(|(size, _)| size).sum::<u64>() + self.size + length;
        for (size, path) in files {
            if total <= self.limits.total {
                break;
            }
            fs::remove_file(path)?;
            total -= size;
        }
        Ok(())
    }
}

fn append(folder: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(current(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn total(folder: &Path) -> u64 {
        let sizes =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        sizes.sum()
    }

    #[test]
    fn closes_by_size_and_keeps_to_the_total() {
        let folder = tempfile::tempdir().unwrap();
        let limits = FileLimits { size: 100, age: Duration::from_secs(3_600), total: 350 };
        let mut files = Files::open(folder.path(), limits).unwrap();
        files.began = moment(0);
        for second in 0..100 {
            files.write(&format!("{second:029}\n"), moment(second)).unwrap();
            assert!(total(folder.path()) <= 350);
        }
        let closed = closed(folder.path()).unwrap();
        assert!(closed.len() >= 2, "{closed:?}");
        assert!(closed.iter().all(|path| fs::metadata(path).unwrap().len() <= 100));
        // What is left is the newest, in order.
        let mut text = String::new();
        for path in closed.iter().chain([&current(folder.path())]) {
            text += &fs::read_to_string(path).unwrap();
        }
        let numbers: Vec<i64> = text.lines().map(|line| line.parse().unwrap()).collect();
        let expected: Vec<i64> = (numbers[0]..100).collect();
        assert_eq!(numbers, expected);
    }

    #[test]
    fn closes_by_age_and_goes_on_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let limits = FileLimits { age: Duration::from_secs(60), ..FileLimits::default() };
        for second in [0, 59, 60, 61] {
            let mut files = Files::open(folder.path(), limits).unwrap();
            files.began = moment(if second < 60 { 0 } else { second / 61 * 60 });
            files.write("line\n", moment(second)).unwrap();
        }
        assert_eq!(closed(folder.path()).unwrap().len(), 1);
    }
}
