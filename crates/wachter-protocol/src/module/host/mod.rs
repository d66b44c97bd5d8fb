//! The snapshots of the host that a node takes and hands in, one type a view.
//!
//! Counters are cumulative since boot: who wants a rate keeps the last counter and its [`Moment`]
//! in its state. Names carry their unit. A key that could not be read is left out, and
//! [`HostViews::missing`] says why; later versions of protocol 1 may add keys.

mod clock;
mod cpu;
mod disks;
mod memory;
mod moment;
mod mounts;
mod network;
mod pressure;
mod processes;
mod sensors;
mod sockets;
mod units;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::to_raw_value;

pub use clock::{Clock, Discipline};
pub use cpu::{Core, Cpu, CpuTimes, LoadAverages};
pub use disks::{Disk, Disks, Transfers};
pub use memory::{Memory, Paging};
pub use moment::Moment;
pub use mounts::{Mount, Mounts, Space};
pub use network::{Interface, Network, Traffic};
pub use pressure::Pressure;
pub use processes::{LeftOut, OpenFiles, Process, ProcessIo, Processes, Zombies};
pub use sensors::{Fan, Sensors, Temperature};
pub use sockets::{Listening, Sockets, TcpCounters, Tracked};
pub use units::{Unit, Units};

use super::HostViews;
use crate::HostView;

/// Whether a count can be left out, as serde asks for it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_none(count: &u32) -> bool {
    *count == 0
}

/// A snapshot that a manifest can ask for under `permissions.host`.
pub trait View: Serialize + DeserializeOwned {
    /// Its name in the manifest.
    const KIND: HostView;
}

/// Why a view is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The node handed none in.
    #[error(
        "the host view `{0}` was not handed in; name it under `permissions.host` in module.yaml and grant it"
    )]
    Absent(HostView),
    /// Not of the shape that this version knows.
    #[error(
        "the host view `{view}` cannot be read: {reason}; run this module with the version of Wachter that it was built for"
    )]
    Shape {
        /// Which one.
        view: HostView,
        /// What does not fit.
        reason: String,
    },
}

impl HostViews {
    /// The view of type `T`.
    ///
    /// # Errors
    /// A view that was not handed in, or that has another shape.
    pub fn get<T: View>(&self) -> Result<T, ViewError> {
        let json = self.views.get(&T::KIND).ok_or(ViewError::Absent(T::KIND))?;
        serde_json::from_str(json.get())
            .map_err(|error| ViewError::Shape { view: T::KIND, reason: error.to_string() })
    }

    /// Puts a view in, in the place of an earlier one of its kind.
    pub fn insert<T: View>(&mut self, view: &T) {
        // Only map keys that are not text, and a Serialize that fails, could make this fail: the
        // types below have neither.
        let json = to_raw_value(view).expect("a host view is plain data");
        self.views.insert(T::KIND, json);
    }
}

macro_rules! views {
    ($($kind:ident)*) => {
        $(impl View for $kind {
            const KIND: HostView = HostView::$kind;
        })*
    };
}

views! { Clock Cpu Disks Memory Mounts Network Processes Sensors Sockets Units }

/// The schema of [`HostViews::views`], whose keys decide the shape of their values.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "Views")]
#[expect(dead_code, reason = "only its schema is of use")]
pub(super) struct ViewsSchema {
    clock: Option<Clock>,
    cpu: Option<Cpu>,
    disks: Option<Disks>,
    memory: Option<Memory>,
    mounts: Option<Mounts>,
    network: Option<Network>,
    processes: Option<Processes>,
    sensors: Option<Sensors>,
    sockets: Option<Sockets>,
    units: Option<Units>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_told_apart_by_their_type() {
        let mut views = HostViews::default();
        assert_eq!(views.get::<Memory>(), Err(ViewError::Absent(HostView::Memory)));
        let memory = Memory { total_bytes: 5, ..Memory::default() };
        views.insert(&memory);
        assert_eq!(views.get::<Memory>(), Ok(memory));
        views.views.insert(
            HostView::Memory,
            to_raw_value(&serde_json::json!({ "total_bytes": "many" })).unwrap(),
        );
        let message = views.get::<Memory>().unwrap_err().to_string();
        assert!(message.contains("`memory` cannot be read: invalid type"), "{message}");
    }
}
