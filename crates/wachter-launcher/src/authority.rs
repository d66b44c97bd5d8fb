//! Whether a run may begin: trust, signature, digest and grant, worked out here from what the owner
//! of the host and the signers said, and from nothing that the node says.
//!
//! Layout of what is read: the local file; `trust/trust.yaml` and `.sig` and `modules/<digest>/`
//! below the node's data folder; the launcher's own state with the last accepted trust file, below
//! which no older one is taken.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wachter_model::{Digest, ModuleName, chain};
use wachter_protocol::launcher::{Launch, RefusalKind};
use wachter_protocol::{AbsolutePath, Excess, Grant, LocalFile, Manifest, Python, RuntimeKind};
use wachter_trust::{ModuleDigests, PreviousTrust, Roots, TrustFile, ValidityClock};

use crate::compiled::Compiled;
use crate::entry;
use crate::environments::{self, Environments};
use crate::interpreter::Interpreter;
use crate::jail::plan::Program;
use crate::kept::Kept;
use crate::secrets::{self, Secret, SecretError};
use crate::store::Store;

/// The most bytes of a file that is read whole.
const MAX_FILE: u64 = 4 << 20;

/// Why a run may not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

/// A module that is signed, or need not be, and whose files are yet to be checked.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) digests: ModuleDigests,
    /// Where the node has them.
    pub(crate) source: PathBuf,
}

/// What may begin.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) manifest: Manifest,
    pub(crate) grant: Grant,
    pub(crate) folder: PathBuf,
    pub(crate) program: Program,
    /// The environment that it needs.
    pub(crate) environment: Option<Environment>,
}

/// The environment of a Python module, there or not.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    pub(crate) key: Digest,
    pub(crate) interpreter: Interpreter,
    /// The lock file, a file of the module.
    pub(crate) requirements: String,
}

/// Whose code may run.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// Modules that a publisher signed, from the node's data folder.
    Signed {
        /// The node's data folder.
        data: PathBuf,
    },
    /// The one module in this folder, unsigned, for the user who asks.
    Development {
        /// The module's folder.
        folder: PathBuf,
    },
}

/// The judge.
pub(crate) struct Authority {
    mode: Mode,
    local: LocalFile,
    state: PathBuf,
    store: Store,
    compiled: Compiled,
    builtin: PathBuf,
    environments: Environments,
    kept: Kept,
}

/// What is kept of trust between starts.
#[derive(Debug, Serialize, Deserialize)]
struct Floor {
    serial: u64,
    digest: Digest,
    judged_at: Timestamp,
}

impl Authority {
    pub(crate) fn new(
        mode: Mode,
        local: LocalFile,
        state: PathBuf,
        store: Store,
        compiled: Compiled,
        builtin: PathBuf,
        environments: Environments,
    ) -> Self {
        Self { mode, local, state, store, compiled, builtin, environments, kept: Kept::default() }
    }

    pub(crate) fn local(&self) -> &LocalFile {
        &self.local
    }

    pub(crate) fn replace_local(&mut self, local: LocalFile) {
        self.local = local;
        self.kept = Kept::default();
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn environments(&self) -> &Environments {
        &self.environments
    }

    pub(crate) fn environments_mut(&mut self) -> &mut Environments {
        &mut self.environments
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Opens the secrets that a run was granted.
    ///
    /// # Errors
    /// What is missing or wrong, by the name of the secret.
    pub(crate) fn secrets(&self, admitted: &Admitted) -> Result<Vec<Secret>, Refusal> {
        let granted = &admitted.grant.permissions().secrets;
        let opened = match &self.mode {
            _ if granted.is_empty() => Ok(Vec::new()),
            Mode::Development { .. } => {
                Err(SecretError::Development(admitted.manifest.name.to_string()))
            }
            Mode::Signed { data } => {
                let identity = self.local.secrets.identity.as_ref();
                secrets::open(granted, &data.join("secrets"), identity.map(AbsolutePath::as_path))
            }
        };
        opened.map_err(|error| Refusal::new(RefusalKind::Setup, chain(&error)))
    }

    /// Whether the module of one request may run at all, if its files are those that were signed.
    pub(crate) fn admit(&mut self, name: &ModuleName, module: Digest) -> Result<Signed, Refusal> {
        let signed = match self.mode.clone() {
            Mode::Signed { data } => self.verify(name, module, &data)?,
            Mode::Development { folder } => {
                let digests = describe(&folder)
                    .map_err(|reason| Refusal::new(RefusalKind::Module, reason))?;
                Signed { digests, source: folder }
            }
        };
        if signed.digests.digest() != module {
            return Err(Refusal::new(
                RefusalKind::Module,
                format!(
                    "the module `{name}` is {} here, asked for was {}; run it again",
                    signed.digests.digest().short(),
                    module.short()
                ),
            ));
        }
        Ok(signed)
    }

    /// Decides about the request of a module whose files in `folder` of the store were checked just
    /// now.
    pub(crate) fn decide(
        &self,
        launch: &Launch,
        digests: &ModuleDigests,
        folder: PathBuf,
    ) -> Result<Admitted, Refusal> {
        let manifest = self.manifest(&launch.name, digests, &folder)?;
        let grant = match &self.mode {
            Mode::Signed { .. } => {
                Grant::decide(launch.module, &manifest, self.local.grants.get(&manifest.name))
            }
            Mode::Development { .. } => Grant::for_development(launch.module, &manifest),
        };
        let grant = grant.map_err(|excess| {
            Refusal::new(RefusalKind::Grant, format!(
                "`{}` asks for more than this host grants: {}; add it under `grants.{}` in the local file, or leave the module out",
                manifest.name, Excess::list(&excess), manifest.name
            ))
        })?;
        if grant.id() != launch.grant {
            return Err(Refusal::new(
                RefusalKind::Grant,
                format!(
                    "the node means grant {}, the local file now gives {}; reload the node",
                    launch.grant,
                    grant.id()
                ),
            ));
        }
        let environment = self.environment(&manifest, digests, &folder)?;
        let program = self.program(&manifest, digests, &folder, environment.as_ref())?;
        let grant = if launch.dry_run { grant.for_dry_run() } else { grant };
        Ok(Admitted { manifest, grant, folder, program, environment })
    }

    /// What a module whose files in `folder` were checked says of itself.
    pub(crate) fn manifest(
        &self,
        name: &ModuleName,
        digests: &ModuleDigests,
        folder: &Path,
    ) -> Result<Manifest, Refusal> {
        let module = |reason: String| Refusal::new(RefusalKind::Module, reason);
        let manifest = read_text(&folder.join("module.yaml"))
            .map_err(|error| module(format!("cannot read module.yaml: {error}")))?;
        let manifest =
            Manifest::read(&manifest).map_err(|error| module(format!("module.yaml {error}")))?;
        if manifest.name != *name || manifest.version != digests.version().to_string() {
            return Err(module(format!(
                "module.yaml says {} {}, signed was {} {}; sign it again",
                manifest.name,
                manifest.version,
                digests.name(),
                digests.version()
            )));
        }
        Ok(manifest)
    }

    /// The environment that a module needs; none where it is not written in Python.
    pub(crate) fn environment(
        &self,
        manifest: &Manifest,
        digests: &ModuleDigests,
        folder: &Path,
    ) -> Result<Option<Environment>, Refusal> {
        let Some(requirements) = &manifest.runtime.requirements else { return Ok(None) };
        let refused = |reason: String| Refusal::new(RefusalKind::Module, reason);
        let requirements = requirements.as_str();
        if digests.file(requirements).is_none() {
            return Err(refused(format!("`{requirements}` is not among the module's files")));
        }
        let lock = read_bytes(&folder.join(requirements))
            .map_err(|error| refused(format!("cannot read `{requirements}`: {error}")))?;
        environments::stands_alone(&lock)
            .map_err(|reason| refused(format!("`{requirements}` is no lock file: {reason}")))?;
        let named = manifest.runtime.interpreter.as_ref();
        let named = named.map_or(Path::new(Python::INTERPRETER), AbsolutePath::as_path);
        let interpreter =
            Interpreter::find(named).map_err(|reason| Refusal::new(RefusalKind::Setup, reason))?;
        let key = environments::key(&lock, &interpreter);
        Ok(Some(Environment { key, interpreter, requirements: requirements.to_owned() }))
    }

    fn program(
        &self,
        manifest: &Manifest,
        digests: &ModuleDigests,
        folder: &Path,
        environment: Option<&Environment>,
    ) -> Result<Program, Refusal> {
        let refused = |reason: String| Refusal::new(RefusalKind::Module, reason);
        let entrypoint = manifest.runtime.entrypoint.as_str();
        match manifest.runtime.kind {
            RuntimeKind::Process => {
                let file = digests.file(entrypoint).ok_or_else(|| {
                    refused(format!(
                        "the entrypoint `{entrypoint}` is not among the module's files"
                    ))
                })?;
                if !file.executable {
                    return Err(refused(format!(
                        "the entrypoint `{entrypoint}` may not be executed; `chmod +x` it and sign again"
                    )));
                }
                let mut begin = Vec::new();
                fs::File::open(folder.join(entrypoint))
                    .and_then(|file| file.take(256).read_to_end(&mut begin))
                    .map_err(|error| refused(format!("cannot read `{entrypoint}`: {error}")))?;
                let interpreters = entry::interpreters(&begin);
                Ok(Program::Payload { file: entrypoint.to_owned(), interpreters })
            }
            RuntimeKind::Builtin => Ok(Program::Builtin {
                executable: self.builtin.clone(),
                name: entrypoint.to_owned(),
            }),
            RuntimeKind::Python => {
                if digests.file(entrypoint).is_none() {
                    return Err(refused(format!(
                        "the entrypoint `{entrypoint}` is not among the module's files"
                    )));
                }
                let environment =
                    environment.ok_or_else(|| refused("`requirements` is missing".to_owned()))?;
                Ok(Program::Python {
                    interpreter: environment.interpreter.path.clone(),
                    file: entrypoint.to_owned(),
                    environment: self.environments.site(environment.key),
                })
            }
            RuntimeKind::Wasi => {
                if digests.file(entrypoint).is_none() {
                    return Err(refused(format!(
                        "the entrypoint `{entrypoint}` is not among the module's files"
                    )));
                }
                Ok(Program::Wasi {
                    executable: self.builtin.clone(),
                    file: entrypoint.to_owned(),
                    code: self.compiled.find(digests.digest()),
                })
            }
        }
    }

    fn verify(
        &mut self,
        name: &ModuleName,
        module: Digest,
        data: &Path,
    ) -> Result<Signed, Refusal> {
        let trust = self.trust(data).map_err(|reason| Refusal::new(RefusalKind::Trust, reason))?;
        let refused = |reason: String| Refusal::new(RefusalKind::Module, reason);
        let source = data.join("modules").join(module.to_string());
        let read = |file: &str| {
            read_node_file(&source.join(file)).map_err(|error| {
                refused(format!("cannot read {file} of the module `{name}`: {error}"))
            })
        };
        let (bytes, signatures) = (read("module.digests")?, read("module.sig")?);
        if let Some(digests) = self.kept.module(name, module, &bytes, &signatures) {
            return Ok(Signed { digests: digests.clone(), source });
        }
        let verified = wachter_trust::verify_module(&trust, &bytes, &signatures, name)
            .map_err(|error| refused(chain(&error)))?;
        let digests = verified.digests().clone();
        self.kept.keep_module(name.clone(), bytes, signatures, digests.clone());
        Ok(Signed { digests, source })
    }

    /// The trust file in force: verified against the roots of the local file at each use, since it
    /// lies where the node can write, and never older than one used before.
    fn trust(&mut self, data: &Path) -> Result<Arc<TrustFile>, String> {
        let LocalFile { roots, repository, .. } = &self.local;
        let roots = Roots::of_local_file(roots.threshold, &roots.keys, repository.id)
            .map_err(|error| format!("`roots` of the local file: {}", chain(&error)))?;
        let read = |name: &str| {
            let path = data.join("trust").join(name);
            read_node_file(&path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        let (bytes, signatures) = (read("trust.yaml")?, read("trust.yaml.sig")?);
        let kept = self.state.join("trust-floor.json");
        let floor: Option<Floor> = match fs::read(&kept) {
            Ok(text) => Some(serde_json::from_slice(&text).map_err(|error| {
                format!(
                    "{} is damaged ({error}); remove it to trust the present file anew",
                    kept.display()
                )
            })?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("cannot read {}: {error}", kept.display())),
        };
        let known = floor.as_ref().map(|floor| (floor.serial, floor.digest));
        if let Some(trust) = known.and_then(|floor| self.kept.trust(&bytes, &signatures, floor)) {
            return Ok(trust);
        }
        let clock = ValidityClock {
            now: Timestamp::now(),
            floor: floor.as_ref().map_or(Timestamp::UNIX_EPOCH, |floor| floor.judged_at),
            build_date: Timestamp::UNIX_EPOCH,
        };
        let previous = floor.as_ref().map_or(PreviousTrust::None, |floor| PreviousTrust::Floor {
            serial: floor.serial,
            digest: floor.digest,
        });
        let trust = TrustFile::accept(&roots, previous, &bytes, &signatures, clock.judge());
        let trust = Arc::new(trust.map_err(|error| chain(&error))?);
        if floor.is_none_or(|floor| floor.serial != trust.serial()) {
            let floor =
                Floor { serial: trust.serial(), digest: trust.digest(), judged_at: clock.judge() };
            write_durably(&kept, &serde_json::to_vec(&floor).unwrap_or_default())
                .map_err(|error| format!("cannot write {}: {error}", kept.display()))?;
        }
        self.kept.keep_trust(bytes, signatures, Arc::clone(&trust));
        Ok(trust)
    }
}

/// The digests of an unsigned module: every regular file below its folder but what signing adds.
pub(crate) fn describe(folder: &Path) -> Result<ModuleDigests, String> {
    let text = read_text(&folder.join("module.yaml")).map_err(|error| {
        format!("cannot read {}: {error}", folder.join("module.yaml").display())
    })?;
    let manifest = Manifest::read(&text).map_err(|error| format!("module.yaml {error}"))?;
    crate::describe::describe(folder, &manifest.name, &manifest.version)
}

/// Reads a file that the node, who is less than root, put where it is: a link would have root open
/// something else, and opening alone can have an effect, as with a watchdog.
fn read_node_file(path: &Path) -> io::Result<Vec<u8>> {
    read(path, libc::O_NOFOLLOW)
}

/// Reads a regular file of bounded size.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    read(path, 0)
}

fn read(path: &Path, flags: i32) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::OpenOptionsExt;
    let file =
        fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("has more than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_bytes(path)?).map_err(|_| io::Error::other("is not UTF-8"))
}

/// Replaces a file so that it holds the old or the new content whatever happens.
fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use wachter_trust::{FileKey, Namespace, Signer as _};

    use super::*;

    const REPOSITORY: &str = "6f0c1c53-8c2c-4f0c-a6ab-3f0a8f5a2a11";

    /// An RSA key of 2,048 bits, made for this test.
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQClTdVilWmIByYEs4Rb+fkwfms46wqiPBTG0Ey7jwAJpC9gm1Ae\
        v/BvNNZXzIUiXaGTJlY7jdTXxblE0fj2m7qMTxlGVb6rrMPAk29/oNdw+yfxoQ/Q5LQu5R/x0FRGQt5gF7ZfAuQh\
        b/NgSNi6i1JQtEBwSVFiyqHrw+Ibnghm8g+HoIDFE/vO0Att0g2viPXeqCZcAhDVFULLG5GkiqCa6yMG04G93OKV\
        Fuk4FuxhO9AE6evTfaM1bo52ZHVmX9Xoby98SB2FCC6S5jOaMlCrf8IT7MOISumm9R23KjFvlWVjaUi0F1lnHL8Z\
        j7nXSD2U3jsNwZd2KX9jVBvrdPx1";

    /// What is said to a node that asks for a module, with this root in the local file and this
    /// publisher in the trust file.
    fn refusal(root: &str, publisher: &str) -> Refusal {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir_all(data.join("trust")).unwrap();
        let trust = format!(
            "version: 1\nrepository: {REPOSITORY}\nserial: 1\nnot_after: 2199-01-01T00:00:00Z\n\
             signers:\n  alice: {publisher}\nreleases: {{ signers: [alice], threshold: 1 }}\n\
             publishers: [{{ signer: alice, modules: [\"*\"] }}]\n"
        );
        let signature = key(1).sign(Namespace::TRUST, trust.as_bytes()).unwrap();
        fs::write(data.join("trust/trust.yaml"), &trust).unwrap();
        fs::write(data.join("trust/trust.yaml.sig"), signature.to_armor()).unwrap();
        let local = LocalFile::read(&format!(
            "version: 1\nrepository: {{ url: /, id: {REPOSITORY} }}\nroots: {{ threshold: 1, keys: ['{root}'] }}\n"
        ))
        .unwrap();
        let store = Store::open(folder.path()).unwrap();
        let compiled = Compiled::open(folder.path(), Path::new("/nowhere")).unwrap();
        let state = folder.path().to_owned();
        let environments = Environments::open(&folder.path().join("python"), false).unwrap();
        let mode = Mode::Signed { data };
        let mut authority =
            Authority::new(mode, local, state, store, compiled, "/nowhere".into(), environments);
        authority.admit(&"sample".parse().unwrap(), Digest::of(b"module")).unwrap_err()
    }

    fn key(seed: u8) -> FileKey {
        FileKey::from_seed(&[seed; 32], "test").unwrap()
    }

    #[test]
    fn roots_and_publishers_have_keys_that_are_verified_here() {
        let good = key(1).public_key().to_string();
        let check = |root: &str, publisher: &str, kind: RefusalKind, expected: &[&str]| {
            let refusal = refusal(root, publisher);
            assert_eq!(refusal.kind, kind, "{}", refusal.reason);
            for part in expected {
                assert!(refusal.reason.contains(part), "{}", refusal.reason);
            }
        };
        check(&good, &good, RefusalKind::Module, &["cannot read module.digests"]);
        check(
            &good,
            RSA,
            RefusalKind::Trust,
            &["line 8, column 24", "`alice` publishes modules", "ssh-rsa key", "Ed25519"],
        );
        check(
            RSA,
            &good,
            RefusalKind::Trust,
            &["`roots` of the local file", "the root key SHA256:", "ssh-rsa key", "Ed25519"],
        );
    }
}
