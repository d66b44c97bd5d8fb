use serde::{Deserialize, Serialize};

use super::{Moment, Pressure, is_none};

/// Block devices that were in use since boot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Disks {
    /// When they were read.
    pub taken: Moment,
    /// In the kernel's order.
    pub disks: Vec<Disk>,
    /// How many are left out, since there are too many: partitions first.
    #[serde(default, skip_serializing_if = "is_none")]
    pub left_out: u32,
    /// How much work waits for disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// A block device and its counters since boot, as the kernel's Documentation/admin-guide/iostats.rst
/// has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Disk {
    /// Its name, as in `sda`, `nvme0n1p2` or `dm-0`.
    pub name: String,
    /// Major and minor number, as in `254:0`.
    pub device: String,
    /// The disk that it is a partition of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_of: Option<String>,
    /// What it is called by the device mapper: a logical volume, an encrypted disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapped_name: Option<String>,
    /// What was read.
    pub reads: Transfers,
    /// What was written.
    pub writes: Transfers,
    /// Requests that are under way.
    pub in_flight: u64,
    /// How long at least one request was under way.
    pub busy_milliseconds: u64,
    /// How long all requests together were under way: divided by the time that passed, how many there
    /// were at a time.
    pub queued_milliseconds: u64,
}

/// Counters of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Transfers {
    /// Requests that ended.
    pub requests: u64,
    /// Bytes.
    pub bytes: u64,
    /// How long they took, all together.
    pub milliseconds: u64,
}
