//! Measures, always beside a peer in the same run: a number alone says more about the machine.
//!
//! A benchmark takes a number of rounds as its argument. The step of `verify` runs one round of each,
//! as the tests are built: no number comes of that, but a benchmark that does not work any more.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context as _;
use serde_json::Value;

use crate::tests_step::{EXECUTABLES, build_executables};
use crate::tools::Tools;
use crate::verify::Outcome;
use crate::workspace::Workspace;
use crate::{dist, program, say};

/// A benchmark.
struct Benchmark {
    name: &'static str,
    package: &'static str,
    /// What cargo calls it: a kind and a name.
    target: [&'static str; 2],
}

const BENCHMARKS: [Benchmark; 15] = [
    Benchmark {
        name: "launch: a run through the launcher, beside a bare process and bubblewrap",
        package: "wachter-sandbox",
        target: ["--bench", "launch"],
    },
    Benchmark {
        name: "python: the start of a module in Python, beside a bare interpreter",
        package: "wachter-sandbox",
        target: ["--bench", "python"],
    },
    Benchmark {
        name: "views: what each view of the host costs",
        package: "wachter-sandbox",
        target: ["--bench", "views"],
    },
    Benchmark {
        name: "wasi: a run of a module in WebAssembly, beside one in a shell",
        package: "wachter-sandbox",
        target: ["--bench", "wasi"],
    },
    Benchmark {
        name: "release: poll, verify and take a release, beside `git ls-remote`",
        package: "wachter-gitops",
        target: ["--example", "release_benchmark"],
    },
    Benchmark {
        name: "bus: publish, work, idle, latency, open, beside a raw writer and NATS JetStream",
        package: "wachter-bus",
        target: ["--bench", "bus"],
    },
    Benchmark {
        name: "dispatch: from the publication of an event to its run, at 500 a second",
        package: "wachter-runtime",
        target: ["--bench", "dispatch"],
    },
    Benchmark {
        name: "configuration: layers, agents and their checks",
        package: "wachter-config",
        target: ["--bench", "load"],
    },
    Benchmark {
        name: "expressions: conditions on a bound event",
        package: "wachter-expression",
        target: ["--bench", "evaluation"],
    },
    Benchmark {
        name: "routing: topics, conditions and pushes of 9 KB, beside the library `cel`",
        package: "wachter-expression",
        target: ["--bench", "routing"],
    },
    Benchmark {
        name: "node: ready with a long journal, reload with many agents, idle",
        package: "wachter",
        target: ["--bench", "node"],
    },
    Benchmark {
        name: "footprint: a node with the monitors, beside prometheus-node-exporter",
        package: "wachter",
        target: ["--bench", "footprint"],
    },
    Benchmark {
        name: "log patterns: lines a second, beside fail2ban-regex",
        package: "wachter-log-analyzer",
        target: ["--bench", "patterns"],
    },
    Benchmark {
        name: "templates: of log lines, how well and how fast, beside Drain3",
        package: "wachter-log-analyzer",
        target: ["--bench", "templates"],
    },
    Benchmark {
        name: "anomalies: which faults in made logs are told, and what else",
        package: "wachter-log-analyzer",
        target: ["--bench", "anomalies"],
    },
];

/// The rounds of a quick run: enough to see an order of magnitude.
const QUICK: &str = "5";

/// Runs every benchmark, one after the other.
///
/// # Errors
/// One does not compile or fails.
pub(crate) fn run(workspace: &Workspace, quick: bool) -> anyhow::Result<()> {
    // What is started by a benchmark is measured too: as it is shipped.
    dist::run(workspace)?;
    let executables = workspace.target.join("dist");
    for Benchmark { name, package, target } in &BENCHMARKS {
        say::line(&format!("\n== {name}"));
        let mut bench = workspace.cargo();
        let way: &[&str] = if target[0] == "--bench" { &["bench"] } else { &["run", "--release"] };
        bench.args(way).args(["--package", package]).args(target);
        if quick {
            bench.args(["--", QUICK]);
        }
        program::run(bench.env(EXECUTABLES, &executables))?;
    }
    Ok(())
}

/// The step of `verify`.
pub(crate) fn step(workspace: &Workspace) -> anyhow::Result<Outcome> {
    build_executables(workspace)?;
    for Benchmark { name, target, .. } in &BENCHMARKS {
        say::line(&format!("  one round of {name}"));
        let mut build = workspace.cargo();
        // Of the whole workspace, and so with the features that the tests were built with.
        build.args(["build", "--workspace", "--message-format=json-render-diagnostics"]);
        let messages = program::read(build.args(target).stderr(Stdio::inherit()))?;
        let built = target_executable(&messages, target[1])?;
        let mut bench = program::command(built, &workspace.root);
        Tools::of(workspace).offer(&mut bench);
        program::run(bench.arg("1").env(EXECUTABLES, workspace.target.join("debug")))?;
    }
    Ok(Outcome::Passed)
}

/// The executable of a target in what `cargo build --message-format=json` prints.
fn target_executable(messages: &str, name: &str) -> anyhow::Result<PathBuf> {
    let found = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str().filter(|_| message["target"]["name"] == name)?;
        Some(PathBuf::from(path))
    });
    found.with_context(|| format!("cargo built no {name}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_executable_of_a_target_is_found() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"launch"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"launch"},"executable":"/t/deps/launch-1"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(target_executable(messages, "launch").unwrap(), Path::new("/t/deps/launch-1"));
        assert!(target_executable(messages, "other").is_err());
    }
}
