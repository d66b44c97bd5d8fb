use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// The files of one journal.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    vfs: Option<String>,
}

/// Holds the folder for one bus, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Owner(File);

impl Owner {
    /// The identity that was noted beside the journal, for the case that the journal loses its own:
    /// without it no chain can be followed.
    pub(crate) fn noted_identity(&self) -> Option<String> {
        let mut text = String::new();
        let mut file = &self.0;
        file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
        let text = text.trim_end();
        uuid::Uuid::try_parse(text).is_ok().then(|| text.to_owned())
    }

    /// Notes the identity. It is a second copy, so a failure costs nothing now.
    pub(crate) fn note_identity(&self, journal: &str) {
        let mut file = &self.0;
        if self.noted_identity().as_deref() != Some(journal) {
            let noted = file.set_len(0).and_then(|()| file.rewind());
            let _ = noted.and_then(|()| writeln!(file, "{journal}"));
        }
    }
}

/// What a connection is for; each has its share of memory.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Write,
    Read,
}

impl Files {
    pub(crate) const fn new(folder: PathBuf, vfs: Option<String>) -> Self {
        Self { folder, vfs }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.join("journal.db")
    }

    /// What the journal takes on the disk, as far as that can be asked.
    pub(crate) fn bytes(&self) -> u64 {
        let log = self.folder.join("journal.db-wal");
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        size(&self.journal()) + size(&log)
    }

    /// Where it is noted that the file has to be salvaged when it is opened again: damage in its
    /// middle is met by a reader, and opening reads only the end.
    pub(crate) fn damage_note(&self) -> PathBuf {
        self.folder.join("journal.damaged")
    }

    /// Makes the folder and takes it; `None` if another process has it.
    pub(crate) fn own(&self) -> io::Result<Option<Owner>> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join("journal.lock");
        // Opened for writing too: an exclusive lock over NFS asks for it.
        let file =
            File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Owner(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(crate) fn connect(&self, purpose: Purpose) -> rusqlite::Result<Connection> {
        self.connect_to(&self.journal(), purpose)
    }

    pub(crate) fn connect_to(&self, path: &Path, purpose: Purpose) -> rusqlite::Result<Connection> {
        // One thread uses each connection, so SQLite need not lock.
        let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX
            | match purpose {
                Purpose::Write => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
                // A reader of a write-ahead log has to write its index; `query_only` keeps it from
                // everything else.
                Purpose::Read => OpenFlags::SQLITE_OPEN_READ_WRITE,
            };
        let connection = match &self.vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str())?,
            None => Connection::open_with_flags(path, flags)?,
        };
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(64);
        match purpose {
            Purpose::Write => {
                // FULL is what makes an acknowledgement outlive a power cut: each commit syncs the
                // write-ahead log. A page of 8 KiB holds seven events of 1 KiB.
                connection.execute_batch(
                    "PRAGMA page_size = 8192;
                     PRAGMA journal_mode = WAL;
                     PRAGMA synchronous = FULL;
                     PRAGMA cache_size = -2048;
                     PRAGMA journal_size_limit = 67108864;",
                )?;
            }
            Purpose::Read => {
                connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -512;")?;
            }
        }
        Ok(connection)
    }
}
