//! The snapshots of the host that a node takes and hands in, one type a view.
//!
//! Counters are cumulative since boot: who wants a rate keeps the last counter and its [`Moment`]
//! in its state. Names carry their unit. A key that could not be read is left out, and
//! [`HostViews::missing`] says why; later versions of protocol 1 may add keys.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::HostViews;
use crate::HostView;

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
        let value = self.views.get(&T::KIND).ok_or(ViewError::Absent(T::KIND))?;
        T::deserialize(value)
            .map_err(|error| ViewError::Shape { view: T::KIND, reason: error.to_string() })
    }

    /// Puts a view in, in the place of an earlier one of its kind.
    pub fn insert<T: View>(&mut self, view: &T) {
        // Only map keys that are not text, and a Serialize that fails, could make this fail: the
        // types below have neither.
        let value = serde_json::to_value(view).expect("a host view is plain data");
        self.views.insert(T::KIND, value);
    }
}

/// When a snapshot was taken, on a clock that nobody sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Moment {
    /// Identifies the boot: counters of different boots cannot be compared. Empty where unknown.
    pub boot: String,
    /// Time since boot, suspension included.
    pub uptime_milliseconds: u64,
}

impl Moment {
    /// Milliseconds from `earlier` to here; none across a boot, and none where no time has passed.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<u64> {
        let same = self.boot == earlier.boot;
        let passed = self.uptime_milliseconds.checked_sub(earlier.uptime_milliseconds)?;
        (same && passed > 0).then_some(passed)
    }
}

/// Processor time and load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cpu {
    /// When it was read.
    pub taken: Moment,
    /// All cores together.
    pub total: CpuTimes,
    /// Each core that is on.
    pub cores: Vec<Core>,
    /// Load averages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadAverages>,
    /// How much work waits for a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// One core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Core {
    /// Its number.
    pub number: u32,
    /// Its time.
    pub times: CpuTimes,
}

/// Cumulative time since boot, in milliseconds, as proc_stat(5) tells it apart. The time of guests
/// is part of `user` and `nice`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CpuTimes {
    /// In programs.
    pub user_milliseconds: u64,
    /// In programs of low priority.
    pub nice_milliseconds: u64,
    /// In the kernel.
    pub system_milliseconds: u64,
    /// Without work.
    pub idle_milliseconds: u64,
    /// Without work, while a disk was waited for.
    pub wait_milliseconds: u64,
    /// In interrupts.
    pub interrupt_milliseconds: u64,
    /// In deferred interrupts.
    pub soft_interrupt_milliseconds: u64,
    /// Taken by other guests of the same machine.
    pub stolen_milliseconds: u64,
}

impl CpuTimes {
    /// Time with work.
    #[must_use]
    pub const fn busy_milliseconds(&self) -> u64 {
        self.user_milliseconds
            .saturating_add(self.nice_milliseconds)
            .saturating_add(self.system_milliseconds)
            .saturating_add(self.interrupt_milliseconds)
            .saturating_add(self.soft_interrupt_milliseconds)
            .saturating_add(self.stolen_milliseconds)
    }

    /// All time.
    #[must_use]
    pub const fn total_milliseconds(&self) -> u64 {
        self.busy_milliseconds()
            .saturating_add(self.idle_milliseconds)
            .saturating_add(self.wait_milliseconds)
    }
}

/// The average number of tasks that run or wait, over 1, 5 and 15 minutes (proc_loadavg(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LoadAverages {
    /// Over one minute.
    pub one: f64,
    /// Over five minutes.
    pub five: f64,
    /// Over fifteen minutes.
    pub fifteen: f64,
}

/// Pressure stall information: the share of the last ten seconds, in percent, in which some, or
/// all, tasks waited for the resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pressure {
    /// At least one task waited.
    pub some_percent: f64,
    /// All tasks waited.
    pub full_percent: f64,
}

/// Memory and swap (proc_meminfo(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Memory {
    /// What the kernel manages.
    pub total_bytes: u64,
    /// What nothing uses.
    pub free_bytes: u64,
    /// What a new program could get without swapping.
    pub available_bytes: u64,
    /// Caches of files and of block devices.
    pub cached_bytes: u64,
    /// Swap in all.
    pub swap_total_bytes: u64,
    /// Swap that is free.
    pub swap_free_bytes: u64,
    /// How much work waits for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// Mounted file systems, once each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mounts {
    /// In the order of their targets.
    pub mounts: Vec<Mount>,
}

/// A mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mount {
    /// Where it is mounted; where it is mounted more than once, the shortest of these.
    pub target: String,
    /// What is mounted: a device, mostly.
    pub source: String,
    /// The file system's type.
    pub kind: String,
    /// The file system as a whole is read-only: nobody can write to it.
    pub read_only: bool,
    /// Its space; left out for file systems that could make the question wait for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Space>,
    /// Its inodes; left out where the file system does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes: Option<Space>,
}

/// How much of something a file system has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Space {
    /// In all.
    pub total: u64,
    /// Free for the superuser.
    pub free: u64,
    /// Free for others.
    pub available: u64,
}

impl Space {
    /// The share that others than the superuser can no longer use: 0 to 1, as df(1) counts it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    pub fn used_share(&self) -> f64 {
        let used = self.total.saturating_sub(self.free);
        let usable = used.saturating_add(self.available);
        if usable == 0 { 0.0 } else { used as f64 / usable as f64 }
    }
}

/// Network interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Network {
    /// When it was read.
    pub taken: Moment,
    /// In the order of their names.
    pub interfaces: Vec<Interface>,
}

/// A network interface and its counters since boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// RFC 2863 operational state, such as `up` or `down`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What came in.
    pub received: Traffic,
    /// What went out.
    pub sent: Traffic,
}

/// Counters of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were damaged or could not be sent.
    pub errors: u64,
    /// Packets that were thrown away.
    pub dropped: u64,
}

/// Processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Processes {
    /// When they were read.
    pub taken: Moment,
    /// How many there are.
    pub total: u32,
    /// In the order of their numbers; where there are too many, those that hold the most memory.
    pub processes: Vec<Process>,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The number of its parent; 0 for none.
    pub parent: u32,
    /// Its name, at most 15 bytes of it for a program.
    pub name: String,
    /// The letter of its state in proc_pid_stat(5): `R` runs, `S` sleeps, `D` waits for a disk,
    /// `Z` is dead and not yet collected.
    pub state: String,
    /// Processor time so far, that of its dead children left out.
    pub cpu_milliseconds: u64,
    /// When it started, since boot. With `pid` it identifies the process.
    pub started_milliseconds: u64,
    /// Memory that is in use and not swapped out.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u32,
    /// Open files, 65536 at most; left out where the node may not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<u32>,
    /// The real user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// Its control group: the unified hierarchy where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
}

/// Temperatures and fans, as the kernel's hwmon interface has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sensors {
    /// Temperatures.
    pub temperatures: Vec<Temperature>,
    /// Fans.
    pub fans: Vec<Fan>,
}

/// A temperature.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Temperature {
    /// The chip that measures it.
    pub chip: String,
    /// What is measured; the sensor's own name where it has no label.
    pub label: String,
    /// Degrees Celsius.
    pub celsius: f64,
    /// The temperature that the chip calls critical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical_celsius: Option<f64>,
}

/// A fan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fan {
    /// The chip that measures it.
    pub chip: String,
    /// Which one; the sensor's own name where it has no label.
    pub label: String,
    /// Revolutions a minute.
    pub revolutions_per_minute: u64,
}

macro_rules! views {
    ($($kind:ident)*) => {
        $(impl View for $kind {
            const KIND: HostView = HostView::$kind;
        })*
    };
}

views! { Cpu Memory Mounts Network Processes Sensors }

/// The schema of [`HostViews::views`], whose keys decide the shape of their values.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "Views")]
#[expect(dead_code, reason = "only its schema is of use")]
pub(super) struct ViewsSchema {
    cpu: Option<Cpu>,
    memory: Option<Memory>,
    mounts: Option<Mounts>,
    network: Option<Network>,
    processes: Option<Processes>,
    sensors: Option<Sensors>,
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
        views.views.insert(HostView::Memory, serde_json::json!({ "total_bytes": "many" }));
        let message = views.get::<Memory>().unwrap_err().to_string();
        assert!(message.contains("`memory` cannot be read: invalid type"), "{message}");
    }

    #[test]
    fn no_time_passes_across_a_boot() {
        let at =
            |boot: &str, uptime_milliseconds| Moment { boot: boot.into(), uptime_milliseconds };
        for (now, earlier, expected) in [
            (at("a", 50), at("a", 20), Some(30)),
            (at("a", 50), at("a", 50), None),
            (at("a", 20), at("a", 50), None),
            (at("b", 50), at("a", 20), None),
        ] {
            assert_eq!(now.since(&earlier), expected, "{now:?} {earlier:?}");
        }
    }

    #[test]
    fn space_is_counted_as_df_does() {
        for (total, free, available, expected) in [
            (100, 20, 20, 0.8),
            (100, 20, 0, 1.0),
            (0, 0, 0, 0.0),
            (10, 20, 20, 0.0),
            (u64::MAX, 0, u64::MAX, 1.0),
        ] {
            let share = Space { total, free, available }.used_share();
            assert!((share - expected).abs() < 1e-9, "{total} {free} {available}: {share}");
        }
    }
}
