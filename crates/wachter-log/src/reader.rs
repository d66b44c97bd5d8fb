use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Map;
use wachter_model::Level;

use crate::{Line, files};

/// Reads the files of a log, oldest line first, and goes on where it stopped when asked again: also
/// when the file has been closed and a new one begun in between.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    /// Files that are still to be read, the next one last.
    waiting: Vec<PathBuf>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    lines: BufReader<File>,
    /// A line whose end has not been written yet.
    partial: Vec<u8>,
    current: bool,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the log in {}", folder.display())]
pub struct ReadError {
    folder: PathBuf,
    source: io::Error,
}

/// Lines that one call hands out, so that a long log is not in memory at once.
const AT_ONCE: usize = 4_096;

impl Reader {
    /// From the oldest line that is kept.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(folder: &Path) -> Result<Self, ReadError> {
        let mut waiting = files::closed(folder)
            .map_err(|source| ReadError { folder: folder.to_owned(), source })?;
        waiting.push(files::current(folder));
        waiting.reverse();
        Ok(Self { folder: folder.to_owned(), waiting, open: None })
    }

    /// Up to 4,096 lines more; none when there are none at present. A line that is in no format of
    /// ours is handed on as a message without a time of its own.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next_lines(&mut self) -> Result<Vec<Line>, ReadError> {
        let folder = self.folder.clone();
        self.read().map_err(|source| ReadError { folder, source })
    }

    /// All lines that are there.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn collect_new(&mut self) -> Result<Vec<Line>, ReadError> {
        let mut all = Vec::new();
        loop {
            let lines = self.next_lines()?;
            if lines.is_empty() {
                return Ok(all);
            }
            all.extend(lines);
        }
    }

    fn read(&mut self) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        loop {
            if self.open.is_none() && !self.open_next()? {
                return Ok(lines);
            }
            let Some(open) = &mut self.open else { return Ok(lines) };
            while lines.len() < AT_ONCE && open.lines.read_until(b'\n', &mut open.partial)? > 0 {
                if open.partial.last() == Some(&b'\n') {
                    let text = String::from_utf8_lossy(&open.partial);
                    let text = text.trim_end_matches('\n');
                    lines.push(Line::parse(text).unwrap_or_else(|| foreign(text)));
                    open.partial.clear();
                }
            }
            if lines.len() >= AT_ONCE || !self.finish_file()? {
                return Ok(lines);
            }
        }
    }

    fn open_next(&mut self) -> io::Result<bool> {
        while let Some(path) = self.waiting.pop() {
            match File::open(&path) {
                Ok(file) => {
                    let (lines, partial) = (BufReader::new(file), Vec::new());
                    let current = path == files::current(&self.folder);
                    self.open = Some(Open { lines, partial, current });
                    return Ok(true);
                }
                // Deleted in between, to make room.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// At the end of a file: says whether there is another one to go on with.
    fn finish_file(&mut self) -> io::Result<bool> {
        let Some(open) = &self.open else { return Ok(false) };
        if open.current {
            let inode = open.lines.get_ref().metadata()?.ino();
            let current = files::current(&self.folder);
            if inode_of(&current)? == Some(inode) {
                return Ok(false);
            }
            // It was closed, and others after it perhaps.
            self.waiting.push(current);
            for path in files::closed(&self.folder)?.into_iter().rev() {
                if inode_of(&path)? == Some(inode) {
                    break;
                }
                self.waiting.push(path);
            }
        }
        self.open = None;
        Ok(true)
    }
}

fn inode_of(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn foreign(text: &str) -> Line {
    Line {
        time: Timestamp::UNIX_EPOCH,
        level: Level::Info,
        target: String::new(),
        message: text.to_owned(),
        fields: Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::files::Files;
    use crate::{FileLimits, Format};

    fn line(number: i64) -> Line {
        Line {
            time: Timestamp::from_second(1_800_000_000 + number).unwrap(),
            level: Level::Info,
            target: "t".to_owned(),
            message: number.to_string(),
            fields: Map::new(),
        }
    }

    fn numbers(reader: &mut Reader) -> Vec<i64> {
        let lines = reader.collect_new().unwrap();
        lines.iter().map(|line| line.message.parse().unwrap()).collect()
    }

    #[test]
    fn goes_on_over_closed_files() {
        let folder = tempfile::tempdir().unwrap();
        // A line is 54 bytes: three lines a file.
        let limits = FileLimits { size: 170, age: Duration::MAX, total: 1 << 20 };
        let mut files = Files::open(folder.path(), limits).unwrap();
        let mut write = |from: i64, to: i64| {
            for number in from..to {
                let line = line(number);
                files.write(&Format::Human.write(&line), line.time).unwrap();
            }
        };
        write(0, 10);
        let mut reader = Reader::open(folder.path()).unwrap();
        assert_eq!(numbers(&mut reader), (0..10).collect::<Vec<_>>());
        assert!(numbers(&mut reader).is_empty());
        write(10, 11);
        assert_eq!(numbers(&mut reader), [10]);
        // The file that was being read is closed, and so are three after it.
        write(11, 24);
        assert_eq!(numbers(&mut reader), (11..24).collect::<Vec<_>>());
        assert!(files::closed(folder.path()).unwrap().len() >= 4);
    }

    #[test]
    fn half_a_line_waits_for_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::open(folder.path(), FileLimits::default()).unwrap();
        let text = Format::Json.write(&line(7));
        let (first, second) = text.split_at(20);
        let mut reader = Reader::open(folder.path()).unwrap();
        files.write(first, Timestamp::now()).unwrap();
        assert!(numbers(&mut reader).is_empty());
        files.write(second, Timestamp::now()).unwrap();
        assert_eq!(numbers(&mut reader), [7]);
    }
}
