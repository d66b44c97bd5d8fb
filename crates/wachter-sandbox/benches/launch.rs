//! What a run costs: `/bin/true` as a module, through the client and the launcher, against a bare
//! spawn of the same program and against bubblewrap with the same system call filter.
//!
//! A module is `signed` as a node runs it, with trust file, signature, digests and grant worked out
//! by the launcher each time, or in `development`, as `wachter module test` runs it.
//!
//! All ways take turns within one loop, so that what else the machine does meets all of them alike.
//! Printed are median, 99th percentile and least time by the clock, the ratios of median and least
//! to those of the bare spawn, and the processor time of all processes that took part, the node's
//! side included, which comes from further rounds of one way after another. The executables are those of `WACHTER_BIN_DIR`, or of the folder that cargo builds
//! benchmarks beside. A number as argument is that of rounds;
//! another argument chooses ways by a part of their name.
//!
//! A module needs `result` to succeed; `/bin/true` says nothing, so its verdict is `NoResult`, and
//! every step up to it is the same.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

#[path = "../tests/it/bench.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod bench;
#[path = "../tests/it/processes.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod processes;
#[path = "../tests/it/publication.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod publication;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wachter_protocol::{Egress, Profile};
use wachter_sandbox::{Failure, Launcher, LauncherOptions, RunOrder, Verdict, carry_out};

use bench::Bench;
use publication::Publication;

/// Unless an argument says otherwise.
const ROUNDS: usize = 400;
const WARM: usize = 20;
/// The most rounds of one way without a change of turns, for its processor time, which is told in
/// ticks.
const BLOCK: usize = 100;
const BLOCKS: u32 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The test runner lists and filters by arguments; there is one benchmark.
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    let chosen = arguments
        .iter()
        .find(|argument| !argument.starts_with("--") && argument.parse::<usize>().is_err());
    let program = std::fs::read("/bin/true").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut ways = vec![Way::new(Kind::Bare)];
    for profile in profiles().iter().copied() {
        let signed = Publication::with(profile, "", "{}", &program);
        let client = Client::open(&signed.options()).await;
        ways.push(Way::new(Kind::Signed(client, profile, Box::new(signed))));
        let bench = Bench::with("", "run", &program);
        let client = Client::open(&bench.options(profile)).await;
        ways.push(Way::new(Kind::Development(client, profile, Box::new(bench))));
    }
    if Path::new("/usr/bin/bwrap").exists() {
        ways.push(Way::new(Kind::Bubblewrap(filter(folder.path()))));
    }
    if let Some(chosen) = chosen {
        ways.retain(|way| matches!(way.kind, Kind::Bare) || way.kind.name().contains(chosen));
    }
    for round in 0..WARM + rounds {
        for way in &mut ways {
            let time = way.go(&program).await;
            if round >= WARM {
                way.times.push(time);
            }
        }
    }
    let block = rounds.min(BLOCK);
    for _ in 0..BLOCKS {
        for way in &mut ways {
            let before = way.processor_so_far();
            for _ in 0..block {
                way.go(&program).await;
            }
            way.processor += way.processor_so_far() - before;
        }
    }
    print(&mut ways, u32::try_from(block).unwrap() * BLOCKS);
}

fn profiles() -> &'static [Profile] {
    match rustix::process::geteuid().is_root() {
        true => &[Profile::Root, Profile::Unprivileged, Profile::NoNamespaces],
        false => &[Profile::Unprivileged, Profile::NoNamespaces],
    }
}

/// A way to start the program.
enum Kind {
    Bare,
    Signed(Client, Profile, Box<Publication>),
    Development(Client, Profile, Box<Bench>),
    /// With the file that holds the filter.
    Bubblewrap(PathBuf),
}

impl Kind {
    fn name(&self) -> String {
        match self {
            Self::Bare => "bare spawn".to_owned(),
            Self::Signed(_, profile, _) => format!("{profile}, signed"),
            Self::Development(_, profile, _) => format!("{profile}, development"),
            Self::Bubblewrap(_) => "bubblewrap, same filter".to_owned(),
        }
    }

    fn launcher(&self) -> Option<u32> {
        match self {
            Self::Signed(client, ..) | Self::Development(client, ..) => Some(client.process),
            Self::Bare | Self::Bubblewrap(_) => None,
        }
    }
}

/// A launcher and its process.
struct Client {
    launcher: Launcher,
    process: u32,
}

impl Client {
    async fn open(options: &LauncherOptions) -> Self {
        let launcher = Launcher::open(options).await.unwrap();
        Self { launcher, process: processes::launcher() }
    }

    async fn run(&self, order: RunOrder) {
        let report =
            carry_out(&self.launcher, order, &CancellationToken::new(), |_| {}).await.unwrap();
        assert_eq!(report.verdict, Verdict::Failed(Failure::NoResult), "{report:?}");
    }
}

/// A way with what it took.
struct Way {
    kind: Kind,
    times: Vec<Duration>,
    /// Of all blocks.
    processor: Duration,
}

impl Way {
    fn new(kind: Kind) -> Self {
        Self { kind, times: Vec::new(), processor: Duration::ZERO }
    }

    /// Starts the program once and waits for its end.
    async fn go(&self, program: &[u8]) -> Duration {
        let order = match &self.kind {
            Kind::Signed(_, _, signed) => Some(signed.order_of(program, Egress::default())),
            Kind::Development(_, _, bench) => Some(bench.order()),
            Kind::Bare | Kind::Bubblewrap(_) => None,
        };
        let begin = Instant::now();
        match (&self.kind, order) {
            (Kind::Signed(client, ..) | Kind::Development(client, ..), Some(order)) => {
                client.run(order).await;
            }
            (Kind::Bubblewrap(filter), _) => spawn(&mut wrapped(filter)),
            _ => spawn(&mut Command::new("/bin/true")),
        }
        begin.elapsed()
    }

    fn processor_so_far(&self) -> Duration {
        let launcher = self.kind.launcher().map(processor_of).unwrap_or_default();
        processor_of(std::process::id()) + launcher
    }
}

/// A program in the file that bubblewrap reads filters from: the launcher's own, which it exports.
fn filter(folder: &Path) -> PathBuf {
    let path = folder.join("filter");
    let output = Command::new(wachter_testkit::executable("wachter-launcher"))
        .arg("--print-filter")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::write(&path, output.stdout).unwrap();
    path
}

/// The same view, as far as bubblewrap has one.
fn wrapped(filter: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec /usr/bin/bwrap --unshare-all --die-with-parent --new-session --cap-drop ALL --clearenv \
        --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
        --proc /proc --dev /dev --tmpfs /tmp --seccomp 9 /bin/true 9<\"$0\""]);
    command.arg(filter);
    command
}

fn spawn(command: &mut Command) {
    let status =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// Processor time of a process and of all children that it waited for (proc_pid_stat(5)).
fn processor_of(process: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields = text.rsplit_once(')').unwrap().1.split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(4).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_micros(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
}

fn print(ways: &mut [Way], processor_rounds: u32) {
    let mut out = std::io::stdout().lock();
    ways.iter_mut().for_each(|way| way.times.sort());
    let of = |way: &Way, share: usize| way.times[way.times.len() * share / 100].as_secs_f64() * 1e3;
    let bare = (of(&ways[0], 50), of(&ways[0], 0));
    let _ = writeln!(
        out,
        "{:30} {:>8} {:>8} {:>8} {:>8} {:>8} {:>12}",
        "launch of /bin/true", "median", "p99", "least", "ratio", "of least", "processor ms"
    );
    for way in ways {
        let (median, last, least) = (of(way, 50), of(way, 99), of(way, 0));
        let _ = writeln!(
            out,
            "{:30} {median:8.2} {last:8.2} {least:8.2} {:8.1} {:8.1} {:12.2}",
            way.kind.name(),
            median / bare.0,
            least / bare.1,
            (way.processor / processor_rounds).as_secs_f64() * 1e3,
        );
    }
}
