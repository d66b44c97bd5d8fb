//! Rows 3, 12 and 21: other processes.

use std::fs;
use std::io;

use crate::attempt::{Attempt, Targets, call, checked, done};

pub(crate) fn attempts(targets: &Targets) -> Vec<Attempt<'_>> {
    let victim = targets.victim;
    let other = victim as usize;
    vec![
        Attempt::new("trace-victim", move || {
            let seized = call(libc::SYS_ptrace, [0x4206, other, 0, 0, 0, 0]);
            done(seized)
        }),
        Attempt::new("trace-own-child", || {
            let child = unsafe { libc::fork() };
            if child == 0 {
                unsafe {
                    libc::pause();
                    libc::_exit(0);
                }
            }
            let seized = call(libc::SYS_ptrace, [0x4206, child as usize, 0, 0, 0, 0]);
            unsafe { libc::kill(child, libc::SIGKILL) };
            done(seized)
        }),
        Attempt::new("read-memory-of-victim", move || {
            let mut byte = 0_u8;
            let ours = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
            // Address 0 is never mapped: EFAULT comes after the check of rights.
            let theirs = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 1 };
            let read = call(
                libc::SYS_process_vm_readv,
                [other, (&raw const ours) as usize, 1, (&raw const theirs) as usize, 1, 0],
            );
            crate::attempt::refused_with(read, &[libc::EFAULT])
        }),
        Attempt::new("open-memory-of-victim", move || {
            done(fs::File::open(format!("/proc/{victim}/mem")))
        }),
        Attempt::new("open-memory-of-process-1", || done(fs::File::open("/proc/1/mem"))),
        Attempt::new("open-memory-of-parent", || {
            done(fs::File::open(format!("/proc/{}/mem", grandparent()?)))
        }),
        Attempt::new("environment-of-victim", move || {
            secret_in(&format!("/proc/{victim}/environ"))
        }),
        Attempt::new("environment-of-launcher", move || {
            done(fs::read(format!("/proc/{}/environ", targets.launcher)))
        }),
        Attempt::new("environment-of-process-1", || done(fs::read("/proc/1/environ"))),
        Attempt::new("environment-of-parent", || {
            done(fs::read(format!("/proc/{}/environ", grandparent()?)))
        }),
        Attempt::new("descriptors-of-parent", || {
            done(fs::read_dir(format!("/proc/{}/fd", grandparent()?)))
        }),
        Attempt::new("own-environment", || {
            if std::env::var_os("WACHTER_SECRET").is_some() {
                Ok(String::new())
            } else {
                Err(io::Error::other("not there"))
            }
        }),
        Attempt::new("command-line-of-victim", move || {
            done(fs::read(format!("/proc/{victim}/cmdline")))
        }),
        Attempt::new("signal-victim", move || {
            done(checked(unsafe { libc::kill(victim, 0) }.into()))
        }),
        Attempt::new("signal-launcher", move || {
            done(checked(unsafe { libc::kill(targets.launcher, 0) }.into()))
        }),
        Attempt::new("signal-parent", || {
            done(checked(unsafe { libc::kill(grandparent()?, 0) }.into()))
        }),
        Attempt::new("signal-process-1", || done(checked(unsafe { libc::kill(1, 0) }.into()))),
        Attempt::new("signal-thread-of-victim", move || {
            done(call(libc::SYS_tgkill, [other, other, 0, 0, 0, 0]))
        }),
        Attempt::new("queue-signal-to-victim", move || {
            let mut information = [0_i32; 32];
            information[2] = libc::SI_QUEUE;
            done(call(
                libc::SYS_rt_sigqueueinfo,
                [other, 0, information.as_ptr() as usize, 0, 0, 0],
            ))
        }),
        Attempt::new("own-victim-by-descriptor", move || {
            let pidfd = call(libc::SYS_pidfd_open, [other, 0, 0, 0, 0, 0])?;
            done(call(libc::SYS_pidfd_send_signal, [pidfd as usize, 0, 0, 0, 0, 0]))
        }),
        Attempt::new("take-descriptor-of-victim", move || {
            let pidfd = call(libc::SYS_pidfd_open, [other, 0, 0, 0, 0, 0])?;
            done(call(libc::SYS_pidfd_getfd, [pidfd as usize, 0, 0, 0, 0, 0]))
        }),
        Attempt::new("limit-victim", move || {
            // Asks and sets in one call; here it asks only, which needs the same right.
            let mut limit = [0_u64; 2];
            done(call(
                libc::SYS_prlimit64,
                [other, libc::RLIMIT_NOFILE as usize, 0, limit.as_mut_ptr() as usize, 0, 0],
            ))
        }),
        Attempt::new("slow-victim", move || {
            done(call(libc::SYS_setpriority, [libc::PRIO_PROCESS as usize, other, 1, 0, 0, 0]))
        }),
        Attempt::new("move-victim-to-processor", move || {
            let mask = [u64::MAX; 16];
            done(call(
                libc::SYS_sched_setaffinity,
                [other, size_of_val(&mask), mask.as_ptr() as usize, 0, 0, 0],
            ))
        }),
        Attempt::new("schedule-victim", move || {
            let parameter = 0_i32;
            let batch = libc::SCHED_BATCH as usize;
            done(call(
                libc::SYS_sched_setscheduler,
                [other, batch, (&raw const parameter) as usize, 0, 0, 0],
            ))
        }),
        Attempt::new("starve-victim-of-disk", move || {
            // IOPRIO_WHO_PROCESS, best effort, the lowest.
            done(call(libc::SYS_ioprio_set, [1, other, (2 << 13) | 7, 0, 0, 0]))
        }),
        Attempt::new("compare-with-victim", move || {
            let own = std::process::id() as usize;
            done(call(libc::SYS_kcmp, [own, other, 1, 0, 0, 0]))
        }),
        Attempt::new("join-namespace-of-victim", move || {
            let namespace = fs::File::open(format!("/proc/{victim}/ns/uts"))?;
            let joined = call(
                libc::SYS_setns,
                [std::os::fd::AsRawFd::as_raw_fd(&namespace) as usize, 0, 0, 0, 0, 0],
            );
            // Without rights over the namespace even its owner gets EPERM, so the open is the proof.
            let _ = joined;
            Ok("its namespaces can be named".to_owned())
        }),
    ]
}

/// What started this program: the attempt's own process is its child.
fn grandparent() -> io::Result<i32> {
    let parent = unsafe { libc::getppid() };
    let status = fs::read_to_string(format!("/proc/{parent}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.and_then(|pid| pid.trim().parse().ok()).ok_or_else(|| io::Error::other("no parent"))
}

fn secret_in(path: &str) -> io::Result<String> {
    let text = fs::read(path)?;
    let found = text.windows(b"WACHTER_SECRET".len()).any(|window| window == b"WACHTER_SECRET");
    if found { Ok(String::new()) } else { Err(io::Error::other("no secret in it")) }
}
