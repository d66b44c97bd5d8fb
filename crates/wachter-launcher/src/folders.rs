//! The folders of the host that a run has for itself where there are no namespaces to give it any. They
//! go with the run.

use std::path::{Path, PathBuf};

use wachter_model::RunId;

use crate::jail::user::User;
use crate::secrets::Secret;
use crate::{scratch, secret_folder};

/// Removed when dropped.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    /// What it may fill.
    scratch: Option<PathBuf>,
    /// Its secrets, where it was given any.
    secrets: Option<PathBuf>,
}

impl Folders {
    /// Makes them.
    ///
    /// # Errors
    /// A disk or a memory that is full; one sentence.
    pub(crate) fn make(
        state: &Path,
        run: RunId,
        user: &User,
        secrets: &[Secret],
    ) -> Result<Self, String> {
        let scratch = scratch::folder(state, run);
        // Whatever of them was made goes again where a step fails.
        let mut made = Self { scratch: Some(scratch.clone()), secrets: None };
        scratch::make(&scratch, user)
            .map_err(|error| format!("cannot make {}: {error}", scratch.display()))?;
        if !secrets.is_empty() {
            made.secrets = Some(secret_folder::make(state, run, user, secrets)?);
        }
        Ok(made)
    }

    pub(crate) fn secrets(&self) -> Option<PathBuf> {
        self.secrets.clone()
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        if let Some(secrets) = &self.secrets {
            secret_folder::remove(secrets);
        }
        if let Some(scratch) = &self.scratch {
            scratch::remove(scratch);
        }
    }
}
