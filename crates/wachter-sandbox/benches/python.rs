//! What starting a module in Python costs: a program that imports `json` and one locked package, and
//! says one line; bare, and as a module in the strongest jail that this user can have, beside a module
//! in shell.
//!
//! All ways take turns within one loop, so that what else the machine does meets all of them alike.
//! Printed are median, 99th percentile and least time by the clock, and the ratios of median and least
//! to those of the bare start. The package comes from an index that this program serves. A number as
//! argument is that of rounds. Without `uv` nothing is measured, which is said.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

#[path = "../tests/it/bench.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod bench;
#[path = "../tests/it/publication.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod publication;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wachter_model::RunId;
use wachter_protocol::{Egress, LocalFile, Profile};
use wachter_sandbox::{BuildOrder, BuildVerdict, Launcher, Verdict, build_environment, carry_out};
use wachter_testkit::{PackageIndex, Wheel};

use publication::Publication;

/// Unless an argument says otherwise.
const ROUNDS: usize = 200;
const WARM: usize = 10;

const MAIN: &str = "import json, parcel\nprint(json.dumps({'result': {'output': parcel.value}}))\n";
const SHELL: &str = "#!/bin/sh\necho '{\"result\": {}}'\n";

/// A way to start the program, with what it took.
struct Way {
    name: &'static str,
    kind: Kind,
    times: Vec<Duration>,
}

enum Kind {
    Bare { packages: PathBuf, program: PathBuf, isolated: bool },
    Module { launcher: Launcher, signed: Box<Publication>, program: &'static str },
}

impl Way {
    fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, times: Vec::new() }
    }

    async fn go(&self) -> Duration {
        match &self.kind {
            Kind::Bare { packages, program, isolated } => {
                let mut command = Command::new("/usr/bin/python3");
                command.args(if *isolated { &["-S", "-s", "-B"][..] } else { &["-B"] });
                command.arg(program).env_clear().env("PYTHONPATH", packages);
                command.stdin(Stdio::null()).stdout(Stdio::null());
                let begin = Instant::now();
                assert!(command.status().unwrap().success());
                begin.elapsed()
            }
            Kind::Module { launcher, signed, program } => {
                let order = signed.order_of(program.as_bytes(), Egress::default());
                let begin = Instant::now();
                let report = carry_out(launcher, order, &CancellationToken::new(), |_| {}).await;
                let took = begin.elapsed();
                let report = report.unwrap();
                assert_eq!(report.verdict, Verdict::Succeeded, "{report:?}");
                took
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The test runner lists and filters by arguments; there is one benchmark.
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    let Some(uv) = wachter_testkit::uv() else { return };
    let profile = bench::profiles()[0];
    let (python, packages) = python(profile, &uv).await;
    let program = python.path("main.py");
    std::fs::write(&program, MAIN).unwrap();
    let shell = Publication::with(profile, "", "{}", SHELL.as_bytes());
    let bare =
        |isolated| Kind::Bare { packages: packages.clone(), program: program.clone(), isolated };
    let mut ways = [
        Way::new("bare python3", bare(false)),
        Way::new("bare python3 -S -s", bare(true)),
        Way::new(
            "module in Python",
            Kind::Module {
                launcher: Launcher::open(&python.options()).await.unwrap(),
                signed: Box::new(python),
                program: MAIN,
            },
        ),
        Way::new(
            "module in shell",
            Kind::Module {
                launcher: Launcher::open(&shell.options()).await.unwrap(),
                signed: Box::new(shell),
                program: SHELL,
            },
        ),
    ];
    for round in 0..WARM + rounds {
        for way in &mut ways {
            let took = way.go().await;
            if round >= WARM {
                way.times.push(took);
            }
        }
    }
    print(&mut ways, profile);
}

/// A signed module whose environment is built, and where its packages lie.
async fn python(profile: Profile, uv: &std::path::Path) -> (Publication, PathBuf) {
    let index = PackageIndex::serve().unwrap();
    let lock = index.add(&Wheel::new("parcel", "1.0"));
    let local = format!(
        "python: {{ index: '{}', network_ranges: [127.0.0.0/8], uv: '{}' }}",
        index.url(),
        uv.display()
    );
    let runtime = "{ kind: python, entrypoint: run, requirements: requirements.lock }";
    let further = [("requirements.lock", lock.as_str())];
    let signed = Publication::of(profile, runtime, &further, "", "{}", &local, MAIN.as_bytes());
    let launcher = Launcher::open(&signed.options()).await.unwrap();
    let text = std::fs::read_to_string(signed.path("owner/node.yaml")).unwrap();
    let order = BuildOrder {
        run: RunId::new(),
        module: "sample".parse().unwrap(),
        digest: signed.digests("sample", MAIN.as_bytes()).digest(),
        python: LocalFile::read(&text).unwrap().python,
    };
    let report = build_environment(&launcher, order, &CancellationToken::new(), |_| {}).await;
    let verdict = report.unwrap().verdict;
    let BuildVerdict::Built(key) = verdict else { panic!("{verdict:?}") };
    let packages = signed.path("state/python").join(key.to_string()).join("site");
    (signed, packages)
}

fn print(ways: &mut [Way], profile: Profile) {
    let mut out = std::io::stdout().lock();
    ways.iter_mut().for_each(|way| way.times.sort());
    let of = |way: &Way, share: usize| way.times[way.times.len() * share / 100].as_secs_f64() * 1e3;
    let bare = (of(&ways[0], 50), of(&ways[0], 0));
    let title = format!("start in Python, {profile}");
    let _ = writeln!(
        out,
        "{title:30} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "median", "p99", "least", "ratio", "of least"
    );
    for way in ways {
        let (median, last, least) = (of(way, 50), of(way, 99), of(way, 0));
        let _ = writeln!(
            out,
            "{:30} {median:8.2} {last:8.2} {least:8.2} {:8.2} {:8.2}",
            way.name,
            median / bare.0,
            least / bare.1,
        );
    }
}
