//! What this host can enforce, found out by trying, and the profile that follows from it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wachter_protocol::launcher::Enforcement;
use wachter_protocol::{Mechanism, Profile};

use crate::cgroup::Cgroups;
use crate::jail::fault::Fault;
use crate::jail::system::{self, Forked};
use crate::jail::user::{User, leave_namespaces};
use crate::jail::view::{self, View};

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) profile: Profile,
    pub(crate) mechanisms: BTreeMap<Mechanism, Enforcement>,
    pub(crate) cgroups: Cgroups,
    /// Whether a run can be given a user of its own, whatever the profile promises.
    pub(crate) changes_users: bool,
}

impl Host {
    /// Tries everything once. `asked` is the profile of the local file; `state` is the launcher's
    /// own folder.
    ///
    /// # Errors
    /// The profile asked for needs what is not there; the text says what and how to get it.
    pub(crate) fn probe(asked: Option<Profile>, state: &std::path::Path) -> Result<Self, String> {
        let root = rustix::process::geteuid().is_root();
        let namespaces = try_namespaces();
        let cgroups = match asked {
            Some(Profile::Unprivileged | Profile::NoNamespaces) => Cgroups::default(),
            _ => {
                let name = wachter_model::Digest::of(state.as_os_str().as_encoded_bytes());
                Cgroups::find(&format!("wachter-{}", name.short()))
            }
        };
        let no_cgroups = cgroups.absent();
        let best = match (&namespaces, root) {
            (Ok(()), true) => Profile::Root,
            (Ok(()), false) if no_cgroups.is_empty() => Profile::Delegated,
            (Ok(()), false) => Profile::Unprivileged,
            (Err(_), _) => Profile::NoNamespaces,
        };
        let profile = asked.unwrap_or(best);
        if profile < best {
            return Err(format!(
                "`confinement.profile` is `{profile}`, but this host offers `{best}` at the most{}; \
                 change the profile, or start wachter-launcher {}",
                namespaces.err().map(|reason| format!(" ({reason})")).unwrap_or_default(),
                if profile == Profile::Root {
                    "as root"
                } else {
                    "where namespaces and a delegated cgroup are allowed"
                },
            ));
        }
        let abi = system::landlock_abi();
        let landlock = |needed: i64| {
            (abi < needed).then(|| match abi {
                0 => "the kernel has no Landlock, or does not use it".to_owned(),
                abi => format!("the kernel has Landlock ABI {abi}, this needs {needed}"),
            })
        };
        let mechanisms = Mechanism::ALL
            .into_iter()
            .map(|mechanism| {
                let absent = match mechanism {
                    _ if !profile.enforces(mechanism) => {
                        Some(format!("not part of the profile `{profile}`"))
                    }
                    Mechanism::LandlockFilesystem => landlock(3),
                    Mechanism::LandlockNetwork => landlock(4),
                    Mechanism::LandlockScope => landlock(6),
                    Mechanism::Seccomp => {
                        (!has_filters()).then(|| "the kernel has no system call filters".to_owned())
                    }
                    other => no_cgroups.get(&other).cloned(),
                };
                (mechanism, absent.map_or(Enforcement::Enforced, Enforcement::Absent))
            })
            .collect();
        Ok(Self { profile, mechanisms, cgroups, changes_users: changes_users() })
    }

    /// Whether `mechanism` is in force.
    pub(crate) fn enforces(&self, mechanism: Mechanism) -> bool {
        self.mechanisms.get(&mechanism) == Some(&Enforcement::Enforced)
    }
}

/// Whether this process may become any user and give files away. Root in a container often may not.
fn changes_users() -> bool {
    use rustix::thread::CapabilitySet;
    let needed =
        CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::CHOWN | CapabilitySet::KILL;
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
        // In a user namespace with few users, those of runs would not exist.
        && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| {
            map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
        })
}

/// Makes the namespaces and a view in a child that ends at once.
fn try_namespaces() -> Result<(), String> {
    let root = rustix::process::geteuid().is_root();
    let user = User {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: None,
    };
    // As for a run: root drops to another user, who must then be allowed to.
    let user =
        if root { User { uid: 65_534, gid: 65_534, groups: Some(Vec::new()) } } else { user };
    let (from, to) = wachter_packet::pair().map_err(|error| error.to_string())?;
    match system::fork().map_err(|errno| errno.to_string())? {
        Forked::Parent(child) => {
            drop(to);
            let told = wachter_packet::receive::<Result<(), Fault>>(&from);
            system::wait(child.as_raw_nonzero().get(), true);
            match told {
                Ok((outcome, _)) => outcome.map_err(|fault| fault.to_string()),
                Err(error) => Err(error.to_string()),
            }
        }
        Forked::Child => {
            let attempt = || {
                crate::jail::user::drop_to(&user)?;
                leave_namespaces(&user, true)?;
                let view = View { tmp_bytes: 4_096, ..View::default() };
                try_in_child(&view)
            };
            let outcome: Result<(), Fault> = attempt();
            let _ = wachter_packet::send(&to, &outcome, &[]);
            system::exit(0)
        }
    }
}

/// A new process namespace holds from the next child on, and /proc can be mounted only in it.
fn try_in_child(view: &View) -> Result<(), Fault> {
    let failed = |attempted: &str| Fault { attempted: attempted.to_owned(), errno: libc::EIO };
    let (from, to) = wachter_packet::pair().map_err(|_| failed("make a pair of sockets"))?;
    match system::fork().map_err(|_| failed("fork"))? {
        Forked::Parent(child) => {
            drop(to);
            let told = wachter_packet::receive::<Result<(), Fault>>(&from);
            system::wait(child.as_raw_nonzero().get(), true);
            told.map_err(|_| failed("try namespaces"))?.0
        }
        Forked::Child => {
            let outcome = view::open(view).and_then(|sources| view::enter(view, sources, &[]));
            let _ = wachter_packet::send(&to, &outcome, &[]);
            system::exit(0)
        }
    }
}

fn has_filters() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail")
        .is_ok_and(|actions| actions.split_whitespace().any(|action| action == "errno"))
}

/// Sockets and files that are as good as root, or are Wachter's own. `/run` and `/var/run` are the
/// same folder on every host of today, and both names are used.
pub(crate) fn forbidden(own: &[PathBuf]) -> Vec<PathBuf> {
    const AS_GOOD_AS_ROOT: [&str; 14] = [
        "/run/docker.sock",
        "/run/docker",
        "/run/containerd",
        "/run/crio",
        "/run/podman",
        "/run/systemd",
        "/run/dbus",
        "/run/user",
        "/run/wachter",
        "/run/wachter-launcher",
        "/etc/wachter",
        "/proc",
        "/sys",
        "/dev",
    ];
    let fixed = AS_GOOD_AS_ROOT.into_iter().flat_map(|path| {
        let old = path.strip_prefix("/run/").map(|rest| PathBuf::from("/var/run").join(rest));
        std::iter::once(PathBuf::from(path)).chain(old)
    });
    let mut all: Vec<PathBuf> = fixed.chain(with_real_paths(own)).collect();
    all.sort();
    all.dedup();
    all
}

/// A path may be reached by more than one name.
pub(crate) fn with_real_paths(paths: &[PathBuf]) -> impl Iterator<Item = PathBuf> + use<'_> {
    paths.iter().flat_map(|path| std::iter::once(path.clone()).chain(std::fs::canonicalize(path)))
}
