use serde::{Deserialize, Serialize};

use super::{Moment, Pressure};

/// Memory and swap (proc_meminfo(5)).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Memory {
    /// When it was read.
    #[serde(default)]
    pub taken: Moment,
    /// What the kernel manages.
    pub total_bytes: u64,
    /// What nothing uses.
    pub free_bytes: u64,
    /// What a new program could get without swapping.
    pub available_bytes: u64,
    /// Caches of files and of block devices.
    pub cached_bytes: u64,
    /// What was written by programs and not yet by the kernel to its disk.
    #[serde(default)]
    pub dirty_bytes: u64,
    /// Memory that programs share, file systems in memory among it.
    #[serde(default)]
    pub shared_bytes: u64,
    /// What the kernel holds for itself and cannot give back.
    #[serde(default)]
    pub kernel_bytes: u64,
    /// What programs were promised.
    #[serde(default)]
    pub committed_bytes: u64,
    /// What may be promised, where `vm.overcommit_memory` is 2.
    #[serde(default)]
    pub commit_limit_bytes: u64,
    /// Swap in all.
    pub swap_total_bytes: u64,
    /// Swap that is free.
    pub swap_free_bytes: u64,
    /// What paging and the lack of memory have cost so far (the kernel's `/proc/vmstat`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paging: Option<Paging>,
    /// How much work waits for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// Counters of paging since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Paging {
    /// Read back from swap.
    pub swapped_in_bytes: u64,
    /// Written to swap.
    pub swapped_out_bytes: u64,
    /// Times that a program waited for a page from a disk.
    pub major_faults: u64,
    /// Processes that were ended since there was no memory.
    pub killed: u64,
}
