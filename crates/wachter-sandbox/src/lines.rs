//! Text for the log, read from pipes in pieces and told in lines.

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::output::printable;

/// A longer line is cut into several: it is only log.
const MOST: usize = 8 << 10;

/// The line that is not at its end yet.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<u8>);

impl Lines {
    /// Takes a piece, and tells each line that it ends, as it may be printed.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut tell: impl FnMut(String)) {
        for byte in bytes {
            if *byte != b'\n' {
                self.0.push(*byte);
            }
            if *byte == b'\n' || self.0.len() >= MOST {
                tell(printable(&String::from_utf8_lossy(&self.0)));
                self.0.clear();
            }
        }
    }

    /// Tells what stands behind the last end of a line.
    pub(crate) fn finish(self, tell: impl FnOnce(String)) {
        if !self.0.is_empty() {
            tell(printable(&String::from_utf8_lossy(&self.0)));
        }
    }
}

/// Reads from a pipe that is open; none at its end. One that is closed says nothing for ever.
pub(crate) async fn read_some(
    pipe: &mut Option<pipe::Receiver>,
    buffer: &mut [u8],
) -> Option<usize> {
    match pipe {
        Some(pipe) => pipe.read(buffer).await.ok().filter(|bytes| *bytes > 0),
        None => std::future::pending().await,
    }
}
