use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use wachter_config::{Catalogue, Module, Problem, ProblemSeverity, Problems, Sources};
use wachter_gitops::Snapshot;
use wachter_model::{ModuleName, NodeName, SecretName};
use wachter_runtime::configured_module;

use crate::failure::CommandError;
use crate::repository::Repository;

/// The texts of `config/` and what the modules say of themselves: of the work tree or of a commit.
pub(crate) struct Tree {
    files: Vec<(String, String)>,
    modules: BTreeMap<ModuleName, Module>,
    /// The files below `config/` that are encrypted.
    sealed: BTreeSet<String>,
}

impl Tree {
    /// As it is on disk, committed or not.
    ///
    /// # Errors
    /// A file cannot be read, or is not UTF-8.
    pub(crate) fn of_work_tree(repository: &Repository) -> Result<Self, CommandError> {
        let (mut files, mut sealed) = (Vec::new(), BTreeSet::new());
        collect(&repository.path("config"), "config", &mut files, &mut sealed)?;
        files.sort();
        let modules = repository.modules()?.into_iter().map(|name| {
            let read = |file: &str| {
                fs::read_to_string(repository.path(&format!("modules/{name}/{file}"))).ok()
            };
            let module = configured_module(read);
            (name, module)
        });
        let modules = modules.collect();
        Ok(Self { files, modules, sealed })
    }

    /// As a commit has it. Files that are no text are told in `problems`.
    ///
    /// # Errors
    /// An object cannot be read.
    pub(crate) fn of_snapshot(
        snapshot: &Snapshot,
        problems: &mut Vec<String>,
    ) -> Result<Self, CommandError> {
        let (mut files, mut sealed) = (Vec::new(), BTreeSet::new());
        for file in snapshot.list("config/") {
            // Secrets are bytes to everyone without the key.
            if file.path.ends_with(".age") {
                sealed.insert(file.path.to_owned());
                continue;
            }
            match String::from_utf8(snapshot.read(file.path)?) {
                Ok(text) => files.push((file.path.to_owned(), text)),
                Err(_) => problems.push(format!("{}: it is not UTF-8", file.path)),
            }
        }
        let names = snapshot.list("modules/").filter_map(|file| {
            let (name, _) = file.path.strip_prefix("modules/")?.split_once('/')?;
            name.parse::<ModuleName>().ok()
        });
        // Once each, however many files a module has.
        let names: BTreeSet<ModuleName> = names.collect();
        let modules = names.into_iter().map(|name| {
            let read = |file: &str| {
                String::from_utf8(snapshot.read(&format!("modules/{name}/{file}")).ok()?).ok()
            };
            let module = configured_module(read);
            (name, module)
        });
        let modules = modules.collect();
        Ok(Self { files, modules, sealed })
    }

    /// The secrets that modules ask for, and which ask.
    pub(crate) fn asked_secrets(&self) -> BTreeMap<SecretName, BTreeSet<ModuleName>> {
        let mut asked: BTreeMap<SecretName, BTreeSet<ModuleName>> = BTreeMap::new();
        for (module, described) in &self.modules {
            let secrets = described.manifest.iter().flat_map(|it| &it.permissions.secrets);
            for secret in secrets {
                asked.entry(secret.clone()).or_default().insert(module.clone());
            }
        }
        asked
    }

    /// What modules ask for and is not there: a run of such a module would be refused.
    pub(crate) fn missing_secrets(&self) -> Vec<Problem> {
        let asked = self.asked_secrets().into_iter();
        let missing =
            asked.filter(|(name, _)| !self.sealed.contains(&format!("config/secrets/{name}.age")));
        let problem = |name: &SecretName, module: &ModuleName| Problem {
            severity: ProblemSeverity::Error,
            path: format!("modules/{module}/module.yaml"),
            line: 0,
            column: 0,
            message: format!(
                "it asks for the secret `{name}`, and config/secrets/{name}.age is missing; make it with `wachter secret set {name}`"
            ),
            snippet: String::new(),
        };
        missing
            .flat_map(|(name, modules)| {
                modules.into_iter().map(move |module| problem(&name, &module)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// What it comes to: for a host, or, without one, with every file checked and none left out.
    pub(crate) fn catalogue(
        &self,
        host: Option<NodeName>,
        labels: BTreeMap<String, String>,
    ) -> Result<Catalogue, Problems> {
        Catalogue::load(&self.sources(host, labels))
    }

    /// What the repository alone says.
    pub(crate) fn sources(
        &self,
        host: Option<NodeName>,
        labels: BTreeMap<String, String>,
    ) -> Sources<'_> {
        Sources {
            files: self.files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect(),
            host,
            labels,
            modules: self.modules.clone(),
            ..Sources::default()
        }
    }
}

fn collect(
    folder: &Path,
    path: &str,
    files: &mut Vec<(String, String)>,
    sealed: &mut BTreeSet<String>,
) -> Result<(), CommandError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| {
            CommandError::failed(format!("{path}/{} is not UTF-8; rename it", name.display()))
        })?;
        let path = format!("{path}/{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &path, files, sealed)?;
        } else if path.ends_with(".age") {
            sealed.insert(path);
        } else {
            let text = fs::read_to_string(entry.path())
                .map_err(|error| CommandError::failed(format!("{path}: {error}")))?;
            files.push((path, text));
        }
    }
    Ok(())
}
