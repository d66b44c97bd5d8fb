//! The build of an environment: a folder that the build alone may write, and the lock that keeps others
//! from building the same.
//!
//! Layout: `building/<run>/` below the launcher's state, with `site/` for what is installed and
//! `cache/` for what was downloaded. It goes with the build, however that ends.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use wachter_model::{Digest, RunId};

use crate::authority::Environment;
use crate::jail::user::User;
use crate::scratch;

/// A build under way.
#[derive(Debug)]
pub(crate) struct Building {
    pub(crate) environment: Environment,
    /// The module that asks for it.
    pub(crate) module: Digest,
    /// The most bytes of it.
    pub(crate) most_bytes: u64,
    folder: PathBuf,
    _lock: File,
}

impl Building {
    /// Makes the folder, for the build's user alone.
    ///
    /// # Errors
    /// The disk is full; one sentence.
    pub(crate) fn make(
        state: &Path,
        run: RunId,
        user: &User,
        environment: Environment,
        module: Digest,
        most_bytes: u64,
        lock: File,
    ) -> Result<Self, String> {
        let all = state.join("building");
        let folder = all.join(run.to_string());
        let failed = |error: io::Error| format!("cannot make {}: {error}", folder.display());
        match fs::DirBuilder::new().mode(0o711).create(&all) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        // From here on it goes again where a step fails.
        let made = Self { environment, module, most_bytes, folder: folder.clone(), _lock: lock };
        for name in ["site", "cache"] {
            fs::DirBuilder::new().mode(0o700).create(folder.join(name)).map_err(failed)?;
        }
        if user.groups.is_some() {
            for path in [folder.join("site"), folder.join("cache"), folder.clone()] {
                chown(path, Some(user.uid), Some(user.gid)).map_err(failed)?;
            }
        }
        Ok(made)
    }

    /// What the build may write.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it installs.
    pub(crate) fn site(&self) -> PathBuf {
        self.folder.join("site")
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        scratch::remove(&self.folder);
    }
}

/// Removes what a launcher left that was killed. None of its builds is alive.
pub(crate) fn sweep(state: &Path) {
    for entry in fs::read_dir(state.join("building")).into_iter().flatten().flatten() {
        scratch::remove(&entry.path());
    }
}
