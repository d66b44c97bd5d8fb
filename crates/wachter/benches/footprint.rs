//! What a node with the monitors costs: `system-monitor`, `resource-monitor` and `log-analyzer`, each every 30
//! seconds, on a host with 150 processes and a log that grows by five lines a second, beside
//! `prometheus-node-exporter`, which is asked as often. Both are measured at the same time.
//!
//! `cargo xtask bench` runs it as it is shipped. The argument is the number of seconds; ten minutes where none
//! is given. The peer is named by `WACHTER_NODE_EXPORTER`, or on `PATH`; where there is none it is left out.

#![allow(clippy::print_stdout, reason = "figures are data")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has nothing to say")]

mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wachter_api::shapes::RunsQuery;
use wachter_api::{ListRuns, Nothing};

use place::{Place, client_is_ready};

const TIME: Duration = Duration::from_secs(600);
const EVERY: Duration = Duration::from_secs(30);
const PROCESSES: usize = 150;
const LINES_PER_SECOND: u32 = 5;
const MONITORS: [&str; 3] = ["system-monitor", "resource-monitor", "log-analyzer"];

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse::<u64>().ok());
    let time = asked.map_or(TIME, Duration::from_secs);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(time));
}

async fn measure(time: Duration) {
    // Nothing beside the local file can be granted.
    let logs = tempfile::tempdir().unwrap();
    let place = with_monitors(logs.path());
    // What else runs comes and goes; a few more make up for that.
    let _crowd = Crowd::of(PROCESSES + 20);
    let mut node = place.start();
    client_is_ready(&place.client(), &node).await;
    let mut exporter = Exporter::start().await;
    let peer = exporter.as_ref().map(|exporter| exporter.process.id());
    let begun = tree(node.id());
    let peer_begun = peer.map(processor_time);
    let mut most = BTreeMap::<&str, u64>::new();
    let began = Instant::now();
    let (mut scrapes, mut scraped, mut lines) = (0_u32, 0, 0);
    while began.elapsed() < time {
        if let Some(exporter) = &mut exporter
            && began.elapsed() >= EVERY * scrapes
        {
            scraped = exporter.scrape();
            scrapes += 1;
        }
        append(logs.path(), lines);
        lines += LINES_PER_SECOND;
        let resident = |pid: u32, name: &str| size(pid, name).unwrap_or(0);
        for (key, kibibytes) in [
            ("node", resident(node.id(), "VmRSS")),
            ("anonymous", resident(node.id(), "RssAnon")),
            (
                "children",
                tree(node.id()).processes.iter().map(|pid| resident(*pid, "RssAnon")).sum(),
            ),
            ("peer", peer.map_or(0, |pid| resident(pid, "VmRSS"))),
            ("peer anonymous", peer.map_or(0, |pid| resident(pid, "RssAnon"))),
        ] {
            let known = most.entry(key).or_default();
            *known = kibibytes.max(*known);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let passed = began.elapsed().as_secs_f64();
    let ended = tree(node.id());
    let percent = |time: f64| time / passed * 100.0;
    let mebibytes = |key: &str| f64::from(u32::try_from(most[key]).unwrap()) / 1_024.0;
    let own = ended.own - begun.own;
    println!(
        "over {passed:.0} s, {} processes on the host, each monitor every {} s, {LINES_PER_SECOND} lines of log a second",
        processes().count(),
        EVERY.as_secs()
    );
    println!(
        "node: resident {:.1} MiB at most, of it anonymous {:.1} MiB, {:.3} % of a core",
        mebibytes("node"),
        mebibytes("anonymous"),
        percent(own)
    );
    println!(
        "all its children: anonymous {:.1} MiB at most at a time, {:.3} % of a core",
        mebibytes("children"),
        percent(ended.all - begun.all - own)
    );
    println!("node and children: {:.3} % of a core", percent(ended.all - begun.all));
    match peer.zip(peer_begun) {
        Some((pid, before)) => println!(
            "prometheus-node-exporter, asked {scrapes} times for {} KiB: resident {:.1} MiB at most, of it anonymous {:.1} MiB, {:.3} % of a core",
            scraped / 1_024,
            mebibytes("peer"),
            mebibytes("peer anonymous"),
            percent(processor_time(pid) - before)
        ),
        None => println!("prometheus-node-exporter: none here that runs"),
    }
    tell_runs(&place).await;
    node.kill().unwrap();
    node.wait().unwrap();
}

/// That each of them ran, and what each run cost as its record says.
async fn tell_runs(place: &Place) {
    for monitor in MONITORS {
        let query =
            RunsQuery { module: monitor.parse().ok(), limit: Some(1_000), ..RunsQuery::default() };
        let until = Instant::now() + 2 * EVERY;
        let runs = loop {
            let runs = place.client().call::<ListRuns>(&query, &Nothing {}).await.unwrap();
            if !runs.is_empty() {
                break runs;
            }
            assert!(Instant::now() < until, "{monitor} never ran");
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        for run in &runs {
            assert_eq!(run.outcome, "succeeded", "{monitor}: {:?}", run.message);
        }
        let mut times: Vec<u64> = runs.iter().map(|run| run.milliseconds).collect();
        times.sort_unstable();
        let last = runs[0].message.as_deref().unwrap_or_default();
        println!(
            "{monitor}: {} runs, {} ms in the middle; {last}",
            runs.len(),
            times[times.len() / 2]
        );
    }
}

fn with_monitors(logs: &Path) -> Place {
    let place = Place::new();
    append(logs, 0);
    for monitor in &MONITORS[1..] {
        place.wachter(&["module", "add", monitor]);
    }
    // Its own log, instead of those of whatever host this is.
    let logs = logs.display().to_string();
    let manifest = place.path("infra/modules/log-analyzer/module.yaml");
    let text = fs::read_to_string(&manifest).unwrap();
    let own = text
        .replace("/var/log", &logs)
        .replace("  exec: [/usr/bin/journalctl]\n  groups: [adm]\n", "");
    assert_ne!(text, own);
    fs::write(&manifest, own).unwrap();
    let agent = place.path("infra/config/agents/log-analyzer.yaml");
    let input =
        format!("with: {{ folders: [\"{logs}\"], sources: [{{ path: \"{logs}/app.log\" }}] }}\n");
    fs::write(&agent, fs::read_to_string(&agent).unwrap() + &input).unwrap();
    let local = place.path("node.yaml");
    let grants = format!(
        "{}\n  resource-monitor: {{ host: [cpu, memory, processes, units] }}\n  log-analyzer: {{ filesystem: {{ read: [\"{logs}\"] }} }}\n",
        fs::read_to_string(&local).unwrap().trim_end()
    );
    fs::write(&local, grants).unwrap();
    place.release();
    place
}

/// Some lines of a log, of a few kinds.
fn append(logs: &Path, from: u32) {
    let mut log = fs::File::options().append(true).create(true).open(logs.join("app.log")).unwrap();
    let now = jiff::Timestamp::now();
    for number in from..from + LINES_PER_SECOND {
        let line = match number % 4 {
            0 => format!("GET /orders/{number} took {} ms", number * 7 % 400),
            1 => format!("session {number:x} of user-{} opened", number % 23),
            2 => format!("cache holds {} entries", 10_000 + number % 500),
            _ => format!("job {number} done, {} rows", number * 13 % 977),
        };
        writeln!(log, "{now:.3} host app[812]: {line}").unwrap();
    }
}

/// As many processes that sleep as the host lacks.
struct Crowd(Vec<Child>);

impl Crowd {
    fn of(wanted: usize) -> Self {
        let lacking = wanted.saturating_sub(processes().count());
        let sleep = |_| Command::new("sleep").arg("7200").stdin(Stdio::null()).spawn().unwrap();
        Self((0..lacking).map(sleep).collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Exporter {
    process: Child,
    port: u16,
}

impl Exporter {
    async fn start() -> Option<Self> {
        let named = std::env::var_os("WACHTER_NODE_EXPORTER").map(PathBuf::from);
        let program = named.unwrap_or_else(|| "prometheus-node-exporter".into());
        // It says nowhere which port it was given, so one is found that is free.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "prometheus-node-exporter never answered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(Self { process, port })
    }

    /// Asks for all, and says how many bytes there were.
    fn scrape(&mut self) -> usize {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        answer.len()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The processor time of a process and of all that it started, in seconds: those that are there, and those
/// that have ended and been waited for.
struct Tree {
    own: f64,
    all: f64,
    /// Without the first.
    processes: BTreeSet<u32>,
}

fn tree(root: u32) -> Tree {
    let parents: BTreeMap<u32, u32> =
        processes().filter_map(|pid| Some((pid, fields(pid)?[1].parse().ok()?))).collect();
    let is_below = |pid: u32| {
        let mut above = parents.get(&pid).copied();
        while let Some(pid) = above.filter(|pid| *pid > 1 && *pid != root) {
            above = parents.get(&pid).copied();
        }
        above == Some(root)
    };
    let processes: BTreeSet<u32> = parents.keys().copied().filter(|pid| is_below(*pid)).collect();
    let with_children = |pid: u32| fields(pid).map_or(0.0, |fields| seconds(&fields, 11..15));
    let all = with_children(root) + processes.iter().map(|pid| with_children(*pid)).sum::<f64>();
    Tree { own: processor_time(root), all, processes }
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// proc_pid_stat(5) from the third field on: what precedes is the name, which may hold anything.
fn fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// User and system time, of the process without those that it started.
fn processor_time(pid: u32) -> f64 {
    fields(pid).map_or(0.0, |fields| seconds(&fields, 11..13))
}

fn seconds(fields: &[String], of: std::ops::Range<usize>) -> f64 {
    let ticks: u64 = fields[of].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// A size in KiB by proc_pid_status(5).
fn size(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
}
