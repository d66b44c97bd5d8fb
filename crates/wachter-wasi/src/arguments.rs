//! What the launcher says about a run. A person never types this.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What a module may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The module's file.
    pub(crate) module: PathBuf,
    /// Machine code of it.
    pub(crate) code: Option<PathBuf>,
    /// The most bytes that its memories and tables may have together.
    pub(crate) memory: u64,
    /// From now to its end.
    pub(crate) timeout: Option<Duration>,
    pub(crate) folders: Vec<Folder>,
    /// Whether to say on stderr how long each step took.
    pub(crate) times: bool,
}

/// A folder that a module may open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    /// What the module calls it.
    pub(crate) guest: String,
    /// Where it is.
    pub(crate) host: PathBuf,
    pub(crate) writable: bool,
}

/// Why arguments are not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgumentError {
    #[error("`{0}` lacks its value")]
    Value(String),
    #[error("`{0}` needs a number")]
    Number(String),
    #[error("the name that a module has for a folder must be UTF-8")]
    Name,
    #[error("unknown option `{0}`")]
    Unknown(String),
    #[error("`--memory` is missing")]
    Memory,
    #[error("name one module")]
    Module,
}

impl Options {
    /// Reads the arguments after the name of the call.
    pub(crate) fn read(mut words: impl Iterator<Item = OsString>) -> Result<Self, ArgumentError> {
        let (mut module, mut code, mut memory, mut timeout) = (None, None, None, None);
        let (mut folders, mut times) = (Vec::new(), false);
        while let Some(word) = words.next() {
            let name = word.to_string_lossy().into_owned();
            let mut value = || words.next().ok_or_else(|| ArgumentError::Value(name.clone()));
            match name.as_str() {
                "--code" => code = Some(PathBuf::from(value()?)),
                "--memory" => memory = Some(number(&name, &value()?)?),
                "--timeout" => timeout = Some(Duration::from_millis(number(&name, &value()?)?)),
                "--read" | "--write" => folders.push(Folder {
                    guest: value()?.into_string().map_err(|_| ArgumentError::Name)?,
                    host: value()?.into(),
                    writable: name == "--write",
                }),
                "--times" => times = true,
                _ if name.starts_with("--") => return Err(ArgumentError::Unknown(name)),
                _ if module.is_some() => return Err(ArgumentError::Module),
                _ => module = Some(PathBuf::from(word)),
            }
        }
        Ok(Self {
            module: module.ok_or(ArgumentError::Module)?,
            code,
            memory: memory.ok_or(ArgumentError::Memory)?,
            timeout,
            folders,
            times,
        })
    }
}

fn number(name: &str, word: &OsString) -> Result<u64, ArgumentError> {
    let number = word.to_str().and_then(|word| word.parse().ok());
    number.ok_or_else(|| ArgumentError::Number(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(words: &[&str]) -> Result<Options, ArgumentError> {
        Options::read(words.iter().map(OsString::from))
    }

    #[test]
    fn every_option_is_read() {
        let options = read(&[
            "--memory",
            "5",
            "--timeout",
            "250",
            "--code",
            "/c",
            "--read",
            "/etc",
            "/real/etc",
            "--write",
            "/tmp",
            "/scratch",
            "--times",
            "/module/main.wasm",
        ]);
        let folder = |guest: &str, host: &str, writable| Folder {
            guest: guest.to_owned(),
            host: host.into(),
            writable,
        };
        let expected = Options {
            module: "/module/main.wasm".into(),
            code: Some("/c".into()),
            memory: 5,
            timeout: Some(Duration::from_millis(250)),
            folders: vec![folder("/etc", "/real/etc", false), folder("/tmp", "/scratch", true)],
            times: true,
        };
        assert_eq!(options.unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (words, expected) in [
            (&["--memory", "5"][..], "name one module"),
            (&["a", "b", "--memory", "5"], "name one module"),
            (&["a"], "`--memory` is missing"),
            (&["a", "--memory"], "`--memory` lacks its value"),
            (&["a", "--memory", "5k"], "`--memory` needs a number"),
            (&["a", "--read", "/etc"], "`--read` lacks its value"),
            (&["a", "--net"], "unknown option `--net`"),
        ] {
            assert_eq!(read(words).unwrap_err().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_words_make_it_panic(words in proptest::collection::vec("(--(memory|read|code|timeout))|[a-z0-9/]{0,4}", 0..8)) {
            let _ = Options::read(words.into_iter().map(OsString::from));
        }
    }
}
