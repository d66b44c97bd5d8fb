//! Control groups: limits over all processes of a run together, version 2 or 1 of the interface
//! (cgroups(7)), whichever holds the controller.
//!
//! Layout: one group a run below the launcher's own, `…/wachter-<state>/run-<id>`, where `<state>`
//! tells launchers with different state folders apart. In version 2 the launcher
//! first moves itself to `…/supervisor`, since a group with controllers for its children may hold no
//! process. Groups left over from a launcher that was killed are removed at the next start.
//!
//! On a hybrid host the version 2 tree may have no controller and still offers `cgroup.kill`, which
//! ends all processes of a run at once.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use wachter_protocol::{Limits, Mechanism};

use crate::jail::fault::{Attempt, Fault};

/// A controller that this uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Controller {
    Memory,
    Cpu,
    Pids,
}

const CONTROLLERS: [(Controller, &str, Mechanism); 3] = [
    (Controller::Memory, "memory", Mechanism::CgroupMemory),
    (Controller::Cpu, "cpu", Mechanism::CgroupCpu),
    (Controller::Pids, "pids", Mechanism::CgroupProcesses),
];

/// Where groups for runs can be made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cgroups {
    /// Version 1: the folder for each controller.
    first: BTreeMap<Controller, PathBuf>,
    /// Version 2: the folder, and the controllers it has.
    second: Option<(PathBuf, Vec<Controller>)>,
    /// Why there is less than there could be.
    reason: String,
}

/// The groups of one run. Dropping it leaves them; [`RunGroup::remove`] ends and removes.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunGroup {
    first: BTreeMap<Controller, PathBuf>,
    second: Option<PathBuf>,
}

/// What a run used, as its groups tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupUsage {
    pub(crate) cpu_microseconds: Option<u64>,
    pub(crate) peak_memory_bytes: Option<u64>,
    /// A process was ended for want of memory.
    pub(crate) out_of_memory: bool,
}

impl Cgroups {
    /// Looks for groups that this process may make, and prepares them.
    pub(crate) fn find(name: &str) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self::find_in(
            &read("/proc/self/mountinfo"),
            &read("/proc/self/cgroup"),
            std::process::id(),
            name,
            is_delegated,
        )
    }

    fn find_in(
        mounts: &str,
        own: &str,
        process: u32,
        name: &str,
        is_delegated: impl Fn(&Path) -> bool,
    ) -> Self {
        let mut found = Self::default();
        let mut reasons = Vec::new();
        for (mount, options) in mounted(mounts, "cgroup") {
            for (controller, kind, _) in CONTROLLERS {
                if !options.split(',').any(|option| option == kind) {
                    continue;
                }
                let base = mount.join(own_path(own, Some(kind)).trim_start_matches('/')).join(name);
                match fs::create_dir_all(&base) {
                    Ok(()) => drop(found.first.insert(controller, base)),
                    Err(error) => reasons.push(format!("{}: {error}", base.display())),
                }
            }
        }
        if let Some((mount, _)) = mounted(mounts, "cgroup2").into_iter().next() {
            let mut base = mount.join(own_path(own, None).trim_start_matches('/'));
            // A launcher before this one was here, and moved whoever started both.
            if base.ends_with(SUPERVISOR) && base.parent().is_some_and(&is_delegated) {
                base.pop();
            }
            match prepare_second(&base, process, name, is_delegated(&base)) {
                Ok(controllers) => found.second = Some((base.join(name), controllers)),
                Err(error) => reasons.push(format!("{}: {error}", base.display())),
            }
        }
        found.reason = if reasons.is_empty() {
            "no cgroup file system is mounted".to_owned()
        } else {
            reasons.join("; ")
        };
        found.sweep();
        found
    }

    /// For each mechanism that is absent, why.
    pub(crate) fn absent(&self) -> BTreeMap<Mechanism, String> {
        CONTROLLERS
            .iter()
            .filter(|(controller, ..)| !self.has(*controller))
            .map(|(_, _, mechanism)| (*mechanism, self.reason.clone()))
            .collect()
    }

    fn has(&self, controller: Controller) -> bool {
        self.first.contains_key(&controller)
            || self
                .second
                .as_ref()
                .is_some_and(|(_, controllers)| controllers.contains(&controller))
    }

    /// Makes the groups of a run, or of what is done for one, and sets its limits.
    ///
    /// # Errors
    /// The kernel refused; nothing is left behind.
    pub(crate) fn make(&self, run: impl Display, limits: &Limits) -> Result<RunGroup, Fault> {
        let name = format!("run-{run}");
        let mut group = RunGroup::default();
        let made = self.fill(&mut group, &name, limits);
        if made.is_err() {
            group.remove();
        }
        made.map(|()| group)
    }

    fn fill(&self, group: &mut RunGroup, name: &str, limits: &Limits) -> Result<(), Fault> {
        let make = |base: &Path| {
            let path = base.join(name);
            fs::create_dir(&path).attempt(|| format!("make {}", path.display())).map(|()| path)
        };
        for (controller, base) in &self.first {
            let path = make(base)?;
            group.first.insert(*controller, path.clone());
            for (file, value) in first_settings(*controller, limits) {
                set(&path, file, &value)?;
            }
        }
        if let Some((base, controllers)) = &self.second {
            let path = make(base)?;
            group.second = Some(path.clone());
            for controller in controllers {
                for (file, value) in second_settings(*controller, limits) {
                    set(&path, file, &value)?;
                }
            }
        }
        Ok(())
    }

    /// Removes the folders for runs, at the launcher's own end.
    pub(crate) fn remove(&self) {
        for base in self.bases() {
            // One that is not empty is swept at the next start.
            let _ = fs::remove_dir(base);
        }
    }

    fn bases(&self) -> impl Iterator<Item = &PathBuf> {
        self.first.values().chain(self.second.as_ref().map(|(base, _)| base))
    }

    /// Removes groups that an earlier launcher left, with what may still run in them.
    fn sweep(&self) {
        for base in self.bases() {
            for entry in fs::read_dir(base).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with("run-") {
                    end_and_remove(&entry.path());
                }
            }
        }
    }
}

impl RunGroup {
    /// The group of version 2, for starting a process in it.
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(self.second.as_ref()?, flags, Mode::empty()).ok()
    }

    /// Puts the calling process, which has one thread, into the groups; `within` the one of version 2
    /// it is already.
    pub(crate) fn join(&self, within: bool) -> Result<(), Fault> {
        // A thread that moves itself needs no lock over all processes of the host, unlike a process.
        self.first.values().try_for_each(|path| set(path, "tasks", "0"))?;
        match &self.second {
            Some(path) if !within => set(path, "cgroup.procs", "0"),
            _ => Ok(()),
        }
    }

    /// Ends every process of the run, if the kernel offers to.
    pub(crate) fn end(&self) {
        // Version 2 alone has the file.
        self.second.iter().for_each(|path| end_all(path));
    }

    /// What was used.
    pub(crate) fn usage(&self) -> GroupUsage {
        let number = |path: &Path, file: &str| {
            fs::read_to_string(path.join(file)).ok()?.trim().parse::<u64>().ok()
        };
        let keyed = |path: &Path, file: &str, key: &str| {
            let text = fs::read_to_string(path.join(file)).ok()?;
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(name, _)| *name == key)?.1.trim().parse::<u64>().ok()
        };
        let mut usage = GroupUsage::default();
        if let Some(path) = self.first.get(&Controller::Memory) {
            usage.peak_memory_bytes = number(path, "memory.max_usage_in_bytes");
            usage.out_of_memory =
                keyed(path, "memory.oom_control", "oom_kill").is_some_and(|kills| kills > 0);
        }
        if let Some(path) = self.first.get(&Controller::Cpu) {
            usage.cpu_microseconds =
                number(path, "cpuacct.usage").map(|nanoseconds| nanoseconds / 1_000);
        }
        if let Some(path) = &self.second {
            usage.cpu_microseconds =
                usage.cpu_microseconds.or_else(|| keyed(path, "cpu.stat", "usage_usec"));
            usage.peak_memory_bytes =
                usage.peak_memory_bytes.or_else(|| number(path, "memory.peak"));
            usage.out_of_memory |=
                keyed(path, "memory.events", "oom_kill").is_some_and(|kills| kills > 0);
        }
        usage
    }

    /// Removes the groups. False while the kernel still holds a process in one of them.
    pub(crate) fn remove(&self) -> bool {
        let gone = |path: &PathBuf| match fs::remove_dir(path) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        // All of them, also when the first is busy.
        let (first, second) = (
            self.first.values().map(gone).collect::<Vec<_>>(),
            self.second.as_ref().is_none_or(gone),
        );
        first.into_iter().all(|gone| gone) && second
    }
}

fn set(group: &Path, file: &str, value: &str) -> Result<(), Fault> {
    let path = group.join(file);
    fs::write(&path, value).attempt(|| format!("write `{value}` to {}", path.display()))
}

/// Ends what an earlier launcher left, in either version. The kernel takes a moment to let go of the
/// last process; what stays a second long is left to the next start.
fn end_and_remove(group: &Path) {
    for _ in 0..100 {
        end_all(group);
        let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for process in processes.lines().filter_map(|line| line.parse::<i32>().ok()) {
            // 0 is a process of another namespace, and a negative number would be many.
            if process > 1 {
                crate::jail::system::kill(process, libc::SIGKILL);
            }
        }
        match fs::remove_dir(group) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
                let _ = rustix::event::poll(&mut [], Some(&pause));
            }
            _ => return,
        }
    }
}

fn end_all(group: &Path) {
    // Version 2 alone has this file.
    let _ = fs::write(group.join("cgroup.kill"), "1");
}

/// The period of processor shares, in microseconds.
const PERIOD: u64 = 100_000;

fn quota(limits: &Limits) -> u64 {
    (u64::from(limits.cpu.as_millicores()) * PERIOD / 1_000).max(1_000)
}

/// One process beside the module's own: those that set it up.
fn processes(limits: &Limits) -> u64 {
    u64::from(limits.processes) + 2
}

fn first_settings(controller: Controller, limits: &Limits) -> Vec<(&'static str, String)> {
    match controller {
        Controller::Memory => vec![("memory.limit_in_bytes", limits.memory.as_bytes().to_string())],
        Controller::Cpu => vec![
            ("cpu.cfs_period_us", PERIOD.to_string()),
            ("cpu.cfs_quota_us", quota(limits).to_string()),
        ],
        Controller::Pids => vec![("pids.max", processes(limits).to_string())],
    }
}

fn second_settings(controller: Controller, limits: &Limits) -> Vec<(&'static str, String)> {
    match controller {
        Controller::Memory => vec![
            ("memory.max", limits.memory.as_bytes().to_string()),
            ("memory.swap.max", "0".to_owned()),
            ("memory.oom.group", "1".to_owned()),
        ],
        Controller::Cpu => vec![("cpu.max", format!("{} {PERIOD}", quota(limits)))],
        Controller::Pids => vec![("pids.max", processes(limits).to_string())],
    }
}

/// Mount points of a kind of file system, with their super options (proc_pid_mountinfo(5)).
fn mounted(mounts: &str, kind: &str) -> Vec<(PathBuf, String)> {
    mounts
        .lines()
        .filter_map(|line| {
            let (fields, after) = line.split_once(" - ")?;
            let mut after = after.split(' ');
            let (found, options) = (after.next()?, after.nth(1)?);
            let place = fields.split(' ').nth(4)?;
            (found == kind).then(|| (PathBuf::from(place), options.to_owned()))
        })
        .collect()
}

/// This process's group, in the hierarchy of a version 1 controller or in version 2.
fn own_path<'a>(own: &'a str, controller: Option<&str>) -> &'a str {
    own.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let meant = match controller {
                Some(name) => controllers.split(',').any(|other| other == name),
                None => controllers.is_empty(),
            };
            meant.then_some(path)
        })
        .next()
        .unwrap_or("/")
}

/// The group of version 2 for those that make runs, below the one that was handed to them.
const SUPERVISOR: &str = "supervisor";

/// Whether systemd handed a group of version 2 over to whoever is in it: `user.delegate`, see
/// systemd's page on control group delegation. What is not handed over is systemd's to arrange.
fn is_delegated(group: &Path) -> bool {
    let mut value = [0; 2];
    rustix::fs::getxattr(group, "user.delegate", &mut value)
        .is_ok_and(|length| value.get(..length) == Some(b"1"))
}

/// Makes a group of version 2 ready for runs: which controllers they will have. Of a group that is
/// `delegated`, the other processes are moved too: a node that started its launcher.
fn prepare_second(
    base: &Path,
    process: u32,
    name: &str,
    delegated: bool,
) -> io::Result<Vec<Controller>> {
    let runs = base.join(name);
    fs::create_dir_all(&runs)?;
    let available = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
    let wanted: Vec<(Controller, &str)> = CONTROLLERS
        .iter()
        .filter(|(_, name, _)| available.split_whitespace().any(|found| found == *name))
        .map(|(controller, name, _)| (*controller, *name))
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let supervisor = base.join(SUPERVISOR);
    fs::create_dir_all(&supervisor)?;
    fs::write(supervisor.join("cgroup.procs"), process.to_string())?;
    let enable: Vec<String> = wanted.iter().map(|(_, name)| format!("+{name}")).collect();
    let enable = enable.join(" ");
    let mut enabled = fs::write(base.join("cgroup.subtree_control"), &enable);
    for _ in 0..MOST_MOVES {
        match &enabled {
            // Somebody is in the group yet, maybe since a moment ago.
            Err(error) if delegated && error.raw_os_error() == Some(libc::EBUSY) => {
                move_all(base, &supervisor)?;
                enabled = fs::write(base.join("cgroup.subtree_control"), &enable);
            }
            _ => break,
        }
    }
    enabled?;
    fs::write(runs.join("cgroup.subtree_control"), &enable)?;
    Ok(wanted.into_iter().map(|(controller, _)| controller).collect())
}

/// How often processes are moved out of a group in which new ones begin meanwhile.
const MOST_MOVES: u32 = 10;

fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    for process in fs::read_to_string(from.join("cgroup.procs"))?.lines() {
        match fs::write(to.join("cgroup.procs"), process) {
            // It is gone.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            moved => moved?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wachter_model::RunId;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup ro,nosuid shared:5 - tmpfs tmpfs ro,mode=755
31 30 0:27 / ROOT/unified rw,nosuid shared:6 - cgroup2 cgroup2 rw
35 30 0:31 / ROOT/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
36 30 0:32 / ROOT/memory rw shared:10 - cgroup cgroup rw,memory
";

    fn run() -> (RunId, Limits) {
        (RunId::new(), Limits::DEFAULT)
    }

    fn text(path: impl AsRef<Path>) -> String {
        let path = path.as_ref();
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn version_1_has_a_folder_for_each_controller() {
        let root = tempfile::tempdir().unwrap();
        let own = "4:cpu,cpuacct:/user\n3:memory:/user\n0::/user\n";
        fs::create_dir_all(root.path().join("unified/user")).unwrap();
        let mounts = HYBRID.replace("ROOT", root.path().to_str().unwrap());
        let groups = Cgroups::find_in(&mounts, own, 1, "wachter", |_| false);
        assert_eq!(
            groups.absent().keys().copied().collect::<Vec<_>>(),
            [Mechanism::CgroupProcesses]
        );
        let (id, limits) = run();
        let group = groups.make(id, &limits).unwrap();
        let memory =
            root.path().join(format!("memory/user/wachter/run-{id}/memory.limit_in_bytes"));
        assert_eq!(text(memory), (256 << 20).to_string());
        let cpu = root.path().join(format!("cpu,cpuacct/user/wachter/run-{id}/cpu.cfs_quota_us"));
        assert_eq!(text(cpu), "100000");
        group.join(false).unwrap();
        assert_eq!(text(root.path().join(format!("memory/user/wachter/run-{id}/tasks"))), "0");
        assert_eq!(
            text(root.path().join(format!("unified/user/wachter/run-{id}/cgroup.procs"))),
            "0"
        );
        group.end();
        assert_eq!(
            text(root.path().join(format!("unified/user/wachter/run-{id}/cgroup.kill"))),
            "1"
        );
    }

    #[test]
    fn version_2_moves_the_launcher_aside_and_enables_controllers() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("system.slice/launcher.service");
        fs::create_dir_all(&base).unwrap();
        fs::write(base.join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        let mounts = format!("31 30 0:27 / {} rw - cgroup2 cgroup2 rw\n", root.path().display());
        let own = "0::/system.slice/launcher.service\n";
        let groups = Cgroups::find_in(&mounts, own, 77, "wachter", |_| false);
        assert!(groups.absent().is_empty());
        assert_eq!(text(base.join("supervisor/cgroup.procs")), "77");
        assert_eq!(text(base.join("wachter/cgroup.subtree_control")), "+memory +cpu +pids");
        let (id, limits) = run();
        groups.make(id, &limits).unwrap();
        let of_run = base.join(format!("wachter/run-{id}"));
        assert_eq!(text(of_run.join("memory.max")), (256 << 20).to_string());
        assert_eq!(text(of_run.join("cpu.max")), "100000 100000");
        assert_eq!(text(of_run.join("pids.max")), "66");
    }

    #[test]
    fn a_launcher_that_is_started_again_uses_the_same_group() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("node.service");
        fs::create_dir_all(base.join("supervisor")).unwrap();
        fs::write(base.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        let mounts = format!("31 30 0:27 / {} rw - cgroup2 cgroup2 rw\n", root.path().display());
        let own = "0::/node.service/supervisor\n";
        let is_delegated = |group: &Path| group == base;
        let groups = Cgroups::find_in(&mounts, own, 78, "wachter", is_delegated);
        assert!(groups.absent().is_empty());
        assert_eq!(text(base.join("supervisor/cgroup.procs")), "78");
        assert!(base.join("wachter").is_dir() && !base.join("supervisor/wachter").exists());
        // Where nobody handed it over, a group of that name is any other.
        let groups = Cgroups::find_in(&mounts, own, 78, "wachter", |_| false);
        assert_eq!(groups.second.unwrap().0, base.join("supervisor/wachter"));
    }

    #[test]
    fn all_are_moved_and_who_is_gone_is_no_matter() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("cgroup.procs"), "7\n8\n").unwrap();
        move_all(&from, &to).unwrap();
        // A file keeps the last alone.
        assert_eq!(text(to.join("cgroup.procs")), "8");
    }

    #[test]
    fn usage_is_read_from_either_version() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cpu.stat"), "usage_usec 1500\nuser_usec 1000\n").unwrap();
        fs::write(root.path().join("memory.peak"), "4096\n").unwrap();
        fs::write(root.path().join("memory.events"), "low 0\noom 1\noom_kill 1\n").unwrap();
        let group = RunGroup { first: BTreeMap::new(), second: Some(root.path().to_owned()) };
        let expected = GroupUsage {
            cpu_microseconds: Some(1500),
            peak_memory_bytes: Some(4096),
            out_of_memory: true,
        };
        assert_eq!(group.usage(), expected);
    }

    #[test]
    fn absence_says_why() {
        let groups = Cgroups::find_in("", "", 1, "wachter", |_| false);
        assert_eq!(groups.absent().len(), 3);
        assert!(
            groups.absent().values().all(|reason| reason == "no cgroup file system is mounted")
        );
    }
}
