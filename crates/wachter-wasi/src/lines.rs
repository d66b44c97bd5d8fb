use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wachter_module::protocol::module::MAX_LINE;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// The module's stdout, of which whole lines are passed on: one that it did not finish, because it was
/// stopped, would be no message and hide why it was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    /// What has no line feed yet.
    rest: Arc<Mutex<Vec<u8>>>,
}

impl Lines {
    /// Passes on what has no line feed, of a module that ended by itself.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let rest = std::mem::take(&mut *self.rest.lock().unwrap_or_else(PoisonError::into_inner));
        let mut stdout = io::stdout().lock();
        stdout.write_all(&rest)?;
        stdout.flush()
    }

    fn take(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let (lines, begun) = bytes.split_at(whole);
        // What is longer than any message is the node's to refuse.
        if whole > 0 || rest.len() > MAX_LINE {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&rest)?;
            stdout.write_all(lines)?;
            stdout.flush()?;
            rest.clear();
        }
        rest.extend_from_slice(begun);
        Ok(())
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// For WASI 0.3, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Vec::new())
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => StreamError::Closed,
            _ => StreamError::LastOperationFailed(error.into()),
        })
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}
