//! All tests, as the user who runs this; and the executables that tests and examples start.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::Value;

use crate::program;
use crate::tools::Tools;
use crate::verify::Outcome;
use crate::workspace::Workspace;

/// Names the folder in which tests find the executables of the workspace. Without it they look
/// beside the test executable itself.
pub(crate) const EXECUTABLES: &str = "WACHTER_BIN_DIR";

/// The step of `verify`.
pub(crate) fn step(workspace: &Workspace) -> anyhow::Result<Outcome> {
    build_executables(workspace)?;
    let mut nextest = workspace.cargo();
    Tools::of(workspace).offer(&mut nextest);
    nextest
        .args(["nextest", "run", "--workspace", "--no-fail-fast"])
        .env(EXECUTABLES, workspace.target.join("debug"));
    let nextest = program::run(&mut nextest);
    // The examples of the reference are run even after a failure: one report says everything.
    let mut doc = workspace.cargo();
    Tools::of(workspace).offer(&mut doc);
    let doc = program::run(doc.args(["test", "--quiet", "--doc", "--workspace"]));
    nextest.and(doc)?;
    Ok(Outcome::Passed)
}

/// Builds every executable of the workspace but this one, and says where they are.
///
/// # Errors
/// Something does not compile.
pub(crate) fn build_executables(workspace: &Workspace) -> anyhow::Result<Vec<PathBuf>> {
    let mut command = workspace.cargo();
    // Built with the tests and for the whole workspace, because development dependencies and other
    // crates decide features too: otherwise all would be compiled once for this and again for nextest.
    command.args([
        "build",
        "--workspace",
        "--bins",
        "--tests",
        "--message-format=json-render-diagnostics",
    ]);
    command.stderr(std::process::Stdio::inherit());
    let messages = program::read(&mut command)?;
    executables(&messages)
}

/// The executables among what `cargo build --message-format=json` prints.
fn executables(messages: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("read a message of cargo")?;
        let kinds = message["target"]["kind"].as_array();
        let executable = message["executable"].as_str();
        let is_program = kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"))
            && message["profile"]["test"] == false
            && message["target"]["name"] != env!("CARGO_PKG_NAME");
        found.extend(executable.filter(|_| is_program).map(PathBuf::from));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_tests_and_libraries() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"a"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"b"},"profile":{"test":true},"executable":"/t/debug/deps/b-1"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"b"},"profile":{"test":false},"executable":"/t/debug/b"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"xtask"},"profile":{"test":false},"executable":"/t/debug/xtask"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"it"},"profile":{"test":true},"executable":"/t/debug/deps/it-1"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executables(messages).unwrap(), [PathBuf::from("/t/debug/b")]);
        assert!(executables("no JSON").is_err());
    }
}
