use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use wachter_model::{Digest, DigestWriter};

use super::{failed, not_started};
use crate::failure::CommandError;

/// The largest object that is read whole; what a node takes as a document is far smaller.
const MAX_READ: u64 = 16 << 20;

/// A running `git cat-file --batch`.
#[derive(Debug)]
pub(crate) struct Objects {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Objects {
    pub(super) fn start(mut command: Command) -> Result<Self, CommandError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| not_started(&error))?;
        let stdin = child.stdin.take().expect("stdin was asked to be a pipe");
        let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
        Ok(Self { child, stdin: Some(stdin), stdout: BufReader::new(stdout) })
    }

    /// The content of an object of at most 16 MiB.
    ///
    /// # Errors
    /// An object that is not there or larger.
    pub(crate) fn read(&mut self, id: &str) -> Result<Vec<u8>, CommandError> {
        let size = self.ask(id)?;
        if size > MAX_READ {
            return Err(CommandError::refused(format!(
                "object {id} has {size} bytes; {MAX_READ} is the most"
            )));
        }
        let mut content = Vec::new();
        self.take(size, &mut content)?;
        Ok(content)
    }

    /// SHA-256 of the content of an object of any size.
    ///
    /// # Errors
    /// An object that is not there.
    pub(crate) fn digest(&mut self, id: &str) -> Result<Digest, CommandError> {
        let size = self.ask(id)?;
        let mut writer = DigestWriter::new();
        self.take(size, &mut writer)?;
        Ok(writer.finish())
    }

    fn ask(&mut self, id: &str) -> Result<u64, CommandError> {
        let stdin = self.stdin.as_mut().expect("it is taken away only when dropped");
        stdin.write_all(format!("{id}\n").as_bytes())?;
        stdin.flush()?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let size = line.trim_end().rsplit_once(' ').and_then(|(_, size)| size.parse().ok());
        size.ok_or_else(|| failed(&["cat-file"], &format!("no object {id}: {}", line.trim_end())))
    }

    fn take(&mut self, size: u64, into: &mut impl Write) -> Result<(), CommandError> {
        let copied = io::copy(&mut self.stdout.by_ref().take(size), into)?;
        let mut end = [0];
        self.stdout.read_exact(&mut end)?;
        if copied == size { Ok(()) } else { Err(failed(&["cat-file"], "it ended early")) }
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // It ends when its stdin does. Nothing is left to be told about it here.
        self.stdin = None;
        let _ = self.child.wait();
    }
}
