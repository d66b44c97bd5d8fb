//! Starting other programs: always without standard input, always with the tools on `PATH`.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

/// What a program printed, and whether it ended well.
pub(crate) struct Printed {
    pub(crate) ok: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A program to start in `directory`; nothing that this crate starts may ask a question.
pub(crate) fn command(program: impl AsRef<OsStr>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null());
    command
}

/// Runs a program whose output the person should see.
///
/// # Errors
/// It could not be started, or it ended with another code than zero.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = show(command);
    let status = command.status().with_context(|| format!("start {shown}"))?;
    anyhow::ensure!(status.success(), "{shown} ended with {status}");
    Ok(())
}

/// Runs a program and keeps what it prints.
///
/// # Errors
/// It could not be started. Another exit code than zero is not an error here.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<Printed> {
    let shown = show(command);
    let output = command.output().with_context(|| format!("start {shown}"))?;
    Ok(Printed {
        ok: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a program whose standard output is data that is needed.
///
/// # Errors
/// It could not be started, or it failed; the error holds what it wrote to standard error.
pub(crate) fn read(command: &mut Command) -> anyhow::Result<String> {
    let printed = output(command)?;
    anyhow::ensure!(printed.ok, "{} failed: {}", show(command), printed.stderr.trim());
    Ok(printed.stdout)
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
