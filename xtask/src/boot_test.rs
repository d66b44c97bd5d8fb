//! Boots a machine with a real systemd, and sees it keep node and launcher: `deploy/test/boot.sh`.

use crate::program;
use crate::tools::Tools;
use crate::workspace::Workspace;

/// Builds, and boots. Takes some minutes, and the network the first time; no step of `verify`, since it
/// needs root and QEMU.
///
/// # Errors
/// Something does not compile, a program is missing, or a step in the machine failed.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let mut build = workspace.cargo();
    build.args(["build", "--package", "wachter", "--package", "wachter-launcher"]);
    program::run(build.args(["--package", "wachter-modules"]))?;
    let mut boot = program::command(workspace.root.join("deploy/test/boot.sh"), &workspace.root);
    Tools::of(workspace).offer(&mut boot);
    boot.arg(workspace.target.join("debug")).arg(workspace.target.join("boot-test"));
    program::run(&mut boot)
}
