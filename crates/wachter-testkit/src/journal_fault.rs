use std::path::Path;

use rusqlite::Connection;

/// Has every write to the journal in a folder fail, or none: by triggers of SQLite, which hold for
/// whoever has the journal open.
///
/// # Errors
/// There is no journal, or it is so already.
pub fn fail_journal(folder: &Path, fails: bool) -> Result<(), rusqlite::Error> {
    let connection = Connection::open(folder.join("journal.db"))?;
    for write in
        ["INSERT ON facts", "INSERT ON events", "INSERT ON keys", "UPDATE ON subscriptions"]
    {
        let name = write.replace(' ', "_");
        let statement = if fails {
            format!(
                "CREATE TRIGGER {name} BEFORE {write} BEGIN SELECT RAISE(ABORT, 'no room'); END"
            )
        } else {
            format!("DROP TRIGGER {name}")
        };
        connection.execute_batch(&statement)?;
    }
    Ok(())
}
