//! Whether effects are stopped: a file, which needs neither Git nor journal and survives a restart.

use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::watch;
use wachter_api::shapes::Frozen;
use wachter_file::{Readers, read_limited, replace_durably};

/// The most bytes of the file: a reason, a name and a time.
const MAX_BYTES: u64 = 64 << 10;

/// Stops effects and lets them happen again.
#[derive(Clone, Debug)]
pub(crate) struct Freezer {
    path: PathBuf,
    state: watch::Sender<Option<Frozen>>,
}

impl Freezer {
    /// As the data folder says. A file that cannot be read means that effects are stopped: somebody
    /// wanted that.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let path = path(data);
        Ok(Self { state: watch::Sender::new(read(&path)?), path })
    }

    /// Whether effects are stopped now.
    pub(crate) fn frozen(&self) -> Option<Frozen> {
        self.state.borrow().clone()
    }

    /// Stops effects. Waits for the disk.
    pub(crate) fn freeze(&self, frozen: Frozen) -> io::Result<()> {
        write(&self.path, &frozen)?;
        self.state.send_replace(Some(frozen));
        Ok(())
    }

    /// Lets effects happen again; says whether they were stopped. Waits for the disk.
    pub(crate) fn thaw(&self) -> io::Result<bool> {
        let was = remove(&self.path)?;
        self.state.send_replace(None);
        Ok(was)
    }
}

/// Stops effects of a node that does not run at present.
pub(crate) fn write_frozen(data: &Path, frozen: &Frozen) -> io::Result<()> {
    write(&path(data), frozen)
}

/// Lets effects of a node that does not run at present happen again; says whether they were stopped.
pub(crate) fn remove_frozen(data: &Path) -> io::Result<bool> {
    remove(&path(data))
}

/// Whether effects are stopped, from the file alone.
pub(crate) fn read_frozen(data: &Path) -> io::Result<Option<Frozen>> {
    read(&path(data))
}

fn path(data: &Path) -> PathBuf {
    data.join("frozen.json")
}

fn read(path: &Path) -> io::Result<Option<Frozen>> {
    match read_limited(path, MAX_BYTES) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text).unwrap_or_else(|_| Frozen {
            reason: format!("{} cannot be read", path.display()),
            by: "the node".to_owned(),
            since: jiff::Timestamp::now(),
        }))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, frozen: &Frozen) -> io::Result<()> {
    replace_durably(path, &serde_json::to_vec(frozen)?, Readers::Owner)
}

fn remove(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => {
            let folder = path.parent().unwrap_or(Path::new("."));
            std::fs::File::open(folder)?.sync_all()?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
