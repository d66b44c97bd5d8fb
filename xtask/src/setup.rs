//! What the checks need on a machine that has only cargo and a C compiler.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;

use crate::tools::Tools;
use crate::workspace::Workspace;
use crate::{debian, program, say};

/// A cargo subcommand that the checks use, and the oldest version that they work with.
struct Tool {
    name: &'static str,
    version: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { name: "cargo-nextest", version: "0.9.143" },
    Tool { name: "cargo-deny", version: "0.20.2" },
];

/// Compiles modules in AssemblyScript to WebAssembly.
const ASSEMBLYSCRIPT: [&str; 2] = ["assemblyscript@0.28.20", "@assemblyscript/wasi-shim@0.1.0"];

/// Installs what is missing, and nothing else.
///
/// # Errors
/// Something that tests need could not be installed.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    say::line("==> setup: programs that the checks need");
    let tools = Tools::of(workspace);
    debian::install(workspace, &tools)?;
    for tool in TOOLS {
        provide(workspace, &tools, tool)?;
    }
    provide_uv(workspace, &tools)?;
    provide_assemblyscript(&tools)
}

/// Fetches a compiler for examples, where there is npm. They are left out without it.
fn provide_assemblyscript(tools: &Tools) -> anyhow::Result<()> {
    if let Some(path) = tools.find("asc") {
        say::line(&format!("  AssemblyScript: {}", path.display()));
        return Ok(());
    }
    let Some(npm) = tools.find("npm") else {
        say::line("  examples will leave out: AssemblyScript, as there is no npm");
        return Ok(());
    };
    say::line("  fetching AssemblyScript");
    let folder = tools.npm();
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let mut command = program::command(&npm, &folder);
    tools.offer(&mut command);
    command.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", "."]);
    if let Err(error) = program::run(command.args(ASSEMBLYSCRIPT)) {
        say::line(&format!("  examples will leave out: AssemblyScript, {error:#}"));
        return Ok(());
    }
    // This one alone: it comes with a wasm-opt, which a clang that finds it would run.
    let programs = tools.folder().join("bin");
    std::fs::create_dir_all(&programs).with_context(|| format!("create {}", programs.display()))?;
    let link = programs.join("asc");
    // One that leads nowhere may be left of a folder that is gone.
    let _absent = std::fs::remove_file(&link);
    std::os::unix::fs::symlink("../npm/node_modules/.bin/asc", &link)
        .with_context(|| format!("link {}", link.display()))
}

/// Fetches `uv`, which builds environments of Python modules and no distribution of ours has.
fn provide_uv(workspace: &Workspace, tools: &Tools) -> anyhow::Result<()> {
    if let Some(path) = tools.find("uv") {
        say::line(&format!("  uv: {}", path.display()));
        return Ok(());
    }
    say::line("  fetching uv");
    let mut command = program::command(Path::new("/usr/bin/python3"), &workspace.root);
    command.arg("scripts/get-uv.py").arg(tools.folder().join("bin"));
    program::run(&mut command).context("fetch uv; it may also be put into /usr/local/bin by hand")
}

fn provide(workspace: &Workspace, tools: &Tools, tool: &Tool) -> anyhow::Result<()> {
    if let Some(path) = tools.find(tool.name) {
        // `cargo-nextest --version` works without a subcommand, as do the others.
        let printed = program::output(program::command(&path, &workspace.root).arg("--version"))?;
        let version = printed.stdout.split_whitespace().nth(1).unwrap_or_default();
        if at_least(version, tool.version) {
            say::line(&format!("  {} {version}: {}", tool.name, path.display()));
            return Ok(());
        }
        say::line(&format!("  {} {version} is older than {}", tool.name, tool.version));
    }
    say::line(&format!("  building {} {}", tool.name, tool.version));
    let began = Instant::now();
    let build = tools.folder().join("build");
    let mut command = workspace.cargo();
    command
        .args(["install", "--locked", "--quiet", "--force", tool.name, "--version", tool.version])
        .arg("--root")
        .arg(tools.folder())
        // The file of installed packages in the root is for one target folder each.
        .arg("--target-dir")
        .arg(&build)
        // It runs for seconds and builds for minutes, so it is the building that must be quick.
        .args([
            "--debug",
            "--config",
            "profile.dev.opt-level=0",
            "--config",
            "profile.dev.debug=false",
        ]);
    program::run(&mut command).with_context(|| {
        format!("install {} {}; it may also be put on PATH by hand", tool.name, tool.version)
    })?;
    say::line(&format!("  {} took {}", tool.name, say::duration(began.elapsed())));
    std::fs::remove_dir_all(&build).with_context(|| format!("remove {}", build.display()))
}

/// Compares dotted numbers; what is not a number counts as older than any.
fn at_least(version: &str, wanted: &str) -> bool {
    let numbers = |text: &str| -> Vec<Option<u64>> {
        let release = text.split(['-', '+']).next().unwrap_or_default();
        release.split('.').map(|part| part.parse().ok()).collect()
    };
    numbers(version) >= numbers(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for (version, wanted, expected) in [
            ("0.9.143", "0.9.143", true),
            ("0.10.0", "0.9.143", true),
            ("0.9.99", "0.9.143", false),
            ("1.0.0-rc.1", "0.9.143", true),
            ("", "0.9.143", false),
            ("nonsense", "0.9.143", false),
        ] {
            assert_eq!(at_least(version, wanted), expected, "{version} against {wanted}");
        }
    }
}
