//! Rows 5 and 6: users, capabilities, namespaces; and who this process is at all.

use std::fs;
use std::io;

use serde_json::{Value, json};

use crate::attempt::{Attempt, Targets, c_string, call, checked, done, scratch};

pub(crate) fn attempts(_: &Targets) -> Vec<Attempt<'_>> {
    let unshare = |name, flag: i32| {
        Attempt::new(name, move || done(checked(unsafe { libc::unshare(flag) }.into())))
    };
    vec![
        unshare("unshare-user", libc::CLONE_NEWUSER),
        unshare("unshare-user-and-mounts", libc::CLONE_NEWUSER | libc::CLONE_NEWNS),
        unshare("unshare-user-and-network", libc::CLONE_NEWUSER | libc::CLONE_NEWNET),
        unshare("unshare-mounts", libc::CLONE_NEWNS),
        unshare("unshare-time", 0x80),
        Attempt::new("clone-user", || {
            let flags = (libc::CLONE_NEWUSER | libc::SIGCHLD) as usize;
            born(call(libc::SYS_clone, [flags, 0, 0, 0, 0, 0]))
        }),
        Attempt::new("clone3-user", || {
            let mut arguments = [0_u64; 8];
            arguments[0] = libc::CLONE_NEWUSER as u64;
            arguments[4] = libc::SIGCHLD as u64;
            born(call(
                libc::SYS_clone3,
                [arguments.as_ptr() as usize, size_of_val(&arguments), 0, 0, 0, 0],
            ))
        }),
        Attempt::new("join-own-namespace", || {
            // Joining one's own user namespace is refused as invalid after all checks.
            let own = fs::File::open("/proc/self/ns/user")?;
            let joined = call(
                libc::SYS_setns,
                [std::os::fd::AsRawFd::as_raw_fd(&own) as usize, 0, 0, 0, 0, 0],
            );
            crate::attempt::refused_with(joined, &[libc::EINVAL])
        }),
        Attempt::new("become-root", || done(checked(unsafe { libc::setuid(0) }.into()))),
        Attempt::new("become-group-root", || done(checked(unsafe { libc::setgid(0) }.into()))),
        Attempt::new("become-nobody", || {
            done(checked(unsafe { libc::setresuid(65_534, 65_534, 65_534) }.into()))
        }),
        Attempt::new("change-groups", || {
            done(checked(unsafe { libc::setgroups(0, std::ptr::null()) }.into()))
        }),
        Attempt::new("take-capabilities", || {
            let header = [0x2008_0522_u32, 0];
            let sets = [u32::MAX; 6];
            done(call(
                libc::SYS_capset,
                [header.as_ptr() as usize, sets.as_ptr() as usize, 0, 0, 0, 0],
            ))
        }),
        Attempt::new("unset-no-new-privileges", || {
            done(checked(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) }.into()))
        }),
        Attempt::new("keep-parent-death-signal-off", || {
            done(checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0) }.into()))
        }),
        Attempt::new("set-user-id-by-chmod", || {
            let path = scratch("chmod");
            fs::write(&path, "")?;
            let path = c_string(&path);
            done(checked(unsafe { libc::chmod(path.as_ptr(), 0o4755) }.into()))
        }),
        Attempt::new("set-user-id-by-open", || {
            let path = scratch("open");
            let _ = fs::remove_file(&path);
            let path = c_string(&path);
            let flags = libc::O_CREAT | libc::O_WRONLY;
            done(checked(unsafe { libc::open(path.as_ptr(), flags, 0o4755) }.into()))
        }),
        Attempt::new("set-user-id-by-mknod", || {
            let path = scratch("mknod");
            let _ = fs::remove_file(&path);
            let path = c_string(&path);
            done(checked(unsafe { libc::mknod(path.as_ptr(), libc::S_IFREG | 0o4755, 0) }.into()))
        }),
        Attempt::new("set-user-id-by-fchmodat2", || {
            let path = scratch("fchmodat2");
            fs::write(&path, "")?;
            let path = c_string(&path);
            done(call(
                libc::SYS_fchmodat2,
                [libc::AT_FDCWD as usize, path.as_ptr() as usize, 0o4755, 0, 0, 0],
            ))
        }),
        Attempt::new("raise-own-limits", || {
            let mut limit = [0_u64; 2];
            call(
                libc::SYS_prlimit64,
                [0, libc::RLIMIT_NOFILE as usize, 0, limit.as_mut_ptr() as usize, 0, 0],
            )?;
            let more = [limit[1], limit[1] + 1];
            done(call(
                libc::SYS_prlimit64,
                [0, libc::RLIMIT_NOFILE as usize, more.as_ptr() as usize, 0, 0, 0],
            ))
        }),
        Attempt::new("become-real-time", || {
            let priority = 1_i32;
            done(call(
                libc::SYS_sched_setscheduler,
                [0, libc::SCHED_FIFO as usize, (&raw const priority) as usize, 0, 0, 0],
            ))
        }),
    ]
}

/// Both sides of a fork come back here.
fn born(result: io::Result<i64>) -> io::Result<String> {
    if matches!(result, Ok(0)) {
        unsafe { libc::_exit(0) };
    }
    done(result)
}

/// Who and where this process is, in its own words.
pub(crate) fn describe() -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let mut groups = [0; 64];
    let count = unsafe { libc::getgroups(64, groups.as_mut_ptr()) };
    let mut variables: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    variables.sort();
    json!({
        "uid": unsafe { libc::geteuid() },
        "gid": unsafe { libc::getegid() },
        "groups": groups[..usize::try_from(count).unwrap_or(0)],
        "pid": std::process::id(),
        "no_new_privileges": unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) },
        "capabilities": field("CapEff"),
        "bounding": field("CapBnd"),
        "filters": field("Seccomp_filters"),
        "variables": variables,
        "umask": field("Umask"),
    })
}
