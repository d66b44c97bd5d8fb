//! What a run of a module in WebAssembly costs, beside the same in a shell: each reads its request and
//! says its result, signed and through the launcher, and without a launcher for comparison.
//!
//! All ways take turns within one loop, so that what else the machine does meets all of them alike.
//! Printed are median, 99th percentile and least time by the clock; then what the steps within the
//! runner took, the least of each. The executables are those of `WACHTER_BIN_DIR`, or of the folder that
//! cargo builds benchmarks beside. A number as argument is that of rounds.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

#[path = "../tests/it/bench.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod bench;
#[path = "../tests/it/publication.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod publication;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wachter_protocol::{Egress, Profile};
use wachter_sandbox::{Launcher, RunOrder, Verdict, carry_out};
use wachter_testkit::Wasm;

use bench::profiles;
use publication::Publication;

/// Unless an argument says otherwise.
const ROUNDS: usize = 400;
const WARM: usize = 20;

/// The same in a shell, with built-ins alone.
const SHELL: &str = r#"IFS= read -r request; printf '{"result":{"output":%s}}\n' "$request""#;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The test runner lists and filters by arguments; there is one benchmark.
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    let folder = tempfile::tempdir().unwrap();
    let (core, component) = (Wasm::echo(), Wasm::component());
    let mut ways = vec![
        Way::new("shell, without a launcher", Kind::Shell),
        Way::new("core module, without a launcher", alone(folder.path(), "core", &core)),
        Way::new("component, without a launcher", alone(folder.path(), "component", &component)),
    ];
    for profile in profiles() {
        let shell = publication::shell(SHELL);
        for (name, module, wasi) in [
            ("shell", shell.as_bytes(), false),
            ("core module", &core, true),
            ("component", &component, true),
        ] {
            let kind = launched(profile, module, wasi).await;
            ways.push(Way::new(&format!("{name}, {profile}"), kind));
        }
    }
    for round in 0..WARM + rounds {
        for way in &mut ways {
            let time = way.go().await;
            if round >= WARM {
                way.times.push(time);
            }
        }
    }
    print(&mut ways);
}

/// A way to run a module.
enum Kind {
    Shell,
    /// The runner by itself: the module and its machine code.
    Alone(PathBuf, PathBuf, BTreeMap<String, u64>),
    Launched(Launcher, Box<Publication>, Vec<u8>),
}

struct Way {
    name: String,
    kind: Kind,
    times: Vec<Duration>,
}

fn alone(folder: &Path, name: &str, module: &[u8]) -> Kind {
    let (path, code) = (folder.join(name), folder.join(format!("{name}.code")));
    std::fs::write(&path, module).unwrap();
    let compiled = runner().arg("wasi-compile").arg(&path).output().unwrap();
    assert!(compiled.status.success(), "{compiled:?}");
    std::fs::write(&code, compiled.stdout).unwrap();
    Kind::Alone(path, code, BTreeMap::new())
}

fn runner() -> Command {
    Command::new(wachter_testkit::executable("wachter-modules"))
}

async fn launched(profile: Profile, module: &[u8], wasi: bool) -> Kind {
    let signed = match wasi {
        true => Publication::wasi(profile, "", "{}", module),
        false => Publication::with(profile, "", "{}", module),
    };
    let launcher = Launcher::open(&signed.options()).await.unwrap();
    Kind::Launched(launcher, Box::new(signed), module.to_vec())
}

impl Way {
    fn new(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind, times: Vec::new() }
    }

    /// Runs the module once and waits for its end.
    async fn go(&mut self) -> Duration {
        match &mut self.kind {
            Kind::Shell => spawn(Command::new("/bin/sh").args(["-c", SHELL])).0,
            Kind::Alone(module, code, steps) => {
                let mut command = runner();
                command.args(["wasi", "--times", "--memory", "67108864", "--code"]);
                let (time, said) = spawn(command.arg(code).arg(module));
                for step in said.trim().split("; ") {
                    let mut words = step.split(' ');
                    let (name, took) = (words.next().unwrap(), words.next().unwrap());
                    let least = steps.entry(name.to_owned()).or_insert(u64::MAX);
                    *least = (*least).min(took.parse().unwrap());
                }
                time
            }
            Kind::Launched(launcher, signed, module) => {
                let order = signed.order_of(module, Egress::default());
                let begin = Instant::now();
                run(launcher, order).await;
                begin.elapsed()
            }
        }
    }
}

async fn run(launcher: &Launcher, order: RunOrder) {
    let report = carry_out(launcher, order, &CancellationToken::new(), |_| {}).await.unwrap();
    assert_eq!(report.verdict, Verdict::Succeeded, "{report:?}");
}

fn spawn(command: &mut Command) -> (Duration, String) {
    let begin = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"input\":null}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (begin.elapsed(), String::from_utf8(output.stderr).unwrap())
}

fn print(ways: &mut [Way]) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{:34} {:>8} {:>8} {:>8}", "run, ms", "median", "p99", "least");
    for way in &mut *ways {
        way.times.sort();
        let of = |share: usize| way.times[way.times.len() * share / 100].as_secs_f64() * 1e3;
        let _ = writeln!(out, "{:34} {:8.2} {:8.2} {:8.2}", way.name, of(50), of(99), of(0));
    }
    for way in ways {
        if let Kind::Alone(_, _, steps) = &way.kind {
            let steps: Vec<String> =
                steps.iter().map(|(name, took)| format!("{name} {took} us")).collect();
            let _ = writeln!(out, "{}: {}", way.name, steps.join(", "));
        }
    }
}
