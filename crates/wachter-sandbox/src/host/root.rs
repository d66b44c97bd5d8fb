use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use wachter_protocol::HostView;

/// The most bytes of one file that are read.
const MAX_FILE: u64 = 4 << 20;

/// The most bytes of a line; what follows counts as the next.
const MAX_LINE: u64 = 1 << 12;

/// The most sentences about what is missing.
const MAX_SENTENCES: usize = 64;

/// The host to look at: the folder that holds its `proc` and `sys`, and two numbers of its kernel.
#[derive(Clone, Debug)]
pub struct HostRoot {
    folder: PathBuf,
    ticks_per_second: u64,
    page_size: u64,
    /// What no file tells, such as the kernel's clock, can be asked too.
    alive: bool,
}

impl Default for HostRoot {
    /// This host.
    fn default() -> Self {
        Self {
            folder: PathBuf::from("/"),
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            page_size: u64::try_from(rustix::param::page_size()).unwrap_or(4_096),
            alive: true,
        }
    }
}

impl HostRoot {
    /// A host whose `proc` and `sys` were recorded in a folder, with 100 ticks a second and pages
    /// of 4 KiB.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ticks_per_second: 100, page_size: 4_096, alive: false }
    }

    /// Whether this is the host that the node runs on, and no recording of one.
    pub(super) const fn is_alive(&self) -> bool {
        self.alive
    }

    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.folder.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The content of a file, with what is not UTF-8 replaced: names of processes and mounts can be
    /// any bytes.
    pub(super) fn read(&self, path: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        let read = File::open(self.path(path))?.take(MAX_FILE).read_to_end(&mut bytes)?;
        if u64::try_from(read) == Ok(MAX_FILE) {
            return Err(io::Error::other(format!("longer than {MAX_FILE} bytes")));
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// Hands over the lines of a file one after the other, `most` of them at most, without ever holding
    /// more than one. Says whether that was all.
    pub(super) fn lines(
        &self,
        path: &str,
        most: usize,
        mut each: impl FnMut(&str),
    ) -> io::Result<bool> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(self.path(path))?);
        let mut line = Vec::new();
        for _ in 0..most {
            line.clear();
            if (&mut file).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(true);
            }
            each(&String::from_utf8_lossy(&line));
        }
        Ok(file.fill_buf()?.is_empty())
    }

    /// The names in a folder, in order, `most` of them at most.
    pub(super) fn names(&self, path: &str, most: usize) -> io::Result<Vec<String>> {
        let mut names: Vec<_> = std::fs::read_dir(self.path(path))?
            .take(most)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    pub(super) const fn milliseconds(&self, ticks: u64) -> u64 {
        // In two steps, so that years of ticks do not overflow.
        let rate = if self.ticks_per_second == 0 { 100 } else { self.ticks_per_second };
        (ticks / rate)
            .saturating_mul(1_000)
            .saturating_add((ticks % rate).saturating_mul(1_000) / rate)
    }

    pub(super) const fn bytes(&self, pages: u64) -> u64 {
        pages.saturating_mul(self.page_size)
    }
}

/// Collects what could not be seen, under the name of its view.
pub(super) struct Missing<'a> {
    view: HostView,
    sentences: &'a mut Vec<String>,
}

impl<'a> Missing<'a> {
    pub(super) const fn of(view: HostView, sentences: &'a mut Vec<String>) -> Self {
        Self { view, sentences }
    }

    pub(super) fn say(&mut self, sentence: impl std::fmt::Display) {
        if self.sentences.len() < MAX_SENTENCES {
            self.sentences.push(format!("{}: {sentence}", self.view));
        }
    }

    /// The value, or a sentence that names the path.
    pub(super) fn or_say<T>(&mut self, path: &str, value: io::Result<T>) -> Option<T> {
        value.map_err(|error| self.say(format_args!("/{path} cannot be read: {error}"))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = HostRoot::at(folder.path());
        std::fs::write(folder.path().join("a"), vec![b'x'; 5 << 20]).unwrap();
        assert!(root.read("a").unwrap_err().to_string().contains("longer than"));
        std::fs::write(folder.path().join("a"), [b'x', 0xff]).unwrap();
        assert_eq!(root.read("a").unwrap(), "x\u{fffd}");
    }

    #[test]
    fn lines_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let root = HostRoot::at(folder.path());
        for (text, most, expected, whole) in [
            ("a\nb\n", 2, 2, true),
            ("a\nb", 2, 2, true),
            ("a\nb\n", 1, 1, false),
            ("", 1, 0, true),
        ] {
            std::fs::write(folder.path().join("a"), text).unwrap();
            let mut seen = 0;
            assert_eq!(root.lines("a", most, |_| seen += 1).unwrap(), whole, "{text}");
            assert_eq!(seen, expected, "{text}");
        }
    }

    #[test]
    fn ticks_do_not_overflow() {
        let root = HostRoot::at(Path::new("/"));
        for (ticks, expected) in [(0, 0), (150, 1_500), (99, 990), (u64::MAX, u64::MAX)] {
            assert!(root.milliseconds(ticks) <= expected, "{ticks}");
        }
        assert_eq!(root.milliseconds(12_345), 123_450);
    }
}
