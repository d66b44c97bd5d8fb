//! The programs of the host that a Python module needs: the interpreter that runs it, and `uv`, which
//! builds its environment. Neither is executed outside a jail, so what they are is told by their files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wachter_model::Digest;
use wachter_protocol::{AbsolutePath, Python};

use crate::transfer::transfer;

/// An interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// Its file, without links.
    pub(crate) path: PathBuf,
    /// What an environment that was built for it is good for.
    identity: String,
}

impl Interpreter {
    /// Looks at the interpreter of this name.
    ///
    /// # Errors
    /// It is not there, or somebody could have put another in its place; one sentence.
    pub(crate) fn find(name: &Path) -> Result<Self, String> {
        let path = trusted(name).map_err(|reason| {
            format!(
                "the interpreter {} cannot be used: {reason}; install Python 3 (`apt-get install python3`)",
                name.display()
            )
        })?;
        if !path.starts_with("/usr") {
            return Err(format!(
                "the interpreter {} lies outside /usr, which alone every run can see; install it there",
                path.display()
            ));
        }
        // Packages depend on the minor version alone. Its repairs must not cost an environment, which
        // a host without a network could not build again.
        let identity = match is_versioned(&path) {
            true => path.display().to_string(),
            false => format!("{} {}", path.display(), digest(&path)?),
        };
        Ok(Self { path, identity })
    }

    /// What tells environments for this interpreter from those for others.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }
}

/// Whether a name says its minor version, as `python3.11` does.
fn is_versioned(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let version = name.strip_prefix("python").and_then(|version| version.split_once('.'));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    version.is_some_and(|(major, minor)| number(major) && number(minor))
}

/// Finds `uv`: the one that the owner or the command line names, or where it is usually installed.
///
/// # Errors
/// It is not there, or somebody could have put another in its place; one sentence.
pub(crate) fn find_uv(python: &Python, argument: Option<&Path>) -> Result<PathBuf, String> {
    let named = python.uv.as_ref().map(AbsolutePath::as_path).or(argument);
    let found = match named {
        Some(path) => Some(path),
        None => Python::UV.into_iter().map(Path::new).find(|path| path.exists()),
    };
    let found = found.ok_or(
        "`uv`, which builds environments of Python modules, is not installed; `pip install uv`, or see \
         https://docs.astral.sh/uv, and put it into /usr/local/bin or name it under `python.uv` in the local file",
    )?;
    trusted(found).map_err(|reason| {
        format!("{} cannot be used: {reason}; see `python.uv` in the local file", found.display())
    })
}

/// The file that a path leads to. What runs on the word of root must be root's, all the way to it.
fn trusted(name: &Path) -> Result<PathBuf, String> {
    let path = fs::canonicalize(name).map_err(|error| error.to_string())?;
    let metadata = fs::metadata(&path).map_err(|error| error.to_string())?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err("it is not a program".to_owned());
    }
    if rustix::process::geteuid().is_root() {
        for part in path.ancestors() {
            let status = fs::metadata(part).map_err(|error| error.to_string())?;
            // In a folder like /tmp nobody can replace what is another's.
            let sticky = status.is_dir() && status.mode() & 0o1000 != 0;
            if status.uid() != 0 || (status.mode() & 0o022 != 0 && !sticky) {
                return Err(format!("{} could be changed by others than root", part.display()));
            }
        }
    }
    Ok(path)
}

fn digest(path: &Path) -> Result<Digest, String> {
    let hashed = transfer(path, u64::MAX, None);
    let failed = |error| format!("cannot read {}: {error}", path.display());
    hashed.map(|(digest, _)| digest).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_a_version() {
        for (name, expected) in [
            ("/usr/bin/python3.11", true),
            ("/usr/bin/python3", false),
            ("/usr/bin/python3.11-dbg", false),
            ("/usr/bin/pypy3.9", false),
            ("/usr/bin/python.1", false),
        ] {
            assert_eq!(is_versioned(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_program_of_the_host_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("python3");
        let refused = |words: &str| {
            let said = Interpreter::find(&file).unwrap_err();
            assert!(said.contains(words), "{said}");
        };
        refused("No such file");
        fs::write(&file, "").unwrap();
        refused("not a program");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        refused("outside /usr");
        let python = Python { uv: Some("/nowhere/uv".parse().unwrap()), ..Python::default() };
        assert!(find_uv(&python, Some(&file)).unwrap_err().contains("`python.uv`"));
        assert_eq!(find_uv(&Python::default(), Some(&file)), Ok(fs::canonicalize(&file).unwrap()));
    }
}
