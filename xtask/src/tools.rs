//! Where programs are found: on the machine, or among those that `setup` put aside.
//!
//! Layout below the target folder: `tools/bin` (built by `cargo install`), `tools/npm` (packages of npm)
//! and `tools/debian` (unpacked Debian packages, for whoever may not install them).

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::workspace::Workspace;

/// The folders of put-aside tools.
pub(crate) struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// The tools of this workspace.
    pub(crate) fn of(workspace: &Workspace) -> Self {
        Self { folder: workspace.target.join("tools") }
    }

    /// The prefix to hand to `cargo install --root`.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The root into which Debian packages are unpacked.
    pub(crate) fn debian(&self) -> PathBuf {
        self.folder.join("debian")
    }

    /// The folder into which packages of npm are installed. Of their programs, `bin` has those that are asked for.
    pub(crate) fn npm(&self) -> PathBuf {
        self.folder.join("npm")
    }

    /// Where unpacked packages have their libraries.
    pub(crate) fn libraries(&self) -> PathBuf {
        self.debian().join("usr/lib").join(MULTIARCH)
    }

    /// Lets a program find the tools.
    pub(crate) fn offer(&self, command: &mut Command) {
        command.env("PATH", self.path());
        let libraries = self.libraries();
        if libraries.is_dir() {
            command.env("LD_LIBRARY_PATH", libraries);
        }
    }

    /// The value of `PATH`.
    pub(crate) fn path(&self) -> OsString {
        std::env::join_paths(self.search())
            .expect("PATH was split at colons and the target folder built by cargo has none")
    }

    /// The file that a program's name stands for.
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        self.search().into_iter().map(|folder| folder.join(program)).find(|path| executable(path))
    }

    fn search(&self) -> Vec<PathBuf> {
        let own = std::env::var_os("PATH").unwrap_or_default();
        let debian = self.debian();
        // Built here only where the machine had none or an older one, so these come first.
        std::iter::once(self.folder.join("bin"))
            .chain(std::env::split_paths(&own))
            // An ordinary user's PATH often lacks these, where mkfs and others live.
            .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
            .chain(["usr/bin", "bin", "usr/sbin", "sbin"].map(|part| debian.join(part)))
            .collect()
    }
}

/// Whether the path leads to a file that somebody may execute.
pub(crate) fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Copies an executable so that every user may run it.
///
/// # Errors
/// The copy or the change of its mode fails.
pub(crate) fn copy_executable(from: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let name = from.file_name().with_context(|| format!("{} has no name", from.display()))?;
    let to = folder.join(name);
    std::fs::copy(from, &to)
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", to.display()))?;
    Ok(to)
}

#[cfg(target_arch = "x86_64")]
const MULTIARCH: &str = "x86_64-linux-gnu";
#[cfg(target_arch = "aarch64")]
const MULTIARCH: &str = "aarch64-linux-gnu";
