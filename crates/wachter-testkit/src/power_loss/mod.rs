//! Power loss, simulated below SQLite.
//!
//! A process that is killed leaves all that it wrote in the kernel's cache, so killing it says
//! nothing about a power cut. Here SQLite runs on a layer (a VFS, <https://sqlite.org/vfs.html>)
//! that passes everything on to the usual one and keeps a log of it. From the log, the folder can
//! be made again as a disk might hold it after the power went at any operation.
//!
//! What such a disk holds:
//! - all that was written to a file before the last sync of that file;
//! - of each later write any part: all, nothing, some sectors of 512 bytes, and of one of those
//!   the first or the last bytes only. Which part of one write is there says nothing about the
//!   others, whichever came first; where writes overlap, the later one lies above;
//! - of a write behind the end of a file perhaps only the length, with zeros or noise for content;
//! - bytes that no write touched, untouched: SQLite relies on it for Unix
//!   (`SQLITE_IOCAP_POWERSAFE_OVERWRITE`, <https://sqlite.org/psow.html>);
//! - the creation and deletion of files before the last sync of their folder; each later one may
//!   be undone, one name independent of another.
//!
//! # Limits
//! - Syncs are recorded and never carried out, so a test runs at the speed of memory.
//! - Shared memory (`-shm`) is on no image: it holds nothing after a power cut. Temporary files and
//!   those outside of the folder are not recorded. Folders themselves are taken as synced.
//! - Files that are made or replaced past SQLite are seen when SQLite opens them, and are taken as
//!   synced. Whatever stood in the folder when it was registered is synced.
//! - The usual VFS syncs the folder of a new journal by itself, below this layer, at the first sync
//!   of the journal. That is imitated by its rule (`UNIXFILE_DIRSYNC` in SQLite's `os_unix.c`).
//! - SQLite's VFS has no rename, and memory-mapped reading is not offered.
//! - A disk that forgets some of what it promised to keep is not simulated; one that keeps no such
//!   promise is, to try a test ([`Recorder::ignore_syncs`]).

mod damage;
mod disk;
mod log;
#[allow(unsafe_code, reason = "the one file that SQLite, in C, calls and that calls it")]
mod vfs;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use damage::Damage;
use disk::Disk;
use log::Log;
use tempfile::TempDir;
pub use vfs::RegisterError;
use vfs::Registration;

/// Records what SQLite does to the files of one folder, and makes the folder again as after a
/// power cut.
///
/// ```no_run
/// # use wachter_testkit::Recorder;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::path::Path::new("folder");
/// let recorder = Recorder::register("recorder-of-this-test", folder)?;
/// // Open databases in `folder` with the VFS `recorder.name()`, write, and after each promise:
/// recorder.mark("row 17 is kept");
/// for point in recorder.cut_points() {
///     let image = recorder.image(point, 42)?;
///     // Open what stands in `image`: all of `recorder.marks_before(point)` must hold.
/// }
/// # Ok(()) }
/// ```
///
/// Dropped, it forgets the log, and its name is free again. A connection that is still open then
/// goes on working, unrecorded.
#[derive(Debug)]
pub struct Recorder {
    log: Arc<Mutex<Log>>,
    /// The disk as it was at the cut that was asked for last: asking in order is then fast.
    replay: Mutex<Replay>,
    registration: Registration,
}

#[derive(Debug)]
struct Replay {
    disk: Disk,
    applied: usize,
}

/// A place in the log: the power goes after the operation before it and before the one behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CutPoint(usize);

impl Recorder {
    /// Registers a VFS of this name that records what happens in `folder` and below.
    ///
    /// What stands in `folder` counts as synced. The folder must exist. Names are global to the
    /// process.
    ///
    /// # Errors
    /// The name is taken, or no name that SQLite can hold; the folder cannot be read.
    pub fn register(name: &str, folder: &Path) -> Result<Self, RegisterError> {
        let log = Log::of_folder(folder)
            .map_err(|source| RegisterError::Folder { folder: folder.to_owned(), source })?;
        let log = Arc::new(Mutex::new(log));
        let registration = Registration::new(name, Arc::clone(&log))?;
        Ok(Self {
            log,
            replay: Mutex::new(Replay { disk: Disk::default(), applied: 0 }),
            registration,
        })
    }

    /// The name to open databases with.
    #[must_use]
    pub fn name(&self) -> &str {
        self.registration.name()
    }

    /// Notes in the log what the code under test has promised by now.
    pub fn mark(&self, text: impl Into<String>) {
        lock(&self.log).mark(text.into());
    }

    /// From now on syncs keep nothing, as on a disk that says it is done and is not. A test that
    /// finds no loss then would find none on a sound disk either: it looks at the wrong things.
    pub fn ignore_syncs(&self) {
        lock(&self.log).ignore_syncs();
    }

    /// Whether no sync ends from now on, as on a disk that is slow or busy for as long as it lasts.
    pub fn hold_syncs(&self, held: bool) {
        let hold = lock(&self.log).hold();
        *lock(&hold.0) = held;
        hold.1.notify_all();
    }

    /// Every place where a cut makes a difference, first to last: before each operation on the
    /// disk, and at the end. Marks are passed: a place between an operation and the marks behind
    /// it is not listed, for the disk is the same there and less was promised.
    #[must_use]
    pub fn cut_points(&self) -> Vec<CutPoint> {
        lock(&self.log).cut_points().into_iter().map(CutPoint).collect()
    }

    /// The marks before this point, first to last.
    #[must_use]
    pub fn marks_before(&self, point: CutPoint) -> Vec<String> {
        lock(&self.log).marks(point.0)
    }

    /// The last operation before this point and the first behind it, to tell what a failing test
    /// found.
    #[must_use]
    pub fn describe(&self, point: CutPoint) -> String {
        lock(&self.log).describe(point.0)
    }

    /// [`image_at`](Self::image_at) into a folder of its own, in memory where the system has room
    /// for that (`/dev/shm`), because what matters here is how many can be tried.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn image(&self, point: CutPoint, seed: u64) -> io::Result<TempDir> {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
        self.image_at(point, seed, folder.path())?;
        Ok(folder)
    }

    /// Writes the folder as a disk might hold it after a power cut at this point.
    ///
    /// The same point and seed make the same folder. Seed 0 drops everything that was not synced,
    /// seed 1 keeps everything, and each other one decides write by write. `into` is made where it
    /// is missing. Asking for points in their order is fast; going back begins from the start.
    ///
    /// # Errors
    /// `into` is not empty or cannot be written.
    pub fn image_at(&self, point: CutPoint, seed: u64, into: &Path) -> io::Result<()> {
        fs::create_dir_all(into)?;
        if fs::read_dir(into)?.next().is_some() {
            return Err(io::Error::new(
                io::ErrorKind::DirectoryNotEmpty,
                format!("{} is not empty: give an image a folder of its own", into.display()),
            ));
        }
        let mut replay = lock(&self.replay);
        if point.0 < replay.applied {
            *replay = Replay { disk: Disk::default(), applied: 0 };
        }
        for operation in lock(&self.log).between(replay.applied, point.0) {
            replay.disk.apply(operation);
        }
        replay.applied = point.0;
        for (path, content) in Damage::of_seed(seed).image(&replay.disk) {
            let path = into.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, content)?;
        }
        Ok(())
    }
}

/// A test that failed while it held the lock left the log as it was between two operations.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
