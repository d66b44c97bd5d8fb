use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use wachter_model::ModuleName;
use wachter_protocol::{Manifest, RuntimeKind};
use wachter_runtime::ModuleFolder;
use wachter_trust::{ModuleDigests, ModuleFile, TrustFile, verify_module};

use crate::failure::{CommandError, chain};
use crate::repository::Repository;

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
        let ModuleFolder { manifest, digests } = ModuleFolder::read(&path).map_err(|error| {
            let reason = chain(&error);
            let reason = reason.replace(&format!("{}/", path.display()), "");
            CommandError::refused(format!("{below}: {reason}"))
        })?;
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
