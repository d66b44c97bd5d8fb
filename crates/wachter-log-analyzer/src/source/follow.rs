use std::io;
use std::path::{Path, PathBuf};

use super::content::{Compression, Content, ContentError};
use super::cursor::{Cursor, Print, before};
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
    base: Option<Base>,
    losses: Vec<Loss>,
}

/// The file itself as it was when the others were listed.
struct Base {
    opened: Opened,
    head: Print,
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
            let ended = self.read(part, last || !settled, most, &mut turn, visit)?;
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
        let opened = opened.map(Base::of).transpose()?;
        let listed = list(base)?;
        // Renamed between the two looks.
        let known = opened.as_ref().map(|base| base.opened.identity);
        if listed.iter().any(|sibling| Some(sibling.identity) == known) {
            return Ok(None);
        }
        let mut found = None;
        // One that was copied before all was written that was read: nothing is left in it.
        let mut shorter = None;
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
            match self.resume(&sibling.path, opened, cursor) {
                Ok(Ok(part)) => {
                    found = Some((place, Some(part)));
                    break;
                }
                Ok(Err(opened))
                    if shorter.is_none() && self.is_shorter(&opened, cursor).unwrap_or(false) =>
                {
                    shorter = Some((place, None));
                }
                _ => {}
            }
        }
        // A file that was replaced by a copy of itself, and not rotated.
        let mut opened = opened;
        if found.is_none()
            && !cursor.head.is_empty()
            && let Some(Base { opened: whole, head }) = opened.take()
        {
            match self.resume(base, whole, cursor)? {
                Ok(part) => return Ok(Some(Chain::of(part))),
                Err(whole) => opened = Some(Base { opened: whole, head }),
            }
        }
        let found = found.or(shorter);
        if !unmoved(&listed, &list(base)?) {
            return Ok(None);
        }
        let mut losses = Vec::new();
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
        let later = self.without_copies(later, opened.as_ref())?;
        let parts = found.into_iter().filter_map(|(_, part)| part).collect();
        Ok(Some(Chain { parts, later, base: opened, losses }))
    }

    /// Whether a plain file begins as the one that the cursor is about, and ends before its place.
    fn is_shorter(&self, opened: &Opened, cursor: &Cursor) -> Result<bool, FollowError> {
        let compression = Compression::of(&opened.file)?;
        if compression != Compression::None || opened.size >= cursor.offset {
            return Ok(false);
        }
        let file = opened.file.try_clone().map_err(ContentError::Read)?;
        let mut content = Content::open(file, compression)?;
        Ok(cursor.head.begins(&mut content).map_err(ContentError::Read)?)
    }

    /// Leaves those out that the file itself is being copied to, and is not emptied yet: they hold
    /// what it holds.
    fn without_copies(
        &self,
        later: Vec<Sibling>,
        base: Option<&Base>,
    ) -> Result<Vec<Sibling>, FollowError> {
        let Some(Base { opened: base, head }) = base else { return Ok(later) };
        let mut kept = Vec::new();
        for sibling in later {
            let is_copy = sibling.size <= base.size
                && match open(&sibling.path, self.folders) {
                    Ok(copy) => same_until(&copy, base, head).map_err(ContentError::Read)?,
                    // Told of when its turn comes.
                    Err(_) => false,
                };
            if !is_copy {
                kept.push(sibling);
            }
        }
        Ok(kept)
    }

    /// The file itself from its beginning; none where it was emptied since it was looked at, or is
    /// empty: then it may be filled, copied and emptied before anybody sees it.
    fn base(&self, path: &Path, base: Base) -> Result<Option<Part>, FollowError> {
        let file = base.opened.file.try_clone().map_err(ContentError::Read)?;
        let compression = Compression::of(&file)?;
        let mut content = Content::open(file, compression)?;
        if !base.head.begins(&mut content).map_err(ContentError::Read)? {
            return Ok(None);
        }
        self.whole(path, base.opened).map(Some)
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
        let about = cursor.head.begins(&mut content()?).map_err(ContentError::Read)?
            && cursor.follows(&mut content()?, self.stop).map_err(ContentError::Read)?;
        if !about {
            return Ok(Err(opened));
        }
        let head = Print::of_head(&mut content()?).map_err(ContentError::Read)?;
        let mut content = content()?;
        if !content.skip_to(cursor.offset, self.stop).map_err(ContentError::Read)? {
            return Ok(Err(opened));
        }
        let cursor = Cursor {
            device: opened.identity.device,
            inode: opened.identity.inode,
            head,
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
            let base = opened.map(Base::of).transpose()?;
            let later = self.without_copies(later, base.as_ref())?;
            return Ok(Chain { parts: Vec::new(), later, base, losses: Vec::new() });
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
        let mut content = Content::open(opened.file, compression)?;
        cursor.head = Print::of_head(&mut content).map_err(ContentError::Read)?;
        cursor.offset = offset;
        if compression == Compression::None {
            cursor.tail = before(&mut content, offset).map_err(ContentError::Read)?;
        }
        Ok(Turn { cursor: Some(cursor), finished: true, ..Turn::default() })
    }
}

impl Base {
    fn of(opened: Opened) -> Result<Self, FollowError> {
        let file = opened.file.try_clone().map_err(ContentError::Read)?;
        let compression = Compression::of(&file)?;
        let mut content = Content::open(file, compression)?;
        let head = Print::of_head(&mut content).map_err(ContentError::Read)?;
        Ok(Self { opened, head })
    }
}

/// Whether a plain file holds what the beginning of another holds, by the beginning and the end of it.
fn same_until(copy: &Opened, whole: &Opened, head: &Print) -> io::Result<bool> {
    let plain = |opened: &Opened| opened.file.try_clone().map(Content::Plain);
    let length = copy.size;
    if length == 0 || length > whole.size || head.is_empty() {
        return Ok(false);
    }
    let mut begin = plain(copy)?;
    begin.skip_to(0, &|| false)?;
    // A copy that is shorter than the print has less of the same.
    let short = length < head.length() as u64;
    if !short && !head.begins(&mut begin)? {
        return Ok(false);
    }
    Ok(before(&mut plain(copy)?, length)? == before(&mut plain(whole)?, length)?)
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
