use std::io;

use serde::{Deserialize, Serialize};
use wachter_model::Digest;

use super::content::Content;
use super::open::Identity;
use crate::record::{FIRST, LAST};

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

impl Print {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
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

    /// How many bytes it is of.
    pub(crate) fn length(&self) -> usize {
        self.0.into()
    }

    /// The print of the beginning of a content, which must stand there.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn of_head(content: &mut Content) -> io::Result<Self> {
        let mut head = [0; FIRST];
        let length = content.fill(&mut head)?;
        Ok(Self::of(&head[..length]))
    }

    /// Whether a content, which must stand at its beginning, begins so.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn begins(&self, content: &mut Content) -> io::Result<bool> {
        let mut head = [0; FIRST];
        let length = content.fill(&mut head[..self.length()])?;
        Ok(Self::of(&head[..length]) == *self)
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

    /// Whether what stands before the place is what stood there; the content must stand at its
    /// beginning, and stands at the place then.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn follows(
        &self,
        content: &mut Content,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<bool> {
        let Some(start) = self.offset.checked_sub(self.tail.length() as u64) else {
            return Ok(false);
        };
        if self.tail.length() > LAST || !content.skip_to(start, stop)? {
            return Ok(false);
        }
        let mut tail = [0; LAST];
        let length = content.fill(&mut tail[..self.tail.length()])?;
        Ok(Print::of(&tail[..length]) == self.tail)
    }
}

/// The print of what stands before a place of a plain file.
///
/// # Errors
/// Those of reading.
pub(crate) fn before(content: &mut Content, offset: u64) -> io::Result<Print> {
    let start = offset.saturating_sub(LAST as u64);
    let mut tail = [0; LAST];
    content.skip_to(start, &|| false)?;
    let wanted = usize::try_from(offset - start).unwrap_or(LAST);
    let length = content.fill(&mut tail[..wanted])?;
    Ok(Print::of(&tail[..length]))
}
