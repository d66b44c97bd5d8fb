//! The system calls that a module may make: an allow list. All else fails with EPERM, the numbers
//! of other architectures and those not yet invented included.
//!
//! The list holds what ordinary programs, the shell and the interpreters need. What it leaves out on
//! purpose: namespaces and mounts, ptrace and the memory of others, keys, BPF, performance events,
//! user faults, io_uring, kernel modules, clocks, raw input and output, and every way to make a
//! socket that is not a local pair or, where an endpoint was granted, TCP or UDP.

use std::collections::BTreeMap;

use super::fault::{Attempt, Fault};
use super::filter::{Answer, Filter, When};
use super::system;

/// `fchmodat2(2)`, of one number everywhere; the library lacks it for some architectures.
const FCHMODAT2: i64 = 452;

/// A system call and the sets of conditions of which one must hold as a whole; none means always.
struct Rule {
    number: i64,
    any_of: Vec<Vec<When>>,
}

/// What a module is surrounded by, on which the list depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surroundings {
    /// Its own view and no network.
    Alone,
    /// Its own view and a way to the egress broker.
    Connected,
    /// The host's files, since there are no namespaces.
    Shared,
}

/// The filters, made once.
pub(crate) struct Filters {
    alone: Filter,
    connected: Filter,
    shared: Filter,
    relay: Filter,
}

impl Filters {
    /// Makes them.
    ///
    /// # Errors
    /// A list is longer than the kernel takes; one sentence.
    pub(crate) fn compile() -> Result<Self, String> {
        let list = |surroundings| Filter::new(&answers(surroundings));
        Ok(Self {
            alone: list(Surroundings::Alone)?,
            connected: list(Surroundings::Connected)?,
            shared: list(Surroundings::Shared)?,
            relay: Filter::new(&answers_to_relay())?,
        })
    }

    /// The list for a module without network, as `struct sock_filter` one after another.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let instruction = |filter: &libc::sock_filter| {
            let mut bytes = [0; 8];
            bytes[..2].copy_from_slice(&filter.code.to_ne_bytes());
            bytes[2..4].copy_from_slice(&[filter.jt, filter.jf]);
            bytes[4..].copy_from_slice(&filter.k.to_ne_bytes());
            bytes
        };
        self.alone.instructions().iter().flat_map(instruction).collect()
    }

    /// Filters this process and all that it starts, for good.
    ///
    /// # Errors
    /// The kernel has no filters, or `no_new_privs` is not set.
    pub(crate) fn apply(&self, surroundings: Surroundings) -> Result<(), Fault> {
        let list = match surroundings {
            Surroundings::Alone => &self.alone,
            Surroundings::Connected => &self.connected,
            Surroundings::Shared => &self.shared,
        };
        system::filter_system_calls(list.instructions()).attempt(|| "filter system calls")
    }

    /// Filters this process so that it can pass on what it has open, and nothing else.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply).
    pub(crate) fn apply_to_relay(&self) -> Result<(), Fault> {
        system::filter_system_calls(self.relay.instructions()).attempt(|| "filter system calls")
    }
}

/// What a process needs that reads, writes, waits, and asks for memory.
#[rustfmt::skip]
const RELAY: &[i64] = &[
    libc::SYS_read, libc::SYS_write, libc::SYS_ppoll, libc::SYS_close, libc::SYS_exit_group,
    libc::SYS_brk, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise,
    libc::SYS_rt_sigreturn, libc::SYS_restart_syscall,
    #[cfg(target_arch = "x86_64")] libc::SYS_poll,
];

fn answers_to_relay() -> BTreeMap<u32, Answer> {
    let always = RELAY.iter().map(|number| (*number, Answer::Allow));
    let executable = libc::PROT_EXEC.unsigned_abs().into();
    let memory = Answer::AllowIf(vec![vec![without(2, executable)]]);
    always
        .chain([(libc::SYS_mmap, memory)])
        .map(|(number, answer)| (u32::try_from(number).unwrap_or(u32::MAX), answer))
        .collect()
}

/// What each call that is named meets; the rest fails with EPERM.
fn answers(surroundings: Surroundings) -> BTreeMap<u32, Answer> {
    let absent = said_to_be_absent().into_iter().map(|number| (number, Answer::Fail(libc::ENOSYS)));
    let allowed = allowed(surroundings).into_iter().map(|rule| {
        let answer = match rule.any_of.is_empty() {
            true => Answer::Allow,
            false => Answer::AllowIf(rule.any_of),
        };
        (rule.number, answer)
    });
    allowed
        .chain(absent)
        .map(|(number, answer)| (u32::try_from(number).unwrap_or(u32::MAX), answer))
        .collect()
}

/// Calls that programs try first and do without where the kernel does not have them. `EPERM` would
/// make them give up.
fn said_to_be_absent() -> [i64; 4] {
    [libc::SYS_clone3, FCHMODAT2, libc::SYS_openat2, libc::SYS_io_uring_setup]
}

/// The creation flags of namespaces, CLONE_NEWTIME among the bits of the exit signal.
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64
    | 0x80;

/// The set-user-ID and set-group-ID bits of a mode.
const SET_ID: u64 = 0o6000;

/// The flags of open(2) with which it reads a mode: O_CREAT and what tells O_TMPFILE.
const MAKES_A_FILE: u64 = 0o2000_0100;

const fn is(argument: u8, value: u64) -> When {
    // The kernel reads 32 bits of these; what a program leaves above them says nothing.
    When { argument, mask: 0xffff_ffff, value }
}

const fn without(argument: u8, bits: u64) -> When {
    When { argument, mask: bits, value: 0 }
}

/// Whole values of one argument.
fn one_of(argument: u8, values: &[u64]) -> Vec<Vec<When>> {
    values.iter().map(|value| vec![is(argument, *value)]).collect()
}

/// The kind of a socket, without the flags that travel beside it.
const fn kind_of_socket(argument: u8, kind: i32) -> When {
    When { argument, mask: 0xf, value: kind.unsigned_abs() as u64 }
}

/// Calls that change or watch a file by its path without opening it, which Landlock does not see.
/// Where the host's files are in sight, a module could open the node's own files to everyone.
#[rustfmt::skip]
const BY_PATH: &[i64] = &[
    libc::SYS_fchownat, libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_removexattr,
    libc::SYS_lremovexattr, libc::SYS_inotify_add_watch,
    #[cfg(target_arch = "x86_64")] libc::SYS_chown,
    #[cfg(target_arch = "x86_64")] libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")] libc::SYS_utime,
    #[cfg(target_arch = "x86_64")] libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")] libc::SYS_futimesat,
];

fn allowed(surroundings: Surroundings) -> Vec<Rule> {
    let (network, shared) =
        (surroundings == Surroundings::Connected, surroundings == Surroundings::Shared);
    let by_path = if shared { &[] } else { BY_PATH };
    let mut rules: Vec<Rule> = ALWAYS
        .iter()
        .chain(by_path)
        .map(|number| Rule { number: *number, any_of: Vec::new() })
        .collect();
    let mut add = |number, any_of| rules.push(Rule { number, any_of });
    add(libc::SYS_clone, vec![vec![without(0, NAMESPACES)]]);
    // What a file system object is made of: no devices, and no program that runs as its owner.
    let kinds = [0, libc::S_IFREG, libc::S_IFIFO, libc::S_IFSOCK];
    let kind = |argument| -> Vec<Vec<When>> {
        let mask = u64::from(libc::S_IFMT) | SET_ID;
        kinds.iter().map(|kind| vec![When { argument, mask, value: u64::from(*kind) }]).collect()
    };
    // A mode is read only where a file may be made; elsewhere the argument is whatever lay there.
    let open = |flags, mode| vec![vec![without(flags, MAKES_A_FILE)], vec![without(mode, SET_ID)]];
    add(libc::SYS_openat, open(2, 3));
    add(libc::SYS_mknodat, kind(2));
    add(libc::SYS_fchmod, vec![vec![without(1, SET_ID)]]);
    if shared {
        // Of an open file alone: no path.
        add(libc::SYS_utimensat, one_of(1, &[0]));
    } else {
        add(libc::SYS_fchmodat, vec![vec![without(2, SET_ID)]]);
        add(libc::SYS_utimensat, Vec::new());
    }
    // Terminals, pipes and file flags; nothing that types into a terminal (TIOCSTI, TIOCLINUX). They
    // stand as numbers, since each C library has a type of its own for them.
    add(
        libc::SYS_ioctl,
        one_of(
            1,
            &[
                0x5401,      /* TCGETS */
                0x802c_542a, /* TCGETS2 */
                0x5413,      /* TIOCGWINSZ */
                0x540f,      /* TIOCGPGRP */
                0x541b,      /* FIONREAD */
                0x5421,      /* FIONBIO */
                0x5451,      /* FIOCLEX */
                0x5450,      /* FIONCLEX */
                0x8008_6601, /* FS_IOC_GETFLAGS */
            ],
        ),
    );
    // Not PR_SET_DUMPABLE: the monitor could no longer see which removed files are still open.
    let prctl = [
        libc::PR_SET_NAME,
        libc::PR_GET_NAME,
        libc::PR_GET_DUMPABLE,
        libc::PR_SET_NO_NEW_PRIVS,
        libc::PR_GET_NO_NEW_PRIVS,
        libc::PR_CAPBSET_READ,
        libc::PR_GET_SECCOMP,
        libc::PR_SET_TIMERSLACK,
        libc::PR_GET_TIMERSLACK,
        libc::PR_SET_CHILD_SUBREAPER,
        libc::PR_GET_CHILD_SUBREAPER,
        libc::PR_SET_THP_DISABLE,
        libc::PR_GET_THP_DISABLE,
        libc::PR_SET_VMA,
        libc::PR_GET_KEEPCAPS,
    ];
    add(
        libc::SYS_prctl,
        prctl.iter().map(|option| vec![is(0, u64::from(option.unsigned_abs()))]).collect(),
    );
    // Asks for the personality; does not change it.
    add(libc::SYS_personality, one_of(0, &[0xffff_ffff, 0]));
    // Of this process alone: where there are no namespaces, the node runs as the same user.
    add(libc::SYS_prlimit64, one_of(0, &[0]));
    add(libc::SYS_sched_setaffinity, one_of(0, &[0]));
    let family = |family: i32| u64::from(family.unsigned_abs());
    // A local pair is a pipe with two directions. A local socket by name could reach a daemon, and
    // one for datagrams can send to any name although it is half of a pair (unix(7)).
    add(
        libc::SYS_socketpair,
        [libc::SOCK_STREAM, libc::SOCK_SEQPACKET]
            .map(|kind| vec![is(0, family(libc::AF_UNIX)), kind_of_socket(1, kind)])
            .into(),
    );
    if network {
        // AF_INET and AF_INET6 differ in one bit. Datagrams are for resolvers, which only ask which
        // address would be used; there is nowhere to send one to.
        let internet = When { argument: 0, mask: 0xffff_fff7, value: family(libc::AF_INET) };
        add(
            libc::SYS_socket,
            [
                (libc::SOCK_STREAM, 0),
                (libc::SOCK_STREAM, libc::IPPROTO_TCP),
                (libc::SOCK_DGRAM, 0),
                (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
            ]
            .map(|(kind, protocol)| {
                vec![internet, kind_of_socket(1, kind), is(2, family(protocol))]
            })
            .into(),
        );
        add(libc::SYS_connect, Vec::new());
    }
    #[cfg(target_arch = "x86_64")]
    {
        add(libc::SYS_open, open(1, 2));
        add(libc::SYS_creat, vec![vec![without(1, SET_ID)]]);
        add(libc::SYS_mknod, kind(1));
        if !shared {
            add(libc::SYS_chmod, vec![vec![without(1, SET_ID)]]);
        }
        // The thread's own base register, for thread-local storage.
        add(libc::SYS_arch_prctl, one_of(0, &[0x1001, 0x1002, 0x1003, 0x1004]));
    }
    rules
}

#[rustfmt::skip]
const ALWAYS: &[i64] = &[
    // Files
    libc::SYS_read, libc::SYS_write, libc::SYS_close, libc::SYS_close_range, libc::SYS_lseek,
    libc::SYS_pread64, libc::SYS_pwrite64, libc::SYS_readv, libc::SYS_writev, libc::SYS_preadv,
    libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_fstat,
    libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_statfs, libc::SYS_fstatfs,
    libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_readlinkat, libc::SYS_getdents64,
    libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_fchdir, libc::SYS_mkdirat, libc::SYS_unlinkat,
    libc::SYS_linkat, libc::SYS_symlinkat, libc::SYS_renameat, libc::SYS_renameat2,
    libc::SYS_fchown, libc::SYS_truncate,
    libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fsync, libc::SYS_fdatasync,
    libc::SYS_sync_file_range, libc::SYS_fadvise64, libc::SYS_flock, libc::SYS_fcntl,
    libc::SYS_umask, libc::SYS_dup, libc::SYS_dup3, libc::SYS_pipe2, libc::SYS_splice,
    libc::SYS_tee, libc::SYS_sendfile, libc::SYS_copy_file_range, libc::SYS_memfd_create,
    libc::SYS_getxattr, libc::SYS_lgetxattr, libc::SYS_fgetxattr, libc::SYS_listxattr,
    libc::SYS_llistxattr, libc::SYS_flistxattr, libc::SYS_fsetxattr, libc::SYS_fremovexattr,
    libc::SYS_inotify_init1, libc::SYS_inotify_rm_watch,
    // Waiting
    libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_epoll_create1, libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_signalfd4,
    libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,
    libc::SYS_futex, libc::SYS_futex_waitv, libc::SYS_nanosleep, libc::SYS_clock_nanosleep,
    // Memory
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect,
    libc::SYS_msync, libc::SYS_mincore, libc::SYS_madvise, libc::SYS_mlock, libc::SYS_mlock2,
    libc::SYS_munlock, libc::SYS_membarrier, libc::SYS_pkey_alloc, libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    // Processes and signals
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_wait4,
    libc::SYS_waitid, libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill, libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn, libc::SYS_rt_sigpending, libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait, libc::SYS_rt_sigqueueinfo, libc::SYS_sigaltstack,
    libc::SYS_restart_syscall, libc::SYS_set_tid_address, libc::SYS_set_robust_list,
    libc::SYS_get_robust_list, libc::SYS_rseq, libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity, libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler, libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min, libc::SYS_getpriority,
    libc::SYS_setpgid, libc::SYS_getpgid, libc::SYS_getsid, libc::SYS_setsid,
    // Who and where
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getuid, libc::SYS_geteuid,
    libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getresuid, libc::SYS_getresgid,
    libc::SYS_getgroups, libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_getrusage,
    libc::SYS_times, libc::SYS_getcpu, libc::SYS_getrandom,
    libc::SYS_capget,
    // Time
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_gettimeofday,
    libc::SYS_getitimer, libc::SYS_setitimer, libc::SYS_timer_create, libc::SYS_timer_settime,
    libc::SYS_timer_gettime, libc::SYS_timer_getoverrun, libc::SYS_timer_delete,
    // Sockets that exist already
    libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg, libc::SYS_recvfrom,
    libc::SYS_recvmsg, libc::SYS_recvmmsg, libc::SYS_shutdown, libc::SYS_getsockname,
    libc::SYS_getpeername, libc::SYS_getsockopt, libc::SYS_setsockopt,
    // A module may restrict itself further.
    libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    // The older names of the same, which only this architecture has
    #[cfg(target_arch = "x86_64")] libc::SYS_stat,
    #[cfg(target_arch = "x86_64")] libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")] libc::SYS_access,
    #[cfg(target_arch = "x86_64")] libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_getdents,
    #[cfg(target_arch = "x86_64")] libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")] libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")] libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_link,
    #[cfg(target_arch = "x86_64")] libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_rename,
    #[cfg(target_arch = "x86_64")] libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")] libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")] libc::SYS_poll,
    #[cfg(target_arch = "x86_64")] libc::SYS_select,
    #[cfg(target_arch = "x86_64")] libc::SYS_epoll_create,
    #[cfg(target_arch = "x86_64")] libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")] libc::SYS_eventfd,
    #[cfg(target_arch = "x86_64")] libc::SYS_signalfd,
    #[cfg(target_arch = "x86_64")] libc::SYS_inotify_init,
    #[cfg(target_arch = "x86_64")] libc::SYS_fork,
    #[cfg(target_arch = "x86_64")] libc::SYS_vfork,
    #[cfg(target_arch = "x86_64")] libc::SYS_pause,
    #[cfg(target_arch = "x86_64")] libc::SYS_alarm,
    #[cfg(target_arch = "x86_64")] libc::SYS_time,
    #[cfg(target_arch = "x86_64")] libc::SYS_getpgrp,
    #[cfg(target_arch = "x86_64")] libc::SYS_getrlimit,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Whether everything that meets all of `narrow` meets all of `wide`.
    fn implied(narrow: &[When], wide: &[When]) -> bool {
        wide.iter().all(|wide| {
            narrow.iter().any(|narrow| {
                narrow.argument == wide.argument
                    && narrow.mask & wide.mask == wide.mask
                    && narrow.value & wide.mask == wide.value
            })
        })
    }

    #[test]
    fn no_rule_is_redundant() {
        for surroundings in [Surroundings::Alone, Surroundings::Connected, Surroundings::Shared] {
            let rules = allowed(surroundings);
            let numbers: BTreeSet<i64> = rules.iter().map(|rule| rule.number).collect();
            let mut seen = BTreeSet::new();
            let twice: Vec<i64> = rules
                .iter()
                .map(|rule| rule.number)
                .filter(|number| !seen.insert(*number))
                .collect();
            assert_eq!(twice, Vec::<i64>::new(), "listed twice");
            for rule in &rules {
                for (index, narrow) in rule.any_of.iter().enumerate() {
                    for (other, wide) in rule.any_of.iter().enumerate() {
                        assert!(
                            index == other || !implied(narrow, wide),
                            "{}: {narrow:?} is implied by {wide:?}",
                            rule.number
                        );
                    }
                }
            }
            for absent in said_to_be_absent() {
                assert!(!numbers.contains(&absent), "{absent} is said to be absent");
            }
        }
    }

    #[test]
    fn the_list_only_shrinks() {
        // Adding a call needs a reason in the list above and a new number here.
        let most = if cfg!(target_arch = "x86_64") { 223 } else { 189 };
        let count = allowed(Surroundings::Connected).len();
        assert!(count <= most, "{count} calls are allowed");
    }

    #[test]
    fn the_relay_can_pass_on_and_nothing_else() {
        use super::super::filter::tests::answer;
        let filters = Filters::compile().unwrap();
        let architecture = by_a_library(Surroundings::Alone)[1].k;
        let allowed = |number: i64, arguments| {
            let number = u32::try_from(number).unwrap();
            answer(filters.relay.instructions(), architecture, number, arguments) == 0x7fff_0000
        };
        let most = if cfg!(target_arch = "x86_64") { 13 } else { 12 };
        assert_eq!((0..600).filter(|number| allowed(*number, [0; 6])).count(), most);
        for number in [libc::SYS_read, libc::SYS_write, libc::SYS_ppoll, libc::SYS_mmap] {
            assert!(allowed(number, [0; 6]), "{number}");
        }
        for number in [
            libc::SYS_openat,
            libc::SYS_socket,
            libc::SYS_sendmsg,
            libc::SYS_execve,
            libc::SYS_clone,
        ] {
            assert!(!allowed(number, [0; 6]), "{number}");
        }
        let executable = libc::PROT_EXEC.unsigned_abs().into();
        assert!(!allowed(libc::SYS_mmap, [0, 0, executable, 0, 0, 0]));
    }

    #[test]
    fn conditions_can_hold() {
        for when in
            allowed(Surroundings::Connected).iter().flat_map(|rule| rule.any_of.iter().flatten())
        {
            assert_eq!(when.value & !when.mask, 0, "{when:?} never holds");
        }
    }

    /// The same list in the words of a library that makes filters too.
    fn by_a_library(surroundings: Surroundings) -> Vec<libc::sock_filter> {
        use seccompiler::{
            SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
            SeccompRule,
        };
        let condition = |when: &When| {
            let masked = SeccompCmpOp::MaskedEq(when.mask);
            SeccompCondition::new(when.argument, SeccompCmpArgLen::Qword, masked, when.value)
                .unwrap()
        };
        let rules = allowed(surroundings).into_iter().map(|rule| {
            let sets = rule.any_of.iter();
            let sets =
                sets.map(|all| SeccompRule::new(all.iter().map(condition).collect()).unwrap());
            (rule.number, sets.collect())
        });
        let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let architecture = std::env::consts::ARCH.try_into().unwrap();
        let filter =
            SeccompFilter::new(rules.collect(), refuse, SeccompAction::Allow, architecture);
        let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
        let same = |from: &seccompiler::sock_filter| libc::sock_filter {
            code: from.code,
            jt: from.jt,
            jf: from.jf,
            k: from.k,
        };
        program.iter().map(same).collect()
    }

    /// Arguments that meet each set of conditions, and those beside it by one bit or one half.
    fn arguments(rules: &[Rule]) -> Vec<[u64; 6]> {
        let mut found = vec![[0; 6], [u64::MAX; 6]];
        for all in rules.iter().flat_map(|rule| &rule.any_of) {
            for fill in [0, u64::MAX] {
                let mut meets = [fill; 6];
                for when in all {
                    let argument = &mut meets[usize::from(when.argument)];
                    *argument = *argument & !when.mask | when.value;
                }
                found.push(meets);
                for when in all {
                    for bit in 0..64 {
                        let mut beside = meets;
                        beside[usize::from(when.argument)] ^= 1 << bit;
                        found.push(beside);
                    }
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn filters_answer_as_those_of_a_library() {
        use super::super::filter::tests::answer;
        let filters = Filters::compile().unwrap();
        for (surroundings, filter) in [
            (Surroundings::Alone, &filters.alone),
            (Surroundings::Connected, &filters.connected),
            (Surroundings::Shared, &filters.shared),
        ] {
            let other = by_a_library(surroundings);
            let rules = allowed(surroundings);
            let all = arguments(&rules);
            let conditional: BTreeSet<u32> = rules
                .iter()
                .filter(|rule| !rule.any_of.is_empty())
                .map(|rule| u32::try_from(rule.number).unwrap())
                .collect();
            let numbers = (0..600).chain(0x4000_0000..0x4000_0258).chain([u32::MAX - 1, u32::MAX]);
            for number in numbers {
                let few = &all[..2];
                let all = if conditional.contains(&number) { &all[..] } else { few };
                for arguments in all {
                    let architecture = other[1].k;
                    let given = answer(filter.instructions(), architecture, number, *arguments);
                    let expected = match said_to_be_absent().contains(&i64::from(number)) {
                        true => 0x0005_0026,
                        false => answer(&other, architecture, number, *arguments),
                    };
                    assert_eq!(given, expected, "{surroundings:?}: {number} {arguments:x?}");
                }
            }
            assert!(
                filter.instructions().len() * 2 < other.len(),
                "{surroundings:?}: {} instructions, the library needs {}",
                filter.instructions().len(),
                other.len()
            );
        }
    }
}
