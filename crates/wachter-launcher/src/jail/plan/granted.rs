//! The paths that a grant names, and what may never be among them.

use std::path::{Path, PathBuf};

use wachter_protocol::{AbsolutePath, Permissions};

use super::real;
use crate::jail::view::SECRETS;

/// The paths of a grant, as it names them.
pub(super) struct Granted {
    pub(super) read: Vec<PathBuf>,
    pub(super) write: Vec<PathBuf>,
    pub(super) exec: Vec<PathBuf>,
}

impl Granted {
    pub(super) fn of(permissions: &Permissions) -> Self {
        let paths = |paths: &std::collections::BTreeSet<AbsolutePath>| -> Vec<PathBuf> {
            paths.iter().map(|path| path.as_path().to_owned()).collect()
        };
        Self {
            read: paths(&permissions.filesystem.read),
            write: paths(&permissions.filesystem.write),
            exec: paths(&permissions.exec),
        }
    }

    /// What to cover of the paths that may be read. A path that may be written or executed and holds
    /// something forbidden is refused: covering hides what is there now, and not what is made, or moved
    /// there, later. So is any such path without namespaces, where nothing can be covered.
    pub(super) fn masks(
        &self,
        forbidden: &[PathBuf],
        namespaces: bool,
    ) -> Result<Vec<PathBuf>, String> {
        let mut masks = Vec::new();
        let readable = self.read.iter().chain(&self.exec).map(|path| (path, namespaces));
        for (granted, coverable) in readable.chain(self.write.iter().map(|path| (path, false))) {
            if granted == Path::new("/") {
                return Err(
                    "`/` as a whole can never be granted; grant the folders that are needed"
                        .to_owned(),
                );
            }
            no_other_name(granted, forbidden)?;
            for forbidden in forbidden {
                if granted.starts_with(forbidden) {
                    return Err(format!(
                        "{} can never be granted: it is {}, or lies in it; take it out of the grant",
                        granted.display(),
                        forbidden.display()
                    ));
                }
                if forbidden.starts_with(granted) {
                    if !coverable {
                        return Err(format!(
                            "{} holds {}, which can never be granted and cannot be covered here; \
                             grant the folders beside it one by one",
                            granted.display(),
                            forbidden.display()
                        ));
                    }
                    masks.push(forbidden.clone());
                }
            }
        }
        masks.sort();
        masks.dedup();
        Ok(masks)
    }

    /// A folder of the host that is shown where secrets are would be shown instead of them, or they in
    /// it.
    pub(super) fn nothing_covers_secrets(&self) -> Result<(), String> {
        let secrets = Path::new(SECRETS);
        let near = |path: &&PathBuf| path.starts_with(secrets) || secrets.starts_with(path);
        match self.read.iter().chain(&self.write).chain(&self.exec).find(near) {
            Some(path) => Err(format!(
                "{} cannot be granted beside secrets, which are shown in {SECRETS}; grant the folders that are needed one by one",
                path.display()
            )),
            None => Ok(()),
        }
    }
}

/// Another name for something forbidden is no way around.
fn no_other_name(granted: &Path, forbidden: &[PathBuf]) -> Result<(), String> {
    let real = real(granted);
    let near = |path: &&PathBuf| real.starts_with(path) || path.starts_with(&real);
    match forbidden.iter().find(near).filter(|_| real != *granted) {
        Some(forbidden) => Err(format!(
            "{} leads to {}, and {} can never be granted; grant other folders by their real names",
            granted.display(),
            real.display(),
            forbidden.display()
        )),
        None => Ok(()),
    }
}
