//! What is executed, and as what.

use std::path::{Path, PathBuf};

use crate::jail::view::BindKind;

/// Where the executable of the built-in modules is in the view.
const BUILTIN: &str = "/run/wachter-modules";

/// Where the environment of a Python module is in the view.
const ENVIRONMENT: &str = "/environment";

/// Where an environment is built, in the view of its build, and by what.
const BUILD: &str = "/build";
const UV: &str = "/run/uv";

/// Certificates that the host trusts, its own and those of its company; where distributions have them.
const CERTIFICATES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// A file of the module, with the programs that its first line names.
    Payload { file: String, interpreters: Vec<PathBuf> },
    /// The executable of the built-in modules, and the name of one.
    Builtin { executable: PathBuf, name: String },
    /// A Python file of the module, by an interpreter of the host, with the packages in a folder.
    Python { interpreter: PathBuf, file: String, environment: PathBuf },
    /// The build of an environment, by `uv`, into `folder`.
    Build(Build),
    /// A file of the module in WebAssembly, with machine code that was compiled from it, run by the
    /// executable of the built-in modules.
    Wasi { executable: PathBuf, file: String, code: Option<PathBuf> },
    /// The same executable, compiling such a file.
    Compiler { executable: PathBuf, file: String },
}

/// The build of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) uv: PathBuf,
    pub(crate) interpreter: PathBuf,
    /// The lock file, a file of the module.
    pub(crate) requirements: String,
    /// The package index.
    pub(crate) index: String,
    /// What the build may write: the environment comes to be in `site` below it.
    pub(crate) folder: PathBuf,
}

/// A program as the run finds it.
#[derive(Default)]
pub(super) struct Executed {
    pub(super) path: PathBuf,
    /// The name first.
    pub(super) arguments: Vec<PathBuf>,
    /// What must be executed beside the programs that were granted.
    pub(super) needs: Vec<PathBuf>,
    /// What of the host it sees beside what was granted.
    pub(super) shown: Vec<Shown>,
    /// Further variables of its environment, `NAME=VALUE`.
    pub(super) variables: Vec<String>,
    /// Whether it is the engine for WebAssembly, which reserves much more memory than it uses.
    pub(super) engine: bool,
}

/// A path of the host that a program sees.
pub(super) struct Shown {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    pub(super) kind: BindKind,
}

impl Executed {
    /// What it may write of what it is shown.
    pub(super) fn written(&self) -> impl Iterator<Item = &Shown> {
        self.shown.iter().filter(|shown| shown.kind == BindKind::ReadWrite)
    }

    /// The executable of the built-in modules, which the run finds at `path`.
    fn of_ours(executable: PathBuf, path: PathBuf, mut arguments: Vec<PathBuf>) -> Self {
        arguments.insert(0, path.clone());
        let shown =
            vec![Shown { source: executable, target: path.clone(), kind: BindKind::ReadOnly }];
        Self { arguments, needs: vec![path.clone()], path, shown, ..Self::default() }
    }
}

/// Where machine code is in the view.
pub(super) const CODE: &str = "/run/wachter-code";

impl Program {
    /// The program of a module whose files the run finds in `module`. `grants` are the arguments that
    /// say what a module in WebAssembly was granted.
    pub(super) fn executed(
        self,
        module: &Path,
        namespaces: bool,
        grants: impl FnOnce() -> Vec<PathBuf>,
    ) -> Executed {
        // Without namespaces everything is where the host has it.
        let place = |source: &Path, target: &str| match namespaces {
            true => PathBuf::from(target),
            false => source.to_owned(),
        };
        match self {
            Self::Payload { file, interpreters } => {
                let path = module.join(file);
                let needs = interpreters.into_iter().chain([module.to_owned()]).collect();
                Executed { arguments: vec![path.clone()], path, needs, ..Executed::default() }
            }
            Self::Builtin { executable, name } => {
                let path = place(&executable, BUILTIN);
                Executed::of_ours(executable, path, vec![name.into()])
            }
            Self::Wasi { executable, file, code } => {
                let path = place(&executable, BUILTIN);
                let mut arguments = vec!["wasi".into()];
                arguments.extend(grants());
                let code = code.map(|source| {
                    let target = place(&source, CODE);
                    arguments.extend(["--code".into(), target.clone()]);
                    Shown { source, target, kind: BindKind::ReadOnly }
                });
                arguments.push(module.join(file));
                let mut ours = Executed::of_ours(executable, path, arguments);
                ours.shown.extend(code);
                Executed { engine: true, ..ours }
            }
            Self::Compiler { executable, file } => {
                let path = place(&executable, BUILTIN);
                let arguments = vec!["wasi-compile".into(), module.join(file)];
                Executed { engine: true, ..Executed::of_ours(executable, path, arguments) }
            }
            Self::Python { interpreter, file, environment } => {
                let target = place(&environment, ENVIRONMENT);
                // No packages of the host, and no code at the start that is nobody's (`-S`); no
                // attempt at writing beside files that cannot be written (`-B`).
                let arguments = ["-S", "-s", "-B"].map(PathBuf::from);
                Executed {
                    arguments: std::iter::once(interpreter.clone())
                        .chain(arguments)
                        .chain([module.join(file)])
                        .collect(),
                    needs: vec![interpreter.clone()],
                    variables: vec![format!("PYTHONPATH={}", target.display())],
                    shown: vec![Shown { source: environment, target, kind: BindKind::ReadOnly }],
                    path: interpreter,
                    ..Executed::default()
                }
            }
            Self::Build(build) => build.executed(module),
        }
    }
}

impl Build {
    fn executed(self, module: &Path) -> Executed {
        let requirements = module.join(self.requirements);
        let interpreter = self.interpreter.display().to_string();
        let target = format!("{BUILD}/site");
        let words: [&str; 20] = [
            "uv",
            "pip",
            "install",
            "--no-config",
            "--no-python-downloads",
            "--python",
            &interpreter,
            "--target",
            &target,
            "--requirements",
            requirements.to_str().unwrap_or_default(),
            "--default-index",
            &self.index,
            // Each package with a digest, and nothing that would have to be built by code of its own.
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--compile-bytecode",
            "--no-progress",
            "--color",
            "never",
        ];
        let mut variables: Vec<String> = [
            // Beside the environment, so that a file is there once.
            "UV_CACHE_DIR=/build/cache",
            // What was compiled counts whatever the times of files are.
            "PYC_INVALIDATION_MODE=UNCHECKED_HASH",
            // One build is not to fill the host.
            "UV_CONCURRENT_DOWNLOADS=4",
            "UV_CONCURRENT_INSTALLS=2",
            "UV_HTTP_TIMEOUT=30",
            "TOKIO_WORKER_THREADS=2",
            "RAYON_NUM_THREADS=2",
        ]
        .map(str::to_owned)
        .into();
        if let Some(file) = CERTIFICATES.into_iter().find(|path| Path::new(path).exists()) {
            variables.push(format!("SSL_CERT_FILE={file}"));
        }
        Executed {
            path: UV.into(),
            arguments: words.map(PathBuf::from).into(),
            needs: vec![UV.into(), self.interpreter],
            shown: vec![
                Shown { source: self.uv, target: UV.into(), kind: BindKind::ReadOnly },
                Shown { source: self.folder, target: BUILD.into(), kind: BindKind::ReadWrite },
            ],
            variables,
            ..Executed::default()
        }
    }
}
