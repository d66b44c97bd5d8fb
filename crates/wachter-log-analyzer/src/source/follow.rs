use std::io;
use std::path::{Path, PathBuf};

use super::content::{Compression, Content, ContentError};
use super::cursor::Cursor;
use super::open::{OpenError, Opened, open};
use super::siblings::{Sibling, siblings};
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
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("its folder cannot be read")]
    Folder(#[source] io::Error),
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// A file to read, and from where.
struct Part {
    opened: Opened,
    content: Content,
    cursor: Cursor,
    path: PathBuf,
    compressed: bool,
}

struct Chain {
    parts: Vec<Part>,
    /// Siblings after the first part, and the file itself, opened in their turn.
    later: Vec<Sibling>,
    base: Option<Opened>,
    losses: Vec<Loss>,
}

/// How often the files are looked at anew when they changed places meanwhile.
const TRIES: usize = 20;
/// How far the times of files lie behind the clock, in milliseconds: the kernel counts them in ticks.
const TICK: i64 = 20;
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
                        Some(opened) => self.whole(base, opened)?,
                        None => break,
                    },
                },
            };
            let last = rest.len() == 0 && base_opened.is_none();
            // Who writes may not know yet that the file was rotated.
            let settled = rest.len() > 0 || self.now - part.opened.modified >= self.hold;
            let ended = self.read(part, last || !settled, most, &mut turn, visit)?;
            if !ended || last || !settled {
                turn.behind += rest.map(|sibling| sibling.size).sum::<u64>();
                turn.behind += base_opened.map_or(0, |opened| opened.size);
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
                }
                Ok(Step::Skipped { bytes, end, inside }) => {
                    turn.cut += bytes;
                    at = (end, inside);
                }
                Ok(Step::End) => {
                    if let Some((raw, complete)) = records.rest() {
                        let age = self.now.saturating_sub(modified);
                        let hold = if complete { self.hold } else { self.hold * UNFINISHED };
                        if !may_go_on || compressed || age >= hold {
                            visit(&raw, modified);
                            at = (raw.end, false);
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
        let compression = Compression::of(&opened.file)?;
        let content = Content::open(opened.file, compression)?;
        cursor.mark(content, at.0).map_err(ContentError::Read)?;
        turn.cursor = Some(cursor);
        Ok(ended)
    }

    /// The files from the cursor on.
    fn find(&self, base: &Path, cursor: &Cursor) -> Result<Chain, FollowError> {
        for _ in 0..TRIES {
            let opened = match open(base, self.folders) {
                Ok(opened) => Some(opened),
                Err(OpenError::Absent) => None,
                Err(error) => return Err(error.into()),
            };
            // The usual case: nothing was rotated. Of a file that was empty nothing tells whether it
            // was filled, copied and emptied since.
            let told = !cursor.head.is_empty();
            let opened = match opened {
                Some(opened) if told && opened.identity == cursor.identity() => {
                    match self.resume(base, opened, cursor)? {
                        Ok(part) => return Ok(Chain::of(part)),
                        Err(opened) => Some(opened),
                    }
                }
                other => other,
            };
            if let Some(chain) = self.among_siblings(base, cursor, opened)? {
                return Ok(chain);
            }
        }
        Err(FollowError::Moving)
    }

    /// None where the files changed places meanwhile.
    fn among_siblings(
        &self,
        base: &Path,
        cursor: &Cursor,
        opened: Option<Opened>,
    ) -> Result<Option<Chain>, FollowError> {
        let listed = list(base)?;
        let mut found = None;
        let same = |sibling: &Sibling| sibling.identity == cursor.identity();
        // By what it is, and then by what it holds, the newest first. One that was empty is not looked
        // for: all that was written since is new.
        let by_identity = listed.iter().enumerate().filter(|(_, sibling)| same(sibling));
        let by_content = listed.iter().enumerate().rev().filter(|(_, sibling)| !same(sibling));
        let candidates = by_identity.chain(by_content).filter(|_| !cursor.head.is_empty());
        for (place, sibling) in candidates {
            let opened = match open(&sibling.path, self.folders) {
                Ok(opened) if opened.identity == sibling.identity => opened,
                Ok(_) | Err(OpenError::Absent) => return Ok(None),
                Err(_) => continue,
            };
            // One that cannot be read is not the one, or is told of when its turn comes.
            if let Ok(Ok(part)) = self.resume(&sibling.path, opened, cursor) {
                found = Some((place, part));
                break;
            }
        }
        // A file that was replaced by a copy of itself, and not rotated.
        let mut opened = opened;
        if found.is_none()
            && !cursor.head.is_empty()
            && let Some(whole) = opened.take()
        {
            match self.resume(base, whole, cursor)? {
                Ok(part) => return Ok(Some(Chain::of(part))),
                Err(whole) => opened = Some(whole),
            }
        }
        if !unmoved(&listed, &list(base)?) {
            return Ok(None);
        }
        let mut losses = Vec::new();
        let known = opened.as_ref().map(|opened| opened.identity);
        let later: Vec<Sibling> = match &found {
            Some((place, _)) => listed[place + 1..].to_vec(),
            None => {
                let waiting = cursor.size.saturating_sub(cursor.offset);
                if waiting > 0 {
                    let why =
                        "it was truncated or removed before it was read to its end".to_owned();
                    losses.push(Loss { bytes: Some(waiting), why });
                }
                listed
                    .iter()
                    .filter(|sibling| sibling.modified > cursor.modified)
                    .cloned()
                    .collect()
            }
        };
        let later = later.into_iter().filter(|sibling| Some(sibling.identity) != known).collect();
        let parts = found.into_iter().map(|(_, part)| part).collect();
        Ok(Some(Chain { parts, later, base: opened, losses }))
    }

    /// The file at the cursor's place; itself, where it is not the one.
    fn resume(
        &self,
        path: &Path,
        opened: Opened,
        cursor: &Cursor,
    ) -> Result<Result<Part, Opened>, FollowError> {
        let compression = Compression::of(&opened.file)?;
        let compressed = compression != Compression::None;
        if !compressed && opened.size < cursor.offset {
            return Ok(Err(opened));
        }
        let content = || -> Result<Content, FollowError> {
            let file = opened.file.try_clone().map_err(ContentError::Read)?;
            Ok(Content::open(file, compression)?)
        };
        if !cursor.is_about(&mut content()?, self.stop).map_err(ContentError::Read)? {
            return Ok(Err(opened));
        }
        let mut content = content()?;
        if !content.skip_to(cursor.offset, self.stop).map_err(ContentError::Read)? {
            return Ok(Err(opened));
        }
        let cursor = Cursor {
            device: opened.identity.device,
            inode: opened.identity.inode,
            ..cursor.clone()
        };
        let path = path.to_owned();
        Ok(Ok(Part { opened, content, cursor, path, compressed }))
    }

    fn sibling(&self, sibling: &Sibling) -> Result<Part, FollowError> {
        let opened = open(&sibling.path, self.folders)?;
        if opened.identity != sibling.identity {
            return Err(OpenError::Absent.into());
        }
        self.whole(&sibling.path, opened)
    }

    /// A file from its beginning.
    fn whole(&self, path: &Path, opened: Opened) -> Result<Part, FollowError> {
        let compression = Compression::of(&opened.file)?;
        let file = opened.file.try_clone().map_err(ContentError::Read)?;
        let content = Content::open(file, compression)?;
        Ok(Part {
            cursor: Cursor::begin(opened.identity),
            compressed: compression != Compression::None,
            path: path.to_owned(),
            opened,
            content,
        })
    }

    fn anew(&self, base: &Path, begin: Begin) -> Result<Chain, FollowError> {
        let mut later = Vec::new();
        for _ in 0..TRIES {
            let opened = match open(base, self.folders) {
                Ok(opened) => Some(opened),
                Err(OpenError::Absent) => None,
                Err(error) => return Err(error.into()),
            };
            if let Begin::Since(since) = begin {
                let listed = list(base)?;
                if !unmoved(&listed, &list(base)?) {
                    continue;
                }
                let known = opened.as_ref().map(|opened| opened.identity);
                later = listed;
                later.retain(|sibling| {
                    sibling.modified > since - TICK && Some(sibling.identity) != known
                });
            }
            if opened.is_none() && later.is_empty() {
                return Err(OpenError::Absent.into());
            }
            return Ok(Chain { parts: Vec::new(), later, base: opened, losses: Vec::new() });
        }
        Err(FollowError::Moving)
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
        let content = Content::open(opened.file, compression)?;
        cursor.mark(content, offset).map_err(ContentError::Read)?;
        Ok(Turn { cursor: Some(cursor), finished: true, ..Turn::default() })
    }
}

impl Chain {
    fn of(part: Part) -> Self {
        Self { parts: vec![part], later: Vec::new(), base: None, losses: Vec::new() }
    }
}

fn list(base: &Path) -> Result<Vec<Sibling>, FollowError> {
    match siblings(base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(FollowError::Folder),
    }
}

/// Whether the same files have the same names.
fn unmoved(before: &[Sibling], after: &[Sibling]) -> bool {
    let names = |listed: &[Sibling]| -> Vec<_> {
        listed.iter().map(|sibling| (sibling.path.clone(), sibling.identity)).collect()
    };
    names(before) == names(after)
}

fn unreadable(sibling: &Sibling, error: &FollowError) -> Loss {
    let mut why = format!("{} was not read: {error}", sibling.path.display());
    if let Some(cause) = std::error::Error::source(error) {
        why.push_str(&format!(": {cause}"));
    }
    Loss { bytes: None, why }
}
