//! What commands know of environments of Python modules: where `uv` is, and how one is built before a
//! run.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wachter_model::{Digest, ModuleName, RunId};
use wachter_protocol::launcher::RefusalKind;
use wachter_protocol::{LocalFile, Python};
use wachter_sandbox::{
    BuildFailure, BuildOrder, BuildReport, BuildVerdict, Launcher, build_environment,
};

use crate::failure::CommandError;
use crate::output;
use crate::place::cache;

/// Names `uv` where it lies in none of the usual places.
const VARIABLE: &str = "WACHTER_UV";

/// Where `uv` is for whoever calls: the one that the local file or the environment names, one in a usual
/// place, or one on `PATH`.
pub(crate) fn uv(local: Option<&LocalFile>) -> Option<PathBuf> {
    let named = local.and_then(|local| local.python.uv.as_ref());
    if let Some(named) = named {
        return Some(named.as_path().to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    named
        .into_iter()
        .chain(Python::UV.map(PathBuf::from))
        .chain(folders.into_iter().map(|folder| folder.join("uv")))
        .find(|path| path.is_absolute() && is_program(path))
}

/// Whether a file is a program itself: a script in its place, as of a version manager, would need what
/// no build sees.
fn is_program(path: &Path) -> bool {
    let mut begin = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    let executable = || path.metadata().is_ok_and(|file| file.permissions().mode() & 0o111 != 0);
    read.is_ok() && begin == *b"\x7fELF" && executable()
}

/// The arguments of a launcher of our own that say where `uv` is and where environments are kept.
pub(crate) fn launcher_arguments(
    local: Option<&LocalFile>,
    environments: PathBuf,
) -> Vec<std::ffi::OsString> {
    let mut arguments = vec!["--environments".into(), environments.into_os_string()];
    if let Some(uv) = uv(local) {
        arguments.extend(["--uv".into(), uv.into_os_string()]);
    }
    arguments
}

/// Where environments of modules under development are kept.
pub(crate) fn of_development() -> PathBuf {
    cache().join("python")
}

/// Between two attempts while somebody else builds the same.
const PAUSE: Duration = Duration::from_millis(500);

/// Sees that the environment of a module is there before it runs. What `uv` says is shown.
pub(crate) async fn build(
    launcher: &Launcher,
    module: &ModuleName,
    digest: Digest,
    python: &Python,
    cancel: &CancellationToken,
) -> Result<BuildReport, CommandError> {
    let until = Instant::now() + python.limits().timeout.to_std();
    loop {
        let order = BuildOrder {
            run: RunId::new(),
            module: module.clone(),
            digest,
            python: python.clone(),
        };
        let report = build_environment(launcher, order, cancel, |line| {
            output::talk(format_args!("{:8} {line}", "uv"));
        });
        let report = report.await?;
        match &report.verdict {
            BuildVerdict::Failed(BuildFailure::NotBegun { kind: RefusalKind::Busy, .. })
                if Instant::now() < until =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            BuildVerdict::Failed(failure) => {
                return Err(CommandError::refused(format!("`{module}` cannot run: {failure}")));
            }
            BuildVerdict::Present(_) | BuildVerdict::Built(_) => return Ok(report),
        }
    }
}
