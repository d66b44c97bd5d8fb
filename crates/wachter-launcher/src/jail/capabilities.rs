//! Gives up capabilities: all of them, but those that the owner of the host named for a module that
//! runs as root.

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::fault::{Attempt, Fault};

/// capabilities(7), in the order of their numbers.
pub(crate) const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Those that would let a module out of its jail or over the host as a whole. They are never given.
pub(crate) const NEVER: [&str; 16] = [
    "setpcap",
    "net_admin",
    "net_raw",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_admin",
    "sys_boot",
    "mknod",
    "setfcap",
    "mac_override",
    "mac_admin",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The capabilities that `names` stand for.
///
/// # Errors
/// The first name that is unknown or never given.
pub(crate) fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<CapabilitySet, String> {
    let mut bits = 0;
    for name in names {
        match NAMES.iter().position(|known| *known == name) {
            Some(_) if NEVER.contains(&name) => {
                return Err(format!("the capability `{name}` is never given to a module"));
            }
            Some(number) => bits |= 1 << number,
            None => return Err(format!("`{name}` is not a capability; see capabilities(7)")),
        }
    }
    Ok(CapabilitySet::from_bits_retain(bits))
}

/// Keeps `kept` and nothing else, now and after every program executed.
pub(crate) fn keep(kept: CapabilitySet) -> Result<(), Fault> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last capability that this kernel knows.
            Err(Errno::INVAL) => break,
            // Without the right to, there is nothing in the set that could be gained: no program
            // gains anything under no_new_privs.
            Err(Errno::PERM) => break,
            error => error.attempt(|| format!("drop capability {number}"))?,
        }
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    rustix::thread::clear_ambient_capability_set().attempt(|| "clear ambient capabilities")?;
    rustix::thread::set_capabilities(None, sets).attempt(|| "drop capabilities")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_kernel() {
        assert_eq!(set(["dac_read_search"]).unwrap(), CapabilitySet::DAC_READ_SEARCH);
        assert_eq!(
            set(["checkpoint_restore"]).unwrap_err(),
            "the capability `checkpoint_restore` is never given to a module"
        );
        assert_eq!(NAMES.iter().position(|name| *name == "sys_admin"), Some(21));
        assert!(set(["CAP_CHOWN"]).is_err());
        assert!(NEVER.iter().all(|name| NAMES.contains(name)));
    }
}
