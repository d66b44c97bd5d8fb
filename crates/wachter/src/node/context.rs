//! What the parts of a node share.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use wachter_bus::Bus;
use wachter_model::NodeName;
use wachter_protocol::LocalFile;
use wachter_protocol::launcher::Hello;
use wachter_runtime::Deployment;
use wachter_runtime::dispatch::{Handle, Sources};

use super::announce::Announcer;
use super::followed::Followed;
use super::orders::Order;

/// A node at work, as its interface sees it. Whoever holds a sending end here owns what it is about.
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: NodeName,
    /// Since when it works.
    pub(crate) since: Timestamp,
    /// Its data folder.
    pub(crate) data: PathBuf,
    /// The local file as it counts now.
    pub(crate) local: watch::Receiver<Arc<LocalFile>>,
    /// Where events are.
    pub(crate) bus: Bus,
    /// Where events of this node come from.
    pub(crate) sources: Sources,
    /// Puts what the node does into the journal.
    pub(crate) announcer: Announcer,
    /// Tells the task that follows the repository what to do.
    pub(crate) orders: mpsc::Sender<Order>,
    /// What that task has found.
    pub(crate) followed: watch::Receiver<Followed>,
    /// What is deployed; none before the first release.
    pub(crate) deployment: watch::Receiver<Option<Arc<Deployment>>>,
    /// Who starts modules; none while it is away.
    pub(crate) launcher: watch::Receiver<Option<Hello>>,
    /// The agents; none while there is no launcher.
    pub(crate) agents: watch::Receiver<Option<Handle>>,
    /// Whether effects are stopped.
    pub(crate) freezer: super::freeze::Freezer,
}
