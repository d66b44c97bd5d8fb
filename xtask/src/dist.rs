//! Builds what is shipped into `target/dist`: three executables, the launcher static.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::program;
use crate::say;
use crate::workspace::Workspace;

/// The most bytes of the executable that may be root. The aim is half of it; glibc, the reader of YAML
/// and the curves of SSH keys are what stands in between.
const LAUNCHER_MOST: u64 = 4 << 20;

/// The targets that are built for; the one of this machine is used.
const TARGET: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};

/// Builds, and tells the sizes.
///
/// # Errors
/// Something does not compile, or the launcher is larger than it may be.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let dist = workspace.target.join("dist");
    std::fs::create_dir_all(&dist).with_context(|| format!("make {}", dist.display()))?;
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "wachter", "--package", "wachter-modules"]);
    program::run(&mut build)?;
    let launcher = build_launcher(workspace)?;
    let release = workspace.target.join("release");
    for (name, folder) in
        [("wachter", &release), ("wachter-modules", &release), ("wachter-launcher", &launcher)]
    {
        let size = copy(&folder.join(name), &dist.join(name))?;
        say::line(&format!("  {name:20} {:>8} KiB", size.div_ceil(1024)));
        anyhow::ensure!(
            name != "wachter-launcher" || size <= LAUNCHER_MOST,
            "the launcher has {size} bytes, {LAUNCHER_MOST} is the most; look at what it links with `cargo bloat`"
        );
    }
    Ok(())
}

/// Builds the launcher as it is shipped, small and static, and says in which folder.
///
/// # Errors
/// It does not compile.
pub(crate) fn build_launcher(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let mut build = workspace.cargo();
    // By itself, so that no other crate decides its features. With a target named, procedural macros
    // are built without the flag, which they cannot bear.
    build.args(["build", "--profile", "launcher", "--package", "wachter-launcher"]);
    build.args(["--target", TARGET]).env("RUSTFLAGS", "-C target-feature=+crt-static");
    program::run(&mut build)?;
    Ok(workspace.target.join(TARGET).join("launcher"))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<u64> {
    std::fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))
}
