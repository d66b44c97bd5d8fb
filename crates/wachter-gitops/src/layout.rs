use std::path::{Path, PathBuf};
use std::{fs, io};

use wachter_file::{Readers, replace_durably};

use crate::references::{References, ReferencesError};

/// What can make a Git repository show other objects than those that were named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// `objects/info/alternates`: objects of another repository.
    Alternates,
    /// `info/grafts`: other parents than a commit names.
    Grafts,
    /// `shallow`: commits shown without their parents.
    Shallow,
    /// `refs/replace/`: other objects than were asked for.
    Replacements,
    /// A reference that was not brought by a fetch.
    Reference,
    /// A symbolic link where a folder of the repository should be.
    Link,
}

/// Why the node's own repository cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The file system said no.
    #[error("`{path}` cannot be read or made")]
    File {
        /// Where.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Somebody put something there that changes what Git shows.
    #[error(
        "`{path}` ({what}) was not put there by a fetch; find out who did, then remove the whole repository and let it be fetched again"
    )]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What it does.
        what: Foreign,
    },
}

/// Makes the folders and files of a bare repository where they are missing.
pub(crate) fn create(repository: &Path) -> Result<(), LayoutError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| LayoutError::File { path, source }
    };
    for folder in ["objects/pack", "objects/info", "refs", "incoming"] {
        let folder = repository.join(folder);
        fs::create_dir_all(&folder).map_err(at(&folder))?;
    }
    // Read by nobody here; with them `git` itself can look into the repository.
    for (name, content) in [
        ("HEAD", "ref: refs/heads/none\n"),
        ("config", "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[gc]\n\tauto = 0\n"),
    ] {
        let file = repository.join(name);
        if !file.exists() {
            // Whole or not at all: a worker can be killed here as anywhere.
            replace_durably(&file, content.as_bytes(), Readers::Owner).map_err(at(&file))?;
        }
    }
    Ok(())
}

/// Checks that a repository holds only what a fetch put there, and returns its references.
pub(crate) fn inspect(repository: &Path) -> Result<References, LayoutError> {
    for (name, what) in [
        ("objects/info/alternates", Foreign::Alternates),
        ("objects/info/http-alternates", Foreign::Alternates),
        ("info/grafts", Foreign::Grafts),
        ("shallow", Foreign::Shallow),
        ("refs/replace", Foreign::Replacements),
    ] {
        let path = repository.join(name);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(LayoutError::Foreign { path, what });
        }
    }
    for name in ["objects", "objects/pack", "objects/info", "refs", "incoming"] {
        let path = repository.join(name);
        match fs::symlink_metadata(&path) {
            Ok(data) if data.is_dir() => {}
            Ok(_) => return Err(LayoutError::Foreign { path, what: Foreign::Link }),
            Err(source) => return Err(LayoutError::File { path, source }),
        }
    }
    let refs = repository.join("refs");
    let file = |source| LayoutError::File { path: refs.clone(), source };
    if let Some(entry) = fs::read_dir(&refs).map_err(file)?.next() {
        let path = entry.map_err(file)?.path();
        return Err(LayoutError::Foreign { path, what: Foreign::Reference });
    }
    References::load(repository).map_err(|error| {
        let path = repository.join("packed-refs");
        match error {
            ReferencesError::Read(source) => LayoutError::File { path, source },
            ReferencesError::Foreign { .. } => {
                LayoutError::Foreign { path, what: Foreign::Reference }
            }
        }
    })
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Alternates => "objects of another repository",
            Self::Grafts => "other parents for commits",
            Self::Shallow => "history cut short",
            Self::Replacements => "replaced objects",
            Self::Reference => "a reference",
            Self::Link => "not a folder",
        })
    }
}
