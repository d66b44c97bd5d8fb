use std::io;

use serde::{Deserialize, Serialize};
use wachter_model::Digest;

use super::content::Content;
use super::open::Identity;

/// Up to where a log was read, in a way that finds the place again after the file was renamed,
/// copied or compressed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Cursor {
    /// The file that was read last.
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// What its content begins with: up to 1 KiB.
    pub(crate) head: Print,
    /// What stands before the place: up to 64 bytes.
    pub(crate) tail: Print,
    /// Where the first record stands that was not taken, in bytes of what is decompressed.
    pub(crate) offset: u64,
    /// The place lies within a line that was too long.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) inside: bool,
    /// How large the file was, in bytes.
    pub(crate) size: u64,
    /// When the file was last changed, in milliseconds since 1970.
    pub(crate) modified: i64,
}

/// The digest of a few bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Print(u16, String);

/// The bytes that tell a file by its beginning.
const HEAD: usize = 1 << 10;
/// The bytes that tell a place by what stands before it.
const TAIL: u64 = 64;

impl Print {
    fn of(bytes: &[u8]) -> Self {
        // Half of SHA-256 is plenty to tell logs apart, of which somebody may write some on purpose.
        let digest = Digest::of(bytes);
        let text = digest.as_bytes()[..16].iter().fold(String::new(), |mut text, byte| {
            use std::fmt::Write as _;
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self(u16::try_from(bytes.len()).unwrap_or(u16::MAX), text)
    }

    /// Nothing was there to take a print of.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0 == 0
    }

    fn length(&self) -> usize {
        self.0.into()
    }
}

impl Cursor {
    /// A file of which nothing was read yet.
    pub(crate) fn begin(identity: Identity) -> Self {
        let Identity { device, inode } = identity;
        Self { device, inode, ..Self::default() }
    }

    pub(crate) const fn identity(&self) -> Identity {
        Identity { device: self.device, inode: self.inode }
    }

    /// Takes the prints of a content at a place; the content must stand at its beginning. Of what is
    /// compressed only the beginning is taken: what stands before the place is far to go.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn mark(&mut self, mut content: Content, offset: u64) -> io::Result<()> {
        let mut head = [0; HEAD];
        let length = content.fill(&mut head)?;
        self.head = Print::of(&head[..length]);
        self.offset = offset;
        self.tail = Print::default();
        if let Content::Plain(_) = content {
            self.tail = Print::of(&before(&mut content, offset)?);
        }
        Ok(())
    }

    /// Whether a content is the one that the cursor is about; it must stand at its beginning, and
    /// stands anywhere after.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn is_about(
        &self,
        content: &mut Content,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<bool> {
        let mut head = [0; HEAD];
        let length = content.fill(&mut head[..self.head.length()])?;
        let head = &head[..length];
        if length < self.head.length() || Print::of(head) != self.head {
            return Ok(false);
        }
        if self.tail.is_empty() {
            return Ok(true);
        }
        if let Content::Plain(_) = content {
            return Ok(Print::of(&before(content, self.offset)?) == self.tail);
        }
        let start = self.offset.saturating_sub(TAIL);
        let mut bytes: Vec<u8> = Vec::new();
        let mut at = length as u64;
        if start < at {
            let within = |place: u64| usize::try_from(place.min(at)).unwrap_or(length);
            bytes.extend_from_slice(&head[within(start)..within(self.offset)]);
        } else if content.skip_to(start - at, stop)? {
            at = start;
        } else {
            return Ok(false);
        }
        let mut rest = [0; TAIL as usize];
        let wanted = usize::try_from(self.offset.saturating_sub(at)).unwrap_or(0).min(rest.len());
        let read = content.fill(&mut rest[..wanted])?;
        bytes.extend_from_slice(&rest[..read]);
        Ok(Print::of(&bytes) == self.tail)
    }
}

/// The bytes before a place of a plain file.
fn before(content: &mut Content, offset: u64) -> io::Result<Vec<u8>> {
    let start = offset.saturating_sub(TAIL);
    let mut bytes = vec![0; usize::try_from(offset - start).unwrap_or(0)];
    content.skip_to(start, &|| false)?;
    let length = content.fill(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}
