use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, PathBeneath,
    PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::fetched::Confinement;
use super::http;
use super::job::{FetchLimits, Job, Source};
use super::location::Location;

/// Where libraries, certificates and the configuration of name resolution are read.
const READ: &[&str] = &[
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ld.so.cache",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share",
    "/usr/local/share/ca-certificates",
    "/lib",
    "/lib64",
    "/dev/urandom",
    "/dev/random",
    "/nix/store",
];

/// Where programs are run from, when one is needed.
const EXECUTE: &[&str] = &["/usr", "/bin", "/lib", "/lib64", "/nix/store"];

/// Why a worker could not be confined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfineError {
    #[error("the process that started it is gone")]
    ParentGone,
    #[error("the kernel has no {0}; enable it, or accept its absence by name in the local file")]
    Missing(&'static str),
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
    #[error("landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
    #[error("the system call filter: {0}")]
    Filter(String),
}

/// Confines this process and all its children for good. Must run before a second thread is started
/// and before anything from outside is read.
///
/// A mechanism that the kernel does not have is left out and reported; one that it has and refuses
/// is an error.
pub(crate) fn confine(job: &Job, parent: i32) -> Result<Confinement, ConfineError> {
    die_with_parent(parent)?;
    limit_resources(&job.limits)?;
    rustix::thread::set_no_new_privs(true)
        .map_err(|error| ConfineError::System("no_new_privs", error.into()))?;
    let mut confinement = Confinement {
        no_new_privileges: true,
        resource_limits: true,
        parent_death_signal: true,
        ..Confinement::default()
    };
    (confinement.file_system, confinement.network) = restrict_access(job)?;
    confinement.system_calls = filter_system_calls()?;
    let missing = [("Landlock", confinement.file_system), ("seccomp", confinement.system_calls)];
    match missing.into_iter().find(|(_, in_force)| !in_force) {
        Some((name, _)) if !job.accept_unconfined => Err(ConfineError::Missing(name)),
        _ => Ok(confinement),
    }
}

fn die_with_parent(parent: i32) -> Result<(), ConfineError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| ConfineError::System("parent death signal", error.into()))?;
    // The parent may have died before the signal was asked for.
    if rustix::process::getppid().map_or(0, Pid::as_raw_pid) != parent {
        return Err(ConfineError::ParentGone);
    }
    Ok(())
}

fn limit_resources(limits: &FetchLimits) -> Result<(), ConfineError> {
    // A thin pack grows by the bases that are added; the index is far smaller than the pack.
    let file = limits.bytes.saturating_mul(2).saturating_add(64 << 20);
    let memory = limits
        .bytes
        .saturating_mul(2)
        .saturating_add(limits.object_bytes * 4)
        .saturating_add(4 << 30);
    let seconds = limits.time.as_secs().saturating_mul(2).saturating_add(10);
    for (resource, most) in [
        (Resource::Fsize, file),
        (Resource::As, memory),
        (Resource::Core, 0),
        (Resource::Nofile, 512),
        (Resource::Cpu, seconds),
    ] {
        let had = rustix::process::getrlimit(resource);
        // Never above what there is: raising takes a privilege.
        let most = had.maximum.map_or(most, |had| had.min(most));
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|error| ConfineError::System("resource limits", error.into()))?;
    }
    Ok(())
}

/// What a job needs beyond what every worker may do.
struct Needs {
    read: Vec<PathBuf>,
    execute: Vec<PathBuf>,
    /// TCP ports; `None` when they cannot be known.
    ports: Option<Vec<u16>>,
}

impl Needs {
    fn of(job: &Job) -> Self {
        let mut needs = Self { read: Vec::new(), execute: Vec::new(), ports: Some(Vec::new()) };
        let remote = match &job.source {
            Source::Bundle(path) => {
                needs.read.push(path.clone());
                return needs;
            }
            Source::Own(_) => return needs,
            Source::Remote(remote) => remote,
        };
        let programs = EXECUTE.iter().map(PathBuf::from);
        match &remote.location {
            Location::Http(location) => {
                needs.read.extend(remote.certificates.paths().cloned());
                let proxy = http::proxy(location).map(|proxy| proxy.port());
                needs.ports = Some([location.port, 53].into_iter().chain(proxy).collect());
            }
            Location::Ssh(_) => {
                needs.execute.extend(programs.chain(remote.ssh_program.clone()));
                // Keys, known hosts and configuration; the user database names the home folder.
                let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".ssh"));
                let system =
                    ["/etc/ssh", "/etc/passwd", "/etc/group", "/dev/null"].map(PathBuf::from);
                needs.read.extend(home.into_iter().chain(system));
                needs.ports = None;
            }
            Location::Local(path) => {
                needs.execute.extend(programs);
                needs.read.push(path.clone());
            }
        }
        needs
    }
}

fn restrict_access(job: &Job) -> Result<(bool, bool), ConfineError> {
    let needs = Needs::of(job);
    let abi = ABI::V6;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .scope(Scope::from_all(abi))?;
    if needs.ports.is_some() {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    let mut ruleset = ruleset.create()?;
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let writing = AccessFs::from_all(abi) & !AccessFs::Execute;
    let read = READ.iter().map(PathBuf::from).chain(needs.read).map(|path| (path, reading));
    let execute = needs.execute.into_iter().map(|path| (path, reading | AccessFs::Execute));
    let null = (PathBuf::from("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile);
    let own = (job.repository.clone(), writing);
    for (path, access) in read.chain(execute).chain([null, own]) {
        // What does not exist here cannot be used here.
        let Ok(descriptor) = PathFd::new(&path) else { continue };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(abi) };
        ruleset = ruleset.add_rule(PathBeneath::new(descriptor, access))?;
    }
    for port in needs.ports.iter().flatten() {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    let status = ruleset.restrict_self()?;
    let file_system = status.ruleset != RulesetStatus::NotEnforced;
    Ok((file_system, needs.ports.is_some() && has_network_rules()))
}

/// Whether the kernel knows rules on TCP (Landlock ABI 4, Linux 6.7).
fn has_network_rules() -> bool {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessNet::ConnectTcp)
        .is_ok()
}

/// What neither fetching, nor `ssh`, nor `git upload-pack` ever does.
const DENIED: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_personality,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_nfsservctl,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_memfd_create,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
];

const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

/// Address families that neither DNS nor TCP nor an agent's socket needs.
const DENIED_FAMILIES: &[i32] = &[
    libc::AF_PACKET,
    libc::AF_ALG,
    libc::AF_VSOCK,
    libc::AF_XDP,
    libc::AF_KEY,
    libc::AF_CAN,
    libc::AF_BLUETOOTH,
    libc::AF_TIPC,
];

fn filter_system_calls() -> Result<bool, ConfineError> {
    let Ok(architecture) = std::env::consts::ARCH.try_into() else { return Ok(false) };
    let failed = |error: seccompiler::BackendError| ConfineError::Filter(error.to_string());
    let compare = |argument, width, operator, value| {
        let condition = SeccompCondition::new(argument, width, operator, value)?;
        SeccompRule::new(vec![condition])
    };
    let mut denied: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let mut clone = Vec::new();
    for bit in (0..64).map(|bit| 1u64 << bit).filter(|bit| NAMESPACES & bit != 0) {
        let operator = SeccompCmpOp::MaskedEq(bit);
        clone.push(compare(0, SeccompCmpArgLen::Qword, operator, bit).map_err(failed)?);
    }
    denied.insert(libc::SYS_clone, clone);
    let mut socket = Vec::new();
    for family in DENIED_FAMILIES {
        let family = u64::try_from(*family).expect("address families are small positive numbers");
        socket.push(compare(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, family).map_err(failed)?);
    }
    denied.insert(libc::SYS_socket, socket);
    // The flags of `clone3` lie in memory, where a filter cannot look: without it the C library
    // falls back to `clone`.
    let hidden = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    for (rules, error) in [(denied, libc::EPERM), (hidden, libc::ENOSYS)] {
        let error = u32::try_from(error).expect("error numbers are positive");
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Errno(error),
            architecture,
        )
        .map_err(failed)?;
        let program: BpfProgram = filter.try_into().map_err(failed)?;
        match seccompiler::apply_filter(&program) {
            Ok(()) => {}
            Err(seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error))
                if error.raw_os_error() == Some(libc::ENOSYS)
                    || error.raw_os_error() == Some(libc::EINVAL) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(ConfineError::Filter(error.to_string())),
        }
    }
    Ok(true)
}
