use crate::Seq;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// SQLite could not read it.
    #[error("cannot read the journal")]
    Sqlite(#[from] rusqlite::Error),
    /// The thread that reads was not started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// A row is damaged.
    #[error("event {0} is damaged; `audit verify` lists all that is")]
    Damaged(Seq),
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
}
