use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Map;
use wachter_model::Level;

use crate::backwards::{self, LONGEST_LINE};
use crate::{Line, files};

/// Reads the files of a log, oldest line first, and goes on where it stopped when asked again: also
/// when the file has been closed and a new one begun in between.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    /// The file that is being read; none before there is a first one.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    lines: BufReader<File>,
    inode: u64,
    /// A line whose end has not been written yet, up to [`LONGEST_LINE`].
    partial: Vec<u8>,
}

/// A file, and the inode that it is known by whatever its name becomes.
type Opened = (File, u64);

/// What is thought of a line on the way back from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is one of those that are looked for.
    Wanted,
    /// It is not.
    Other,
    /// Neither it nor any that is older is.
    TooOld,
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
/// Bytes of lines after which one call hands out no more.
const BYTES_AT_ONCE: usize = 1 << 20;

impl Reader {
    /// From the oldest line that is kept.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(folder: &Path) -> Result<Self, ReadError> {
        let mut reader = Self { folder: folder.to_owned(), open: None };
        reader.go_on().map_err(|source| reader.error(source))?;
        Ok(reader)
    }

    /// From the oldest of the last `count` lines that `look` wants: those that it hands out from there
    /// may have others between them. Where it wants none, from the end.
    ///
    /// Reads from the end in blocks, the newest file first, and no further back than it has to.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn last(
        folder: &Path,
        count: usize,
        look: impl FnMut(&Line) -> Look,
    ) -> Result<Self, ReadError> {
        let mut reader = Self { folder: folder.to_owned(), open: None };
        reader.seek_back(count, look).map_err(|source| reader.error(source))?;
        Ok(reader)
    }

    /// Up to 4,096 lines more, or a mebibyte of them; none when there are none at present. A line that
    /// is in no format of ours is handed on as a message without a time of its own.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next_lines(&mut self) -> Result<Vec<Line>, ReadError> {
        self.read().map_err(|source| self.error(source))
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

    fn error(&self, source: io::Error) -> ReadError {
        ReadError { folder: self.folder.clone(), source }
    }

    fn seek_back(&mut self, count: usize, mut look: impl FnMut(&Line) -> Look) -> io::Result<()> {
        let (newest, closed) = self.files()?;
        let older = closed.into_iter().rev().filter_map(|path| open(&path).transpose());
        let (mut start, mut left) = (None, count);
        for file in newest.map(Ok).into_iter().chain(older) {
            let (file, inode) = file?;
            let mut oldest = None;
            let (end, flow) = backwards::lines(&file, |place, line| {
                if left == 0 {
                    return ControlFlow::Break(());
                }
                match look(&line_of(line)) {
                    Look::Wanted => {
                        (oldest, left) = (Some(place), left - 1);
                        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    }
                    Look::Other => ControlFlow::Continue(()),
                    Look::TooOld => ControlFlow::Break(()),
                }
            })?;
            // Without anything that is wanted, what comes is what is new.
            if oldest.is_some() || start.is_none() {
                start = Some((file, inode, oldest.unwrap_or(end)));
            }
            if flow.is_break() {
                break;
            }
        }
        if let Some((mut file, inode, place)) = start {
            file.seek(SeekFrom::Start(place))?;
            self.open = Some(Open { lines: BufReader::new(file), inode, partial: Vec::new() });
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<Vec<Line>> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        if self.open.is_none() && !self.go_on()? {
            return Ok(lines);
        }
        loop {
            let Some(open) = &mut self.open else { return Ok(lines) };
            while let Some(text) = open.next_line()? {
                bytes += text.len();
                lines.push(line_of(&text));
                if lines.len() >= AT_ONCE || bytes >= BYTES_AT_ONCE {
                    return Ok(lines);
                }
            }
            if !self.go_on()? {
                return Ok(lines);
            }
        }
    }

    /// At the end of a file, or before the first: opens the one that follows, if there is one yet.
    fn go_on(&mut self) -> io::Result<bool> {
        loop {
            let (newest, closed) = self.files()?;
            let place = match &self.open {
                None => 0,
                Some(open) => {
                    let mut places = closed.iter().map(|path| inode_of(path));
                    match places.position(|inode| inode.ok().flatten() == Some(open.inode)) {
                        Some(place) => place + 1,
                        None if newest.as_ref().is_some_and(|(_, inode)| *inode == open.inode) => {
                            return Ok(false);
                        }
                        // It was deleted to make room, as the oldest are, so all that are left follow.
                        None => 0,
                    }
                }
            };
            // The newest follows only where nothing was closed between it and this one: it was opened
            // before the others were listed.
            let next = match closed.get(place) {
                Some(path) => match open(path)? {
                    Some(opened) => Some(opened),
                    // Deleted in between, to make room.
                    None => continue,
                },
                None => newest,
            };
            let Some((file, inode)) = next else { return Ok(false) };
            self.open = Some(Open { lines: BufReader::new(file), inode, partial: Vec::new() });
            return Ok(true);
        }
    }

    /// The file that is written, and those that were closed before it was begun.
    fn files(&self) -> io::Result<(Option<Opened>, Vec<PathBuf>)> {
        let newest = open(&files::current(&self.folder))?;
        let mut closed = match files::closed(&self.folder) {
            // There is no log yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            closed => closed?,
        };
        // It was closed since it was opened, and others perhaps after it.
        if let Some((_, inode)) = &newest {
            let place =
                closed.iter().position(|path| inode_of(path).ok().flatten() == Some(*inode));
            closed.truncate(place.unwrap_or(closed.len()));
        }
        Ok((newest, closed))
    }
}

impl Open {
    /// The next whole line, without its end; of one that is too long, the beginning.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let room = LONGEST_LINE.saturating_sub(self.partial.len());
            let held = self.partial.len();
            let (whole, read) = if room > 0 {
                let read =
                    self.lines.by_ref().take(room as u64).read_until(b'\n', &mut self.partial)?;
                (self.partial.last() == Some(&b'\n') && read > 0, read)
            } else {
                // The rest is passed over, without being held.
                let block = self.lines.fill_buf()?;
                let end = block.iter().position(|byte| *byte == b'\n');
                let read = end.map_or(block.len(), |end| end + 1);
                self.lines.consume(read);
                (end.is_some(), read)
            };
            if whole {
                let mut line = std::mem::take(&mut self.partial);
                if line.last() == Some(&b'\n') && line.len() > held {
                    line.pop();
                }
                return Ok(Some(line));
            }
            if read == 0 {
                return Ok(None);
            }
        }
    }
}

/// Opens a file, if it is there.
fn open(path: &Path) -> io::Result<Option<Opened>> {
    match File::open(path) {
        Ok(file) => {
            let inode = file.metadata()?.ino();
            Ok(Some((file, inode)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn inode_of(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn line_of(bytes: &[u8]) -> Line {
    let text = String::from_utf8_lossy(bytes);
    Line::parse(&text).unwrap_or_else(|| foreign(&text))
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

    /// Writes lines with numbers in a range, three a file, as a line is 54 bytes.
    fn writer(folder: &Path) -> impl FnMut(i64, i64) + use<> {
        let limits = FileLimits { size: 170, age: Duration::MAX, total: 1 << 20 };
        let mut files = Files::open(folder, limits).unwrap();
        move |from, to| {
            for line in (from..to).map(line) {
                files.write(&Format::Human.write(&line), line.time).unwrap();
            }
        }
    }

    #[test]
    fn goes_on_over_closed_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut write = writer(folder.path());
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

    #[test]
    fn the_last_lines_are_found_over_closed_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut write = writer(folder.path());
        write(0, 20);
        // Every tenth is wanted, and none before a number.
        let check = |count: usize, oldest: i64, looked_at: usize, expected: &[i64]| {
            let mut looked = 0;
            let mut reader = Reader::last(folder.path(), count, |line| {
                looked += 1;
                match line.message.parse::<i64>().unwrap() {
                    number if number < oldest => Look::TooOld,
                    number if number % 10 == 0 => Look::Wanted,
                    _ => Look::Other,
                }
            })
            .unwrap();
            let found = numbers(&mut reader);
            assert_eq!(found.first().copied(), expected.first().copied(), "{count} {oldest}");
            assert_eq!(looked, looked_at, "{count} {oldest}");
            let wanted = found.into_iter().filter(|number| number % 10 == 0);
            assert_eq!(wanted.collect::<Vec<_>>(), expected, "{count} {oldest}");
            reader
        };
        check(1, 0, 10, &[10]);
        check(2, 0, 20, &[0, 10]);
        check(9, 0, 20, &[0, 10]);
        check(9, 5, 16, &[10]);
        let mut none = check(9, 15, 6, &[]);
        let mut zero = check(0, 0, 0, &[]);
        // It goes on from there, though its file is closed meanwhile.
        write(20, 31);
        assert_eq!(numbers(&mut none), (20..31).collect::<Vec<_>>());
        assert_eq!(numbers(&mut zero), (20..31).collect::<Vec<_>>());
        let all = |_: &Line| Look::Wanted;
        let mut last = Reader::last(folder.path(), 4, all).unwrap();
        assert_eq!(numbers(&mut last), [27, 28, 29, 30]);
        write(31, 40);
        assert_eq!(numbers(&mut last), (31..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_log_that_begins_or_is_between_two_files_is_waited_for() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("logs");
        let mut early = Reader::open(&folder).unwrap();
        let mut last = Reader::last(&folder, 9, |_| Look::Wanted).unwrap();
        assert!(numbers(&mut early).is_empty() && numbers(&mut last).is_empty());
        let mut files = Files::open(&folder, FileLimits::default()).unwrap();
        files.write(&Format::Human.write(&line(1)), line(1).time).unwrap();
        assert_eq!((numbers(&mut early), numbers(&mut last)), (vec![1], vec![1]));
        // As it is between the closing of a file and the beginning of the next.
        std::fs::rename(files::current(&folder), folder.join("node-1.log")).unwrap();
        assert!(numbers(&mut early).is_empty());
        let mut files = Files::open(&folder, FileLimits::default()).unwrap();
        files.write(&Format::Human.write(&line(2)), line(2).time).unwrap();
        assert_eq!((numbers(&mut early), numbers(&mut last)), (vec![2], vec![2]));
        // The file that was being read was deleted, to make room.
        std::fs::rename(files::current(&folder), folder.join("node-2.log")).unwrap();
        for name in ["node-1.log", "node-2.log"] {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
        let mut files = Files::open(&folder, FileLimits::default()).unwrap();
        files.write(&Format::Human.write(&line(3)), line(3).time).unwrap();
        assert_eq!((numbers(&mut early), numbers(&mut last)), (vec![3], vec![3]));
    }

    #[test]
    fn of_a_line_without_end_the_beginning_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::open(folder.path(), FileLimits::default()).unwrap();
        let long = "x".repeat(LONGEST_LINE + 100_000);
        for text in [&format!("{long}\n"), &Format::Json.write(&line(1))] {
            files.write(text, Timestamp::now()).unwrap();
        }
        let mut reader = Reader::open(folder.path()).unwrap();
        let lines = reader.collect_new().unwrap();
        assert_eq!((lines.len(), lines[1].message.as_str()), (2, "1"));
        assert_eq!(lines[0].message, long[..LONGEST_LINE]);
        files.write(&long, Timestamp::now()).unwrap();
        assert!(reader.collect_new().unwrap().is_empty());
        files.write("end\n", Timestamp::now()).unwrap();
        assert_eq!(reader.collect_new().unwrap()[0].message, long[..LONGEST_LINE]);
    }
}
