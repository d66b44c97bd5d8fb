use std::cmp::Reverse;

use wachter_protocol::module::host::{Process, Processes};

use super::lines::number;
use super::moment;
use super::root::{HostRoot, Missing};

/// The most entries of `/proc` that are listed.
const MAX_LISTED: usize = 1 << 18;

/// The most processes that are looked at.
const MAX_SEEN: usize = 4_096;

/// The most processes that are reported, about 300 KiB of JSON.
const MAX_REPORTED: usize = 1_024;

/// The most open files that are counted, of one process.
const MAX_DESCRIPTORS: usize = 65_536;

/// Processes.
pub(super) fn sample(root: &HostRoot, missing: &mut Missing<'_>) -> Option<Processes> {
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
    // The newest have the highest numbers and are the likelier cause of a change.
    let unseen = numbers.len().saturating_sub(MAX_SEEN);
    let mut processes: Vec<_> =
        numbers.iter().skip(unseen).filter_map(|pid| base(root, *pid)).collect();
    if processes.len() > MAX_REPORTED {
        processes.sort_by_key(|process| Reverse(process.resident_bytes));
    }
    let dropped = processes.len().saturating_sub(MAX_REPORTED) + unseen;
    if dropped > 0 {
        missing.say(format_args!(
            "{dropped} of {total} processes are left out, {MAX_REPORTED} are the most"
        ));
    }
    processes.truncate(MAX_REPORTED);
    processes.sort_by_key(|process| process.pid);
    for process in &mut processes {
        complete(root, process);
    }
    let closed = processes.iter().filter(|process| process.descriptors.is_none()).count();
    if closed > 0 {
        missing.say(format_args!("this user may not see the open files of {closed} processes"));
    }
    Some(Processes { taken: moment::sample(root, missing), total, processes })
}

/// What one file tells; none for a process that has ended in the meantime.
fn base(root: &HostRoot, pid: u32) -> Option<Process> {
    parse_stat(&root.read(&format!("proc/{pid}/stat")).ok()?, pid, root)
}

/// What other files tell, each where it can be read.
fn complete(root: &HostRoot, process: &mut Process) {
    let pid = process.pid;
    let status = root.read(&format!("proc/{pid}/status")).ok();
    process.user = status.as_deref().and_then(parse_user);
    let groups = root.read(&format!("proc/{pid}/cgroup")).ok();
    process.cgroup = groups.as_deref().and_then(parse_cgroup);
    process.descriptors = std::fs::read_dir(root.path(format!("proc/{pid}/fd")))
        .ok()
        .and_then(|files| u32::try_from(files.take(MAX_DESCRIPTORS).count()).ok());
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

/// proc_pid_status(5): the first of the four numbers is the real user.
fn parse_user(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
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
        std::fs::write(first.join("status"), "Name:\tx\nUid:\t1000\t0\t0\t0\n").unwrap();
        std::fs::write(first.join("cgroup"), "0::/a\n").unwrap();
        std::fs::create_dir(first.join("fd")).unwrap();
        std::fs::write(first.join("fd/0"), "").unwrap();
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let processes = sample(&root, &mut Missing::of(HostView::Processes, &mut missing)).unwrap();
        let [first, second] = &processes.processes[..] else { panic!("{processes:?}") };
        assert_eq!(
            (first.user, first.cgroup.as_deref(), first.descriptors),
            (Some(1_000), Some("/a"), Some(1))
        );
        assert_eq!((second.user, &second.cgroup, second.descriptors), (None, &None, None));
        assert!(missing[0].contains("open files of 1 processes"), "{missing:?}");
    }

    #[test]
    fn those_with_little_memory_are_left_out_first() {
        let folder = host(1_100);
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let processes = sample(&root, &mut Missing::of(HostView::Processes, &mut missing)).unwrap();
        assert_eq!((processes.total, processes.processes.len()), (1_100, MAX_REPORTED));
        assert_eq!(processes.processes[0].pid, 77);
        assert!(missing[0].contains("76 of 1100 processes are left out"), "{missing:?}");
    }

    #[test]
    fn hidden_processes_are_missed() {
        let folder = host(2);
        std::fs::remove_dir_all(folder.path().join("proc/1")).unwrap();
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let _ = sample(&root, &mut Missing::of(HostView::Processes, &mut missing));
        assert!(missing[0].contains("hidepid"), "{missing:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String, fields in "( [0-9-]{0,25}){0,60}") {
            let root = HostRoot::at(Path::new("/"));
            let line = format!("1 ({text}) S{fields}");
            let _ = (parse_stat(&text, 1, &root), parse_stat(&line, 1, &root));
            let _ = (parse_user(&text), parse_cgroup(&text));
        }
    }
}
