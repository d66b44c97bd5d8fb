//! Builds what the demonstration needs, and no more, and starts it.

use crate::program;
use crate::workspace::Workspace;

/// Everything that takes part.
const PACKAGES: [&str; 4] = ["wachter", "wachter-launcher", "wachter-modules", "demo"];

/// Builds and shows. Cargo's own progress is what there is to see first.
///
/// # Errors
/// Something does not compile, or the demonstration stopped.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let mut build = workspace.cargo();
    build.arg("build").args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    program::run(&mut build)?;
    let executables = workspace.target.join("debug");
    let mut demo = std::process::Command::new(executables.join("demo"));
    program::run(demo.env("WACHTER_BIN_DIR", executables))
}
