//! What the engine for WebAssembly is told of a grant, as its arguments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wachter_protocol::Limits;

use super::granted::Granted;
use super::{MODULE, SECRETS};

/// Processes and threads that a run of the engine has at the least: those that every run has beside its
/// module, the engine's two, and some room.
pub(super) const PROCESSES: u32 = 8;

/// Memory that is the engine's and not the module's: this much, or a quarter of all where that is less.
const ENGINE: u64 = 16 << 20;

/// Where a run finds what every run has.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) module: &'a Path,
    pub(super) scratch: &'a Path,
    pub(super) secrets: Option<&'a Path>,
}

pub(super) fn arguments(
    granted: &Granted,
    places: Places<'_>,
    limits: &Limits,
    timeout: Duration,
) -> Vec<PathBuf> {
    let memory = limits.memory.as_bytes();
    let memory = memory - ENGINE.min(memory / 4);
    let mut arguments: Vec<PathBuf> = vec![
        "--memory".into(),
        memory.to_string().into(),
        "--timeout".into(),
        timeout.as_millis().to_string().into(),
    ];
    for (name, Shown { at, writable }) in folders(granted, places) {
        arguments.push(if writable { "--write" } else { "--read" }.into());
        arguments.extend([name, at]);
    }
    arguments
}

/// A folder that the module may open.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    at: PathBuf,
    writable: bool,
}

/// The folders by the names that the module has for them. WASI knows folders alone: of a file that was
/// granted it is the folder that holds it, of which the view shows nothing else, or Landlock opens
/// nothing else.
fn folders(granted: &Granted, places: Places<'_>) -> BTreeMap<PathBuf, Shown> {
    let mut folders = BTreeMap::new();
    let mut show = |name: &Path, at: &Path, writable: bool| {
        let shown = folders
            .entry(name.to_owned())
            .or_insert_with(|| Shown { at: at.to_owned(), writable: false });
        shown.writable |= writable;
    };
    let all = granted.read.iter().map(|path| (path, false));
    for (path, writable) in all.chain(granted.write.iter().map(|path| (path, true))) {
        let folder = match path.is_dir() {
            true => path,
            false => path.parent().unwrap_or(path),
        };
        show(folder, folder, writable);
    }
    show(Path::new(MODULE), places.module, false);
    show(Path::new("/tmp"), places.scratch, true);
    if let Some(secrets) = places.secrets {
        show(Path::new(SECRETS), secrets, false);
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_told_by_folders() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("data")).unwrap();
        std::fs::create_dir(path("logs")).unwrap();
        std::fs::write(path("logs/one"), "").unwrap();
        std::fs::write(path("logs/two"), "").unwrap();
        let granted = Granted {
            read: vec![path("data"), path("logs/one")],
            write: vec![path("logs/two")],
            exec: Vec::new(),
        };
        let places = Places {
            module: Path::new("/module"),
            scratch: Path::new("/state/scratch/1"),
            secrets: None,
        };
        let found = arguments(&granted, places, &Limits::DEFAULT, Duration::from_secs(3));
        let expected = [
            "--memory".into(),
            (240_u64 << 20).to_string().into(),
            "--timeout".into(),
            "3000".into(),
            "--read".into(),
            "/module".into(),
            "/module".into(),
            "--write".into(),
            "/tmp".into(),
            "/state/scratch/1".into(),
            "--read".into(),
            path("data"),
            path("data"),
            "--write".into(),
            path("logs"),
            path("logs"),
        ];
        // The temporary folder may sort before or after the others.
        let sorted = |paths: &[PathBuf]| {
            let mut paths = paths.to_vec();
            paths.sort();
            paths
        };
        assert_eq!(sorted(&found), sorted(&expected));
        let small = Limits { memory: wachter_model::ByteSize::from_mib(8), ..Limits::DEFAULT };
        let found = arguments(&granted, places, &small, Duration::from_secs(3));
        assert_eq!(found[1], PathBuf::from((6_u64 << 20).to_string()));
    }
}
