use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, statat};
use wachter_protocol::module::host::{
    LeftOut, Moment, OpenFiles, Process, ProcessIo, Processes, Zombies,
};

use super::cgroup;
use super::lines::number;
use super::memory_limits::MemoryLimits;
use super::root::{HostRoot, Missing};

/// The most entries of `/proc` that are listed.
const MAX_LISTED: usize = 1 << 18;

/// The most processes that are looked at.
const MAX_SEEN: usize = 4_096;

/// The most processes that are reported, about 300 KiB of JSON.
const MAX_REPORTED: usize = 1_024;

/// Of these, those that took the most processor time for their age: what keeps a core busy may hold little
/// memory.
const BUSY_REPORTED: usize = 128;

/// The most that are named of those that are left out, about 110 KiB of JSON.
const MAX_NAMED: usize = 16_384;

/// The most parents of dead processes that are reported.
const MAX_PARENTS: usize = 64;

/// The most open files that are counted one by one, of one process.
const MAX_COUNTED: u32 = 65_536;

/// With fewer open files than this a process is near no limit, and asking for it would take a fifth of all
/// the time that the view takes.
const FEW_DESCRIPTORS: u32 = 64;

/// The most bytes of one file of a process. The longest, `status`, has 1,500.
const MAX_FILE: usize = 16 << 10;

/// Processes.
pub(super) fn sample(
    root: &HostRoot,
    taken: &Moment,
    missing: &mut Missing<'_>,
) -> Option<Processes> {
    let names = missing.or_say("proc", root.names("proc", MAX_LISTED))?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    let total = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    if total == 0 {
        missing.say("/proc shows no process");
        return None;
    }
    if numbers[0] != 1 {
        missing.say("only some processes can be seen; /proc seems to be mounted with hidepid");
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = openat(rustix::fs::CWD, root.path("proc"), flags, Mode::empty());
    let proc = missing.or_say("proc", proc.map_err(Into::into))?;
    let text = &mut Vec::with_capacity(MAX_FILE);
    // The newest have the highest numbers and are the likelier cause of a change.
    let unseen = numbers.len().saturating_sub(MAX_SEEN);
    let mut processes: Vec<_> =
        numbers.iter().skip(unseen).filter_map(|pid| base(root, &proc, *pid, text)).collect();
    let zombies = zombies(&processes);
    let mut left_out = numbers[..unseen].to_vec();
    let mut with_memory = unseen;
    if processes.len() > MAX_REPORTED {
        let others = choose(&mut processes, taken);
        with_memory += others.iter().filter(|process| process.resident_bytes > 0).count();
        left_out.extend(others.iter().map(|process| process.pid));
    }
    if !left_out.is_empty() {
        missing.say(format_args!(
            "{} of {total} processes are left out, {MAX_REPORTED} are the most",
            left_out.len()
        ));
    }
    let mut limits = MemoryLimits::of(root);
    // What has ended in the meantime is no process any more.
    processes.retain_mut(|process| complete(&mut limits, &proc, process, text).is_some());
    // What is dead has no files, and nothing to hide.
    let closed = |told: fn(&Process) -> bool| {
        processes.iter().filter(|process| process.state != "Z" && !told(process)).count()
    };
    let (files, io) =
        (closed(|process| process.descriptors.is_some()), closed(|process| process.io.is_some()));
    if files > 0 {
        missing.say(format_args!(
            "this user may not see the open files of {files} of {} processes",
            processes.len()
        ));
    }
    if io > 0 {
        missing.say(format_args!(
            "this user may not see what {io} of {} processes read from disks and write to them",
            processes.len()
        ));
    }
    let open_files = open_files(root);
    let left_out = told(left_out, unseen, with_memory);
    Some(Processes { taken: taken.clone(), total, open_files, processes, zombies, left_out })
}

/// What is said of those that are left out, by their numbers; none where there are none.
fn told(mut pids: Vec<u32>, unseen: usize, with_memory: usize) -> Option<LeftOut> {
    let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let count = small(pids.len());
    pids.sort_unstable();
    pids.drain(..pids.len().saturating_sub(MAX_NAMED));
    let (unseen, with_memory) = (small(unseen), small(with_memory));
    (count > 0).then_some(LeftOut { count, unseen, with_memory, pids })
}

/// Leaves [`MAX_REPORTED`], in the order of their numbers: those with the most memory, and of the others
/// those with the most processor time for their age. Hands back the rest.
fn choose(processes: &mut Vec<Process>, taken: &Moment) -> Vec<Process> {
    processes.sort_by_key(|process| Reverse(process.resident_bytes));
    // In millionths of a core.
    let busy = |process: &Process| {
        let age = taken.uptime_milliseconds.saturating_sub(process.started_milliseconds).max(1_000);
        process.cpu_milliseconds.saturating_mul(1_000_000) / age
    };
    processes[MAX_REPORTED - BUSY_REPORTED..].sort_by_key(|process| Reverse(busy(process)));
    let others = processes.split_off(MAX_REPORTED);
    processes.sort_by_key(|process| process.pid);
    others
}

/// Who has not collected its dead children.
fn zombies(processes: &[Process]) -> Vec<Zombies> {
    let mut counts = HashMap::<u32, u32>::new();
    for process in processes.iter().filter(|process| process.state == "Z") {
        *counts.entry(process.parent).or_default() += 1;
    }
    let name = |pid: u32| {
        let found = processes.binary_search_by_key(&pid, |process| process.pid);
        found.map(|place| processes[place].name.clone()).unwrap_or_default()
    };
    let mut zombies: Vec<_> = counts
        .into_iter()
        .map(|(parent, count)| Zombies { parent, name: name(parent), count })
        .collect();
    zombies.sort_by_key(|zombies| (Reverse(zombies.count), zombies.parent));
    zombies.truncate(MAX_PARENTS);
    zombies
}

/// proc_sys_fs(5): how many there are, a number that is always 0, and how many there may be.
fn open_files(root: &HostRoot) -> Option<OpenFiles> {
    let text = root.read("proc/sys/fs/file-nr").ok()?;
    let mut words = text.split_ascii_whitespace();
    let open = words.next()?.parse().ok()?;
    Some(OpenFiles { open, most: words.nth(1)?.parse().ok()? })
}

/// A process's folder in `/proc`, opened once: all that is read through it is of one process, even when
/// its number is given to another in between.
struct Folder<'a> {
    opened: OwnedFd,
    /// What was read last.
    text: &'a mut Vec<u8>,
}

impl<'a> Folder<'a> {
    fn open(proc: &OwnedFd, pid: u32, text: &'a mut Vec<u8>) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(proc, pid.to_string(), flags, Mode::empty()).ok()?;
        Some(Self { opened, text })
    }

    /// A file as text. The kernel makes each of these in one piece, so that one call reads it.
    fn read(&mut self, name: &str) -> Option<Cow<'_, str>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.opened, name, flags, Mode::empty()).ok()?;
        self.text.clear();
        rustix::io::read(&file, spare_capacity(self.text)).ok()?;
        Some(String::from_utf8_lossy(self.text))
    }

    /// How many files the process has open. Linux tells so since 6.2, and to anybody, as the size of the
    /// folder; before, they have to be counted, which takes longer and only some may do.
    fn descriptors(&self, root: &HostRoot) -> Option<u32> {
        if root.is_alive() {
            let size = statat(&self.opened, "fd", AtFlags::empty()).ok()?.st_size;
            if let Some(open) = open_by_size(size) {
                return Some(open);
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(&self.opened, "fd", flags, Mode::empty()).ok()?;
        let dots = |name: &[u8]| name == b"." || name == b"..";
        let files = Dir::new(folder).ok()?.filter_map(Result::ok);
        let files = files.filter(|entry| !dots(entry.file_name().to_bytes()));
        u32::try_from(files.take(MAX_COUNTED as usize).count()).ok()
    }
}

/// How many files are open by the size of the folder, as it is: some may have a million. None where the
/// kernel does not tell.
fn open_by_size(size: i64) -> Option<u32> {
    (size > 0).then(|| u32::try_from(size).unwrap_or(u32::MAX))
}

/// What one file tells; none for a process that has ended in the meantime.
fn base(root: &HostRoot, proc: &OwnedFd, pid: u32, text: &mut Vec<u8>) -> Option<Process> {
    parse_stat(&Folder::open(proc, pid, text)?.read("stat")?, pid, root)
}

/// What other files tell, each where it can be read; none for a process that has ended.
fn complete(
    limits: &mut MemoryLimits<'_>,
    proc: &OwnedFd,
    process: &mut Process,
    text: &mut Vec<u8>,
) -> Option<()> {
    let mut folder = Folder::open(proc, process.pid, text)?;
    if let Some(status) = folder.read("status") {
        let Status { user, anonymous_bytes, swapped_bytes } = parse_status(&status);
        process.user = user;
        process.anonymous_bytes = anonymous_bytes;
        process.swapped_bytes = swapped_bytes;
    }
    if let Some(groups) = folder.read("cgroup") {
        process.cgroup = parse_cgroup(&groups);
        process.memory_limit_bytes = limits.least(&groups);
    }
    if let Some(path) = &process.cgroup {
        process.unit = cgroup::unit(path).map(str::to_owned);
        process.container = cgroup::container(path).map(str::to_owned);
    }
    process.io = folder.read("io").as_deref().and_then(parse_io);
    process.descriptors = folder.descriptors(limits.root());
    if process.descriptors >= Some(FEW_DESCRIPTORS) {
        process.descriptors_most = folder.read("limits").as_deref().and_then(parse_limit);
    }
    Some(())
}

/// proc_pid_stat(5). The name stands in parentheses and may hold anything, parentheses too: the
/// last one ends it.
fn parse_stat(text: &str, pid: u32, root: &HostRoot) -> Option<Process> {
    let (_, rest) = text.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    // The first is the third of the manual page.
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number_there: usize| words.get(number_there - 3).copied();
    let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let ticks = number(field(14)).saturating_add(number(field(15)));
    Some(Process {
        pid,
        parent: small(number(field(4))),
        name: name.chars().take(64).collect(),
        state: field(3)?.chars().take(1).collect(),
        cpu_milliseconds: root.milliseconds(ticks),
        started_milliseconds: root.milliseconds(number(field(22))),
        resident_bytes: root.bytes(number(field(24))),
        threads: small(number(field(20))),
        ..Process::default()
    })
}

/// What proc_pid_status(5) tells and `stat` does not.
#[derive(Default)]
struct Status {
    user: Option<u32>,
    anonymous_bytes: Option<u64>,
    swapped_bytes: u64,
}

/// Of the four users the first is the real one. A thread of the kernel has no lines about memory.
fn parse_status(text: &str) -> Status {
    let mut status = Status::default();
    let first = |values: &str| values.split_ascii_whitespace().next()?.parse::<u64>().ok();
    for line in text.lines() {
        if let Some(users) = line.strip_prefix("Uid:") {
            status.user = first(users).and_then(|user| user.try_into().ok());
        } else if let Some(size) = line.strip_prefix("RssAnon:") {
            status.anonymous_bytes = first(size).map(|size| size.saturating_mul(1_024));
        } else if let Some(size) = line.strip_prefix("VmSwap:") {
            status.swapped_bytes = first(size).unwrap_or(0).saturating_mul(1_024);
            break;
        }
    }
    status
}

/// proc_pid_io(5).
fn parse_io(text: &str) -> Option<ProcessIo> {
    let find = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().parse().ok()
    };
    Some(ProcessIo { read_bytes: find("read_bytes:")?, written_bytes: find("write_bytes:")? })
}

/// proc_pid_limits(5): the softer of the two limits of open files, which is the one in force.
fn parse_limit(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// cgroups(7): one line a hierarchy. The unified one has number 0; where it is not in use, systemd
/// keeps its tree in one of its own.
fn parse_cgroup(text: &str) -> Option<String> {
    let path = |of: fn(&str, &str) -> bool| {
        text.lines().find_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            (of(number, controllers) && path != "/").then(|| path.chars().take(1_024).collect())
        })
    };
    path(|number, _| number == "0")
        .or_else(|| path(|_, controllers| controllers == "name=systemd"))
        .or_else(|| path(|_, controllers| controllers.split(',').any(|one| one == "memory")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;
    use wachter_protocol::HostView;

    fn stat(pid: u32, name: &str, pages: u32) -> String {
        format!(
            "{pid} ({name}) S 1 5 5 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 3 0 4500 1000000 {pages} 18446744073709551615 1 1 0\n"
        )
    }

    #[test]
    fn names_may_hold_anything() {
        let root = HostRoot::at(Path::new("/"));
        for name in ["bash", "a b", "a) S 9 (b", "((", ")", ""] {
            let process = parse_stat(&stat(42, name, 10), 42, &root).unwrap();
            assert_eq!(process.name, name);
            assert_eq!((process.parent, process.threads), (1, 3), "{name}");
            assert_eq!(process.cpu_milliseconds, 3_000, "{name}");
            assert_eq!(process.started_milliseconds, 45_000, "{name}");
            assert_eq!(process.resident_bytes, 40_960, "{name}");
        }
        assert_eq!(parse_stat("1 (init)", 1, &root), None);
        assert_eq!(parse_stat("1", 1, &root), None);
        assert_eq!(parse_limit("Max open files  unlimited unlimited files"), None);
    }

    #[test]
    fn open_files_have_no_limit_of_ours() {
        for (size, expected) in
            [(0, None), (3, Some(3)), (1 << 20, Some(1 << 20)), (1 << 40, Some(u32::MAX))]
        {
            assert_eq!(open_by_size(size), expected, "{size}");
        }
    }

    #[test]
    fn cgroups() {
        for (text, expected) in [
            ("0::/system.slice/ssh.service\n", Some("/system.slice/ssh.service")),
            ("4:cpu,memory:/box\n1:name=systemd:/unit\n0::/\n", Some("/unit")),
            ("4:cpu,memory:/box\n0::/\n", Some("/box")),
            ("0::/a:b\n", Some("/a:b")),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(parse_cgroup(text).as_deref(), expected, "{text}");
        }
    }

    fn host(processes: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..processes {
            let pid = number + 1;
            let proc = folder.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(&proc).unwrap();
            std::fs::write(proc.join("stat"), stat(pid, "worker", number)).unwrap();
        }
        folder
    }

    #[test]
    fn what_other_files_tell_is_added() {
        let folder = host(2);
        let first = folder.path().join("proc/1");
        for (file, text) in [
            (
                "status",
                "Name:\tx\nUid:\t1000\t0\t0\t0\nRssAnon:\t  24 kB\nVmSwap:\t   8 kB\nThreads:\t1\n",
            ),
            ("cgroup", "0::/system.slice/a.service\n"),
            ("io", "rchar: 9\nread_bytes: 4096\nwrite_bytes: 512\ncancelled_write_bytes: 1\n"),
            (
                "limits",
                "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n",
            ),
        ] {
            std::fs::write(first.join(file), text).unwrap();
        }
        std::fs::create_dir_all(folder.path().join("proc/sys/fs")).unwrap();
        std::fs::write(folder.path().join("proc/sys/fs/file-nr"), "413\t0\t2466170\n").unwrap();
        let slice = folder.path().join("sys/fs/cgroup/system.slice");
        std::fs::create_dir_all(slice.join("a.service")).unwrap();
        std::fs::write(slice.join("memory.max"), "1048576\n").unwrap();
        std::fs::create_dir(first.join("fd")).unwrap();
        for number in 0..FEW_DESCRIPTORS {
            std::fs::write(first.join(format!("fd/{number}")), "").unwrap();
        }
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let processes =
            sample(&root, &Moment::default(), &mut Missing::of(HostView::Processes, &mut missing))
                .unwrap();
        let [first, second] = &processes.processes[..] else { panic!("{processes:?}") };
        assert_eq!(
            (first.user, first.cgroup.as_deref(), first.descriptors),
            (Some(1_000), Some("/system.slice/a.service"), Some(FEW_DESCRIPTORS))
        );
        assert_eq!((first.unit.as_deref(), &first.container), (Some("a.service"), &None));
        assert_eq!(first.io, Some(ProcessIo { read_bytes: 4_096, written_bytes: 512 }));
        assert_eq!((first.descriptors_most, first.swapped_bytes), (Some(1_024), 8_192));
        assert_eq!((first.anonymous_bytes, second.anonymous_bytes), (Some(24_576), None));
        assert_eq!((first.memory_limit_bytes, second.memory_limit_bytes), (Some(1 << 20), None));
        assert_eq!(processes.open_files, Some(OpenFiles { open: 413, most: 2_466_170 }));
        assert_eq!((second.user, &second.cgroup, second.descriptors), (None, &None, None));
        assert!(missing[0].contains("open files of 1 of 2 processes"), "{missing:?}");
        assert!(missing[1].contains("what 1 of 2 processes read from disks"), "{missing:?}");
    }

    #[test]
    fn those_with_little_memory_are_left_out_first() {
        let folder = host(1_100);
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let processes =
            sample(&root, &Moment::default(), &mut Missing::of(HostView::Processes, &mut missing))
                .unwrap();
        assert_eq!((processes.total, processes.processes.len()), (1_100, MAX_REPORTED));
        assert_eq!(processes.processes[0].pid, 77);
        let left_out = processes.left_out.unwrap();
        assert_eq!(left_out.pids, (1..=76).collect::<Vec<u32>>());
        // The first holds none.
        assert_eq!((left_out.count, left_out.unseen, left_out.with_memory), (76, 0, 75));
        assert!(missing[0].contains("76 of 1100 processes are left out"), "{missing:?}");
    }

    #[test]
    fn of_too_many_that_are_left_out_the_newest_are_named() {
        let pids: Vec<u32> = (0..20_000).collect();
        let told = told(pids, 17_000, 18_000).unwrap();
        assert_eq!((told.count, told.unseen, told.with_memory), (20_000, 17_000, 18_000));
        assert_eq!((told.pids[0], told.pids.len()), (3_616, MAX_NAMED));
        assert_eq!(super::told(Vec::new(), 0, 0), None);
    }

    #[test]
    fn those_that_are_busy_are_reported_with_little_memory() {
        let process = |pid: u32| Process {
            pid,
            resident_bytes: u64::from(pid),
            cpu_milliseconds: if pid == 3 { 900 } else { 5 },
            ..Process::default()
        };
        let mut processes: Vec<Process> = (1..=2_000).map(process).collect();
        let others =
            choose(&mut processes, &Moment { uptime_milliseconds: 10_000, ..Moment::default() });
        assert_eq!((processes.len(), others.len()), (MAX_REPORTED, 2_000 - MAX_REPORTED));
        let pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
        assert_eq!((pids[0], pids[1], pids[MAX_REPORTED - 1]), (3, 978, 2_000));
    }

    #[test]
    fn dead_children_are_counted_by_parent() {
        let folder = host(1);
        for pid in 2..102 {
            let proc = folder.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(&proc).unwrap();
            let parent = if pid < 42 { 1 } else { 5_000 };
            let text = stat(pid, "dead", 0).replace(") S 1 ", &format!(") Z {parent} "));
            std::fs::write(proc.join("stat"), text).unwrap();
        }
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let mut sentences = Missing::of(HostView::Processes, &mut missing);
        let view = sample(&root, &Moment::default(), &mut sentences).unwrap();
        let zombies = |parent, name: &str, count| Zombies { parent, name: name.to_owned(), count };
        assert_eq!(view.zombies, [zombies(5_000, "", 60), zombies(1, "worker", 40)]);
    }

    #[test]
    fn hidden_processes_are_missed() {
        let folder = host(2);
        std::fs::remove_dir_all(folder.path().join("proc/1")).unwrap();
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let _ =
            sample(&root, &Moment::default(), &mut Missing::of(HostView::Processes, &mut missing));
        assert!(missing[0].contains("hidepid"), "{missing:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String, fields in "( [0-9-]{0,25}){0,60}") {
            let root = HostRoot::at(Path::new("/"));
            let line = format!("1 ({text}) S{fields}");
            let _ = (parse_stat(&text, 1, &root), parse_stat(&line, 1, &root));
            let _ = (parse_status(&text), parse_cgroup(&text), parse_io(&text), parse_limit(&text));
        }
    }
}
