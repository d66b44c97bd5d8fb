use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

/// What stands in a file, decompressed where it is compressed.
pub(crate) enum Content {
    Plain(File),
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
    Zstandard(Box<Frames>),
}

/// Why what stands in a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("it is compressed with {0}, which is not read; gzip and zstd are")]
    Format(&'static str),
    #[error("it cannot be read")]
    Read(#[from] io::Error),
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstandard,
}

/// The most that the window of a Zstandard frame may take.
const MAX_WINDOW: u64 = 8 << 20;

impl Compression {
    /// Tells it by the first bytes.
    pub(crate) fn of(file: &File) -> Result<Self, ContentError> {
        let mut head = [0; 6];
        let mut length = 0;
        while length < head.len() {
            match file.read_at(&mut head[length..], length as u64)? {
                0 => break,
                read => length += read,
            }
        }
        match &head[..length] {
            [0x1f, 0x8b, 0x08, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Self::Zstandard),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Err(ContentError::Format("xz")),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err(ContentError::Format("bzip2")),
            _ => Ok(Self::None),
        }
    }
}

impl Content {
    /// Opens a file's content at its beginning.
    pub(crate) fn open(mut file: File, compression: Compression) -> Result<Self, ContentError> {
        file.seek(SeekFrom::Start(0))?;
        Ok(match compression {
            Compression::None => Self::Plain(file),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(BufReader::new(file)))),
            Compression::Zstandard => Self::Zstandard(Box::new(Frames::new(file)?)),
        })
    }

    /// Goes to a place of the content; whether there is so much of it.
    pub(crate) fn skip_to(&mut self, offset: u64, stop: &dyn Fn() -> bool) -> io::Result<bool> {
        if let Self::Plain(file) = self {
            let there = file.metadata()?.len() >= offset;
            file.seek(SeekFrom::Start(offset))?;
            return Ok(there);
        }
        let mut left = offset;
        let mut sink = vec![0; 64 << 10];
        while left > 0 {
            if stop() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(sink.len());
            match self.read(&mut sink[..most])? {
                0 => return Ok(false),
                read => left -= read as u64,
            }
        }
        Ok(true)
    }

    /// Reads as much as there is, up to the length of `buffer`.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstandard(frames) => frames.read(buffer),
        }
    }
}

/// Zstandard frames one after the other (RFC 8878), as `zstd` and loggers write them.
pub(crate) struct Frames {
    current: Option<Frame>,
}

type Frame = StreamingDecoder<BufReader<File>, ruzstd::decoding::FrameDecoder>;

impl Frames {
    fn new(file: File) -> io::Result<Self> {
        Self::next(BufReader::new(file)).map(|current| Self { current })
    }

    /// The next frame; none at the end. What is no frame, such as one to skip, ends it too.
    fn next(mut source: BufReader<File>) -> io::Result<Option<Frame>> {
        use std::io::BufRead as _;
        if source.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let decoder = StreamingDecoder::new_with_max_window_size(source, MAX_WINDOW)
            .map_err(io::Error::other)?;
        Ok(Some(decoder))
    }
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(current) = &mut self.current else { return Ok(0) };
            let read = current.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(ended) = self.current.take() else { return Ok(0) };
            self.current = Self::next(ended.into_inner())?;
        }
    }
}
