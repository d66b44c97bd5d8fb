//! Finding where what comes next stands: files are renamed, copied, emptied and compressed meanwhile.

use std::io;
use std::path::Path;

use super::{Begin, FollowError, Follower, Loss, Part};
use crate::source::content::{Compression, Content, ContentError};
use crate::source::cursor::{Cursor, Print, before};
use crate::source::open::{OpenError, Opened, open};
use crate::source::siblings::{Sibling, siblings};

/// The files in which what comes next stands, in order.
pub(super) struct Chain {
    pub(super) parts: Vec<Part>,
    /// Siblings after the first part, and the file itself, opened in their turn.
    pub(super) later: Vec<Sibling>,
    pub(super) base: Option<Base>,
    pub(super) losses: Vec<Loss>,
}

/// The file itself as it was when the others were listed.
pub(super) struct Base {
    pub(super) opened: Opened,
    pub(super) head: Print,
}

/// How often the files are looked at anew when they changed places meanwhile.
const TRIES: usize = 20;
/// How far the times of files lie behind the clock, in milliseconds: the kernel counts them in ticks.
const TICK: i64 = 20;
impl Follower<'_> {
    /// The files from the cursor on.
    pub(super) fn find(&self, base: &Path, cursor: &Cursor) -> Result<Chain, FollowError> {
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
                // It may be the one: nothing is known of the others before that is.
                Err(FollowError::Late) => return Err(FollowError::Late),
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

    /// The file itself from its beginning; none where it was emptied since it was looked at.
    pub(super) fn base(&self, path: &Path, base: Base) -> Result<Option<Part>, FollowError> {
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
        if !cursor.head.begins(&mut content()?).map_err(ContentError::Read)? {
            return Ok(Err(opened));
        }
        let head = Print::of_head(&mut content()?).map_err(ContentError::Read)?;
        let mut content = content()?;
        if !cursor.follows(&mut content, self.stop).map_err(ContentError::Read)? {
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

    pub(super) fn sibling(&self, sibling: &Sibling) -> Result<Part, FollowError> {
        let opened = open(&sibling.path, self.folders)?;
        if opened.identity != sibling.identity {
            return Err(OpenError::Absent.into());
        }
        self.whole(&sibling.path, opened)
    }

    /// A file from its beginning.
    pub(super) fn whole(&self, path: &Path, opened: Opened) -> Result<Part, FollowError> {
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

    pub(super) fn anew(&self, base: &Path, begin: Begin) -> Result<Chain, FollowError> {
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
