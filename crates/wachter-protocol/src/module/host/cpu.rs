use serde::{Deserialize, Serialize};

use super::{Moment, Pressure};

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
    /// Tasks that were made, threads among them.
    #[serde(default)]
    pub forks: u64,
    /// Times that a core went from one task to another.
    #[serde(default)]
    pub context_switches: u64,
    /// Tasks that wait for a disk or another device and cannot be interrupted.
    #[serde(default)]
    pub blocked: u32,
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
