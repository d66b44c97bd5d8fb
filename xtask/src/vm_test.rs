//! Boots a machine with a real systemd, installs the package, and sees systemd and the kernel keep what
//! is promised: `deploy/test/vm.sh`.

use crate::tools::Tools;
use crate::workspace::Workspace;
use crate::{dist, package, program};

/// A version before the present one, to upgrade from.
const BEFORE: &str = concat!(env!("CARGO_PKG_VERSION"), "~before");

/// Builds, packs, and boots. Takes some minutes, and the network the first time; no step of `verify`,
/// since it needs root and QEMU.
///
/// # Errors
/// Something does not compile, a program is missing, or a step in the machine failed.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    dist::run(workspace)?;
    let executables = workspace.target.join("dist");
    let before = package::build(workspace, &executables, BEFORE)?;
    let present = package::build(workspace, &executables, env!("CARGO_PKG_VERSION"))?;
    let mut boot = program::command(workspace.root.join("deploy/test/vm.sh"), &workspace.root);
    Tools::of(workspace).offer(&mut boot);
    boot.arg(before).arg(present).arg(executables).arg(workspace.target.join("vm-test"));
    program::run(&mut boot)
}
