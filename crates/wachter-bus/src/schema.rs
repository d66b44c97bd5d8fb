//! The tables, and how an older journal becomes a newer one. `PRAGMA user_version` numbers them.

use rusqlite::Connection;

/// Each entry takes a journal one version up; the first makes an empty one.
const MIGRATIONS: &[&str] = &[
    // `seal` is digest and chain. `correlation` and `causation` are short forms of the attributes of
    // these names, there only where an event has them: what follows a cause is looked up by it.
    "CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        topic TEXT NOT NULL,
        correlation INTEGER,
        causation INTEGER,
        seal BLOB NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX events_by_correlation ON events (correlation) WHERE correlation IS NOT NULL;
    CREATE INDEX events_by_causation ON events (causation) WHERE causation IS NOT NULL;
    CREATE TABLE checkpoints (
        first INTEGER PRIMARY KEY,
        last INTEGER NOT NULL,
        count INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        at INTEGER NOT NULL,
        previous BLOB NOT NULL,
        chain BLOB NOT NULL,
        signature TEXT,
        dropped INTEGER
    ) STRICT;
    CREATE TABLE identities (
        place INTEGER PRIMARY KEY,
        entries BLOB NOT NULL
    ) STRICT;
    CREATE TABLE generations (
        number INTEGER PRIMARY KEY,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        newest INTEGER NOT NULL,
        count INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE subscriptions (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        cursor BLOB NOT NULL,
        floor INTEGER NOT NULL,
        lag_limit INTEGER
    ) STRICT;
    CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY,
        subscription INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        at INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        retried INTEGER,
        reason TEXT NOT NULL,
        seal BLOB NOT NULL,
        stored INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (subscription, seq)
    ) STRICT;
    CREATE TABLE keys (
        bucket TEXT NOT NULL,
        key TEXT NOT NULL,
        revision INTEGER NOT NULL,
        expires INTEGER,
        value BLOB NOT NULL,
        PRIMARY KEY (bucket, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX keys_by_expiry ON keys (expires) WHERE expires IS NOT NULL;
    CREATE TABLE damage (
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        kind TEXT NOT NULL,
        found INTEGER NOT NULL,
        PRIMARY KEY (first, last, kind)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE facts (
        name TEXT PRIMARY KEY,
        value ANY NOT NULL
    ) STRICT, WITHOUT ROWID;",
    // Failures are told from interruptions, in cursors too: see `Cursor`, which reads both forms. A
    // version before this would take the new form for damage. Two facts were never asked for.
    "ALTER TABLE dead_letters ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
    UPDATE dead_letters SET failures = attempts;
    DELETE FROM facts WHERE name IN ('chain', 'dropped_to');",
    // Beside a cursor, what of it waits: see `Waits`. The writer asks for what is kept, and for what
    // is unsigned, every second; checkpoints of what was dropped stay for ever.
    "ALTER TABLE subscriptions ADD COLUMN waits BLOB;
    CREATE INDEX checkpoints_kept ON checkpoints (first, last, at, bytes, dropped)
        WHERE dropped IS NULL;
    CREATE INDEX checkpoints_unsigned ON checkpoints (first) WHERE signature IS NULL;",
    // A subscription can be given a part of the past again and then go on where it was: see `Cursor`,
    // which reads all forms; a version before this would take the new form for damage. What was given
    // up as such a repetition is told apart, so that it is one still when it is tried again.
    "ALTER TABLE dead_letters ADD COLUMN replay INTEGER NOT NULL DEFAULT 0;",
];

/// The version that this program writes.
pub(crate) const VERSION: usize = MIGRATIONS.len();

/// What a journal turned out to be.
pub(crate) enum Schema {
    /// Of this version now; whether it was made just now.
    Current { new: bool },
    /// Of a version that only a later program knows.
    Newer(usize),
}

/// How SQLite would answer a query to a journal: a line a step.
#[cfg(test)]
pub(crate) fn plan_of(query: &str) -> Vec<String> {
    let connection = Connection::open_in_memory().unwrap();
    migrate(&connection).unwrap();
    let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
    explain.query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect()
}

/// Brings the journal to [`VERSION`], one transaction a step.
pub(crate) fn migrate(connection: &Connection) -> rusqlite::Result<Schema> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if found > VERSION {
        return Ok(Schema::Newer(found));
    }
    for (done, step) in MIGRATIONS.iter().enumerate().skip(found) {
        let version = done + 1;
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {step} PRAGMA user_version = {version}; COMMIT;"
        ))?;
    }
    Ok(Schema::Current { new: found == 0 })
}
