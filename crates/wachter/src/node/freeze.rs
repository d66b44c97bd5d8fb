//! Whether effects are stopped: a file, which needs neither Git nor journal and survives a restart.
//!
//! # Invariants
//! - Stopping comes before the disk, and letting go after it: a disk that is full or hangs keeps no
//!   effect going, and what a restart would stop again is not let go.
//! - Whoever puts agents to work makes their handle known first and then has them do as it stands
//!   ([`Freezer::apply`]), before they have anything to do. So a change finds either the handle or nobody
//!   that does not ask afterwards.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex, watch};
use wachter_api::shapes::Frozen;
use wachter_file::{Readers, read_limited, replace_durably};
use wachter_runtime::dispatch::Handle;

/// The most bytes of the file: a reason, a name and a time.
const MAX_BYTES: u64 = 64 << 10;

/// Stops effects and lets them happen again.
#[derive(Clone, Debug)]
pub(crate) struct Freezer {
    path: PathBuf,
    state: watch::Sender<Option<Frozen>>,
    /// Who stops effects or lets them go, one after the other: file and state are to say the same.
    changing: Arc<Mutex<()>>,
    /// Who tells the agents: what is told last is what stands.
    telling: Arc<Mutex<()>>,
    /// Held while the file is written, so that a test can hold it.
    #[cfg(test)]
    pub(crate) disk: Arc<Mutex<()>>,
}

impl Freezer {
    /// As the data folder says. A file that cannot be read means that effects are stopped: somebody
    /// wanted that.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let path = path(data);
        Ok(Self {
            state: watch::Sender::new(read(&path)?),
            path,
            changing: Arc::default(),
            telling: Arc::default(),
            #[cfg(test)]
            disk: Arc::default(),
        })
    }

    /// Whether effects are stopped now.
    pub(crate) fn frozen(&self) -> Option<Frozen> {
        self.state.borrow().clone()
    }

    /// Stops effects of the agents, of those at work now and of those that come.
    ///
    /// # Errors
    /// It cannot be written. Effects are stopped all the same, until the node starts again.
    pub(crate) async fn freeze(
        &self,
        frozen: Frozen,
        agents: &watch::Receiver<Option<Handle>>,
    ) -> io::Result<()> {
        let _one = self.changing.lock().await;
        self.state.send_replace(Some(frozen.clone()));
        self.apply_to(agents).await;
        let freezer = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            #[cfg(test)]
            let _disk = freezer.disk.blocking_lock();
            write(&freezer.path, &frozen)
        });
        let written = written.await.map_err(io::Error::other).and_then(|written| written);
        // Who was put to work while it was written.
        self.apply_to(agents).await;
        written
    }

    /// Lets effects happen again; says whether they were stopped.
    ///
    /// # Errors
    /// The file cannot be removed. Effects stay stopped.
    pub(crate) async fn thaw(&self, agents: &watch::Receiver<Option<Handle>>) -> io::Result<bool> {
        let _one = self.changing.lock().await;
        let freezer = self.clone();
        let removed = tokio::task::spawn_blocking(move || remove(&freezer.path));
        let was = removed.await.map_err(io::Error::other).and_then(|removed| removed)?;
        let stood = self.state.send_replace(None).is_some();
        self.apply_to(agents).await;
        Ok(was || stood)
    }

    /// Has agents do as it stands now.
    pub(crate) async fn apply(&self, agents: &Handle) {
        let _one = self.telling.lock().await;
        // Who is away starts nothing, and is told when it is back.
        let _ = match self.frozen() {
            Some(_) => agents.freeze().await,
            None => agents.thaw().await,
        };
    }

    async fn apply_to(&self, agents: &watch::Receiver<Option<Handle>>) {
        let agents = agents.borrow().clone();
        if let Some(agents) = agents {
            self.apply(&agents).await;
        }
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
