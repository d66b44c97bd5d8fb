//! The managed repository as its author has it: a work tree with `config/`, `modules/` and `trust/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use wachter_file::{Readers, replace_durably};
use wachter_gitops::{LocalRepository, TreeLimits};
use wachter_model::ModuleName;
use wachter_trust::{TagObject, TrustFile};

use crate::failure::{CommandError, chain};
use crate::git::Git;

/// The trust file, and the signatures of the roots.
pub(crate) const TRUST: &str = "trust/trust.yaml";
pub(crate) const TRUST_SIGNATURES: &str = "trust/trust.yaml.sig";

/// Where the managed repository is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RepositoryOptions {
    /// The managed repository [default: the one that the present folder lies in]
    #[arg(long, value_name = "DIR")]
    pub(crate) repository: Option<PathBuf>,
}

/// A managed repository with its work tree.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    git: Git,
}

impl Repository {
    /// Finds the repository.
    ///
    /// # Errors
    /// The folder lies in no Git repository, or in one without a trust file.
    pub(crate) fn open(options: &RepositoryOptions) -> Result<Self, CommandError> {
        let start = options.repository.clone().unwrap_or_else(|| PathBuf::from("."));
        let Some(git) = Git::discover(&start)? else {
            return Err(CommandError::failed(format!(
                "{} lies in no Git repository; set one up with `wachter init`, or name it with --repository",
                start.display()
            )));
        };
        if !git.folder().join(TRUST).is_file() {
            return Err(CommandError::failed(format!(
                "{} has no {TRUST}, so it is no managed repository; set it up with `wachter init`",
                git.folder().display()
            )));
        }
        Ok(Self { git })
    }

    /// `git` at its root.
    pub(crate) fn git(&self) -> &Git {
        &self.git
    }

    /// Its objects, read as a node reads them.
    ///
    /// # Errors
    /// They cannot be opened, or are named by SHA-256, which no node reads.
    pub(crate) fn objects(&self) -> Result<LocalRepository, CommandError> {
        let format = self.git.text(&["rev-parse", "--show-object-format"])?;
        if format != "sha1" {
            return Err(CommandError::refused(format!(
                "the repository names its objects by {format}, and nodes read sha1; \
                 make it anew with `git init --object-format=sha1`"
            )));
        }
        let objects = self.git.text(&["rev-parse", "--git-path", "objects"])?;
        Ok(LocalRepository::open(&self.path(&objects), TreeLimits::default())?)
    }

    /// A path from the root.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.git.folder().join(path)
    }

    /// The trust file of the work tree as it stands there, and its signatures; none where there is
    /// no file of them.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn trust_texts(&self) -> Result<(Vec<u8>, Vec<u8>), CommandError> {
        let signatures = self.path(TRUST_SIGNATURES);
        let signatures = match fs::read(&signatures) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(|error| at(&signatures, &error))?,
        };
        let trust = self.path(TRUST);
        Ok((fs::read(&trust).map_err(|error| at(&trust, &error))?, signatures))
    }

    /// The trust file of the work tree, checked in itself. Whether the roots signed it is another
    /// question.
    ///
    /// # Errors
    /// A file that cannot be read or makes no sense.
    pub(crate) fn trust(&self) -> Result<TrustFile, CommandError> {
        let (bytes, _) = self.trust_texts()?;
        TrustFile::parse(&bytes)
            .map_err(|error| CommandError::refused(format!("{TRUST}: {}", chain(&error))))
    }

    /// The modules of the work tree: the folders of `modules/`, sorted.
    ///
    /// # Errors
    /// A folder that is not named as modules are.
    pub(crate) fn modules(&self) -> Result<Vec<ModuleName>, CommandError> {
        let folder = self.path("modules");
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| at(&folder, &error))?,
        };
        let mut modules = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let parsed = name.parse();
                modules.push(parsed.map_err(|error| {
                    CommandError::failed(format!(
                        "modules/{}: {}; rename the folder",
                        name.escape_debug(),
                        chain(&error)
                    ))
                })?);
            }
        }
        modules.sort();
        Ok(modules)
    }

    /// Every signed tag below `wachter/` whose name is the one that it holds. Others are no
    /// releases, whoever made them, and nodes pass over them too.
    ///
    /// # Errors
    /// `git` fails.
    pub(crate) fn tags(&self, objects: &LocalRepository) -> Result<Vec<TagObject>, CommandError> {
        let format = "--format=%(objecttype) %(objectname) %(refname:lstrip=2)";
        let listed = self.git.text(&["for-each-ref", format, "refs/tags/wachter/"])?;
        let mut tags = Vec::new();
        for line in listed.lines() {
            let Some(("tag", rest)) = line.split_once(' ') else { continue };
            let Some((id, name)) = rest.split_once(' ') else { continue };
            tags.extend(objects.tag(name, id.parse()?).ok());
        }
        Ok(tags)
    }
}

/// Replaces a file, so that it holds the old or the new content whatever happens.
///
/// # Errors
/// A folder that cannot be written.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), CommandError> {
    replace_durably(path, content, Readers::Mask).map_err(|error| at(path, &error))
}

fn at(path: &Path, error: &io::Error) -> CommandError {
    CommandError::failed(format!("{}: {error}", path.display()))
}
