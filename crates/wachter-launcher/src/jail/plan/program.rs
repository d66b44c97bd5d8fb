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
}

impl Program {
    /// The program of a module whose files the run finds in `module`.
    pub(super) fn executed(self, module: &Path, namespaces: bool) -> Executed {
        match self {
            Self::Payload { file, interpreters } => {
                let path = module.join(file);
                let needs = interpreters.into_iter().chain([module.to_owned()]).collect();
                Executed { arguments: vec![path.clone()], path, needs, builtin: None }
            }
            Self::Builtin { executable, name } => {
                let path = if namespaces { BUILTIN.into() } else { executable.clone() };
                Executed {
                    arguments: vec![path.clone(), name.into()],
                    needs: vec![path.clone()],
                    path,
                    builtin: Some(executable),
                }
            }
        }
    }
}
