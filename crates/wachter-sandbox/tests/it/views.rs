//! The views of this host, beside what the programs say that people ask.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};

use wachter_protocol::HostView;
use wachter_protocol::module::HostViews;
use wachter_protocol::module::host::{
    Cpu, Disks, Memory, Mounts, Network, Process, Processes, Sockets, View,
};
use wachter_sandbox::{HostRoot, sample};

fn views() -> HostViews {
    sample(&BTreeSet::from(HostView::ALL), &HostRoot::default())
}

fn view<T: View>() -> T {
    views().get().unwrap()
}

/// What a program prints; none where the host has none.
fn told(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Two numbers that were taken one after the other, of something that goes on.
fn near(one: u64, other: u64, tolerance: u64) -> bool {
    one.abs_diff(other) <= tolerance
}

#[test]
fn memory_is_what_free_says() {
    let Some(text) = told("free", &["-b"]) else { return };
    let memory = view::<Memory>();
    let row = |name: &str| -> Vec<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_ascii_whitespace().map(|word| word.parse().unwrap()).collect()
    };
    let (memory_row, swap_row) = (row("Mem:"), row("Swap:"));
    assert_eq!(memory.total_bytes, memory_row[0]);
    assert!(near(memory.available_bytes, memory_row[5], memory.total_bytes / 10), "{text}");
    assert_eq!(memory.swap_total_bytes, swap_row[0]);
}

#[test]
fn mounts_are_what_df_says() {
    let mounts = view::<Mounts>().mounts;
    let root = mounts.iter().find(|mount| mount.target == "/").unwrap();
    let Some(text) = told("df", &["-B1", "--output=size,itotal,source", "/"]) else { return };
    let words: Vec<&str> = text.lines().nth(1).unwrap().split_ascii_whitespace().collect();
    assert_eq!(root.bytes.unwrap().total.to_string(), words[0]);
    assert_eq!(root.inodes.map_or(0, |inodes| inodes.total).to_string(), words[1]);
}

#[test]
fn a_mount_leads_to_its_disk() {
    let views = views();
    let mounts = views.get::<Mounts>().unwrap().mounts;
    let Ok(disks) = views.get::<Disks>() else { return };
    for mount in mounts.iter().filter(|mount| mount.source.starts_with("/dev/")) {
        let Some(disk) = disks.disks.iter().find(|disk| disk.device == mount.device) else {
            continue;
        };
        let name = mount.source.trim_start_matches("/dev/").trim_start_matches("mapper/");
        let names = [Some(disk.name.as_str()), disk.mapped_name.as_deref()];
        // The source is what was named when it was mounted, `/dev/root` among others.
        assert!(names.contains(&Some(name)) || name == "root", "{mount:?} {disk:?}");
        assert!(disk.reads.bytes >= disk.reads.requests, "{disk:?}");
    }
}

#[test]
fn processors_are_those_that_are_on() {
    let cpu = view::<Cpu>();
    let count = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    // As in `0-1` or `0,2-3`.
    let expected: usize = count
        .trim()
        .split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1
        })
        .sum();
    assert_eq!(cpu.cores.len(), expected);
    let cores: u64 = cpu.cores.iter().map(|core| core.times.total_milliseconds()).sum();
    assert!(near(cpu.total.total_milliseconds(), cores, cores / 50), "{cpu:?}");
    assert!(cpu.forks > 0 && cpu.context_switches > cpu.forks);
}

#[test]
fn processes_are_what_ps_says() {
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let processes = view::<Processes>().processes;
    let find = |pid| processes.iter().find(|process| process.pid == pid).unwrap();
    let this = find(child.id());
    let text = told("ps", &["-o", "ppid=,ruid=,nlwp=,comm=", "-p", &child.id().to_string()]);
    child.kill().unwrap();
    child.wait().unwrap();
    let Process { parent, user, threads, name, .. } = this;
    if let Some(text) = text {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let expected = [parent.to_string(), user.unwrap().to_string(), threads.to_string()];
        assert_eq!(words[..3], expected);
        assert_eq!(words[3], name);
    }
    assert!(this.descriptors >= Some(3) && this.resident_bytes > 0, "{this:?}");
    // Reading what one's own process did is always allowed.
    assert!(find(std::process::id()).io.is_some());
}

#[test]
fn many_open_files_are_told_with_their_limit() {
    let files: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let processes = view::<Processes>();
    let this = processes.processes.iter().find(|one| one.pid == std::process::id()).unwrap();
    let expected = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let counted = u64::from(this.descriptors.unwrap());
    // Other tests of this process open and close files meanwhile.
    assert!(near(counted, u64::try_from(expected).unwrap(), 50), "{counted} {expected}");
    assert!(this.descriptors_most >= Some(100), "{this:?}");
    assert!(processes.open_files.unwrap().open > 0);
    drop(files);
}

#[test]
fn sockets_are_those_that_were_opened() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let newer = TcpListener::bind("[::1]:0");
    let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let before = view::<Sockets>();
    // The other side of a connection that one side has closed waits to be closed too.
    drop(client);
    wait_until(|| view::<Sockets>().tcp.get("close-wait") > before.tcp.get("close-wait"));
    drop(server);
    assert!(before.tcp["established"] >= 2, "{before:?}");
    let port = |port: u16| before.listening.iter().find(|listening| listening.port == port);
    let waiting = port(listener.local_addr().unwrap().port()).unwrap();
    assert_eq!((waiting.protocol.as_str(), waiting.address.as_str()), ("tcp", "127.0.0.1"));
    assert_eq!(port(datagram.local_addr().unwrap().port()).unwrap().protocol, "udp");
    if let Ok(newer) = newer {
        assert_eq!(port(newer.local_addr().unwrap().port()).unwrap().address, "::1");
    }
    let Some(text) = told("ss", &["-H", "-x", "-a"]) else { return };
    let unix = u64::try_from(text.lines().count()).unwrap();
    assert!(near(before.unix, unix, 20), "{} {unix}", before.unix);
}

fn wait_until(until: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !until() {
        assert!(start.elapsed().as_secs() < 60, "it did not come about");
        std::thread::yield_now();
    }
}

#[test]
fn interfaces_are_what_the_kernel_lists() {
    let network = view::<Network>();
    let names: BTreeSet<_> = std::fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for interface in &network.interfaces {
        assert!(names.contains(&interface.name), "{interface:?} {names:?}");
    }
    assert!(network.interfaces.iter().any(|interface| interface.name == "lo"));
}

#[test]
fn what_is_not_seen_is_said() {
    let views = views();
    for view in HostView::ALL {
        let said = views.missing.iter().any(|sentence| sentence.starts_with(&format!("{view}: ")));
        assert!(views.views.contains_key(&view) || said, "{view}: {:?}", views.missing);
    }
}
