//! Who a run is for the kernel: drops to a user of its own, then becomes master of a user
//! namespace in which it is nobody else.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::{Gid, Uid, UnshareFlags};

use super::fault::{Attempt, Fault};
use super::system;

/// The user and the groups of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups. None where the launcher may not change them.
    pub(crate) groups: Option<Vec<u32>>,
}

/// Becomes `user`, for good. The parent's death ends this process from here on: the kernel forgets
/// that wish whenever a process changes its user, so it is made after.
pub(crate) fn drop_to(user: &User) -> Result<(), Fault> {
    if let Some(groups) = &user.groups {
        system::set_groups(groups).attempt(|| "set supplementary groups")?;
        let gid = Gid::from_raw(user.gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid)
            .attempt(|| format!("become group {}", user.gid))?;
        let uid = Uid::from_raw(user.uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid)
            .attempt(|| format!("become user {}", user.uid))?;
    }
    Ok(())
}

/// Asks for `signal` when the parent dies, and tells whether it still lives.
pub(crate) fn die_with_parent(signal: Signal, parent: Option<i32>) -> Result<(), Fault> {
    rustix::process::set_parent_process_death_signal(Some(signal))
        .attempt(|| "ask for the parent's death signal")?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent.is_some() && now != parent {
        return Err(Errno::SRCH).attempt(|| "find the parent alive");
    }
    Ok(())
}

/// Leaves the host's namespaces. With `user_namespace`, the user is mapped to itself and to
/// nobody else, so that the capabilities over the new namespaces end with the next program.
pub(crate) fn leave_namespaces(user: &User, user_namespace: bool) -> Result<(), Fault> {
    let mut flags = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    if user_namespace {
        flags |= UnshareFlags::NEWUSER;
    }
    system::unshare(flags).attempt(|| "make namespaces")?;
    if user_namespace {
        // The files below /proc/self belong to root for who changed users or is opaque, and could
        // not be written.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
            .attempt(|| "become dumpable")?;
        for (file, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("{0} {0} 1", user.uid)),
            ("gid_map", format!("{0} {0} 1", user.gid)),
        ] {
            let path = format!("/proc/self/{file}");
            std::fs::write(&path, text).attempt(|| format!("write {path}"))?;
        }
    }
    be_opaque()
}

/// Closes this process's memory, environment and descriptors to other processes of its user, and
/// those of its children until they execute a program (`PR_SET_DUMPABLE`, prctl(2)).
pub(crate) fn be_opaque() -> Result<(), Fault> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .attempt(|| "become opaque")
}
