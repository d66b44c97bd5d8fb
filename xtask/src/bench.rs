//! Measures, always beside a peer in the same run: a number alone says more about the machine.

use crate::dist;
use crate::program;
use crate::say;
use crate::workspace::Workspace;

/// A benchmark: its name, and the words that make cargo run it.
const BENCHMARKS: [(&str, &[&str]); 2] = [
    (
        "launch: a run through the launcher, beside a bare process and bubblewrap",
        &["bench", "--package", "wachter-sandbox", "--bench", "launch"],
    ),
    (
        "release: poll, verify and take a release, beside `git ls-remote`",
        &["run", "--release", "--package", "wachter-gitops", "--example", "release_benchmark"],
    ),
];

/// Runs every benchmark, one after the other.
///
/// # Errors
/// One does not compile or fails.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    // What is started by a benchmark is measured too: as it is shipped.
    let executables = dist::build_launcher(workspace)?;
    for (name, words) in BENCHMARKS {
        say::line(&format!("\n== {name}"));
        let mut bench = workspace.cargo();
        program::run(bench.args(words).env("WACHTER_BIN_DIR", &executables))?;
    }
    Ok(())
}
