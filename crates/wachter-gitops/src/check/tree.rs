use std::cmp::Ordering;

use crate::ObjectId;

/// One line of a tree object, as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeEntry<'a> {
    pub(crate) mode: EntryMode,
    pub(crate) name: &'a [u8],
    pub(crate) id: ObjectId,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryMode {
    Regular,
    Executable,
    Symlink,
    Folder,
    /// A commit of another repository.
    Submodule,
}

/// Why bytes are not a tree that Git would write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Cut short.
    #[error("it is cut short")]
    Truncated,
    /// Not one of the five modes that Git writes today.
    #[error("it has an entry of mode `{0}`")]
    Mode(String),
    /// Not in Git's order, in which a name can be hidden from a search.
    #[error("its entries are not in order")]
    Order,
    /// One name twice.
    #[error("it has a name twice")]
    Repeated,
}

/// Reads a tree object: `MODE SP NAME NUL ID`, again and again. Names are not judged here, but for
/// their order.
pub(crate) fn parse(mut bytes: &[u8]) -> Result<Vec<TreeEntry<'_>>, TreeError> {
    let mut entries: Vec<TreeEntry<'_>> = Vec::new();
    while !bytes.is_empty() {
        let (mode, rest) = cut(bytes, b' ')?;
        let (name, rest) = cut(rest, 0)?;
        let (id, rest) =
            rest.split_first_chunk::<{ ObjectId::BYTES }>().ok_or(TreeError::Truncated)?;
        let entry =
            TreeEntry { mode: EntryMode::parse(mode)?, name, id: ObjectId::from_bytes(*id) };
        if let Some(last) = entries.last() {
            match order(last, &entry) {
                Ordering::Less => {}
                _ if last.name == name => return Err(TreeError::Repeated),
                _ => return Err(TreeError::Order),
            }
        }
        entries.push(entry);
        bytes = rest;
    }
    // A file and a folder of one name need not be neighbours: `a`, `a-`, `a/`.
    let mut names: Vec<&[u8]> = entries.iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(TreeError::Repeated);
    }
    Ok(entries)
}

/// The order of a tree: by bytes, a folder as if its name ended with a slash.
fn order(one: &TreeEntry<'_>, other: &TreeEntry<'_>) -> Ordering {
    one.sort_key().cmp(other.sort_key())
}

impl TreeEntry<'_> {
    fn sort_key(&self) -> impl Iterator<Item = u8> {
        let slash = (self.mode == EntryMode::Folder).then_some(b'/');
        self.name.iter().copied().chain(slash)
    }
}

impl EntryMode {
    fn parse(mode: &[u8]) -> Result<Self, TreeError> {
        match mode {
            b"100644" => Ok(Self::Regular),
            b"100755" => Ok(Self::Executable),
            b"120000" => Ok(Self::Symlink),
            b"40000" => Ok(Self::Folder),
            b"160000" => Ok(Self::Submodule),
            other => {
                let shown = &other[..other.len().min(12)];
                Err(TreeError::Mode(shown.escape_ascii().to_string()))
            }
        }
    }
}

fn cut(bytes: &[u8], at: u8) -> Result<(&[u8], &[u8]), TreeError> {
    let position = bytes.iter().position(|byte| *byte == at).ok_or(TreeError::Truncated)?;
    Ok((&bytes[..position], &bytes[position + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(entries: &[(&str, &str)]) -> Vec<u8> {
        let entry = |(mode, name): &(&str, &str)| {
            [format!("{mode} {name}\0").as_bytes(), &[7; 20]].concat()
        };
        entries.iter().flat_map(entry).collect()
    }

    #[test]
    fn order_and_repetition() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Result<usize, TreeError>);
        let cases: &[Case<'_>] = &[
            (&[], Ok(0)),
            (&[("100644", "a"), ("100644", "a-"), ("40000", "b")], Ok(3)),
            // A folder sorts as `a/`, which is after `a-` and before `a0`.
            (&[("100644", "a-"), ("40000", "a"), ("100644", "a0")], Ok(3)),
            (&[("40000", "a"), ("100644", "a-")], Err(TreeError::Order)),
            (&[("100644", "b"), ("100644", "a")], Err(TreeError::Order)),
            (&[("100644", "a"), ("100644", "a")], Err(TreeError::Repeated)),
            (&[("100644", "a"), ("100644", "a-"), ("40000", "a")], Err(TreeError::Repeated)),
            (&[("100664", "a")], Err(TreeError::Mode("100664".into()))),
            (&[("040000", "a")], Err(TreeError::Mode("040000".into()))),
            (&[("", "a")], Err(TreeError::Mode(String::new()))),
        ];
        for (entries, expected) in cases {
            let bytes = tree(entries);
            assert_eq!(parse(&bytes).map(|entries| entries.len()), *expected, "{entries:?}");
        }
    }

    proptest! {
        #[test]
        fn cut_short_anywhere_is_refused(at in 1usize..26) {
            let bytes = tree(&[("100644", "a")]);
            prop_assume!(at < bytes.len());
            prop_assert_eq!(parse(&bytes[..at]), Err(TreeError::Truncated));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&bytes));
        }
    }
}
