//! The interface over the data of a node that does not run, for commands that look back: what was
//! journalled can be asked for whether there is a node or not.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wachter_bus::Bus;
use wachter_file::FileLock;
use wachter_runtime::dispatch::Sources;

use super::announce::Announcer;
use super::context::Node;
use super::followed::Followed;
use super::freeze::Freezer;
use super::{interface, journal};
use crate::data_lock::{self, Locked};
use crate::failure::CommandError;
use crate::follow::Follower;
use crate::place::Host;

/// What the data folder is locked for meanwhile.
const PURPOSE: &str = "look";

/// The interface while it is served; for [`around`](Self::around).
pub(crate) struct Offline {
    bus: Bus,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
    socket: std::path::PathBuf,
    _lock: FileLock,
}

impl Offline {
    /// Does `work`, which asks the node: with the interface served meanwhile, where that is to be.
    ///
    /// # Errors
    /// As [`serve`](Self::serve); `work` was not begun then.
    pub(crate) async fn around<T>(
        host: Host,
        make: bool,
        work: impl Future<Output = T>,
    ) -> Result<T, CommandError> {
        let offline = Self::serve(host, make).await?;
        let done = work.await;
        if let Some(offline) = offline {
            offline.close().await;
        }
        Ok(done)
    }

    /// Serves the interface where the node would. None where a node has the data, which is asked then,
    /// or where there is no journal and none is to be made.
    ///
    /// # Errors
    /// The data belong to another user, or cannot be read.
    async fn serve(host: Host, make: bool) -> Result<Option<Self>, CommandError> {
        if !make && !host.data.join(journal::FOLDER).exists() {
            return Ok(None);
        }
        if let Err(error) = data_lock::check_owner(&host.data) {
            // Who may not look at the lock asks, and hears that there is none.
            return match data_lock::node(&host.data) {
                Ok(None) => Err(error),
                _ => Ok(None),
            };
        }
        let lock = match data_lock::take(&host.data, PURPOSE) {
            Ok(lock) => lock,
            Err(Locked::Node(_)) => return Ok(None),
            Err(other) => return Err(other.into_error()),
        };
        let name = host.node().ok_or_else(|| super::unnamed(&host))?;
        let (data, socket, local) = (host.data.clone(), host.socket(), host.local.clone());
        let settings = Follower::open(host)?.settings()?;
        let bus = journal::open(&data, &settings.journal)?;
        let sources = Sources::new(name.clone());
        let node = Node {
            name,
            since: Timestamp::now(),
            local: watch::channel(Arc::new(local)).1,
            bus: bus.clone(),
            announcer: Announcer::new(bus.clone(), sources.clone()),
            sources,
            // Nobody takes orders.
            orders: mpsc::channel(1).0,
            followed: watch::channel(Followed::default()).1,
            deployment: watch::channel(None).1,
            launcher: watch::channel(None).1,
            agents: watch::channel(None).1,
            freezer: Freezer::open(&data)?,
            data,
        };
        let (limits, roles) = interface::rules(&settings.api);
        let service = interface::service(&Arc::new(node), limits, roles)?;
        let shutdown = CancellationToken::new();
        let listener = interface::listen(&socket)?;
        let serving = tokio::spawn(service.serve(listener, shutdown.clone().cancelled_owned()));
        Ok(Some(Self { bus, shutdown, serving, socket, _lock: lock }))
    }

    /// Ends it, and closes the journal.
    async fn close(self) {
        self.shutdown.cancel();
        // A panic of a handler was an answer already.
        let _ = self.serving.await;
        let _ = std::fs::remove_file(&self.socket);
        let bus = self.bus;
        let _ = tokio::task::spawn_blocking(move || bus.close()).await;
    }
}
