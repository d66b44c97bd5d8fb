use std::fmt;

/// What a file is, in Git's notation. Nothing else is ever signed: no device, no folder, no
/// submodule, no setuid bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileMode {
    /// `100644`: a file.
    Regular,
    /// `100755`: a file that may be executed.
    Executable,
    /// `120000`: a symbolic link; its content is where it points.
    Symlink,
}

impl FileMode {
    /// The six octal digits that Git writes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
        }
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
