use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use wachter_model::{Digest, DigestWriter, ModuleName};
use wachter_protocol::{Manifest, RuntimeKind};
use wachter_trust::{ModuleDigests, ModuleFile, TrustFile, verify_module};

use super::of;
use crate::failure::{CommandError, chain};
use crate::repository::Repository;

/// What signing adds, and what is no part of a module.
const LEFT_OUT: [&str; 3] = ["module.digests", "module.sig", ".git"];

/// A module in the work tree.
pub(crate) struct Folder {
    pub(crate) name: ModuleName,
    pub(crate) path: PathBuf,
    /// What the files are now.
    pub(crate) digests: ModuleDigests,
    /// `module.digests` as it stands there.
    signed: Option<Vec<u8>>,
    /// `module.sig` as it stands there.
    pub(crate) signatures: Option<Vec<u8>>,
}

/// Whether a module is signed as it is.
pub(crate) enum State {
    /// Signed by a publisher, and nothing changed.
    Current {
        /// The publisher.
        publisher: String,
    },
    /// Nobody signed it yet.
    Unsigned,
    /// Other files than were signed.
    Changed,
    /// Unchanged, and no signature counts; why.
    NotTrusted(String),
}

impl Folder {
    /// Reads `modules/NAME`, and refuses what a node would refuse.
    ///
    /// # Errors
    /// A manifest that is wrong, a file that a module cannot hold, or one that Git would not commit.
    pub(crate) fn read(repository: &Repository, name: &ModuleName) -> Result<Self, CommandError> {
        let below = format!("modules/{name}");
        let path = repository.path(&below);
        let manifest = path.join("module.yaml");
        let text = fs::read_to_string(&manifest).map_err(|error| {
            CommandError::refused(format!("{below}/module.yaml: {error}; every module needs one"))
        })?;
        let manifest = Manifest::read(&text).map_err(|error| {
            CommandError::refused(format!("{below}/module.yaml: {}", chain(&error)))
        })?;
        let files =
            list(&path).map_err(|reason| CommandError::refused(format!("{below}: {reason}")))?;
        let version = manifest.version.parse().map_err(|error| of(name, &error))?;
        let digests =
            ModuleDigests::new(name.clone(), version, files).map_err(|error| of(name, &error))?;
        let flaws = flaws(name, &manifest, &digests);
        if let Some(flaw) = flaws.first() {
            return Err(CommandError::refused(format!("{below}: {flaw}")));
        }
        ignored(repository, &below)?;
        let read = |file: &str| match fs::read(path.join(file)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CommandError::failed(format!("{below}/{file}: {error}"))),
        };
        let (signed, signatures) = (read("module.digests")?, read("module.sig")?);
        Ok(Self { name: name.clone(), path, digests, signed, signatures })
    }

    /// Whether it is signed as it is.
    pub(crate) fn state(&self, trust: &TrustFile) -> State {
        let (Some(signed), Some(signatures)) = (&self.signed, &self.signatures) else {
            return State::Unsigned;
        };
        if *signed != self.digests.render().into_bytes() {
            return State::Changed;
        }
        match verify_module(trust, signed, signatures, &self.name) {
            Ok(verified) => State::Current { publisher: verified.publisher().to_string() },
            Err(error) => State::NotTrusted(chain(&error)),
        }
    }

    /// What changed since it was signed.
    pub(crate) fn changes(&self) -> Vec<String> {
        let old = self.signed.as_deref().and_then(|text| ModuleDigests::parse(text).ok());
        let files = |digests: &ModuleDigests| -> BTreeMap<String, ModuleFile> {
            digests.files().map(|(path, file)| (path.to_owned(), *file)).collect()
        };
        let Some(old) = old else { return Vec::new() };
        let (before, after) = (files(&old), files(&self.digests));
        let mut changes = Vec::new();
        if old.version() != self.digests.version() {
            changes.push(format!("version {} -> {}", old.version(), self.digests.version()));
        }
        for (path, file) in &after {
            match before.get(path) {
                None => changes.push(format!("added {path}")),
                Some(old) if old != file => changes.push(format!("changed {path}")),
                Some(_) => {}
            }
        }
        changes.extend(
            before
                .keys()
                .filter(|path| !after.contains_key(*path))
                .map(|path| format!("removed {path}")),
        );
        changes
    }

    /// Whether what was signed before had the same version.
    pub(crate) fn has_signed_version(&self) -> bool {
        let old = self.signed.as_deref().and_then(|text| ModuleDigests::parse(text).ok());
        old.is_some_and(|old| old.version() == self.digests.version())
    }
}

impl State {
    /// In one word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Current { .. } => "current",
            Self::Unsigned => "unsigned",
            Self::Changed => "changed",
            Self::NotTrusted(_) => "not trusted",
        }
    }

    /// By whom, or why not.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Current { publisher } => format!("by {publisher}"),
            Self::Unsigned | Self::Changed => String::new(),
            Self::NotTrusted(reason) => reason.clone(),
        }
    }
}

/// What a node would find wrong with a manifest and its files.
pub(crate) fn flaws(
    name: &ModuleName,
    manifest: &Manifest,
    digests: &ModuleDigests,
) -> Vec<String> {
    let mut flaws = Vec::new();
    if manifest.name != *name {
        flaws.push(format!(
            "module.yaml names the module `{}`; the name and the folder's must agree",
            manifest.name
        ));
    }
    let entrypoint = manifest.runtime.entrypoint.as_str();
    let file = digests.file(entrypoint);
    match (manifest.runtime.kind, file) {
        (RuntimeKind::Builtin, _) => {}
        (_, None) => flaws.push(format!("the entrypoint `{entrypoint}` is not among the files")),
        (RuntimeKind::Process, Some(file)) if !file.executable => {
            flaws.push(format!("the entrypoint `{entrypoint}` may not be executed; `chmod +x` it"));
        }
        _ => {}
    }
    let named =
        manifest.input.iter().map(|input| &input.file).chain(&manifest.runtime.requirements);
    for file in named.filter(|file| digests.file(file.as_str()).is_none()) {
        flaws.push(format!("module.yaml names `{}`, which is not among the files", file.as_str()));
    }
    flaws
}

/// The files, by the launcher's rules: all regular files, whatever their names, and nothing else.
fn list(folder: &Path) -> Result<BTreeMap<String, ModuleFile>, String> {
    let mut files = BTreeMap::new();
    let mut open = vec![String::new()];
    while let Some(below) = open.pop() {
        let listed =
            fs::read_dir(folder.join(&below)).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for entry in listed.map_err(|error| format!("`{below}` cannot be listed: {error}"))? {
            let name = entry.file_name().into_string();
            let name =
                name.map_err(|name| format!("the file name {name:?} is not UTF-8; rename it"))?;
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            if LEFT_OUT.contains(&path.as_str()) {
                continue;
            }
            // Of the entry itself: a link is not followed.
            let metadata = entry.metadata().map_err(|error| format!("`{path}`: {error}"))?;
            if metadata.is_dir() {
                open.push(path);
            } else if metadata.is_file() {
                let digest = hash(&entry.path()).map_err(|error| format!("`{path}`: {error}"))?;
                let executable = metadata.permissions().mode() & 0o111 != 0;
                files.insert(path, ModuleFile { digest, executable });
            } else {
                return Err(format!(
                    "`{path}` is neither a file nor a folder; a module holds nothing else"
                ));
            }
        }
    }
    Ok(files)
}

fn hash(path: &Path) -> io::Result<Digest> {
    let mut writer = DigestWriter::new();
    io::copy(&mut fs::File::open(path)?, &mut writer)?;
    Ok(writer.finish())
}

/// Signed files that Git leaves out would be missing at every node.
fn ignored(repository: &Repository, below: &str) -> Result<(), CommandError> {
    let arguments = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", below];
    let listed = repository.git().run(&arguments, b"")?;
    let listed = String::from_utf8_lossy(&listed);
    let left_out = [format!("{below}/module.digests"), format!("{below}/module.sig")];
    let paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    match paths.iter().find(|path| left_out.iter().any(|file| file == *path)) {
        Some(path) => Err(CommandError::refused(format!(
            "{path} is ignored by Git; take it out of .gitignore"
        ))),
        None if paths.is_empty() => Ok(()),
        None => Err(CommandError::refused(format!(
            "Git ignores {}, which would be part of the module and missing at every node; remove it, or take it out of .gitignore",
            paths.iter().take(5).copied().collect::<Vec<_>>().join(", ")
        ))),
    }
}
