use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use wachter_model::{Digest, ModuleName};

use crate::FileMode;
use crate::safe_path::{self, PathError};

const MAX_ENTRIES: usize = 10_000;
const MAX_BYTES: usize = 4 * 1024 * 1024;
const MAX_VERSION_BYTES: usize = 64;
const EXECUTABLE: &str = "# mode 100755";

/// Signed next to the module, so they cannot be part of it.
const RESERVED: [&str; 2] = ["module.digests", "module.sig"];

/// What a module consists of: the file `module.digests`.
///
/// The text is in the format of `sha256sum`, so that `sha256sum -c module.digests` checks it (with
/// one warning, about the first line):
///
/// ```text
/// wachter-module v1 backup 1.2.0
/// # mode 100755
/// 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824  main.py
/// 486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7  module.yaml
/// ```
///
/// - The first line is `wachter-module v1 NAME VERSION`, with single spaces.
/// - Each file is a line `HEX SP SP PATH`, in ascending byte order of the paths. `HEX` is the
///   SHA-256 of its content. A file that may be executed has the line `# mode 100755` before it;
///   every other file has mode 100644.
/// - Every line ends with a line feed. Paths are relative, with no `..`, control character or
///   backslash (which `sha256sum` would escape); `module.digests` and `module.sig` are not among them.
/// - At most 10,000 files and 4 MiB.
///
/// There is exactly one text for each module: what is not in this form to the byte is refused. So the
/// SHA-256 of the text is the identity of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleDigests {
    name: ModuleName,
    version: ModuleVersion,
    files: BTreeMap<String, ModuleFile>,
}

/// One file of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Whether the file may be executed.
    pub executable: bool,
}

/// The version of a module: 1 to 64 letters, digits, `.`, `-` and `+`, as in Semantic Versioning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleVersion(String);

/// Why a text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version is 1 to {MAX_VERSION_BYTES} letters, digits, `.`, `-` and `+`, as in 1.2.0")]
pub struct ParseModuleVersionError;

/// Why a text does not say what a module consists of, or a list of files cannot be a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleDigestsError {
    /// Beyond 4 MiB or 10,000 files.
    #[error("a module has at most {MAX_ENTRIES} files, and their list at most {MAX_BYTES} bytes")]
    TooLarge,
    /// Not UTF-8, or no line feed at the end.
    #[error("the list is not text that ends with a line feed; write it with `wachter sign`")]
    NotText,
    /// The first line.
    #[error("the first line is not `wachter-module v1 NAME VERSION`; write it with `wachter sign`")]
    Header,
    /// A line that is no entry.
    #[error("line {line} is not `SHA256  PATH`; write the list with `wachter sign`")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// Entries out of order.
    #[error(
        "line {line} does not come after the one before it; write the list with `wachter sign`"
    )]
    Order {
        /// Counted from 1.
        line: usize,
    },
    /// A path that no module may hold.
    #[error("the path `{}` cannot be part of a module; rename the file", path.escape_debug())]
    Path {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: PathError,
    },
    /// A path that is used for the signature itself.
    #[error("`{0}` belongs to the signature and cannot be part of the module")]
    Reserved(String),
    /// One path lies in another.
    #[error("`{path}` lies in `{file}`, which is a file")]
    FileAsFolder {
        /// The path.
        path: String,
        /// The file.
        file: String,
    },
    /// No file at all.
    #[error("the module has no files")]
    Empty,
}

impl ModuleDigests {
    /// A module of these files.
    ///
    /// # Errors
    /// No files, too many, or a path that is refused.
    pub fn new(
        name: ModuleName,
        version: ModuleVersion,
        files: impl IntoIterator<Item = (String, ModuleFile)>,
    ) -> Result<Self, ModuleDigestsError> {
        let module = Self { name, version, files: files.into_iter().collect() };
        module.check()?;
        Ok(module)
    }

    /// Reads the text.
    ///
    /// # Errors
    /// Everything that [`ModuleDigests::render`] would not write.
    pub fn parse(bytes: &[u8]) -> Result<Self, ModuleDigestsError> {
        if bytes.len() > MAX_BYTES {
            return Err(ModuleDigestsError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ModuleDigestsError::NotText)?;
        let text = text.strip_suffix('\n').ok_or(ModuleDigestsError::NotText)?;
        let mut lines = text.split('\n').enumerate().map(|(index, line)| (index + 1, line));
        let (name, version) = lines
            .next()
            .and_then(|(_, line)| parse_header(line))
            .ok_or(ModuleDigestsError::Header)?;
        let mut files: BTreeMap<String, ModuleFile> = BTreeMap::new();
        let mut executable = false;
        let mut last_line = 1;
        for (line, text) in lines {
            last_line = line;
            if text == EXECUTABLE && !executable {
                executable = true;
                continue;
            }
            let (digest, path) = text.split_once("  ").ok_or(ModuleDigestsError::Line { line })?;
            let digest = digest.parse().map_err(|_| ModuleDigestsError::Line { line })?;
            if files.last_key_value().is_some_and(|(last, _)| last.as_str() >= path) {
                return Err(ModuleDigestsError::Order { line });
            }
            if files.len() == MAX_ENTRIES {
                return Err(ModuleDigestsError::TooLarge);
            }
            let executable = std::mem::take(&mut executable);
            files.insert(path.to_owned(), ModuleFile { digest, executable });
        }
        if executable {
            return Err(ModuleDigestsError::Line { line: last_line });
        }
        let module = Self { name, version, files };
        module.check()?;
        Ok(module)
    }

    /// Writes the text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("wachter-module v1 {} {}\n", self.name, self.version);
        for (path, file) in &self.files {
            if file.executable {
                text.push_str(EXECUTABLE);
                text.push('\n');
            }
            writeln!(text, "{}  {path}", file.digest).expect("writing to a string does not fail");
        }
        text
    }

    /// The identity of the module: SHA-256 of [`ModuleDigests::render`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.render().as_bytes())
    }

    /// The module's name.
    #[must_use]
    pub fn name(&self) -> &ModuleName {
        &self.name
    }

    /// The module's version.
    #[must_use]
    pub fn version(&self) -> &ModuleVersion {
        &self.version
    }

    /// The files by path, sorted.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&str, &ModuleFile)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// The file at `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&ModuleFile> {
        self.files.get(path)
    }

    fn check(&self) -> Result<(), ModuleDigestsError> {
        if self.files.is_empty() {
            return Err(ModuleDigestsError::Empty);
        }
        if self.files.len() > MAX_ENTRIES {
            return Err(ModuleDigestsError::TooLarge);
        }
        for path in self.files.keys() {
            safe_path::check(path)
                .map_err(|source| ModuleDigestsError::Path { path: path.clone(), source })?;
            // `sha256sum -c` would read its standard input for a file named `-`.
            if RESERVED.contains(&path.as_str()) || path == "-" {
                return Err(ModuleDigestsError::Reserved(path.clone()));
            }
            if let Some(file) =
                safe_path::parents(path).find(|parent| self.files.contains_key(*parent))
            {
                let (path, file) = (path.clone(), file.to_owned());
                return Err(ModuleDigestsError::FileAsFolder { path, file });
            }
        }
        if self.render().len() > MAX_BYTES { Err(ModuleDigestsError::TooLarge) } else { Ok(()) }
    }
}

impl ModuleFile {
    /// The file's mode in Git's notation.
    #[must_use]
    pub const fn mode(&self) -> FileMode {
        if self.executable { FileMode::Executable } else { FileMode::Regular }
    }
}

fn parse_header(line: &str) -> Option<(ModuleName, ModuleVersion)> {
    let (name, version) = line.strip_prefix("wachter-module v1 ")?.split_once(' ')?;
    Some((name.parse().ok()?, version.parse().ok()?))
}

impl FromStr for ModuleVersion {
    type Err = ParseModuleVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
        if (1..=MAX_VERSION_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseModuleVersionError)
        }
    }
}

impl fmt::Display for ModuleVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[allow(clippy::needless_pass_by_value, reason = "cases are written in place")]
    fn check(lines: &str, expected: Result<usize, ModuleDigestsError>) {
        let text = format!("wachter-module v1 m 1.0\n{lines}").replace("HEX", HEX);
        let parsed = ModuleDigests::parse(text.as_bytes());
        if let Ok(module) = &parsed {
            assert_eq!(module.render(), text);
            assert_eq!(module.digest(), Digest::of(text.as_bytes()));
        }
        assert_eq!(parsed.map(|module| module.files().len()), expected, "{text}");
    }

    #[test]
    fn takes_one_form_only() {
        use ModuleDigestsError as E;
        check("HEX  a\n", Ok(1));
        check("# mode 100755\nHEX  a\nHEX  b/c\n", Ok(2));
        check("HEX  two  spaces\n", Ok(1));
        check("", Err(E::Empty));
        check("HEX  a", Err(E::NotText));
        check("HEX  a\n\n", Err(E::Line { line: 3 }));
        check("HEX a\n", Err(E::Line { line: 2 }));
        check("HEX *a\n", Err(E::Line { line: 2 }));
        check("HEX  b\nHEX  a\n", Err(E::Order { line: 3 }));
        check("HEX  a\nHEX  a\n", Err(E::Order { line: 3 }));
        check("HEX  a\n# mode 100755\n", Err(E::Line { line: 3 }));
        check("# mode 100755\n# mode 100755\nHEX  a\n", Err(E::Line { line: 3 }));
        check("# mode 100644\nHEX  a\n", Err(E::Line { line: 2 }));
        check("# a comment\nHEX  a\n", Err(E::Line { line: 2 }));
        check("HEX  a\r\n", Err(E::Path { path: "a\r".into(), source: PathError::Character }));
        check("HEX  ../a\n", Err(E::Path { path: "../a".into(), source: PathError::Dots }));
        check("HEX  /a\n", Err(E::Path { path: "/a".into(), source: PathError::Empty }));
        check("HEX   a\n", Ok(1));
        check("HEX  module.sig\n", Err(E::Reserved("module.sig".into())));
        check("HEX  a/module.sig\n", Ok(1));
        check("HEX  -\n", Err(E::Reserved("-".into())));
        check(
            "HEX  a\nHEX  a-b\nHEX  a/b\n",
            Err(E::FileAsFolder { path: "a/b".into(), file: "a".into() }),
        );
        for header in [
            "",
            "wachter-module v1 m",
            "wachter-module v2 m 1",
            "wachter-module v1  m 1",
            "wachter-module v1 M 1",
            "wachter-module v1 m 1 ",
        ] {
            let text = format!("{header}\n{HEX}  a\n");
            assert_eq!(ModuleDigests::parse(text.as_bytes()), Err(E::Header), "{text}");
        }
    }

    #[test]
    fn has_limits() {
        let many: String = (0..=MAX_ENTRIES).map(|index| format!("HEX  {index:05}\n")).collect();
        check(&many, Err(ModuleDigestsError::TooLarge));
        assert_eq!(
            ModuleDigests::parse(&vec![b'a'; MAX_BYTES + 1]),
            Err(ModuleDigestsError::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn parse_undoes_render(files in prop::collection::btree_map("[a-z]{1,3}(/[ -.0-~é]{1,5}){0,2}", any::<([u8; 32], bool)>(), 1..8)) {
            let files = files.into_iter().map(|(path, (digest, executable))| {
                (path, ModuleFile { digest: Digest::from_bytes(digest), executable })
            });
            let module = ModuleDigests::new("m".parse().unwrap(), "1.0".parse().unwrap(), files);
            if let Ok(module) = module {
                prop_assert_eq!(ModuleDigests::parse(module.render().as_bytes()), Ok(module));
            }
        }

        #[test]
        fn what_is_read_is_what_is_written(lines in "(HEX(  |   | )[a-c./]{0,3}\n|# mode 100755\n|\n){0,4}") {
            let text = format!("wachter-module v1 m 1.0\n{lines}").replace("HEX", HEX);
            if let Ok(module) = ModuleDigests::parse(text.as_bytes()) {
                prop_assert_eq!(module.render(), text);
            }
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = ModuleDigests::parse(&bytes);
        }
    }
}
