use std::fmt;

use serde::{Deserialize, Serialize};

/// One means of the kernel that confines a run. The owner of a host may accept the absence of each
/// by this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// A user of its own for each run (needs root).
    SeparateUser,
    /// User, mount, process, IPC, UTS and cgroup namespaces.
    Namespaces,
    /// A network namespace with nothing in it.
    NetworkNamespace,
    /// Landlock rules on files (Linux 5.13, ABI 3 for truncation).
    LandlockFilesystem,
    /// Landlock rules on TCP (ABI 4).
    LandlockNetwork,
    /// Landlock scopes on signals and abstract sockets (ABI 6).
    LandlockScope,
    /// The system call filter.
    Seccomp,
    /// A memory limit over all processes of a run.
    CgroupMemory,
    /// A limit of processor time.
    CgroupCpu,
    /// A limit on processes.
    CgroupProcesses,
    /// A disk limit that cannot be overshot.
    DiskFilesystem,
}

impl Mechanism {
    /// Every mechanism, in the order in which `wachter doctor` prints them.
    pub const ALL: [Self; 11] = [
        Self::SeparateUser,
        Self::Namespaces,
        Self::NetworkNamespace,
        Self::LandlockFilesystem,
        Self::LandlockNetwork,
        Self::LandlockScope,
        Self::Seccomp,
        Self::CgroupMemory,
        Self::CgroupCpu,
        Self::CgroupProcesses,
        Self::DiskFilesystem,
    ];

    /// What stands in when this is absent and its absence was accepted.
    #[must_use]
    pub const fn without(self) -> &'static str {
        match self {
            Self::SeparateUser => "modules run as the node's own user",
            Self::Namespaces => {
                "modules see the host's processes and paths; Landlock alone limits files"
            }
            Self::NetworkNamespace => "the system call filter alone keeps modules off the network",
            Self::LandlockFilesystem => {
                "the read-only view alone limits files and what is executed"
            }
            Self::LandlockNetwork => "the network namespace alone limits connections",
            Self::LandlockScope => {
                "the process and network namespaces alone limit signals and sockets"
            }
            Self::Seccomp => "modules may use every system call of the kernel",
            Self::CgroupMemory => "memory is limited for each process, not for the whole run",
            Self::CgroupCpu => "processor time is not limited, only its total for each process",
            Self::CgroupProcesses => "processes are limited for the user, not for the run",
            Self::DiskFilesystem => {
                "disk use is watched four times a second and may overshoot in between"
            }
        }
    }

    /// How to get it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::SeparateUser => "start wachter-launcher as root, under systemd",
            Self::Namespaces | Self::NetworkNamespace => {
                "start wachter-launcher as root, or allow unprivileged user namespaces \
                 (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)"
            }
            Self::LandlockFilesystem => {
                "boot a kernel with Landlock ABI 3 or later (Linux 6.2), with `landlock` in lsm="
            }
            Self::LandlockNetwork => "boot a kernel with Landlock ABI 4 or later (Linux 6.7)",
            Self::LandlockScope => "boot a kernel with Landlock ABI 6 or later (Linux 6.12)",
            Self::Seccomp => "boot a kernel with CONFIG_SECCOMP_FILTER",
            Self::CgroupMemory | Self::CgroupCpu | Self::CgroupProcesses => {
                "start wachter-launcher as root, or delegate a cgroup v2 to it (Delegate=yes in its systemd unit)"
            }
            Self::DiskFilesystem => "as for `namespaces`: `/tmp` is then a file system of its own",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SeparateUser => "separate-user",
            Self::Namespaces => "namespaces",
            Self::NetworkNamespace => "network-namespace",
            Self::LandlockFilesystem => "landlock-filesystem",
            Self::LandlockNetwork => "landlock-network",
            Self::LandlockScope => "landlock-scope",
            Self::Seccomp => "seccomp",
            Self::CgroupMemory => "cgroup-memory",
            Self::CgroupCpu => "cgroup-cpu",
            Self::CgroupProcesses => "cgroup-processes",
            Self::DiskFilesystem => "disk-filesystem",
        })
    }
}

/// A named set of mechanisms: what a kind of host can enforce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The launcher is root: everything.
    Root,
    /// An ordinary user with a cgroup v2 of its own.
    Delegated,
    /// An ordinary user.
    Unprivileged,
    /// No namespaces may be made, as in a pod: Landlock and the system call filter.
    NoNamespaces,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Root => "root",
            Self::Delegated => "delegated",
            Self::Unprivileged => "unprivileged",
            Self::NoNamespaces => "no-namespaces",
        })
    }
}

impl Profile {
    /// Every profile, strongest first.
    pub const ALL: [Self; 4] =
        [Self::Root, Self::Delegated, Self::Unprivileged, Self::NoNamespaces];

    /// Whether a launcher that uses this profile enforces `mechanism` where the kernel has it.
    #[must_use]
    pub const fn enforces(self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::SeparateUser => matches!(self, Self::Root),
            Mechanism::CgroupMemory | Mechanism::CgroupCpu | Mechanism::CgroupProcesses => {
                matches!(self, Self::Root | Self::Delegated)
            }
            Mechanism::Namespaces | Mechanism::NetworkNamespace | Mechanism::DiskFilesystem => {
                !matches!(self, Self::NoNamespaces)
            }
            Mechanism::LandlockFilesystem
            | Mechanism::LandlockNetwork
            | Mechanism::LandlockScope
            | Mechanism::Seccomp => true,
        }
    }
}
