//! The system calls that no safe interface offers, each behind a function that is safe to call
//! from this single-threaded process.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::io::Errno;
use rustix::process::Pid;

/// Which side of a fork this is.
pub(crate) enum Forked {
    Parent(Pid),
    Child,
}

fn checked(result: i64) -> Result<i64, Errno> {
    if result >= 0 {
        return Ok(result);
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// Duplicates this process. The child may allocate: there is no other thread that could hold a
/// lock.
pub(crate) fn fork() -> Result<Forked, Errno> {
    // SAFETY: the launcher has one thread, so the child sees no lock held by another, and no
    // memory that was half changed.
    let pid = checked(i64::from(unsafe { libc::fork() }))?;
    Ok(match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        Some(pid) => Forked::Parent(pid),
        None => Forked::Child,
    })
}

/// `CLONE_INTO_CGROUP` of linux/sched.h; libc's constant is too narrow for it.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// The same, with the child in a version 2 control group from its first moment on
/// (`CLONE_INTO_CGROUP`, clone(2)). Moving it there afterwards takes a lock over all processes of
/// the host, for milliseconds. False where the child is yet to be moved: the kernel or a container
/// does not offer this.
pub(crate) fn fork_into(group: Option<BorrowedFd<'_>>) -> Result<(Forked, bool), Errno> {
    let Some(group) = group else { return Ok((fork()?, false)) };
    // SAFETY: `clone_args` is plain data, for which zero is a valid value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = INTO_CGROUP;
    arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    arguments.cgroup = u64::from(group.as_raw_fd().unsigned_abs());
    // SAFETY: as for `fork`: one thread, and without CLONE_VM a copy of all memory. The structure
    // lives through the call, and its size is given.
    let pid = checked(unsafe {
        libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>())
    });
    match pid {
        Ok(pid) => Ok((
            match i32::try_from(pid).ok().and_then(Pid::from_raw) {
                Some(pid) => Forked::Parent(pid),
                None => Forked::Child,
            },
            true,
        )),
        Err(_) => Ok((fork()?, false)),
    }
}

/// Ends this process at once, running nothing that its parent left for the end.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: has no precondition; it does not return.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor from 3 upwards but `keep`.
pub(crate) fn close_all_but(keep: &mut [RawFd]) -> Result<(), Errno> {
    keep.sort_unstable();
    let mut first: libc::c_uint = 3;
    let close = |first: libc::c_uint, last: libc::c_uint| {
        if first > last {
            return Ok(0);
        }
        // SAFETY: takes no pointer. Owners of the closed descriptors never run again: the caller
        // is a forked child that ends by `exit` or by executing a program.
        checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
    };
    for descriptor in keep.iter().filter_map(|descriptor| u32::try_from(*descriptor).ok()) {
        if descriptor >= first {
            if descriptor > first {
                close(first, descriptor - 1)?;
            }
            first = descriptor + 1;
        }
    }
    close(first, libc::c_uint::MAX)?;
    Ok(())
}

/// Marks every descriptor from 3 upwards close-on-exec.
pub(crate) fn close_all_on_exec() -> Result<(), Errno> {
    // SAFETY: takes no pointer and closes nothing now.
    checked(unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    })?;
    Ok(())
}

/// Replaces this process by `program`. Returns only on failure.
pub(crate) fn execute(program: &CStr, arguments: &[&CStr], environment: &[&CStr]) -> Errno {
    let pointers = |texts: &[&CStr]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer and point to C strings that live until the call
    // returns, if it does.
    let result =
        unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    checked(i64::from(result)).err().unwrap_or(Errno::IO)
}

/// Applies attributes to a mount and all below it (`mount_setattr(2)`).
pub(crate) fn set_mount_attributes(mount: BorrowedFd<'_>, set: u64) -> Result<(), Errno> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a C string, the structure lives through the call, and its size is given.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Brings the loopback interface of this network namespace up (netdevice(7)).
pub(crate) fn bring_loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: `ifreq` is plain data, for which zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes_with_nul()) {
        // Characters of C have a sign on some architectures and none on others.
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(libc::c_short::MAX);
    // A number, since each C library has a type of its own for requests.
    // SAFETY: the request is of the type that SIOCSIFFLAGS reads, and lives through the call.
    checked(i64::from(unsafe {
        libc::ioctl(socket.as_raw_fd(), 0x8914 /* SIOCSIFFLAGS */, &raw const request)
    }))?;
    Ok(())
}

/// Leaves the namespaces that `flags` name.
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the descriptor table is not among what is unshared, so no descriptor changes its
    // meaning.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// A set of signals.
pub(crate) fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: `sigset_t` is plain data, made empty before it is used.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set lives through both calls; the signals are constants of the caller.
    unsafe {
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
    }
    set
}

/// Replaces the mask of blocked signals.
pub(crate) fn block_signals(set: &libc::sigset_t) {
    // SAFETY: the set is valid, and the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, set, std::ptr::null_mut()) };
}

/// Waits for one of the blocked signals in `set`; none when the time is over.
pub(crate) fn wait_for_signal(
    set: &libc::sigset_t,
    timeout: Option<std::time::Duration>,
) -> Option<i32> {
    let time = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the set and the time, where given, live through the call; no details are asked for.
    let signal = unsafe { libc::sigtimedwait(set, std::ptr::null_mut(), time) };
    (signal > 0).then_some(signal)
}

/// Gives signals their default effect in this process and blocks none: who started it may have
/// ignored or blocked some, and both survive execve(2). An ignored SIGCHLD would hide how runs end.
pub(crate) fn begin_with_default_signals() {
    for signal in (1..=31).filter(|signal| *signal != libc::SIGPIPE) {
        // SAFETY: SIG_DFL is a valid disposition for each; for SIGKILL and SIGSTOP it is refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    block_signals(&signal_set(&[]));
}

/// Gives SIGPIPE, which Rust ignores, its default effect too, as a new program expects it.
pub(crate) fn reset_signals() {
    // SAFETY: SIG_DFL is a valid disposition for each of these.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    block_signals(&signal_set(&[]));
}

/// A child that ended: which, its wait status, and what it and the children it waited for used.
pub(crate) struct Ended {
    pub(crate) pid: i32,
    pub(crate) status: i32,
    pub(crate) cpu_microseconds: u64,
    pub(crate) peak_memory_bytes: u64,
}

/// Takes the end of one child, `pid` or any (-1). None where none has ended or none is left.
pub(crate) fn wait(pid: i32, block: bool) -> Option<Ended> {
    let mut status = 0;
    // SAFETY: `rusage` is plain data, for which zero is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let options = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: both results live through the call.
        let ended = unsafe { libc::wait4(pid, &raw mut status, options, &raw mut usage) };
        if ended > 0 {
            let time = |time: libc::timeval| {
                u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).unwrap_or(0)
            };
            return Some(Ended {
                pid: ended,
                status,
                cpu_microseconds: time(usage.ru_utime) + time(usage.ru_stime),
                peak_memory_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
            });
        }
        if ended == 0 || checked(i64::from(ended)) != Err(Errno::INTR) {
            return None;
        }
    }
}

/// Sends a signal; a process that is gone is no error.
pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: takes no pointer.
    unsafe { libc::kill(pid, signal) };
}

/// Filters the system calls of this process and of all that it starts (seccomp(2)).
pub(crate) fn filter_system_calls(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies as many instructions as the length says, and writes none.
    checked(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    })?;
    Ok(())
}

/// Whether this process could send the process a signal: whether they are of one user, for who has
/// no capability to.
pub(crate) fn may_signal(pid: i32) -> bool {
    // SAFETY: takes no pointer; signal 0 is none.
    unsafe { libc::kill(pid, 0) == 0 }
}

/// The Landlock ABI of the running kernel; 0 where there is none (landlock(7)).
pub(crate) fn landlock_abi() -> i64 {
    // SAFETY: with this flag, no attribute is read.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, 1u32)
    };
    checked(result).unwrap_or(0)
}

/// Replaces the supplementary groups.
pub(crate) fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the pointer and the length are of one slice.
    checked(i64::from(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) }))?;
    Ok(())
}
