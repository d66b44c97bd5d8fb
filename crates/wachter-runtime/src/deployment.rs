use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use wachter_config::{Catalogue, ConfigError, ProblemSeverity, Settings, Sources};
use wachter_model::{Digest, ModuleName, NodeName, chain};
use wachter_protocol::{Allowance, Excess, Grant, Manifest};
use wachter_trust::{ModuleDigests, TrustFile};

use crate::secret_files;

/// A file of an accepted release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseFile {
    /// Its path in the repository.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// What a release comes to on this host.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The release's sequence number.
    pub sequence: u64,
    /// The serial of the trust file that its modules were judged by.
    pub trust_serial: u64,
    /// The modules by name.
    pub modules: BTreeMap<ModuleName, StandingModule>,
    /// What is to be done.
    pub catalogue: Catalogue,
}

/// A module of the release, and whether it may run here.
#[derive(Clone, Debug)]
pub struct StandingModule {
    /// Which version, where it could be read.
    pub version: String,
    /// Whether it may run.
    pub standing: ModuleStanding,
}

/// Whether a module may run.
#[derive(Clone, Debug)]
pub enum ModuleStanding {
    /// It may.
    Ready {
        /// The digest of its list of digests.
        digest: Digest,
        /// What it is.
        manifest: Box<Manifest>,
        /// What it may touch.
        grant: Box<Grant>,
    },
    /// It may as soon as something is there that the node sees to, such as its environment. Its agents
    /// wait for that; what is meant for them stays in the journal.
    Waiting {
        /// The digest of its list of digests.
        digest: Digest,
        /// What it is.
        manifest: Box<Manifest>,
        /// What it may touch.
        grant: Box<Grant>,
        /// What it waits for: one sentence.
        reason: String,
        /// Whether that was tried and failed, so that a person may have to do something.
        failing: bool,
    },
    /// It may not: one sentence that says why and what to do.
    Refused(String),
}

impl StandingModule {
    /// Why it may not run; none where it may, now or soon.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.standing {
            ModuleStanding::Ready { .. } | ModuleStanding::Waiting { .. } => None,
            ModuleStanding::Refused(reason) => Some(reason),
        }
    }

    /// What it waits for before it may run; none where it may, and where it may not at all.
    #[must_use]
    pub fn waits_for(&self) -> Option<&str> {
        match &self.standing {
            ModuleStanding::Waiting { reason, .. } => Some(reason),
            ModuleStanding::Ready { .. } | ModuleStanding::Refused(_) => None,
        }
    }

    /// Whether it waits for something that failed, so that a person may have to do something.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        matches!(self.standing, ModuleStanding::Waiting { failing: true, .. })
    }
}

/// Why a release cannot be deployed at all.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// Its configuration is wrong.
    #[error("the configuration is invalid: {}", list(.0))]
    Config(Vec<ConfigError>),
    /// A file that should be text is none.
    #[error("{0} is not UTF-8")]
    NotText(String),
    /// The node's own disk.
    #[error("cannot write {}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn list(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What of this host its configuration depends on.
#[derive(Clone, Debug)]
pub struct HostLayers<'a> {
    /// Its name; without one, no `config/hosts/` file is for it.
    pub node: Option<NodeName>,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// What its owner allows each module.
    pub grants: &'a BTreeMap<ModuleName, Allowance>,
    /// The local file: its path and its text, of which `settings` is read.
    pub local: (&'a str, &'a str),
    /// Environment variables that may be settings.
    pub environment: &'a [(String, String)],
    /// Settings of the command line: dotted paths and values.
    pub flags: &'a [(String, String)],
}

/// A module as configuration looks at it: what it is, and what it says its input must be. `read` gives
/// the text of a file of it. One whose manifest cannot be read is there all the same, which is all
/// that agents need; that it is wrong is judged elsewhere.
#[must_use]
pub fn configured_module(read: impl Fn(&str) -> Option<String>) -> wachter_config::Module {
    let manifest = read("module.yaml").and_then(|text| Manifest::read(&text).ok());
    let input = manifest.as_ref().and_then(|manifest| manifest.input.as_ref());
    let input_schema = input.and_then(|input| read(input.file.as_str()));
    wachter_config::Module { manifest, input_schema }
}

/// The folder of modules in the managed repository.
const MODULES: &str = "modules/";

impl Deployment {
    /// The settings alone that files of a release come to on this host; of none at all, those of the
    /// host.
    ///
    /// # Errors
    /// See [`DeploymentError`].
    pub fn settings(
        files: &[ReleaseFile],
        host: &HostLayers<'_>,
    ) -> Result<Settings, DeploymentError> {
        let (folders, config) = sort(files)?;
        let modules = folders.iter().filter_map(|(folder, files)| {
            let name = folder.parse().ok()?;
            Some((name, configured_module(|path| text_of(files, path).map(str::to_owned))))
        });
        Ok(catalogue(config, modules.collect(), host)?.settings().clone())
    }

    /// Works a release out and puts its modules into `data/modules/<digest>/` and the files of its
    /// secrets into `data/secrets/`, from where the launcher takes them.
    ///
    /// A module that is wrong costs itself; a configuration that is wrong costs the release, since
    /// half of it could be worse than the one before.
    ///
    /// # Errors
    /// See [`DeploymentError`].
    pub fn prepare(
        sequence: u64,
        files: &[ReleaseFile],
        trust: &TrustFile,
        host: &HostLayers<'_>,
        data: &Path,
    ) -> Result<Self, DeploymentError> {
        let (folders, config) = sort(files)?;
        let (mut modules, mut configured) = (BTreeMap::new(), BTreeMap::new());
        for (folder, files) in folders {
            // Notes beside modules are no modules.
            let Ok(name) = folder.parse::<ModuleName>() else { continue };
            let described = configured_module(|path| text_of(&files, path).map(str::to_owned));
            let module = match judge(&name, &files, trust, host.grants.get(&name)) {
                Ok((digests, manifest, grant)) => {
                    let digest = digests.digest();
                    store(&data.join("modules"), &digests, &files)?;
                    let version = manifest.version.clone();
                    let (manifest, grant) = (Box::new(manifest), Box::new(grant));
                    StandingModule {
                        version,
                        standing: ModuleStanding::Ready { digest, manifest, grant },
                    }
                }
                Err(reason) => StandingModule {
                    version: described
                        .manifest
                        .as_ref()
                        .map(|manifest| manifest.version.clone())
                        .unwrap_or_default(),
                    standing: ModuleStanding::Refused(reason),
                },
            };
            configured.insert(name.clone(), described);
            modules.insert(name, module);
        }
        let catalogue = catalogue(config, configured, host)?;
        // Last: a release that is passed over changes nothing.
        secret_files::keep(data, files)
            .map_err(|source| DeploymentError::Write { path: data.join("secrets"), source })?;
        Ok(Self { sequence, trust_serial: trust.serial(), modules, catalogue })
    }
}

type Folders<'f> = BTreeMap<&'f str, Vec<(&'f str, &'f [u8])>>;
type Texts<'f> = Vec<(&'f str, &'f str)>;

/// The folders of modules, and the files of the configuration.
fn sort(files: &[ReleaseFile]) -> Result<(Folders<'_>, Texts<'_>), DeploymentError> {
    let mut folders: Folders<'_> = BTreeMap::new();
    let mut config = Vec::new();
    for file in files {
        if let Some((module, path)) =
            file.path.strip_prefix(MODULES).and_then(|path| path.split_once('/'))
        {
            folders.entry(module).or_default().push((path, &file.content));
        } else if file.path.starts_with("config/") && !file.path.ends_with(".age") {
            let text = std::str::from_utf8(&file.content)
                .map_err(|_| DeploymentError::NotText(file.path.clone()))?;
            config.push((file.path.as_str(), text));
        }
    }
    Ok((folders, config))
}

fn pairs(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// What the configuration says on this host.
fn catalogue(
    config: Texts<'_>,
    modules: BTreeMap<ModuleName, wachter_config::Module>,
    host: &HostLayers<'_>,
) -> Result<Catalogue, DeploymentError> {
    let sources = Sources {
        files: config,
        local: Some(host.local),
        environment: pairs(host.environment),
        flags: pairs(host.flags),
        host: host.node.clone(),
        labels: host.labels.clone(),
        modules,
        grants: Some(host.grants.clone()),
    };
    Catalogue::load(&sources).map_err(|problems| {
        let errors = problems.0.into_iter();
        DeploymentError::Config(
            errors.filter(|problem| problem.severity == ProblemSeverity::Error).collect(),
        )
    })
}

fn text_of<'f>(files: &[(&str, &'f [u8])], wanted: &str) -> Option<&'f str> {
    let (_, content) = files.iter().find(|(path, _)| *path == wanted)?;
    std::str::from_utf8(content).ok()
}

type Judged = (ModuleDigests, Manifest, Grant);

/// The same questions that the launcher asks, so that a person hears the answer before a run.
fn judge(
    name: &ModuleName,
    files: &[(&str, &[u8])],
    trust: &TrustFile,
    allowance: Option<&Allowance>,
) -> Result<Judged, String> {
    let find =
        |wanted: &str| files.iter().find(|(path, _)| *path == wanted).map(|(_, content)| *content);
    let (Some(digests), Some(signature)) = (find("module.digests"), find("module.sig")) else {
        return Err(format!(
            "`{name}` is not signed; run `wachter sign {name}` and make a new release"
        ));
    };
    let verified = wachter_trust::verify_module(trust, digests, signature, name)
        .map_err(|error| chain(&error))?;
    let digests = verified.digests().clone();
    for (path, file) in digests.files() {
        match find(path) {
            None => {
                return Err(format!(
                    "`{path}` was signed and is missing; run `wachter sign {name}` and make a new release"
                ));
            }
            Some(content) if Digest::of(content) != file.digest => {
                return Err(format!(
                    "`{path}` is not what was signed; run `wachter sign {name}` and make a new release"
                ));
            }
            Some(_) => {}
        }
    }
    let text = find("module.yaml").and_then(|text| std::str::from_utf8(text).ok());
    let text = text
        .filter(|_| digests.file("module.yaml").is_some())
        .ok_or("module.yaml is missing or not UTF-8")?;
    let manifest = Manifest::read(text).map_err(|error| format!("module.yaml {error}"))?;
    if manifest.name != *name || manifest.version != digests.version().to_string() {
        return Err(format!(
            "module.yaml says {} {}, signed was {name} {}; sign it again",
            manifest.name,
            manifest.version,
            digests.version()
        ));
    }
    let grant = Grant::decide(digests.digest(), &manifest, allowance).map_err(|excess| {
        format!("asks for more than this host grants: {}; add it under `grants.{name}` in the local file to allow it", Excess::list(&excess))
    })?;
    Ok((digests, manifest, grant))
}

/// Writes a module's files, whole or not at all.
fn store(
    modules: &Path,
    digests: &ModuleDigests,
    files: &[(&str, &[u8])],
) -> Result<(), DeploymentError> {
    let place = modules.join(digests.digest().to_string());
    if is_whole(&place, files) {
        return Ok(());
    }
    let building = modules.join(format!(".new-{}", digests.digest()));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DeploymentError::Write { path, source }
    };
    if building.exists() {
        fs::remove_dir_all(&building).map_err(failed(&building))?;
    }
    for (path, content) in files {
        let target = building.join(path);
        let folder = target.parent().unwrap_or(&building);
        fs::create_dir_all(folder).map_err(failed(folder))?;
        fs::write(&target, content).map_err(failed(&target))?;
        let executable = digests.file(path).is_some_and(|file| file.executable);
        let mode = fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 });
        fs::set_permissions(&target, mode).map_err(failed(&target))?;
    }
    // What a power loss left without its content.
    if place.exists() {
        fs::remove_dir_all(&place).map_err(failed(&place))?;
    }
    fs::rename(&building, &place).map_err(failed(&place))
}

/// Whether a module's files lie in a folder as they should.
fn is_whole(folder: &Path, files: &[(&str, &[u8])]) -> bool {
    files
        .iter()
        .all(|(path, content)| fs::read(folder.join(path)).is_ok_and(|found| found == *content))
}
