//! Licences, bans, sources and advisories of what is linked in, judged by cargo-deny.

use std::path::PathBuf;
use std::process::Command;

use crate::tools::Tools;
use crate::verify::Outcome;
use crate::workspace::Workspace;
use crate::{program, say};

/// A clone of the advisory database to use instead of the one on the net.
const DATABASE: &str = "WACHTER_ADVISORY_DATABASE";

const PUBLISHED: &str = "https://github.com/RustSec/advisory-db";

const NOT_CHECKED: &str = "advisories: not checked (no database)";

/// The step of `verify`.
pub(crate) fn step(workspace: &Workspace) -> anyhow::Result<Outcome> {
    program::run(deny(workspace)?.args(["check", "licenses", "bans", "sources"]))?;
    advisories(workspace)
}

fn advisories(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let fetched = program::output(deny(workspace)?.args(["fetch", "db"]))?;
    if !fetched.ok {
        let lines = || fetched.stderr.trim().lines();
        let reason = lines().find(|line| line.contains("fatal:")).or_else(|| lines().last());
        let reason = reason.unwrap_or("no reason given");
        if std::env::var_os(DATABASE).is_some() {
            anyhow::bail!("{DATABASE} is set, and is no clone of {PUBLISHED}: {reason}");
        }
        say::line(&format!("  the advisory database could not be fetched: {reason}"));
        if !cached() {
            say::line(&format!("  {NOT_CHECKED}; set {DATABASE} to a clone of {PUBLISHED}"));
            return Ok(Outcome::Partly(NOT_CHECKED.to_owned()));
        }
        say::line("  the copy of an earlier fetch is used");
    }
    if let Some(clone) = std::env::var_os(DATABASE) {
        // cargo-deny judges age by when it fetched, which says nothing about a local clone.
        let mut git = program::command("git", &workspace.root);
        git.arg("-C").arg(clone).args(["show", "--no-patch", "--format=%cs", "HEAD"]);
        say::line(&format!("  database of {}", program::read(&mut git)?.trim()));
    }
    program::run(deny(workspace)?.args(["--offline", "check", "advisories"]))?;
    Ok(Outcome::Passed)
}

/// cargo-deny, which fetches with `git`: told to ask nothing, to give up on a dead line, and to
/// take the database from a local clone where one is named.
fn deny(workspace: &Workspace) -> anyhow::Result<Command> {
    let tools = Tools::of(workspace);
    let Some(path) = tools.find("cargo-deny") else {
        anyhow::bail!("cargo-deny is not installed; run cargo xtask setup");
    };
    let mut command = program::command(path, &workspace.root);
    tools.offer(&mut command);
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_HTTP_LOW_SPEED_LIMIT", "1000")
        .env("GIT_HTTP_LOW_SPEED_TIME", "20");
    if let Some(clone) = std::env::var_os(DATABASE) {
        let clone = std::path::absolute(clone)?;
        command
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", format!("url.{}.insteadOf", clone.display()))
            .env("GIT_CONFIG_VALUE_0", PUBLISHED);
    }
    Ok(command)
}

/// Whether cargo-deny has fetched a database before. It refuses one that is too old by itself.
fn cached() -> bool {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    home.and_then(|home| std::fs::read_dir(home.join("advisory-dbs")).ok())
        .is_some_and(|folders| folders.flatten().any(|folder| folder.path().join(".git").exists()))
}
