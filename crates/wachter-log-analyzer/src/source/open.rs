use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};

/// A regular file that was opened to be read.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) identity: Identity,
    /// Its size in bytes when it was opened.
    pub(crate) size: u64,
    /// When it was last changed, in milliseconds since 1970.
    pub(crate) modified: i64,
}

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// There is none.
    #[error("there is no such file")]
    Absent,
    /// It lies elsewhere, or a link leads elsewhere.
    #[error(
        "it lies outside of the folders that may be read; add its folder to `folders` and to the grant"
    )]
    Outside,
    /// A folder, a pipe, a device or a socket.
    #[error("it is no regular file")]
    NoFile,
    /// The module may not.
    #[error("it may not be read; grant its folder, and the group that owns it")]
    Denied(#[source] io::Error),
    /// Anything else.
    #[error("it cannot be opened")]
    Failed(#[source] io::Error),
}

/// Opens a regular file within one of `folders`. Links are followed as long as they stay there;
/// what happens to the path meanwhile changes nothing about that. Never waits, whatever the file is.
pub(crate) fn open(path: &Path, folders: &[PathBuf]) -> Result<Opened, OpenError> {
    let real = path.canonicalize().map_err(failed)?;
    if !folders.iter().any(|folder| real.starts_with(folder)) {
        return Err(OpenError::Outside);
    }
    let file = walk(&real)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(OpenError::NoFile);
    }
    Ok(Opened {
        identity: Identity { device: metadata.dev(), inode: metadata.ino() },
        size: metadata.len(),
        modified: milliseconds(&metadata),
        file,
    })
}

/// When a file was last changed, in milliseconds since 1970.
pub(crate) fn milliseconds(metadata: &std::fs::Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000).saturating_add(metadata.mtime_nsec() / 1_000_000)
}

/// The folders with their links resolved, those that are not there left out.
pub(crate) fn real_folders(folders: &[PathBuf]) -> Vec<PathBuf> {
    folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect()
}

/// Opens a path that holds no link: if one was put there since, it is not followed.
fn walk(real: &Path) -> Result<File, OpenError> {
    let names: Vec<&OsStr> = real
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let Some((last, parents)) = names.split_last() else { return Err(OpenError::NoFile) };
    let through = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder =
        rustix::fs::open("/", through, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    for name in parents {
        folder =
            openat(&folder, *name, through, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    }
    // A pipe without a writer is opened at once, and refused after.
    let read =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(&folder, *last, read, Mode::empty()).map_err(|errno| match errno {
        rustix::io::Errno::NXIO => OpenError::NoFile,
        errno => failed(errno.into()),
    })?;
    Ok(File::from(file))
}

fn failed(error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => OpenError::Absent,
        io::ErrorKind::PermissionDenied => OpenError::Denied(error),
        // A link was put there after the path was resolved.
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            OpenError::Outside
        }
        _ => OpenError::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_within_the_folders() {
        let here = tempfile::tempdir().unwrap();
        let root = here.path().canonicalize().unwrap();
        let logs = root.join("logs");
        std::fs::create_dir_all(logs.join("deep")).unwrap();
        std::fs::write(root.join("secret"), "s").unwrap();
        std::fs::write(logs.join("a.log"), "a").unwrap();
        symlink(logs.join("a.log"), logs.join("inside")).unwrap();
        symlink(root.join("secret"), logs.join("outside")).unwrap();
        symlink("/dev/zero", logs.join("device")).unwrap();
        symlink("loop", logs.join("loop")).unwrap();
        let fifo = logs.join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        let folders = [logs.clone()];
        for (name, expected) in [
            ("a.log", "opened"),
            ("inside", "opened"),
            ("outside", "outside of the folders"),
            ("device", "outside of the folders"),
            ("../secret", "outside of the folders"),
            ("fifo", "no regular file"),
            ("deep", "no regular file"),
            ("loop", "cannot be opened"),
            ("none", "no such file"),
            ("a.log/x", "no such file"),
        ] {
            let told = match open(&logs.join(name), &folders) {
                Ok(_) => "opened".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(told.contains(expected) || name == "loop", "{name}: {told}");
        }
        assert!(matches!(walk(&logs.join("outside")), Err(OpenError::Outside)));
    }
}
