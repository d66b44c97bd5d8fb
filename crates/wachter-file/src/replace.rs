//! The temporary file has a fixed name beside the one that it becomes: a process that is killed
//! leaves one such file behind, and the next replacement takes it away. A random name, as of the
//! crates for temporary files, would leave one more each time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Replaces a file so that a reader, or whoever comes after a crash or a power cut, finds the old
/// content or the new one: written beside it, synced, renamed, and the folder synced.
///
/// Two writers of one file at a time must be kept apart by the caller. A symbolic link at `path` is
/// replaced itself; what it points to stays as it is.
///
/// # Errors
/// The system refused. Unless it was the last step, the syncing of the folder, the old file stands.
pub fn replace_durably(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let folder = replace(path, content, readers, true)?;
    sync_folder(&folder)
}

/// As [`replace_durably`], without waiting for the disk: a reader finds old or new, and so does a
/// program after a crash of this one. After a power cut the file may be empty or missing, so this is
/// for what can be made again.
///
/// # Errors
/// The system refused; the old file stands.
pub fn replace_quickly(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    replace(path, content, readers, false).map(drop)
}

/// Who can read a file that is written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner alone: mode 0600.
    Owner,
    /// Whoever the process's mask leaves: mode 0666 without it.
    Mask,
}

/// Makes the names in a folder survive a power cut.
///
/// # Errors
/// The system refused.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn replace(path: &Path, content: &[u8], readers: Readers, durably: bool) -> io::Result<PathBuf> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(".new");
    let beside = folder.join(name);
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Mask => 0o666,
    };
    let create = || OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside);
    let mut file = match create() {
        // Left by a process that was killed, or put there by somebody: it is never written through,
        // as it may be a link.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&beside)?;
            create()?
        }
        other => other?,
    };
    let written = (|| {
        file.write_all(content)?;
        if durably {
            file.sync_all()?;
        }
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // A full disk gets its room back. What cannot be removed now, the next replacement removes.
        let _ = fs::remove_file(&beside);
    }
    written.map(|()| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use proptest::prelude::*;

    use super::*;

    type Replace = fn(&Path, &[u8], Readers) -> io::Result<()>;
    const BOTH: [Replace; 2] = [replace_durably, replace_quickly];

    #[test]
    fn replaces_and_leaves_nothing_beside() {
        for replace in BOTH {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            fs::write(folder.path().join(".file.new"), "left by one that was killed").unwrap();
            for content in ["old", "new", ""] {
                replace(&path, content.as_bytes(), Readers::Owner).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), content);
                assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
            }
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn links_are_not_followed() {
        for replace in BOTH {
            let folder = tempfile::tempdir().unwrap();
            let (outside, path) = (folder.path().join("outside"), folder.path().join("file"));
            fs::write(&outside, "kept").unwrap();
            symlink(&outside, &path).unwrap();
            symlink(&outside, folder.path().join(".file.new")).unwrap();
            replace(&path, b"new", Readers::Mask).unwrap();
            assert_eq!(fs::read_to_string(&outside).unwrap(), "kept");
            assert_eq!(fs::read_to_string(&path).unwrap(), "new");
            assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
        }
    }

    #[test]
    fn what_fails_changes_nothing() {
        for replace in BOTH {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            // A folder cannot be replaced by a file.
            fs::create_dir(&path).unwrap();
            assert!(replace(&path, b"new", Readers::Owner).is_err());
            assert!(path.is_dir());
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
            assert!(replace(&folder.path().join("none/file"), b"", Readers::Owner).is_err());
            assert!(replace(Path::new("/"), b"", Readers::Owner).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_round_trip(content: Vec<u8>, before: Option<Vec<u8>>) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            if let Some(before) = before {
                fs::write(&path, before).unwrap();
            }
            replace_quickly(&path, &content, Readers::Mask).unwrap();
            prop_assert_eq!(fs::read(&path).unwrap(), content);
        }
    }
}
