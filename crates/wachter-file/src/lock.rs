//! One process at a time, by `flock(2)` on a file that says who has it. The kernel's lock alone
//! decides; what the file says is for people, and for signals to the process that it names.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The most bytes of a lock file that are looked at.
const MAX_BYTES: u64 = 256;

/// A lock that this process holds until the value is dropped, or the process ends.
#[derive(Debug)]
pub struct FileLock {
    // Closing it lets go.
    _file: File,
}

/// Who holds a lock, as the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process's number, as it sees itself.
    pub process: i32,
    /// What it is doing: one word.
    pub purpose: String,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it; who, where the file says so.
    #[error("{} has the lock", named(.0.as_ref()))]
    Held(Option<Holder>),
    /// The system refused.
    #[error("the lock `{}` cannot be used", .0.display())]
    File(PathBuf, #[source] io::Error),
}

impl FileLock {
    /// Takes the lock `path`, and writes there who has it and for what. The file is made where it is
    /// missing, readable by its owner alone, and stays.
    ///
    /// # Errors
    /// Another process has it: this does not wait. Or the file cannot be opened.
    pub fn take(path: &Path, purpose: &str) -> Result<Self, LockError> {
        let failed = |error: io::Error| LockError::File(path.to_owned(), error);
        let mut file = open(path, true).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LockError::Held(said(&mut file))),
            Err(error) => return Err(failed(error.into())),
        }
        let text = format!("{} {purpose}\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(failed)?;
        Ok(Self { _file: file })
    }

    /// Who holds the lock `path` now; `None` when nobody does. It is not taken, and the answer may be
    /// old when it arrives.
    ///
    /// # Errors
    /// As [`FileLock::take`], but for a file that is not there: nobody holds that.
    pub fn holder(path: &Path) -> Result<Option<Option<Holder>>, LockError> {
        let failed = |error: io::Error| LockError::File(path.to_owned(), error);
        let mut file = match open(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        // Shared, so that two who ask do not see each other; let go when the file is closed below.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(said(&mut file))),
            Err(error) => Err(failed(error.into())),
        }
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(create).create(create).truncate(false).mode(0o600).open(path)
}

/// `None` where the file does not say it as it should: its holder may be about to write it.
fn said(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    let (process, purpose) = text.strip_suffix('\n')?.split_once(' ')?;
    let plain = !purpose.is_empty() && purpose.bytes().all(|byte| byte.is_ascii_lowercase());
    let process = process.parse().ok().filter(|process| *process > 0 && plain)?;
    Some(Holder { process, purpose: purpose.to_owned() })
}

fn named(holder: Option<&Holder>) -> String {
    match holder {
        Some(Holder { process, purpose }) => format!("`wachter {purpose}`, process {process}"),
        None => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_known_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert_eq!(FileLock::holder(&path).unwrap(), None);
        let held = FileLock::take(&path, "run").unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let holder = Holder { process: own, purpose: "run".to_owned() };
        // Locks belong to open files, so one process can stand for two.
        match FileLock::take(&path, "sync").unwrap_err() {
            LockError::Held(Some(found)) => assert_eq!(found, holder),
            other => panic!("{other:?}"),
        }
        assert_eq!(FileLock::holder(&path).unwrap(), Some(Some(holder)));
        drop(held);
        assert_eq!(FileLock::holder(&path).unwrap(), None);
        drop(FileLock::take(&path, "sync").unwrap());
        assert!(matches!(
            FileLock::take(&folder.path().join("none/lock"), "run"),
            Err(LockError::File(..))
        ));
    }

    #[test]
    fn what_the_file_says_is_not_believed_blindly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        for (text, expected) in [
            ("12 run\n", Some(12)),
            ("12 run", None),
            ("", None),
            ("-1 run\n", None),
            ("0 run\n", None),
            ("12\n", None),
            ("99999999999 run\n", None),
            ("12 run\u{1b}[2J\n", None),
        ] {
            let held = FileLock::take(&path, "run").unwrap();
            std::fs::write(&path, text).unwrap();
            let found = FileLock::holder(&path).unwrap().expect("it is held");
            assert_eq!(found.map(|holder| holder.process), expected, "{text:?}");
            drop(held);
        }
    }
}
