use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use wachter_model::DigestWriter;
use wachter_protocol::{Manifest, ManifestError};
use wachter_trust::{ModuleDigests, ModuleDigestsError, ModuleFile};

/// A module as it lies in a folder, signed or not.
#[derive(Clone, Debug)]
pub struct ModuleFolder {
    /// What it says of itself.
    pub manifest: Manifest,
    /// What signing would write.
    pub digests: ModuleDigests,
}

/// Why a folder is no module.
#[derive(Debug, thiserror::Error)]
pub enum ModuleFolderError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest is wrong.
    #[error("{}: {fault}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What and where. Part of the message, since a place makes no sense without its file.
        fault: ManifestError,
    },
    /// Something that no module holds.
    #[error("{} is neither a file nor a folder; a module holds nothing else, so copy what it stands for", .0.display())]
    Kind(PathBuf),
    /// A name that is not text.
    #[error("{} is not UTF-8; rename it", .0.display())]
    Name(PathBuf),
    /// The list of files.
    #[error("cannot list the module's files")]
    Digests(#[source] ModuleDigestsError),
    /// The version of the manifest.
    #[error("the version `{0}` is not 1 to 64 letters, digits, `.`, `-` and `+`, as in 1.2.0")]
    Version(String),
}

/// What signing adds, and what is no part of a module.
const LEFT_OUT: [&str; 3] = ["module.digests", "module.sig", ".git"];

impl ModuleFolder {
    /// Reads the manifest and hashes every file below `folder`, but for what signing adds.
    ///
    /// # Errors
    /// See [`ModuleFolderError`].
    pub fn read(folder: &Path) -> Result<Self, ModuleFolderError> {
        let path = folder.join("module.yaml");
        let text = fs::read_to_string(&path)
            .map_err(|source| ModuleFolderError::Read { path: path.clone(), source })?;
        let manifest =
            Manifest::read(&text).map_err(|fault| ModuleFolderError::Manifest { path, fault })?;
        let version = manifest
            .version
            .parse()
            .map_err(|_| ModuleFolderError::Version(manifest.version.clone()))?;
        let mut files = BTreeMap::new();
        let mut open = vec![String::new()];
        while let Some(below) = open.pop() {
            list(folder, &below, &mut open, &mut files)?;
        }
        let digests = ModuleDigests::new(manifest.name.clone(), version, files)
            .map_err(ModuleFolderError::Digests)?;
        Ok(Self { manifest, digests })
    }
}

fn list(
    folder: &Path,
    below: &str,
    open: &mut Vec<String>,
    files: &mut BTreeMap<String, ModuleFile>,
) -> Result<(), ModuleFolderError> {
    let here = folder.join(below);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ModuleFolderError::Read { path, source }
    };
    for entry in fs::read_dir(&here).map_err(failed(&here))? {
        let entry = entry.map_err(failed(&here))?;
        let place = entry.path();
        let name =
            entry.file_name().into_string().map_err(|_| ModuleFolderError::Name(place.clone()))?;
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if LEFT_OUT.contains(&path.as_str()) {
            continue;
        }
        let metadata = entry.metadata().map_err(failed(&place))?;
        if metadata.is_dir() {
            open.push(path);
        } else if metadata.is_file() {
            let mut hash = DigestWriter::new();
            let mut file = fs::File::open(&place).map_err(failed(&place))?;
            io::copy(&mut file, &mut hash).map_err(failed(&place))?;
            let executable = metadata.permissions().mode() & 0o111 != 0;
            files.insert(path, ModuleFile { digest: hash.finish(), executable });
        } else {
            return Err(ModuleFolderError::Kind(place));
        }
    }
    Ok(())
}
