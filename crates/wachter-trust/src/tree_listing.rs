use std::io::Write as _;

use wachter_model::{Digest, DigestWriter};

use crate::FileMode;
use crate::safe_path::{self, PathError};

const HEADER: &[u8] = b"wachter-tree v1\0";

/// Computes the digest of a tree: what a release says it holds.
///
/// Git names trees by SHA-1, which no longer stands up to an attacker; this names them by SHA-256.
/// The digest is SHA-256 over `wachter-tree v1 NUL`, then for every file of the tree, in ascending
/// byte order of its whole path, `MODE SP HEX SP PATH NUL`, where `MODE` is `100644`, `100755` or
/// `120000`, `HEX` is the SHA-256 of the content (of a symbolic link: of where it points) as 64
/// lower-case digits, and `PATH` is the path from the root of the tree with `/` between components.
/// That order is the one in which a walk through Git's tree objects meets the files.
///
/// ```
/// use wachter_model::Digest;
/// use wachter_trust::{FileMode, TreeListing};
///
/// let mut listing = TreeListing::new();
/// listing.push(FileMode::Regular, Digest::of(b"hello\n"), "README.md").unwrap();
/// listing.push(FileMode::Executable, Digest::of(b"#!/bin/sh\n"), "modules/a/main.sh").unwrap();
/// assert_eq!(
///     listing.digest().to_string(),
///     "d64ec1ebfde1bd824fae3ef1eb7b26a6d524dcac1a5df99fe395a759ffb616be",
/// );
/// ```
///
/// The same in a shell:
///
/// ```sh
/// { printf 'wachter-tree v1\0'
///   printf '100644 %s README.md\0' "$(printf 'hello\n' | sha256sum | cut -c1-64)"
///   printf '100755 %s modules/a/main.sh\0' "$(printf '#!/bin/sh\n' | sha256sum | cut -c1-64)"
/// } | sha256sum
/// ```
#[derive(Clone, Debug)]
pub struct TreeListing {
    writer: DigestWriter,
    /// The paths so far that begin the last one, which is the last of them.
    prefixes: Vec<String>,
}

/// Why a file cannot stand next in a tree listing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeListingError {
    /// A path that no release may hold.
    #[error("the path `{}` is refused", path.escape_debug())]
    Path {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: PathError,
    },
    /// Not after the path before it.
    #[error(
        "`{path}` does not come after `{last}`; the tree is out of order or holds a name twice"
    )]
    Order {
        /// The path.
        path: String,
        /// The path before it.
        last: String,
    },
    /// A file where a folder stands.
    #[error("`{last}` is a file and `{path}` lies in it")]
    FileAsFolder {
        /// The path.
        path: String,
        /// The file.
        last: String,
    },
}

impl TreeListing {
    /// A listing of nothing.
    #[must_use]
    pub fn new() -> Self {
        let mut listing = Self { writer: DigestWriter::new(), prefixes: Vec::new() };
        listing.write(HEADER);
        listing
    }

    /// Adds the next file.
    ///
    /// # Errors
    /// A path that is absolute, climbs, or cannot be shown; one that does not come after the one
    /// before. The listing is as it was.
    pub fn push(
        &mut self,
        mode: FileMode,
        content: Digest,
        path: &str,
    ) -> Result<(), TreeListingError> {
        safe_path::check(path)
            .map_err(|source| TreeListingError::Path { path: path.to_owned(), source })?;
        if let Some(last) = self.prefixes.last().filter(|last| path <= last.as_str()) {
            return Err(TreeListingError::Order { path: path.to_owned(), last: last.clone() });
        }
        // Between `a` and `a/b` only names that begin with `a` can stand, so `a` is still here.
        let lies_in = |file: &&String| {
            path.strip_prefix(file.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some(last) = self.prefixes.iter().find(lies_in) {
            return Err(TreeListingError::FileAsFolder {
                path: path.to_owned(),
                last: last.clone(),
            });
        }
        self.prefixes.retain(|prefix| path.starts_with(prefix.as_str()));
        self.write(format!("{mode} {content} {path}\0").as_bytes());
        self.prefixes.push(path.to_owned());
        Ok(())
    }

    /// The digest of what was added.
    #[must_use]
    pub fn digest(self) -> Digest {
        self.writer.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).expect("hashing does not fail");
    }
}

impl Default for TreeListing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(paths: &[&str]) -> Result<Digest, TreeListingError> {
        let mut listing = TreeListing::new();
        for path in paths {
            listing.push(FileMode::Regular, Digest::of(b""), path)?;
        }
        Ok(listing.digest())
    }

    #[test]
    fn takes_paths_in_order_only() {
        assert!(listing(&["a", "a-b", "b/c"]).is_ok());
        let refused = |paths: &[&str]| listing(paths).unwrap_err();
        assert!(matches!(refused(&["b", "a"]), TreeListingError::Order { .. }));
        assert!(matches!(refused(&["a", "a"]), TreeListingError::Order { .. }));
        assert!(matches!(refused(&["a", "a/b"]), TreeListingError::FileAsFolder { .. }));
        assert!(matches!(
            refused(&["a", "a-b", "a-b-", "a/b"]),
            TreeListingError::FileAsFolder { .. }
        ));
        assert!(matches!(refused(&["a", "a-", "a"]), TreeListingError::Order { .. }));
        assert!(matches!(refused(&["a/../b"]), TreeListingError::Path { .. }));
    }

    #[test]
    fn everything_counts() {
        let mut digests =
            vec![listing(&[]).unwrap(), listing(&["a"]).unwrap(), listing(&["b"]).unwrap()];
        for mode in [FileMode::Executable, FileMode::Symlink] {
            let mut listing = TreeListing::new();
            listing.push(mode, Digest::of(b""), "a").unwrap();
            digests.push(listing.digest());
        }
        let count = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), count);
    }
}
