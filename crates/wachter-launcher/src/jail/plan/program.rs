//! What is executed, and as what.

use std::path::{Path, PathBuf};

/// Where the executable of the built-in modules is in the view.
pub(super) const BUILTIN: &str = "/run/wachter-modules";

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// A file of the module, with the programs that its first line names.
    Payload { file: String, interpreters: Vec<PathBuf> },
    /// The executable of the built-in modules, and the name of one.
    Builtin { executable: PathBuf, name: String },
    /// A file of the module in WebAssembly, with machine code that was compiled from it, run by the
    /// executable of the built-in modules.
    Wasi { executable: PathBuf, file: String, code: Option<PathBuf> },
    /// The same executable, compiling such a file.
    Compiler { executable: PathBuf, file: String },
}

/// A program as the run finds it.
pub(super) struct Executed {
    pub(super) path: PathBuf,
    /// The name first.
    pub(super) arguments: Vec<PathBuf>,
    /// What must be executed beside the programs that were granted.
    pub(super) needs: Vec<PathBuf>,
    /// The executable of the built-in modules on the host, if it is one of them.
    pub(super) builtin: Option<PathBuf>,
    /// Machine code on the host.
    pub(super) code: Option<PathBuf>,
    /// Whether it is the engine for WebAssembly, which reserves much more memory than it uses.
    pub(super) engine: bool,
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
        let within = |executable: PathBuf| match namespaces {
            true => PathBuf::from(BUILTIN),
            false => executable,
        };
        match self {
            Self::Payload { file, interpreters } => {
                let path = module.join(file);
                let needs = interpreters.into_iter().chain([module.to_owned()]).collect();
                Executed {
                    arguments: vec![path.clone()],
                    path,
                    needs,
                    builtin: None,
                    code: None,
                    engine: false,
                }
            }
            Self::Builtin { executable, name } => {
                let path = within(executable.clone());
                Executed::of_ours(executable, path, vec![name.into()])
            }
            Self::Wasi { executable, file, code } => {
                let path = within(executable.clone());
                let mut arguments = vec!["wasi".into()];
                arguments.extend(grants());
                if let Some(code) = &code {
                    let code = if namespaces { CODE.into() } else { code.clone() };
                    arguments.extend(["--code".into(), code]);
                }
                arguments.push(module.join(file));
                let ours = Executed::of_ours(executable, path, arguments);
                Executed { code, engine: true, ..ours }
            }
            Self::Compiler { executable, file } => {
                let path = within(executable.clone());
                let arguments = vec!["wasi-compile".into(), module.join(file)];
                Executed { engine: true, ..Executed::of_ours(executable, path, arguments) }
            }
        }
    }
}

impl Executed {
    /// The executable of the built-in modules, which the run finds at `path`.
    fn of_ours(executable: PathBuf, path: PathBuf, mut arguments: Vec<PathBuf>) -> Self {
        arguments.insert(0, path.clone());
        Self {
            arguments,
            needs: vec![path.clone()],
            path,
            builtin: Some(executable),
            code: None,
            engine: false,
        }
    }
}
