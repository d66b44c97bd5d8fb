mod find;

use std::io;
use std::path::{Path, PathBuf};

use super::content::{Compression, Content, ContentError};
use super::cursor::{Cursor, Print, before};
use super::open::{OpenError, Opened, open};
use super::siblings::Sibling;
use crate::record::{Cut, Raw, Records, Step};

/// Reads on in one log, wherever what comes next stands: in the file itself, or in those that it was
/// rotated to since.
pub(crate) struct Follower<'a> {
    /// The folders that may be read, their links resolved.
    pub(crate) folders: &'a [PathBuf],
    pub(crate) cut: Cut,
    /// Now, in milliseconds since 1970.
    pub(crate) now: i64,
    /// How long after its last change a record at the end of a file is complete, and a file that was
    /// rotated is written to no more, in milliseconds.
    pub(crate) hold: i64,
    /// The most that is decompressed of one file, in bytes.
    pub(crate) decompressed: u64,
    /// Whether there is no time left.
    pub(crate) stop: &'a dyn Fn() -> bool,
}

/// Where a log that was not read before is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// At the end of what is there.
    End,
    /// At the beginning of the file.
    File,
    /// At the beginning of the first file that it was rotated to after a time, in milliseconds since
    /// 1970: it came to be after that.
    Since(i64),
}

/// How far one turn came.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Where the next turn goes on.
    pub(crate) cursor: Option<Cursor>,
    /// Bytes that were read.
    pub(crate) read: u64,
    /// Bytes that are known to be there and were not read.
    pub(crate) behind: u64,
    /// There is nothing more for now.
    pub(crate) finished: bool,
    /// What is gone or cannot be read.
    pub(crate) losses: Vec<Loss>,
    /// Bytes of lines that were too long.
    pub(crate) cut: u64,
}

/// Something that was not read and will not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// At least so many bytes; none where that cannot be known.
    pub(crate) bytes: Option<u64>,
    pub(crate) why: String,
}

/// Why a log was not read on in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    #[error("its files changed places while they were looked at; it is read in the next run")]
    Moving,
    #[error("there was no time left to find where it is read on; the next run looks again")]
    Late,
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("its folder cannot be read")]
    Folder(#[source] io::Error),
    #[error(transparent)]
    Content(ContentError),
}

impl From<ContentError> for FollowError {
    /// A read that was stopped for want of time says nothing about the file.
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::Read(cause)
                if cause.kind() == io::ErrorKind::TimedOut && cause.raw_os_error().is_none() =>
            {
                Self::Late
            }
            other => Self::Content(other),
        }
    }
}

/// A file to read, and from where.
struct Part {
    opened: Opened,
    content: Content,
    cursor: Cursor,
    path: PathBuf,
    compressed: bool,
}

/// How much longer a line without an end is waited for.
const UNFINISHED: i64 = 10;

impl Follower<'_> {
    /// Reads up to `most` bytes, or a little more, from where `cursor` stands.
    ///
    /// # Errors
    /// Nothing was read and the cursor stays.
    pub(crate) fn turn(
        &self,
        base: &Path,
        cursor: Option<Cursor>,
        begin: Begin,
        most: u64,
        visit: &mut dyn FnMut(&Raw<'_>, i64),
    ) -> Result<Turn, FollowError> {
        let mut turn = Turn::default();
        let chain = match &cursor {
            Some(cursor) => self.find(base, cursor)?,
            None if begin == Begin::End => return self.at_end(base),
            None => self.anew(base, begin)?,
        };
        turn.losses = chain.losses;
        turn.cursor = cursor;
        if let Some(cursor) = turn.cursor.as_mut().filter(|_| !turn.losses.is_empty()) {
            // Said once.
            cursor.size = cursor.offset;
        }
        let mut rest = chain.later.into_iter();
        let mut base_opened = chain.base;
        let mut next = chain.parts.into_iter().next();
        let mut after_plain = false;
        loop {
            let part = match next.take() {
                Some(part) => part,
                None => match rest.next() {
                    Some(sibling) => match self.sibling(&sibling) {
                        Ok(part) => part,
                        Err(error) => {
                            // What compressed it may have taken it away since: found in the next run.
                            if matches!(error, FollowError::Open(OpenError::Absent)) {
                                return if turn.read > 0 {
                                    Ok(turn)
                                } else {
                                    Err(FollowError::Moving)
                                };
                            }
                            turn.losses.push(unreadable(&sibling, &error));
                            continue;
                        }
                    },
                    None => match base_opened.take() {
                        // While the new file is empty, its place is that in the old one: who writes
                        // may not know yet, and what is written there later is no news as a whole.
                        Some(found) if after_plain && found.head.is_empty() => break,
                        Some(found) => match self.base(base, found) {
                            Ok(Some(part)) => part,
                            // It was copied and emptied since: the copy is found in the next turn.
                            Ok(None) => return Ok(turn),
                            // What was read counts; the next turn begins with the error.
                            Err(_) if turn.read > 0 => return Ok(turn),
                            Err(error) => return Err(error),
                        },
                        None => break,
                    },
                },
            };
            let last = rest.len() == 0 && base_opened.is_none();
            // Who writes may not know yet that the file was rotated.
            let settled = rest.len() > 0 || self.now - part.opened.modified >= self.hold;
            after_plain = !part.compressed;
            let before = turn.cursor.as_ref().map_or(i64::MIN, |cursor| cursor.modified);
            let ended = self.read(part, last || !settled, most, &mut turn, visit)?;
            // Of an empty file the time alone tells what came after it: what was read before did not.
            if let Some(cursor) = turn.cursor.as_mut().filter(|cursor| cursor.head.is_empty()) {
                cursor.modified = cursor.modified.max(before);
            }
            if !ended || last || !settled {
                turn.behind += rest.map(|sibling| sibling.size).sum::<u64>();
                turn.behind += base_opened.map_or(0, |base| base.opened.size);
                turn.finished = ended;
                return Ok(turn);
            }
        }
        turn.finished = true;
        Ok(turn)
    }

    /// Reads one file; whether its end was reached.
    fn read(
        &self,
        part: Part,
        may_go_on: bool,
        most: u64,
        turn: &mut Turn,
        visit: &mut dyn FnMut(&Raw<'_>, i64),
    ) -> Result<bool, FollowError> {
        let Part { opened, content, mut cursor, path, compressed } = part;
        let started = cursor.offset;
        let modified = opened.modified;
        let mut at = (cursor.offset, cursor.inside);
        let mut tail: Vec<u8> = Vec::new();
        let mut records = Records::new(content, at.0, at.1, self.cut);
        let ended = loop {
            if turn.read + (at.0 - started) >= most || (self.stop)() {
                break false;
            }
            if compressed && at.0 >= self.decompressed {
                let why = format!(
                    "{} was given up after {} bytes of what it decompresses to",
                    path.display(),
                    at.0
                );
                turn.losses.push(Loss { bytes: None, why });
                break true;
            }
            match records.step() {
                Ok(Step::Record(raw)) => {
                    visit(&raw, modified);
                    at = (raw.end, raw.inside);
                    tail.clear();
                    tail.extend_from_slice(raw.last);
                }
                Ok(Step::Skipped { bytes, end, inside, last }) => {
                    turn.cut += bytes;
                    at = (end, inside);
                    tail.clear();
                    tail.extend_from_slice(last);
                }
                Ok(Step::End) => {
                    if let Some((raw, complete)) = records.rest() {
                        let age = self.now.saturating_sub(modified);
                        let hold = if complete { self.hold } else { self.hold * UNFINISHED };
                        if !may_go_on || compressed || age >= hold {
                            visit(&raw, modified);
                            at = (raw.end, false);
                            tail.clear();
                            tail.extend_from_slice(raw.last);
                        }
                    }
                    break true;
                }
                Err(error) if compressed => {
                    let why = format!(
                        "{} is damaged and cannot be read to its end: {error}",
                        path.display()
                    );
                    turn.losses.push(Loss { bytes: None, why });
                    break true;
                }
                // What was read counts; the next turn begins with the error.
                Err(_) if turn.read + (at.0 - started) > 0 => break false,
                Err(error) => return Err(ContentError::Read(error).into()),
            }
        };
        turn.read += at.0 - started;
        cursor.inside = at.1;
        cursor.size = opened.size.max(if compressed { 0 } else { at.0 });
        cursor.modified = modified;
        if !compressed {
            turn.behind += opened.size.saturating_sub(at.0);
        } else if !ended {
            turn.behind += opened.size;
        }
        // From what was read, and not from the file, which may have been emptied meanwhile.
        if records.first().len() > cursor.head.length() {
            cursor.head = Print::of(records.first());
        }
        if !tail.is_empty() {
            cursor.tail = Print::of(&tail);
        }
        cursor.offset = at.0;
        turn.cursor = Some(cursor);
        Ok(ended)
    }

    /// A cursor at the end of what is there, before a line that is not finished.
    fn at_end(&self, base: &Path) -> Result<Turn, FollowError> {
        let opened = open(base, self.folders)?;
        let compression = Compression::of(&opened.file)?;
        let mut cursor = Cursor::begin(opened.identity);
        cursor.size = opened.size;
        cursor.modified = opened.modified;
        let mut offset = 0;
        if compression == Compression::None {
            let mut tail = vec![0; self.cut.line];
            let start = opened.size.saturating_sub(tail.len() as u64);
            let mut content =
                Content::open(opened.file.try_clone().map_err(ContentError::Read)?, compression)?;
            content.skip_to(start, self.stop).map_err(ContentError::Read)?;
            let length = content.fill(&mut tail).map_err(ContentError::Read)?;
            match memchr::memrchr(b'\n', &tail[..length]) {
                Some(last) => offset = start + last as u64 + 1,
                None => {
                    offset = start + length as u64;
                    cursor.inside = offset > 0;
                }
            }
        }
        let mut content = Content::open(opened.file, compression)?;
        cursor.head = Print::of_head(&mut content).map_err(ContentError::Read)?;
        cursor.offset = offset;
        if compression == Compression::None {
            cursor.tail = before(&mut content, offset).map_err(ContentError::Read)?;
        }
        Ok(Turn { cursor: Some(cursor), finished: true, ..Turn::default() })
    }
}

fn unreadable(sibling: &Sibling, error: &FollowError) -> Loss {
    let mut why = format!("{} was not read: {error}", sibling.path.display());
    if let Some(cause) = std::error::Error::source(error) {
        why.push_str(&format!(": {cause}"));
    }
    Loss { bytes: None, why }
}

#[cfg(test)]
mod tests;
