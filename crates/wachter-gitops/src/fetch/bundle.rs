use std::io::{self, BufRead};

use crate::ObjectId;

/// The longest line of a header, and the most lines.
const MAX_LINE_BYTES: u64 = 4096;
const MAX_LINES: usize = 50_000;

/// What stands before the pack in a file made by `git bundle create` (gitformat-bundle).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BundleHeader {
    /// Commits that must be there already.
    pub(crate) prerequisites: Vec<ObjectId>,
    /// Full names of references and what they point to.
    pub(crate) references: Vec<(String, ObjectId)>,
}

/// Why bytes are not a bundle that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    #[error(
        "it does not begin with `# v2 git bundle` or `# v3 git bundle`; make it with `git bundle create`"
    )]
    Signature,
    #[error("it needs `{0}`, which is not supported; make it with `git bundle create --version=2`")]
    Capability(String),
    #[error("line {0} of its header cannot be read")]
    Line(usize),
    #[error("its header is longer than {MAX_LINES} lines")]
    TooLong,
}

impl BundleHeader {
    /// Reads a header up to the pack.
    ///
    /// # Errors
    /// Anything that is not version 2 or 3 with SHA-1 objects and nothing left out.
    pub(crate) fn read(input: &mut dyn BufRead) -> Result<Self, BundleError> {
        let version = match line(input, 1)?.as_deref() {
            Some("# v2 git bundle") => 2,
            Some("# v3 git bundle") => 3,
            _ => return Err(BundleError::Signature),
        };
        let mut header = Self::default();
        for number in 2..MAX_LINES {
            let text = line(input, number)?.ok_or(BundleError::Line(number))?;
            if text.is_empty() {
                return Ok(header);
            }
            let bare = header.prerequisites.is_empty() && header.references.is_empty();
            if let Some(capability) = text.strip_prefix('@').filter(|_| version == 3 && bare) {
                if capability != "object-format=sha1" {
                    return Err(BundleError::Capability(super::failure::printable(capability, 60)));
                }
                continue;
            }
            header.add(&text).ok_or(BundleError::Line(number))?;
        }
        Err(BundleError::TooLong)
    }

    fn add(&mut self, text: &str) -> Option<()> {
        if let Some(prerequisite) = text.strip_prefix('-') {
            // What follows the id is a comment.
            let id = prerequisite.split(' ').next()?;
            // Prerequisites stand before references.
            if !self.references.is_empty() {
                return None;
            }
            self.prerequisites.push(id.parse().ok()?);
        } else {
            let (id, name) = text.split_once(' ')?;
            self.references.push((name.to_owned(), id.parse().ok()?));
        }
        Some(())
    }
}

/// One line without its line feed; `None` at the end of the file.
fn line(input: &mut dyn BufRead, number: usize) -> Result<Option<String>, BundleError> {
    let mut bytes = Vec::new();
    io::Read::take(input, MAX_LINE_BYTES)
        .read_until(b'\n', &mut bytes)
        .map_err(BundleError::Read)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.pop() != Some(b'\n') {
        return Err(BundleError::Line(number));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| BundleError::Line(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn stops_at_the_pack() {
        let text = format!(
            "# v3 git bundle\n@object-format=sha1\n-{ID} a comment\n{ID} refs/tags/wachter/1\n\nPACK"
        );
        let mut input = text.as_bytes();
        let header = BundleHeader::read(&mut input).unwrap();
        let id: ObjectId = ID.parse().unwrap();
        assert_eq!(header.prerequisites, [id]);
        assert_eq!(header.references, [("refs/tags/wachter/1".to_owned(), id)]);
        assert_eq!(input, b"PACK");
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (text, expected) in [
            (String::new(), "does not begin"),
            ("# v4 git bundle\n\n".into(), "does not begin"),
            ("# v2 git bundle\n".into(), "line 2"),
            ("# v2 git bundle\n@object-format=sha1\n\n".into(), "line 2"),
            ("# v3 git bundle\n@object-format=sha256\n\n".into(), "object-format=sha256"),
            ("# v3 git bundle\n@filter=blob:none\n\n".into(), "filter=blob:none"),
            (format!("# v2 git bundle\n{ID} a\n-{ID} b\n\n"), "line 3"),
            (format!("# v2 git bundle\n{ID}\n\n"), "line 2"),
            ("# v2 git bundle\nxyz refs/heads/a\n\n".into(), "line 2"),
            (format!("# v2 git bundle\n{ID} {}\n\n", "a".repeat(5000)), "line 2"),
        ] {
            let error = BundleHeader::read(&mut text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{text:.80}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(BundleHeader::read(&mut bytes.as_slice()));
            drop(BundleHeader::read(&mut [b"# v2 git bundle\n", bytes.as_slice()].concat().as_slice()));
        }

        #[test]
        fn reads_what_is_written(
            before in proptest::collection::vec(any::<[u8; 20]>(), 0..5),
            references in proptest::collection::vec(("[a-z/]{1,20}", any::<[u8; 20]>()), 0..5),
        ) {
            let header = BundleHeader {
                prerequisites: before.into_iter().map(ObjectId::from_bytes).collect(),
                references: references.into_iter().map(|(name, id)| (name, ObjectId::from_bytes(id))).collect(),
            };
            let mut text = "# v2 git bundle\n".to_owned();
            text.extend(header.prerequisites.iter().map(|id| format!("-{id}\n")));
            text.extend(header.references.iter().map(|(name, id)| format!("{id} {name}\n")));
            text.push('\n');
            prop_assert_eq!(BundleHeader::read(&mut text.as_bytes()).unwrap(), header);
        }
    }
}
