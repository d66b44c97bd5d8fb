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
    /// What is left out, since there are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

/// Processes that are there and not in the view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LeftOut {
    /// How many there are.
    pub count: u32,
    /// How many of them were not looked at, not even for dead children.
    pub unseen: u32,
    /// How many of them may hold memory. The others are threads of the kernel and dead ones, and belong to
    /// no unit or container.
    pub with_memory: u32,
    /// Their numbers, in order: the 16,384 highest at most.
    pub pids: Vec<u32>,
}

impl Processes {
    /// Whether a process that is not in the view may be there all the same: `false` says that it has ended.
    #[must_use]
    pub fn may_be_left_out(&self, pid: u32) -> bool {
        self.left_out.as_ref().is_some_and(|left_out| {
            let told = u32::try_from(left_out.pids.len()).unwrap_or(u32::MAX);
            let is_below = left_out.pids.first().is_none_or(|first| pid < *first);
            left_out.pids.binary_search(&pid).is_ok() || (told < left_out.count && is_below)
        })
    }
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
    /// Open files; before Linux 6.2 they are counted, up to 65536. Left out where the node may not look.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_not_ended() {
        let view = |count, pids: &[u32]| Processes {
            left_out: Some(LeftOut { count, pids: pids.to_vec(), ..LeftOut::default() }),
            ..Processes::default()
        };
        for (view, expected) in [
            (Processes::default(), [false, false, false]),
            (view(2, &[5, 7]), [false, true, false]),
            // Those with lower numbers are not told.
            (view(3, &[5, 7]), [true, true, false]),
            (view(1, &[]), [true, true, true]),
        ] {
            assert_eq!([4, 5, 6].map(|pid| view.may_be_left_out(pid)), expected, "{view:?}");
        }
    }
}
