//! The simulation of power loss must find what SQLite's own documentation says is not safe, and
//! nothing where it says that all is safe.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rusqlite::{Connection, OpenFlags};
use tempfile::{TempDir, tempdir};
use wachter_testkit::{CutPoint, Recorder, RegisterError};

/// How a database is written.
#[derive(Clone, Copy, Debug)]
struct Mode {
    journal: &'static str,
    synchronous: &'static str,
    /// Rows between two checkpoints, of which a small number has the log begin anew often.
    checkpoint: u32,
}

/// What was wrong with an image.
#[derive(Debug)]
#[allow(dead_code, reason = "the fields are for the message")]
enum Harm {
    /// Fewer rows than were promised.
    Lost { promised: u32, found: u32 },
    /// SQLite refuses the database, or a transaction is there in part.
    Broken { why: String },
}

#[derive(Debug, Default)]
struct Tally {
    images: usize,
    lost: usize,
    broken: usize,
    /// The first of each, for the message.
    examples: Vec<String>,
}

/// Names are global to the process, and tests run in threads of one where nextest is not used.
fn unique_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("recorder-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn recorder(folder: &TempDir) -> Recorder {
    Recorder::register(&unique_name(), folder.path()).unwrap()
}

fn open(recorder: &Recorder, folder: &Path, mode: Mode) -> rusqlite::Result<Connection> {
    let database = Connection::open_with_flags_and_vfs(
        folder.join("rows.db"),
        OpenFlags::default(),
        recorder.name(),
    )?;
    database.execute_batch(&format!(
        "PRAGMA page_size = 1024; PRAGMA journal_mode = {}; PRAGMA synchronous = {};
         PRAGMA cache_size = 8; PRAGMA wal_autocheckpoint = 0;
         CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, body BLOB);
         CREATE TABLE IF NOT EXISTS counters (id INTEGER PRIMARY KEY, value INTEGER);",
        mode.journal, mode.synchronous
    ))?;
    Ok(database)
}

fn body(id: u32) -> Vec<u8> {
    (0..100 + id * 37 % 900).map(|at| (id.wrapping_mul(31).wrapping_add(at) % 251) as u8).collect()
}

/// One transaction: a row, and one more in one of seven counters.
fn write_row(database: &mut Connection, id: u32) -> rusqlite::Result<()> {
    let transaction = database.transaction()?;
    transaction.execute("INSERT INTO rows VALUES (?1, ?2)", (id, body(id)))?;
    transaction.execute(
        "INSERT INTO counters VALUES (?1, 1) ON CONFLICT DO UPDATE SET value = value + 1",
        [id % 7],
    )?;
    transaction.commit()
}

/// Writes rows from a number on, and marks each after its commit.
fn write_rows(recorder: &Recorder, folder: &Path, mode: Mode, ids: std::ops::Range<u32>) {
    let mut database = open(recorder, folder, mode).unwrap();
    for id in ids {
        write_row(&mut database, id).unwrap();
        recorder.mark(id.to_string());
        if id % mode.checkpoint == 0 {
            let kind =
                ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][(id / mode.checkpoint % 4) as usize];
            database.query_row(&format!("PRAGMA wal_checkpoint({kind})"), [], |_| Ok(())).unwrap();
        }
    }
}

/// Rows 0 to some number must be there whole, and as many as were promised.
fn examine(database: &Connection, promised: u32) -> Result<(), Harm> {
    let broken = |what: &dyn fmt::Display| Harm::Broken { why: what.to_string() };
    let sql = |error: rusqlite::Error| broken(&error);
    database.execute_batch("PRAGMA synchronous = OFF").map_err(sql)?;
    let verdict: String =
        database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(sql)?;
    if verdict != "ok" {
        return Err(broken(&verdict));
    }
    let tables: i64 = database
        .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))
        .map_err(sql)?;
    if tables < 2 {
        return if promised == 0 { Ok(()) } else { Err(Harm::Lost { promised, found: 0 }) };
    }
    let mut statement = database.prepare("SELECT id, body FROM rows ORDER BY id").map_err(sql)?;
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .map_err(sql)?;
    let mut found = 0;
    for row in rows {
        let (id, content) = row.map_err(sql)?;
        if id != found || content != body(found) {
            return Err(broken(&format!("row {id} stands where {found} belongs, or is damaged")));
        }
        found += 1;
    }
    let counted: u32 = database
        .query_row("SELECT coalesce(sum(value), 0) FROM counters", [], |row| row.get(0))
        .map_err(sql)?;
    if counted != found {
        return Err(broken(&format!("{found} rows, but {counted} were counted")));
    }
    if found < promised { Err(Harm::Lost { promised, found }) } else { Ok(()) }
}

fn promised(recorder: &Recorder, point: CutPoint) -> u32 {
    recorder.marks_before(point).last().map_or(0, |mark| mark.parse::<u32>().unwrap() + 1)
}

/// Cuts at every point, or at some hundreds of very many, with seeds of its own at each, and
/// examines what is left.
fn cut_everywhere(recorder: &Recorder, seeds: u64) -> Tally {
    let mut tally = Tally::default();
    let points = recorder.cut_points();
    let step = 1 + points.len() / 500;
    for (number, point) in points.into_iter().step_by(step).enumerate() {
        let promised = promised(recorder, point);
        let own = (0..seeds).map(|seed| 2 + number as u64 * seeds + seed);
        for seed in [0, 1].into_iter().chain(own) {
            let image = recorder.image(point, seed).unwrap();
            let result = Connection::open(image.path().join("rows.db"))
                .map_err(|error| Harm::Broken { why: error.to_string() })
                .and_then(|database| examine(&database, promised));
            tally.add(result, &format!("{}, seed {seed}", recorder.describe(point)));
        }
    }
    tally
}

impl Tally {
    fn add(&mut self, result: Result<(), Harm>, place: &str) {
        self.images += 1;
        let Err(harm) = result else { return };
        let count = match &harm {
            Harm::Lost { .. } => &mut self.lost,
            Harm::Broken { .. } => &mut self.broken,
        };
        *count += 1;
        if *count == 1 {
            self.examples.push(format!("{place}: {harm:?}"));
        }
    }
}

/// What the simulation must find in a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finds {
    Nothing,
    /// Promised rows are gone; every database is whole.
    Losses,
    /// Databases that are no longer whole.
    Breakage,
}

fn check(journal: &'static str, synchronous: &'static str, rows: u32, finds: Finds) {
    let mode = Mode { journal, synchronous, checkpoint: 7 };
    let folder = tempdir().unwrap();
    let recorder = recorder(&folder);
    write_rows(&recorder, folder.path(), mode, 0..rows);
    assert_finds(&cut_everywhere(&recorder, 2), finds, &format!("{mode:?}"));
}

fn assert_finds(tally: &Tally, finds: Finds, what: &str) {
    assert!(tally.images >= 1000, "{what}: {} images show too little", tally.images);
    match finds {
        Finds::Nothing => assert!(tally.lost + tally.broken == 0, "{what}: {tally:#?}"),
        Finds::Losses => {
            assert!(tally.broken == 0, "{what}: {tally:#?}");
            assert!(tally.lost > 0, "{what}: no loss in {} images", tally.images);
        }
        Finds::Breakage => assert!(tally.broken > 0, "{what}: none in {} images", tally.images),
    }
}

// What is to be found: <https://sqlite.org/pragma.html#pragma_synchronous>.

#[test]
fn write_ahead_log_with_full_syncs_keeps_every_row() {
    check("WAL", "FULL", 40, Finds::Nothing);
}

#[test]
fn write_ahead_log_with_normal_syncs_loses_rows_and_breaks_nothing() {
    check("WAL", "NORMAL", 40, Finds::Losses);
}

#[test]
fn write_ahead_log_without_syncs_breaks() {
    check("WAL", "OFF", 40, Finds::Breakage);
}

#[test]
fn rollback_journal_with_extra_syncs_keeps_every_row() {
    check("DELETE", "EXTRA", 20, Finds::Nothing);
}

/// The commit is the deletion of the journal, and the folder is not synced behind it.
#[test]
fn rollback_journal_with_full_syncs_may_lose_the_last_row() {
    check("DELETE", "FULL", 20, Finds::Losses);
}

#[test]
fn rollback_journal_cut_to_nothing_keeps_every_row() {
    check("TRUNCATE", "FULL", 20, Finds::Nothing);
}

#[test]
fn rollback_journal_with_its_head_overwritten_keeps_every_row() {
    check("PERSIST", "FULL", 20, Finds::Nothing);
}

#[test]
fn rollback_journal_without_syncs_breaks() {
    check("DELETE", "OFF", 20, Finds::Breakage);
}

/// A second connection checkpoints all the time, as a thread of its own.
#[test]
fn checkpoints_under_way_lose_nothing() {
    let mode = Mode { journal: "WAL", synchronous: "FULL", checkpoint: 1_000_000 };
    let folder = tempdir().unwrap();
    let recorder = recorder(&folder);
    drop(open(&recorder, folder.path(), mode).unwrap());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let database = open(&recorder, folder.path(), mode).unwrap();
            for kind in ["PASSIVE", "RESTART", "TRUNCATE"].into_iter().cycle() {
                if done.load(Ordering::Acquire) {
                    break;
                }
                // Busy is an answer here.
                let _ =
                    database.query_row(&format!("PRAGMA wal_checkpoint({kind})"), [], |_| Ok(()));
            }
        });
        let mut database = open(&recorder, folder.path(), mode).unwrap();
        for id in 0..40 {
            write_row(&mut database, id).unwrap();
            recorder.mark(id.to_string());
        }
        done.store(true, Ordering::Release);
    });
    assert_finds(&cut_everywhere(&recorder, 2), Finds::Nothing, "checkpoints in a thread");
}

/// The power goes again while SQLite recovers from the first cut, and while more is written.
#[test]
fn a_second_cut_during_recovery_loses_nothing() {
    for mode in [
        Mode { journal: "WAL", synchronous: "FULL", checkpoint: 5 },
        Mode { journal: "DELETE", synchronous: "EXTRA", checkpoint: 5 },
    ] {
        let folder = tempdir().unwrap();
        let first = recorder(&folder);
        write_rows(&first, folder.path(), mode, 0..20);
        let mut tally = Tally::default();
        for (number, point) in first
            .cut_points()
            .into_iter()
            .enumerate()
            .skip(40)
            .step_by(if mode.journal == "WAL" { 29 } else { 89 })
        {
            let again = tempdir().unwrap();
            first.image_at(point, number as u64, again.path()).unwrap();
            let second = recorder(&again);
            let kept = promised(&first, point);
            let found: u32 = open(&second, again.path(), mode)
                .and_then(|database| {
                    database.query_row("SELECT count(*) FROM rows", [], |row| row.get(0))
                })
                .unwrap();
            assert!(found >= kept, "{}", first.describe(point));
            if let Some(last) = found.checked_sub(1) {
                second.mark(last.to_string());
            }
            write_rows(&second, again.path(), mode, found..found + 3);
            let one = cut_everywhere(&second, 2);
            tally.images += one.images;
            tally.lost += one.lost;
            tally.broken += one.broken;
            tally.examples.extend(one.examples);
        }
        assert_finds(&tally, Finds::Nothing, &format!("twice, {mode:?}"));
    }
}

/// What every test that uses the recorder can try itself with.
#[test]
fn syncs_that_are_ignored_lose_rows_in_the_safest_mode() {
    let mode = Mode { journal: "WAL", synchronous: "FULL", checkpoint: 7 };
    let folder = tempdir().unwrap();
    let recorder = recorder(&folder);
    recorder.ignore_syncs();
    write_rows(&recorder, folder.path(), mode, 0..40);
    assert_finds(&cut_everywhere(&recorder, 2), Finds::Breakage, "syncs ignored");
}

/// The content of a folder, without shared memory, which no image has.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| !name.ends_with("-shm"))
        .collect();
    files.sort();
    files
}

fn image(recorder: &Recorder, point: CutPoint, seed: u64) -> Vec<(String, Vec<u8>)> {
    content(recorder.image(point, seed).unwrap().path())
}

#[test]
fn a_seed_and_a_point_make_one_image() {
    let mode = Mode { journal: "WAL", synchronous: "NORMAL", checkpoint: 7 };
    let folder = tempdir().unwrap();
    let recorder = recorder(&folder);
    write_rows(&recorder, folder.path(), mode, 0..20);
    let points = recorder.cut_points();
    let forward: Vec<_> = points.iter().map(|point| image(&recorder, *point, 7)).collect();
    let mut other = 0;
    for (point, first) in points.iter().zip(&forward).rev().step_by(9) {
        assert_eq!(&image(&recorder, *point, 7), first, "{}", recorder.describe(*point));
        other += usize::from(image(&recorder, *point, 8) != *first);
    }
    assert!(other > 0, "no seed makes a difference");
}

/// The log misses nothing: with all of it kept, the image is the folder itself.
#[test]
fn everything_kept_is_the_folder_as_it_is() {
    for (journal, open_still) in [("WAL", true), ("WAL", false), ("PERSIST", false)] {
        let mode = Mode { journal, synchronous: "FULL", checkpoint: 7 };
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("before"), "was there").unwrap();
        let recorder = recorder(&folder);
        let reader = open_still.then(|| open(&recorder, folder.path(), mode).unwrap());
        write_rows(&recorder, folder.path(), mode, 0..20);
        let end = *recorder.cut_points().last().unwrap();
        let names = |files: &[(String, Vec<u8>)]| {
            files.iter().map(|file| file.0.clone()).collect::<Vec<_>>()
        };
        let (kept, real) = (image(&recorder, end, 1), content(folder.path()));
        assert_eq!(names(&kept), names(&real), "{journal}");
        assert!(kept == real, "{journal}: the content of {:?} differs", names(&real));
        assert_eq!(real.iter().any(|(name, _)| name == "rows.db-wal"), open_still);
        drop(reader);
    }
}

/// A repair writes a new file and renames it over the old one, which no VFS sees.
#[test]
fn a_file_replaced_past_sqlite_is_another_file() {
    let mode = Mode { journal: "WAL", synchronous: "FULL", checkpoint: 7 };
    let folder = tempdir().unwrap();
    let recorder = recorder(&folder);
    write_rows(&recorder, folder.path(), mode, 0..20);
    let (old, new) = (folder.path().join("rows.db"), folder.path().join("new.db"));
    Connection::open(&old).unwrap().execute("VACUUM INTO ?1", [new.to_str().unwrap()]).unwrap();
    fs::rename(&new, &old).unwrap();
    write_rows(&recorder, folder.path(), mode, 20..25);
    let end = *recorder.cut_points().last().unwrap();
    // The deletion of the log at the end may be undone, so the database alone is compared.
    for seed in [0, 1] {
        let image = image(&recorder, end, seed);
        let kept = image.into_iter().find(|(name, _)| name == "rows.db").unwrap();
        assert!(kept.1 == fs::read(&old).unwrap(), "seed {seed}");
    }
}

#[test]
fn what_the_tool_refuses() {
    let folder = tempdir().unwrap();
    let first = recorder(&folder);
    let again = Recorder::register(first.name(), folder.path());
    assert!(matches!(again, Err(RegisterError::Taken { .. })), "{again:?}");
    let zero = Recorder::register("a\0b", folder.path());
    assert!(matches!(zero, Err(RegisterError::Name { .. })), "{zero:?}");
    let missing = Recorder::register(&unique_name(), &folder.path().join("missing"));
    assert!(matches!(missing, Err(RegisterError::Folder { .. })), "{missing:?}");

    fs::write(folder.path().join("file"), "").unwrap();
    let end = *first.cut_points().last().unwrap();
    let error = first.image_at(end, 0, folder.path()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty);
}

/// A connection that outlives its recorder goes on, and the name is free again.
#[test]
fn a_dropped_recorder_leaves_open_connections_alone() {
    let mode = Mode { journal: "WAL", synchronous: "FULL", checkpoint: 7 };
    let folder = tempdir().unwrap();
    let first = recorder(&folder);
    let name = first.name().to_owned();
    let mut database = open(&first, folder.path(), mode).unwrap();
    drop(first);
    write_row(&mut database, 0).unwrap();
    assert!(open_by_name(&name, folder.path()).is_err());
    let again = Recorder::register(&name, folder.path()).unwrap();
    write_rows(&again, folder.path(), mode, 1..3);
    drop(database);
    let database = open_by_name(&name, folder.path()).unwrap();
    examine(&database, 3).unwrap();
}

fn open_by_name(name: &str, folder: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags_and_vfs(folder.join("rows.db"), OpenFlags::default(), name)
}
