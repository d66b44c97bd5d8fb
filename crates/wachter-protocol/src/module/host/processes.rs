use serde::{Deserialize, Serialize};

use super::Moment;

/// Processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Processes {
    /// When they were read.
    pub taken: Moment,
    /// How many there are.
    pub total: u32,
    /// Files that are open in all of the host, and the most that may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<OpenFiles>,
    /// In the order of their numbers; where there are too many, those that hold the most memory, and some
    /// that took the most processor time for their age.
    pub processes: Vec<Process>,
    /// Who has dead children that it has not collected: those with the most of them first, 64 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zombies: Vec<Zombies>,
}

/// The dead children of a process that it has not collected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Zombies {
    /// The number of their parent.
    pub parent: u32,
    /// Its name; empty where it could not be seen.
    #[serde(default)]
    pub name: String,
    /// How many there are.
    pub count: u32,
}

/// Open files of the whole host (proc_sys_fs(5), `file-nr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OpenFiles {
    /// How many there are.
    pub open: u64,
    /// How many there may be.
    pub most: u64,
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
    /// Of the memory in use what belongs to no file, so that the kernel cannot simply drop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous_bytes: Option<u64>,
    /// Memory that is swapped out.
    #[serde(default)]
    pub swapped_bytes: u64,
    /// The least limit of memory of its control group and of those that this one lies in; left out where
    /// there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Open files, 65536 at most; left out where the node may not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<u32>,
    /// How many files it may have open; left out where there is no limit, and where it has fewer than 64
    /// open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors_most: Option<u64>,
    /// What it has read from disks and written to them; left out where the node may not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<ProcessIo>,
    /// The real user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// Its control group: the unified hierarchy where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The unit of systemd that its control group belongs to, as in `ssh.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The container that its control group belongs to: the identifier by Docker, Podman,
    /// containerd or CRI-O, or the name by LXC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// What a process has read and written (proc_pid_io(5)), since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessIo {
    /// Read from disks.
    pub read_bytes: u64,
    /// Written to disks, or on its way there.
    pub written_bytes: u64,
}
