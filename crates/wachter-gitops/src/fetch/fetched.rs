use serde::{Deserialize, Serialize};

/// What a worker did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Whether any reference changed.
    pub changed: bool,
    /// How many release tags there are now.
    pub tags: usize,
    /// Bytes received, protocol included.
    pub received_bytes: u64,
    /// Objects in the pack; 0 when none was needed.
    pub objects: u32,
    /// HTTP requests sent; 0 for other transports.
    pub requests: u32,
    /// What held the worker while it did so.
    pub confinement: Confinement,
}

/// Which mechanisms held a worker. Each is put in force before the worker touches network or pack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// `no_new_privs`: set-uid programs give nothing.
    pub no_new_privileges: bool,
    /// Limits on file size, memory, CPU time, open files and core dumps.
    pub resource_limits: bool,
    /// Death of the node kills the worker.
    pub parent_death_signal: bool,
    /// Landlock on files: writes only below the repository.
    pub file_system: bool,
    /// Landlock on TCP: connects only to the server's port and DNS. Never in force for SSH, whose
    /// configuration may name any port, and not on kernels before 6.7.
    pub network: bool,
    /// seccomp: what a fetch never needs is denied.
    pub system_calls: bool,
}
