//! Takes what is sound out of a file that SQLite cannot read any more.
//!
//! Rows are copied in the order of their numbers. Where a page is malformed, numbers are asked for one
//! by one until one answers, and the walk goes on from there; so a damaged page costs what is on it.
//! The old file is kept aside, whole.

use std::fs;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, params};

use crate::connect::{Files, Owner, Purpose};
use crate::stored::Raw;
use crate::verify::{Damage, DamageKind};
use crate::{Seq, SeqRange, clock, schema};

/// What was taken out of a damaged journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// Where the damaged file is now.
    pub kept_aside: PathBuf,
    /// Events that were taken over.
    pub events: u64,
    /// Events that are lost.
    pub lost: Vec<SeqRange>,
    /// Tables besides the events' of which something could not be read.
    pub incomplete: Vec<&'static str>,
}

/// Why nothing was taken out.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// A file could not be moved.
    #[error("cannot move {}", path.display())]
    Move {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The new file could not be written.
    #[error("cannot write the new journal")]
    Write(#[source] rusqlite::Error),
}

/// Whether a file with this error has anything to be taken out of.
pub(crate) fn calls_for_it(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || is_schema_damage(error)
        || matches!(
            error,
            rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..)
        )
}

/// A file whose list of tables is gone answers that there is no such table.
fn is_schema_damage(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::Unknown) && error.to_string().contains("no such")
}

/// The numbers that are asked for one by one beyond the last that is known of, before the end is
/// taken for reached.
const GIVE_UP_AFTER: u64 = 100_000;

/// Other tables.
const TABLES: [&str; 8] = [
    "checkpoints",
    "subscriptions",
    "dead_letters",
    "keys",
    "damage",
    "facts",
    "generations",
    "identities",
];

pub(crate) fn run(files: &Files, owner: &Owner, now: Timestamp) -> Result<Salvage, SalvageError> {
    let old = files.journal();
    let new = files.folder().join("journal.salvage");
    for leftover in with_companions(&new) {
        let _ = fs::remove_file(leftover);
    }
    let target = files.connect_to(&new, Purpose::Write).map_err(SalvageError::Write)?;
    schema::migrate(&target).map_err(SalvageError::Write)?;
    // In one transaction: half a salvage is none.
    target.execute_batch("BEGIN IMMEDIATE").map_err(SalvageError::Write)?;
    let mut salvage = Salvage::default();
    match files.connect_to(&old, Purpose::Read) {
        Ok(source) => copy(&source, &target, &mut salvage).map_err(SalvageError::Write)?,
        // Not even its head can be read.
        Err(_) => {
            salvage.incomplete = std::iter::once("events").chain(TABLES).collect();
        }
    }
    mend(&target, owner, &salvage).map_err(SalvageError::Write)?;
    let damage: Vec<_> = salvage
        .lost
        .iter()
        .map(|range| Damage { range: *range, kind: DamageKind::Missing })
        .collect();
    crate::open::remember_damage(&target, &damage, clock::to_millis(now))
        .map_err(SalvageError::Write)?;
    target
        .execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE);")
        .map_err(SalvageError::Write)?;
    drop(target);
    let stamp = now.as_second();
    salvage.kept_aside = files.folder().join(format!("journal.damaged-{stamp}.db"));
    let moves = with_companions(&old).into_iter().zip(with_companions(&salvage.kept_aside));
    for (from, to) in moves {
        if from.exists() {
            rename(&from, &to)?;
        }
    }
    rename(&new, &old)?;
    // A missing entry after a power cut would be a missing journal.
    if let Ok(folder) = fs::File::open(files.folder()) {
        let _ = folder.sync_all();
    }
    Ok(salvage)
}

/// Puts back what has a second copy, and lets go of what is worth nothing without what was lost.
fn mend(target: &Connection, owner: &Owner, salvage: &Salvage) -> rusqlite::Result<()> {
    if crate::open::fact::<String>(target, "journal")?.is_none()
        && let Some(journal) = owner.noted_identity()
    {
        crate::writer::set_fact(target, "journal", journal)?;
    }
    // Identities are read from the events again where they, or their secret, are not whole.
    let broken =
        ["identities", "generations"].iter().any(|table| salvage.incomplete.contains(table));
    if broken || crate::open::fact::<Vec<u8>>(target, "secret")?.is_none() {
        target.execute_batch("DELETE FROM identities; DELETE FROM generations;")?;
    }
    Ok(())
}

fn rename(from: &PathBuf, to: &PathBuf) -> Result<(), SalvageError> {
    fs::rename(from, to).map_err(|source| SalvageError::Move { path: from.clone(), source })
}

/// A database, its log and the index of its log.
fn with_companions(path: &std::path::Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|ending| {
        let mut path = path.as_os_str().to_owned();
        path.push(ending);
        path.into()
    })
}

fn copy(source: &Connection, target: &Connection, salvage: &mut Salvage) -> rusqlite::Result<()> {
    for table in TABLES {
        if !copy_table(source, target, table)? {
            salvage.incomplete.push(table);
        }
    }
    let highest = |sql: &str| {
        source.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).ok().flatten().unwrap_or(0)
    };
    let known = [
        highest("SELECT max(seq) FROM events"),
        highest("SELECT max(last) FROM checkpoints"),
        highest("SELECT max(floor) FROM subscriptions"),
        highest("SELECT value FROM facts WHERE name = 'last'"),
    ];
    let known = known.into_iter().max().unwrap_or(0).cast_unsigned();
    let dropped =
        highest("SELECT max(last) FROM checkpoints WHERE dropped IS NOT NULL").cast_unsigned();
    copy_events(source, target, salvage, dropped, known)
}

fn copy_events(
    source: &Connection,
    target: &Connection,
    salvage: &mut Salvage,
    dropped: u64,
    known: u64,
) -> rusqlite::Result<()> {
    let mut insert = target.prepare(
        "INSERT OR REPLACE INTO events (seq, at, topic, correlation, causation, seal, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut put = |raw: &Raw| -> rusqlite::Result<bool> {
        let Some((seal, stored)) = raw.seal.zip(raw.read()) else { return Ok(false) };
        insert.execute(params![
            raw.seq.to_sql(),
            raw.at,
            raw.topic,
            stored.event.correlation_id().map(crate::short_id::short),
            stored.event.causation_id().map(crate::short_id::short),
            seal.to_bytes(),
            raw.body,
        ])?;
        Ok(true)
    };
    // What was dropped on purpose is not asked for.
    let (mut next, mut silent) = (dropped + 1, 0_u64);
    loop {
        let before = next;
        // All that follows, until something cannot be read.
        let walked = walk(source, next, &mut |raw| {
            for gone in next..raw.seq.get() {
                SeqRange::push(&mut salvage.lost, Seq::new(gone));
            }
            next = raw.seq.get() + 1;
            if put(&raw)? {
                salvage.events += 1;
            } else {
                SeqRange::push(&mut salvage.lost, raw.seq);
            }
            Ok(())
        })?;
        silent = if next == before { silent + 1 } else { 0 };
        if walked || (next > known && silent > GIVE_UP_AFTER) {
            break;
        }
        // What cannot be read is passed over one number at a time.
        if next <= known {
            SeqRange::push(&mut salvage.lost, Seq::new(next));
        }
        next += 1;
    }
    for gone in next..=known {
        SeqRange::push(&mut salvage.lost, Seq::new(gone));
    }
    Ok(())
}

/// Reads rows from `from` on; `false` if the walk ended at something unreadable. An error is the
/// target's.
fn walk(
    source: &Connection,
    from: u64,
    take: &mut dyn FnMut(Raw) -> rusqlite::Result<()>,
) -> rusqlite::Result<bool> {
    let select = source.prepare_cached(
        "SELECT seq, at, topic, seal, body FROM events WHERE seq >= ?1 ORDER BY seq",
    );
    let Ok(mut select) = select else { return Ok(true) };
    let Ok(mut rows) = select.query([Seq::new(from).to_sql()]) else { return Ok(false) };
    loop {
        match rows.next().and_then(|row| row.map(Raw::from_row).transpose()) {
            Ok(Some(raw)) if raw.seq.get() >= from => take(raw)?,
            Ok(Some(_)) | Err(_) => return Ok(false),
            Ok(None) => return Ok(true),
        }
    }
}

/// Copies a table as far as it can be read; `false` if not to its end. An older file may have fewer
/// columns; the others get their defaults.
fn copy_table(source: &Connection, target: &Connection, table: &str) -> rusqlite::Result<bool> {
    let known = target.prepare(&format!("SELECT * FROM {table}"))?;
    let Ok(there) = source.prepare(&format!("SELECT * FROM {table}")) else { return Ok(false) };
    let there: Vec<_> = there.column_names().collect();
    let columns: Vec<_> = known.column_names().filter(|name| there.contains(name)).collect();
    if columns.is_empty() {
        return Ok(false);
    }
    let (names, places) = (columns.join(", "), vec!["?"; columns.len()].join(", "));
    let mut insert =
        target.prepare(&format!("INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})"))?;
    let Ok(mut select) = source.prepare(&format!("SELECT {names} FROM {table}")) else {
        return Ok(false);
    };
    let Ok(mut rows) = select.query([]) else { return Ok(false) };
    loop {
        let values = rows.next().and_then(|row| {
            row.map(|row| {
                (0..columns.len())
                    .map(|index| row.get(index))
                    .collect::<rusqlite::Result<Vec<rusqlite::types::Value>>>()
            })
            .transpose()
        });
        match values {
            // A row that breaks the table's own rules is damage as well.
            Ok(Some(values)) => match insert.execute(rusqlite::params_from_iter(values)) {
                Ok(_) => {}
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            },
            Ok(None) => return Ok(true),
            Err(_) => return Ok(false),
        }
    }
}
