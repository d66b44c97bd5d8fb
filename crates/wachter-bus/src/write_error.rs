use rusqlite::ErrorCode;

/// Why something could not be written. Nothing of it was.
///
/// The writer goes on trying with what comes next, so it recovers by itself once the cause is gone;
/// only after [`Damaged`](Self::Damaged) and [`Closed`](Self::Closed) the bus must be opened again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The disk, the quota or the largest file size is used up.
    #[error("the disk of the journal is full; make room, and it goes on by itself")]
    DiskFull,
    /// The file system or the file may only be read.
    #[error("the journal is read-only; mount its file system writable, and it goes on by itself")]
    ReadOnly,
    /// The disk failed.
    #[error("the disk of the journal failed ({0}); see the kernel's log")]
    Disk(String),
    /// The file of the journal is damaged.
    #[error("the journal is damaged ({0}); open it again to have what is sound taken out")]
    Damaged(String),
    /// Something else in SQLite.
    #[error("the journal could not be written ({0})")]
    Other(String),
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
}

impl From<&rusqlite::Error> for WriteError {
    fn from(error: &rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Disk(text),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(text),
            _ => Self::Other(text),
        }
    }
}

impl WriteError {
    /// Whether the next write may fare better without anyone opening the bus again.
    #[must_use]
    pub const fn passes(&self) -> bool {
        !matches!(self, Self::Damaged(_) | Self::Closed)
    }
}
