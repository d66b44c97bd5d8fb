//! Whether a run may begin: trust, signature, digest and grant, worked out here from what the owner
//! of the host and the signers said, and from nothing that the node says.
//!
//! Layout of what is read: the local file; `trust/trust.yaml` and `.sig` and `modules/<digest>/`
//! below the node's data folder; the launcher's own state with the last accepted trust file, below
//! which no older one is taken.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wachter_model::{Digest, chain};
use wachter_protocol::launcher::{Launch, RefusalKind};
use wachter_protocol::{Excess, Grant, LocalFile, Manifest, RuntimeKind};
use wachter_trust::{ModuleDigests, PreviousTrust, PublicKey, Roots, TrustFile, ValidityClock};

use crate::entry;
use crate::jail::plan::Program;
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

/// What may begin.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) manifest: Manifest,
    pub(crate) grant: Grant,
    pub(crate) folder: PathBuf,
    pub(crate) program: Program,
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
    builtin: PathBuf,
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
        builtin: PathBuf,
    ) -> Self {
        Self { mode, local, state, store, builtin }
    }

    pub(crate) fn local(&self) -> &LocalFile {
        &self.local
    }

    pub(crate) fn replace_local(&mut self, local: LocalFile) {
        self.local = local;
    }

    /// Decides about one request.
    pub(crate) fn admit(&self, launch: &Launch) -> Result<Admitted, Refusal> {
        let (digests, source) = match &self.mode {
            Mode::Signed { data } => self.verify(launch, data)?,
            Mode::Development { folder } => {
                let digests =
                    describe(folder).map_err(|reason| Refusal::new(RefusalKind::Module, reason))?;
                (digests, folder.clone())
            }
        };
        let module = |reason: String| Refusal::new(RefusalKind::Module, reason);
        if digests.digest() != launch.module {
            return Err(module(format!(
                "the module `{}` is {} here, asked for was {}; run it again",
                launch.name,
                digests.digest().short(),
                launch.module.short()
            )));
        }
        let folder = self.store.hold(&digests, &source).map_err(|error| module(chain(&error)))?;
        let manifest = read_text(&folder.join("module.yaml"))
            .map_err(|error| module(format!("cannot read module.yaml: {error}")))?;
        let manifest =
            Manifest::read(&manifest).map_err(|error| module(format!("module.yaml {error}")))?;
        if manifest.name != launch.name || manifest.version != digests.version().to_string() {
            return Err(module(format!(
                "module.yaml says {} {}, signed was {} {}; sign it again",
                manifest.name,
                manifest.version,
                digests.name(),
                digests.version()
            )));
        }
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
        let program = self.program(&manifest, &digests, &folder)?;
        let grant = if launch.dry_run { grant.for_dry_run() } else { grant };
        Ok(Admitted { manifest, grant, folder, program })
    }

    fn program(
        &self,
        manifest: &Manifest,
        digests: &ModuleDigests,
        folder: &Path,
    ) -> Result<Program, Refusal> {
        let refused = |reason: String| Refusal::new(RefusalKind::Module, reason);
        let entrypoint = manifest.runtime.entrypoint.as_str();
        match manifest.runtime.kind {
            RuntimeKind::Process => {
                let file = digests.file(entrypoint).ok_or_else(|| refused(format!("the entrypoint `{entrypoint}` is not among the module's files")))?;
                if !file.executable {
                    return Err(refused(format!("the entrypoint `{entrypoint}` may not be executed; `chmod +x` it and sign again")));
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
            RuntimeKind::Python | RuntimeKind::Wasi => Err(refused(
                "this version runs modules of kind `process` and `builtin`; use `process` with an interpreter in the first line".to_owned(),
            )),
        }
    }

    fn verify(&self, launch: &Launch, data: &Path) -> Result<(ModuleDigests, PathBuf), Refusal> {
        let trust = self.trust(data).map_err(|reason| Refusal::new(RefusalKind::Trust, reason))?;
        let refused = |reason: String| Refusal::new(RefusalKind::Module, reason);
        let source = data.join("modules").join(launch.module.to_string());
        let read = |name: &str| {
            read_node_file(&source.join(name)).map_err(|error| {
                refused(format!("cannot read {name} of the module `{}`: {error}", launch.name))
            })
        };
        let (digests, signature) = (read("module.digests")?, read("module.sig")?);
        let verified = wachter_trust::verify_module(&trust, &digests, &signature, &launch.name)
            .map_err(|error| refused(chain(&error)))?;
        Ok((verified.digests().clone(), source))
    }

    /// The trust file in force: verified against the roots of the local file at each use, since it
    /// lies where the node can write, and never older than one used before.
    fn trust(&self, data: &Path) -> Result<TrustFile, String> {
        let roots = roots(&self.local)?;
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
        let clock = ValidityClock {
            now: Timestamp::now(),
            floor: floor.as_ref().map_or(Timestamp::UNIX_EPOCH, |floor| floor.judged_at),
            build_date: Timestamp::UNIX_EPOCH,
        };
        let previous = floor.as_ref().map_or(PreviousTrust::None, |floor| PreviousTrust::Floor {
            serial: floor.serial,
            digest: floor.digest,
        });
        let trust = TrustFile::accept(&roots, previous, &bytes, &signatures, clock.judge())
            .map_err(|error| chain(&error))?;
        if floor.is_none_or(|floor| floor.serial != trust.serial()) {
            let floor =
                Floor { serial: trust.serial(), digest: trust.digest(), judged_at: clock.judge() };
            write_durably(&kept, &serde_json::to_vec(&floor).unwrap_or_default())
                .map_err(|error| format!("cannot write {}: {error}", kept.display()))?;
        }
        Ok(trust)
    }
}

fn roots(local: &LocalFile) -> Result<Roots, String> {
    let keys: Result<Vec<PublicKey>, String> = local
        .roots
        .keys
        .iter()
        .map(|key| {
            key.parse()
                .map_err(|error| format!("`roots.keys` of the local file: {}", chain(&error)))
        })
        .collect();
    let threshold = usize::try_from(local.roots.threshold).unwrap_or(usize::MAX);
    let repository = local
        .repository
        .id
        .to_string()
        .parse()
        .map_err(|_| "`repository.id` is no UUID".to_owned())?;
    Roots::new(threshold, keys?)
        .map(|roots| roots.for_repository(repository))
        .map_err(|error| chain(&error))
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
