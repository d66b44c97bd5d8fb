use gix_object::Kind;

use super::{ObjectError, ObjectReader};
use crate::ObjectId;

/// The most bytes of a commit. Real ones have less than 10 KiB.
const MAX_COMMIT_BYTES: u64 = 1 << 20;

/// The most parents of a commit.
const MAX_PARENTS: usize = 64;

/// What a commit says about tree and history. Who wrote it, and why, is of no interest here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) tree: ObjectId,
    pub(crate) parents: Vec<ObjectId>,
}

/// Why a commit cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The object.
    #[error("commit {id} cannot be read")]
    Object {
        /// Which.
        id: ObjectId,
        /// Why.
        #[source]
        source: ObjectError,
    },
    /// The bytes.
    #[error("commit {id} is malformed")]
    Malformed {
        /// Which.
        id: ObjectId,
    },
}

impl Commit {
    pub(crate) fn read(
        reader: &ObjectReader,
        id: ObjectId,
        buffer: &mut Vec<u8>,
    ) -> Result<Self, CommitError> {
        let bytes = Self::bytes(reader, id, buffer)?;
        Self::parse(bytes).ok_or(CommitError::Malformed { id })
    }

    /// The raw object, for checking its signature.
    pub(crate) fn bytes<'b>(
        reader: &ObjectReader,
        id: ObjectId,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], CommitError> {
        reader
            .read(id, Kind::Commit, MAX_COMMIT_BYTES, buffer)
            .map_err(|source| CommitError::Object { id, source })
    }

    /// `tree`, any number of `parent`, then `author`: in this order, nothing between.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let tree = id(lines.next()?, b"tree ")?;
        let mut parents = Vec::new();
        for line in lines {
            if line.starts_with(b"author ") {
                return Some(Self { tree, parents });
            }
            parents.push(id(line, b"parent ")?);
            if parents.len() > MAX_PARENTS {
                return None;
            }
        }
        None
    }
}

fn id(line: &[u8], name: &[u8]) -> Option<ObjectId> {
    std::str::from_utf8(line.strip_prefix(name)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_headers_in_their_order_alone() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let parse =
            |text: String| Commit::parse(text.as_bytes()).map(|commit| commit.parents.len());
        assert_eq!(parse(format!("tree {id}\nauthor a\n\nx")), Some(0));
        assert_eq!(parse(format!("tree {id}\nparent {id}\nparent {id}\nauthor a\n")), Some(2));
        for bad in [
            format!("parent {id}\ntree {id}\nauthor a\n"),
            format!("tree {id}\n"),
            format!("tree {id}\nparent x\nauthor a\n"),
            format!("tree {id}\ngpgsig x\nparent {id}\nauthor a\n"),
            format!("tree {id}\n{}author a\n", format!("parent {id}\n").repeat(65)),
        ] {
            assert_eq!(parse(bad.clone()), None, "{bad:.100}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Commit::parse(&bytes));
        }
    }
}
