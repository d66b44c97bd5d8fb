use serde::{Deserialize, Serialize};
use wachter_document::{DocumentError, Node};
use wachter_model::{ModuleName, Topic};

use crate::{AbsolutePath, LimitsAsked, MODULE_PROTOCOL, Permissions, RelativePath};

/// `module.yaml`: what a module is, what it asks for and what it offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The module's name; the same as its folder's.
    pub name: ModuleName,
    /// The module's version, as its author counts.
    pub version: String,
    /// The version of the module protocol that the module speaks; 1 where left out.
    #[serde(default = "first_protocol")]
    pub protocol: u32,
    /// One sentence for people.
    #[serde(default)]
    pub description: Option<String>,
    /// What the module can do, as dotted verbs: `backup.create`.
    #[serde(default)]
    pub capabilities: Vec<Topic>,
    /// How the module is started.
    pub runtime: Runtime,
    /// What the module asks to touch.
    #[serde(default)]
    pub permissions: Permissions,
    /// What the module asks to use.
    #[serde(default)]
    pub limits: LimitsAsked,
    /// Where the JSON Schema of the input is.
    #[serde(default)]
    pub input: Option<InputSchema>,
    /// The types of event and finding that the module may emit.
    #[serde(default)]
    pub emits: Vec<Topic>,
}

/// Names a JSON Schema file of the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InputSchema {
    /// A file of the module.
    #[serde(rename = "$ref")]
    pub file: RelativePath,
}

/// How a module is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// What starts it.
    pub kind: RuntimeKind,
    /// For `process` the file to execute, for `python` and `wasi` the file to load, for `builtin`
    /// the name of the built-in module.
    pub entrypoint: RelativePath,
    /// For `python`: the lock file with hashes.
    #[serde(default)]
    pub requirements: Option<RelativePath>,
    /// For `python`: another interpreter of the host than `/usr/bin/python3`. It has to stand under
    /// `permissions.exec` too.
    #[serde(default)]
    pub interpreter: Option<AbsolutePath>,
}

/// What starts a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RuntimeKind {
    /// An executable file or a script of the module.
    Process,
    /// A module that ships with Wachter, in `wachter-modules`.
    Builtin,
    /// A Python file in an environment built from a lock file.
    Python,
    /// A WebAssembly module or component with WASI.
    Wasi,
}

/// Why a manifest was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not a manifest.
    #[error("{0}")]
    Document(DocumentError),
    /// From a later version.
    #[error(
        "speaks module protocol {found}, this build speaks {MODULE_PROTOCOL}; upgrade Wachter on this node"
    )]
    Protocol {
        /// What the manifest says.
        found: u32,
    },
    /// Not a version.
    #[error("version `{0}` must be 1 to 64 letters, digits, `.`, `-`, `+` or `_`")]
    Version(String),
    /// A lock file without Python.
    #[error("`requirements` belongs to `kind: python`; leave it out here")]
    Requirements,
    /// An interpreter without Python.
    #[error("`interpreter` belongs to `kind: python`; leave it out here")]
    Interpreter,
    /// An interpreter that nobody is asked for.
    #[error("`interpreter` is {0}, which does not stand under `permissions.exec`; add it there")]
    NotAsked(AbsolutePath),
    /// Python without a lock file.
    #[error("`kind: python` needs `requirements`, a lock file with hashes")]
    NoRequirements,
    /// WebAssembly that asks for what it cannot use.
    #[error(
        "`{0}` is for modules that WebAssembly is not: it has no sockets and starts no programs; leave it out, or use `kind: process`"
    )]
    WebAssembly(&'static str),
}

const fn first_protocol() -> u32 {
    1
}

impl Manifest {
    /// Reads a manifest in YAML or JSON.
    ///
    /// # Errors
    /// A text that is not a manifest of this version, with the place of the fault.
    pub fn read(text: &str) -> Result<Self, ManifestError> {
        // A later version may have keys that this one does not know: say that, not `unknown key`.
        #[derive(Deserialize)]
        struct Version {
            #[serde(default = "first_protocol")]
            protocol: u32,
        }
        let document = Node::read(text, 0).map_err(ManifestError::Document)?;
        if let Ok(Version { protocol: found @ 2.. }) = document.to() {
            return Err(ManifestError::Protocol { found });
        }
        let manifest: Self = document.to().map_err(ManifestError::Document)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        if self.protocol != MODULE_PROTOCOL {
            return Err(ManifestError::Protocol { found: self.protocol });
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+_".contains(&byte);
        if !(1..=64).contains(&self.version.len()) || !self.version.bytes().all(plain) {
            return Err(ManifestError::Version(self.version.clone()));
        }
        if let Some(interpreter) = &self.runtime.interpreter {
            if self.runtime.kind != RuntimeKind::Python {
                return Err(ManifestError::Interpreter);
            }
            if !self.permissions.exec.iter().any(|path| path.contains(interpreter)) {
                return Err(ManifestError::NotAsked(interpreter.clone()));
            }
        }
        if self.runtime.kind == RuntimeKind::Wasi {
            let Permissions { network, exec, .. } = &self.permissions;
            let unusable = [
                ("permissions.network", !network.is_empty()),
                ("permissions.exec", !exec.is_empty()),
            ];
            if let Some((key, _)) = unusable.into_iter().find(|(_, asked)| *asked) {
                return Err(ManifestError::WebAssembly(key));
            }
        }
        match (self.runtime.kind, &self.runtime.requirements) {
            (RuntimeKind::Python, None) => Err(ManifestError::NoRequirements),
            (RuntimeKind::Python, Some(_)) | (_, None) => Ok(()),
            (_, Some(_)) => Err(ManifestError::Requirements),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKUP: &str = "
name: backup
version: 1.2.0
capabilities: [backup.create, backup.verify]
runtime: { kind: process, entrypoint: ./main.py }
permissions:
  filesystem: { read: [/etc], write: [/var/backups] }
  network: [\"backup.example.com:443\"]
  exec: [/usr/bin/apt-get]
  host: [cpu, memory, processes, mounts, network, sensors]
  groups: [adm]
  secrets: [backup-password]
  user: nobody
limits: { timeout: 10m, memory: 256MiB, cpu: 0.5, processes: 64, output: 16MiB, disk: 1GiB }
input: { $ref: input.schema.json }
emits: [backup.completed]
";

    #[test]
    fn reads_every_key() {
        let manifest = Manifest::read(BACKUP).unwrap();
        assert_eq!(manifest.name.as_str(), "backup");
        assert_eq!(manifest.runtime.entrypoint.as_str(), "main.py");
        assert_eq!(manifest.limits.cpu.unwrap().as_millicores(), 500);
        assert_eq!(manifest.permissions.host.len(), 6);
        assert_eq!(manifest.input.unwrap().file.as_str(), "input.schema.json");
    }

    fn refused(change: (&str, &str)) -> String {
        Manifest::read(&BACKUP.replacen(change.0, change.1, 1)).unwrap_err().to_string()
    }

    #[test]
    fn says_what_is_wrong() {
        for (change, expected) in [
            (("emits:", "emit:"), "line 16, column 1: unknown key `emit`: did you mean `emits`?"),
            (
                ("kind: process", "kind: procces"),
                "unknown value `procces`: did you mean `process`?",
            ),
            (("entrypoint: ./main.py", "entrypoint: ../main.py"), "is not a plain path"),
            (
                ("name: backup", "name: backup\nprotocol: 7\nfuture: 1"),
                "speaks module protocol 7, this build speaks 1",
            ),
            (("[/etc]", "[etc]"), "start it with `/`"),
            (("1.2.0", "1 2"), "version `1 2` must be"),
            (("./main.py }", "./main.py, requirements: r }"), "`requirements` belongs to"),
            (("kind: process", "kind: python"), "needs `requirements`"),
            (("./main.py }", "./main.py, interpreter: /usr/bin/x }"), "`interpreter` belongs to"),
            (
                (
                    "process, entrypoint: ./main.py }",
                    "python, entrypoint: a, requirements: r, interpreter: /usr/bin/python3.12 }",
                ),
                "does not stand under `permissions.exec`",
            ),
            (("kind: process", "kind: wasi"), "`permissions.network` is for modules that"),
        ] {
            let message = refused(change);
            assert!(message.contains(expected), "{message}");
        }
    }
}
