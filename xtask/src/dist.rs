//! Builds what is shipped into `target/dist`: three executables, the launcher static; completions, manual
//! pages, units and the script that installs them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::program;
use crate::say;
use crate::workspace::Workspace;

/// The most bytes of the executable that may be root: little more than it has, so that it can only
/// shrink. The aim is 2 MiB.
const LAUNCHER_MOST: u64 = 2_275_000;

/// The targets of the launcher; the one of this machine is used. A static executable is a third smaller
/// with musl than with glibc, and asks no name service.
const TARGET: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-musl"
} else {
    "x86_64-unknown-linux-musl"
};

/// Static, and without tables for unwinding: a panic aborts.
const FLAGS: &str = "-C target-feature=+crt-static -C force-unwind-tables=no";

/// Scripts of completion, under the names by which shells find them.
const COMPLETIONS: [(&str, &str); 5] = [
    ("bash", "wachter.bash"),
    ("zsh", "_wachter"),
    ("fish", "wachter.fish"),
    ("elvish", "wachter.elv"),
    ("powershell", "_wachter.ps1"),
];

/// The page that is written by hand, since the launcher has no library for its command line.
const PAGE: &str = "wachter-launcher.8";

/// What is needed to install, below `deploy/`.
const DEPLOYED: [&str; 5] = [
    "install.sh",
    "systemd/wachter.service",
    "systemd/wachter-launcher.service",
    "systemd/sysusers.d/wachter.conf",
    "systemd/tmpfiles.d/wachter.conf",
];

/// Builds, and tells the sizes.
///
/// # Errors
/// Something does not compile, or the launcher is larger than it may be.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let dist = workspace.target.join("dist");
    std::fs::create_dir_all(&dist).with_context(|| format!("make {}", dist.display()))?;
    let node = build(workspace, "node", "wachter")?;
    let modules = build(workspace, "release", "wachter-modules")?;
    let launcher = build_launcher(workspace)?;
    for (name, folder) in
        [("wachter", &node), ("wachter-modules", &modules), ("wachter-launcher", &launcher)]
    {
        let size = copy(&folder.join(name), &dist.join(name))?;
        say::line(&format!("  {name:20} {:>8} KiB", size.div_ceil(1024)));
        anyhow::ensure!(
            name != "wachter-launcher" || size <= LAUNCHER_MOST,
            "the launcher has {size} bytes, {LAUNCHER_MOST} is the most; look at what it links with `cargo bloat`"
        );
    }
    describe(workspace, &dist)
}

/// Builds one of the executables, and says in which folder.
fn build(workspace: &Workspace, profile: &str, package: &str) -> anyhow::Result<PathBuf> {
    let mut build = workspace.cargo();
    program::run(build.args(["build", "--profile", profile, "--package", package]))?;
    Ok(workspace.target.join(profile))
}

/// Puts what the commands say of themselves beside them, and what installs them.
fn describe(workspace: &Workspace, dist: &Path) -> anyhow::Result<()> {
    let wachter = dist.join("wachter");
    let completions = dist.join("completions");
    std::fs::create_dir_all(&completions)?;
    for (shell, file) in COMPLETIONS {
        let script = program::read(program::command(&wachter, dist).args(["completions", shell]))?;
        std::fs::write(completions.join(file), script)?;
    }
    let man = dist.join("man");
    program::run(program::command(&wachter, dist).args(["man", "--directory"]).arg(&man))?;
    copy(&workspace.root.join("deploy/man").join(PAGE), &man.join(PAGE))?;
    let deploy = dist.join("deploy");
    for file in DEPLOYED {
        let to = deploy.join(file);
        std::fs::create_dir_all(to.parent().unwrap_or(&deploy))?;
        copy(&workspace.root.join("deploy").join(file), &to)?;
    }
    say::line(&format!("  {}", dist.display()));
    Ok(())
}

/// Builds the launcher as it is shipped, small and static, and says in which folder.
///
/// # Errors
/// It does not compile.
fn build_launcher(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    // Does nothing where it is installed.
    program::run(program::command("rustup", &workspace.root).args(["target", "add", TARGET]))?;
    let mut build = workspace.cargo();
    // By itself, so that no other crate decides its features. With a target named, procedural macros
    // are built without the flag, which they cannot bear.
    build.args(["build", "--profile", "launcher", "--package", "wachter-launcher"]);
    build.args(["--target", TARGET]).env("RUSTFLAGS", FLAGS);
    program::run(&mut build)?;
    Ok(workspace.target.join(TARGET).join("launcher"))
}

/// Copies beside and then into place: what runs keeps the file that it runs.
fn copy(from: &Path, to: &Path) -> anyhow::Result<u64> {
    let beside = to.with_extension("new");
    let copied = std::fs::copy(from, &beside).and_then(|size| {
        std::fs::rename(&beside, to)?;
        Ok(size)
    });
    copied.with_context(|| format!("copy {} to {}", from.display(), to.display()))
}
