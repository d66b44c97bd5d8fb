//! What the views of the host cost, each by itself, on this host as it is and with 150 more processes,
//! which sleep. A number as argument is that of rounds.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wachter_protocol::HostView;
use wachter_sandbox::{HostRoot, sample};

/// Unless an argument says otherwise.
const ROUNDS: usize = 100;
const PROCESSES: usize = 150;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The test runner lists and filters by arguments; there is one benchmark.
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    let mut children: Vec<Child> = (0..PROCESSES)
        .map(|_| Command::new("sleep").arg("3600").stdin(Stdio::null()).spawn().unwrap())
        .collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<12} {:>12} {:>12} {:>10}", "view", "median ms", "cpu ms", "JSON bytes")
        .unwrap();
    for view in HostView::ALL {
        let views = BTreeSet::from([view]);
        let mut times = Vec::new();
        let before = cpu();
        for _ in 0..rounds {
            let start = Instant::now();
            std::hint::black_box(sample(&views, &HostRoot::default()));
            times.push(start.elapsed());
        }
        let cpu = (cpu() - before) / u32::try_from(rounds).unwrap();
        times.sort_unstable();
        let size = serde_json::to_vec(&sample(&views, &HostRoot::default())).unwrap().len();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
        let median = milliseconds(times[times.len() / 2]);
        let view = view.to_string();
        writeln!(out, "{view:<12} {median:>12.3} {:>12.3} {size:>10}", milliseconds(cpu)).unwrap();
    }
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// The processor time of this process so far.
fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}
