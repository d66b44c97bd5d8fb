use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::str::FromStr;
use std::{fs, io};

use wachter_file::{Readers, replace_durably};

use crate::{BranchName, ObjectId};

/// The tags and branches that were brought from outside, under private names.
///
/// All of them stand in one file, `packed-refs` (gitformat of `git pack-refs`), which is replaced
/// whole: after a crash there are the references of before or those of after. There are no loose
/// references; one that turns up was not made here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    pub(crate) tags: BTreeMap<TagName, ObjectId>,
    pub(crate) branches: BTreeMap<String, ObjectId>,
}

/// The name of a release's tag, without `refs/tags/`: `wachter/<sequence>` for the release itself,
/// `wachter/<sequence>.<n>` with n from 2 for what others signed too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TagName {
    pub(crate) sequence: u64,
    /// 1 for the release itself.
    pub(crate) signature: u32,
}

const TAGS: &str = "refs/wachter/remote/tags/";
const BRANCHES: &str = "refs/wachter/remote/heads/";
const HEADER: &str = "# pack-refs with: sorted\n";

/// Why the file of references cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReferencesError {
    #[error("`packed-refs` cannot be read")]
    Read(#[source] io::Error),
    #[error("line {line} of `packed-refs` was not written by this program")]
    Foreign { line: usize },
}

impl References {
    /// Reads the references of a repository. None at all is not an error.
    pub(crate) fn load(repository: &Path) -> Result<Self, ReferencesError> {
        match fs::read(repository.join("packed-refs")) {
            Ok(bytes) => Self::parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(ReferencesError::Read(error)),
        }
    }

    /// Writes the references of a repository, all or nothing.
    pub(crate) fn save(&self, repository: &Path) -> io::Result<()> {
        let file = repository.join("packed-refs");
        replace_durably(&file, self.render().as_bytes(), Readers::Owner)
    }

    fn parse(bytes: &[u8]) -> Result<Self, ReferencesError> {
        let foreign = |line| ReferencesError::Foreign { line };
        let text = std::str::from_utf8(bytes).map_err(|_| foreign(1))?;
        let body = text.strip_prefix(HEADER).ok_or(foreign(1))?;
        let mut references = Self::default();
        for (index, line) in body.lines().enumerate() {
            let parsed = (|| {
                let (id, name) = line.split_once(' ')?;
                let id = id.parse().ok()?;
                if let Some(tag) = name.strip_prefix(TAGS) {
                    references.tags.insert(tag.parse().ok()?, id);
                } else {
                    let branch: BranchName = name.strip_prefix(BRANCHES)?.parse().ok()?;
                    references.branches.insert(branch.to_string(), id);
                }
                Some(())
            })();
            parsed.ok_or(foreign(index + 2))?;
        }
        Ok(references)
    }

    fn render(&self) -> String {
        let mut lines: Vec<(String, ObjectId)> = Vec::new();
        lines.extend(self.tags.iter().map(|(name, id)| (format!("{TAGS}{name}"), *id)));
        lines.extend(self.branches.iter().map(|(name, id)| (format!("{BRANCHES}{name}"), *id)));
        // Git searches the file by halves: in the order of bytes, not of numbers.
        lines.sort();
        let mut text = HEADER.to_owned();
        for (name, id) in lines {
            writeln!(text, "{id} {name}").expect("writing to a string does not fail");
        }
        text
    }
}

/// Why a text is not the name of a release's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a release's tag is named `wachter/<sequence>` or `wachter/<sequence>.<n>`")]
pub(crate) struct TagNameError;

impl FromStr for TagName {
    type Err = TagNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.strip_prefix("wachter/").ok_or(TagNameError)?;
        let (sequence, signature) = match numbers.split_once('.') {
            Some((sequence, signature)) => (sequence, signature.parse().map_err(|_| TagNameError)?),
            None => (numbers, 1),
        };
        let name = Self { sequence: sequence.parse().map_err(|_| TagNameError)?, signature };
        let counted = name.sequence > 0 && name.signature > 0;
        // One spelling a name: no sign, no leading zero, no `.1`.
        if counted && name.to_string() == text { Ok(name) } else { Err(TagNameError) }
    }
}

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.signature {
            1 => write!(f, "wachter/{}", self.sequence),
            signature => write!(f, "wachter/{}.{signature}", self.sequence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tag_names_have_one_spelling() {
        for good in ["wachter/1", "wachter/18446744073709551615", "wachter/7.2", "wachter/7.10"] {
            assert_eq!(good.parse::<TagName>().unwrap().to_string(), good);
        }
        for bad in [
            "wachter/0",
            "wachter/01",
            "wachter/+1",
            "wachter/1.1",
            "wachter/1.0",
            "wachter/1.",
            "1",
            "wachter/",
            "wachter/1/2",
            "wachter/1.2.3",
            "Wachter/1",
            "wachter/18446744073709551616",
            "wachter/0.2",
        ] {
            assert!(bad.parse::<TagName>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_file_round_trips(
            tags in proptest::collection::btree_map((1u64.., 1u32..), any::<[u8; 20]>(), 0..20),
            branches in proptest::collection::btree_map("[a-z]{1,8}", any::<[u8; 20]>(), 0..5),
        ) {
            let references = References {
                tags: tags.into_iter()
                    .map(|((sequence, signature), id)| (TagName { sequence, signature }, ObjectId::from_bytes(id)))
                    .collect(),
                branches: branches.into_iter().map(|(name, id)| (name, ObjectId::from_bytes(id))).collect(),
            };
            prop_assert_eq!(References::parse(references.render().as_bytes()).unwrap(), references);
        }

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(References::parse(&bytes));
            drop(References::parse(&[HEADER.as_bytes(), &bytes].concat()));
        }
    }
}
