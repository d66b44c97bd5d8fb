//! Lines a second with the shipped patterns on a log of `sshd`, beside `fail2ban-regex` with its
//! filter for `sshd` on the same log in the same run.
//!
//! The number of rounds is the argument. Without `fail2ban-regex`, or a folder named by
//! `WACHTER_FAIL2BAN` that the Debian package `fail2ban` was unpacked in, only ours is measured.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends when something is wrong"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use wachter_log_analyzer::LogAnalyzer;
use wachter_module::Harness;

/// Lines that both read.
const LINES: usize = 20_000;

/// A log of a host that is attacked as hosts are: failed logins, names that are not there,
/// connections that end early, and a few people who work.
fn log() -> String {
    let mut log = String::new();
    for number in 0..LINES {
        let (hour, minute, second) = (number / 3_600 % 24, number / 60 % 60, number % 60);
        let address = format!("203.0.{}.{}", number / 2_000, number / 8 % 40);
        let port = 1_024 + number % 60_000;
        let message = match number % 8 {
            0 | 1 => format!("Failed password for root from {address} port {port} ssh2"),
            2 => format!("Invalid user admin{} from {address} port {port}", number % 50),
            3 => format!(
                "Failed password for invalid user admin{} from {address} port {port} ssh2",
                number % 50
            ),
            4 => format!("Received disconnect from {address} port {port}:11: Bye Bye [preauth]"),
            5 => format!(
                "Connection closed by authenticating user root {address} port {port} [preauth]"
            ),
            6 => "pam_unix(sshd:session): session opened for user alice(uid=1000) by (uid=0)"
                .to_owned(),
            _ => format!(
                "Accepted publickey for alice from 192.0.2.7 port {port} ssh2: ED25519 SHA256:abc"
            ),
        };
        writeln!(log, "Nov 21 {hour:02}:{minute:02}:{second:02} host sshd[{number}]: {message}")
            .unwrap();
    }
    log
}

/// The best time of a run of the whole module, and the lines that it counted.
fn ours(folder: &Path, rounds: u32) -> Duration {
    let input = json!({
        "folders": [folder],
        "sources": [{ "path": folder.join("auth.log") }],
        "start": "beginning",
        "hold": "0s",
    });
    let harness = Harness::new().input(input);
    (0..rounds)
        .map(|_| {
            let start = Instant::now();
            let finished = harness.run(&LogAnalyzer);
            let took = start.elapsed();
            assert_eq!(finished.result.output["lines"], LINES);
            assert!(finished.findings().count() > 0);
            took
        })
        .min()
        .unwrap()
}

/// The best time of a run that finds nothing new: what every run costs.
fn nothing_new(folder: &Path) -> Duration {
    let input = json!({ "folders": [folder], "sources": [{ "path": folder.join("auth.log") }] });
    let mut last = Harness::new().input(input.clone()).run(&LogAnalyzer);
    (0..20)
        .map(|_| {
            let harness = Harness::new().input(input.clone()).after(&last);
            let start = Instant::now();
            last = harness.run(&LogAnalyzer);
            let took = start.elapsed();
            assert_eq!(last.result.output["lines"], 0);
            took
        })
        .min()
        .unwrap()
}

/// How to start `fail2ban-regex`, and where its filters are.
fn fail2ban() -> Option<(Command, PathBuf)> {
    if let Some(folder) = std::env::var_os("WACHTER_FAIL2BAN").map(PathBuf::from) {
        let mut command = Command::new("python3");
        command.arg(folder.join("usr/bin/fail2ban-regex"));
        command.env("PYTHONPATH", folder.join("usr/lib/python3/dist-packages"));
        return Some((command, folder.join("etc/fail2ban")));
    }
    let program = Path::new("/usr/bin/fail2ban-regex");
    program.exists().then(|| (Command::new(program), "/etc/fail2ban".into()))
}

fn theirs(folder: &Path, rounds: u32) -> Option<Duration> {
    let mut best = None;
    for _ in 0..rounds {
        let (mut command, filters) = fail2ban()?;
        command.arg("--config").arg(&filters);
        command.args(["--print-no-missed", "--print-no-ignored"]);
        command.arg(folder.join("auth.log")).arg(filters.join("filter.d/sshd.conf"));
        let start = Instant::now();
        let output = command.output().unwrap();
        let took = start.elapsed();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && told.contains(&format!("Lines: {LINES} lines")),
            "{told}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        best = best.min(Some(took)).or(Some(took));
    }
    best
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("auth.log"), log()).unwrap();
    let bytes = std::fs::metadata(folder.path().join("auth.log")).unwrap().len();
    let tell = |name: &str, took: Duration| {
        let lines = LINES as f64 / took.as_secs_f64();
        let megabytes = bytes as f64 / 1e6 / took.as_secs_f64();
        println!("{name:30} {lines:12.0} lines/s {megabytes:8.1} MB/s");
        lines
    };
    let mine = tell("log-analyzer, a whole run", ours(folder.path(), rounds));
    println!(
        "{:30} {:12.1} ms",
        "log-analyzer, nothing new",
        nothing_new(folder.path()).as_secs_f64() * 1e3
    );
    match theirs(folder.path(), rounds.min(3)) {
        Some(took) => {
            let other = tell("fail2ban-regex, sshd", took);
            println!("{:.1} times as fast", mine / other);
        }
        None => {
            println!("fail2ban-regex is not here; name the unpacked package by WACHTER_FAIL2BAN");
        }
    }
}
