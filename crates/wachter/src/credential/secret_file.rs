use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::failure::CommandError;

/// More than any file with a token, an identity or a private key has.
pub(super) const MAX_BYTES: usize = 64 * 1024;

/// The content of a file with a secret; `what` names it in errors.
///
/// # Errors
/// A file that cannot be read, is not a file, or has more than 64 KiB.
pub(super) fn read(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    read_with_mode(path, what).map(|(content, _)| content)
}

/// As [`read`], of a file that nobody else may read.
///
/// # Errors
/// As [`read`], and a mode that lets the group or others in.
pub(super) fn read_private(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    read_closed(path, what, 0o077, "600")
}

/// As [`read`], of a file that a group may read and nobody else: root's, say, handed to the node by its
/// group.
///
/// # Errors
/// As [`read`], and a mode that lets others in, or the group write.
pub(super) fn read_token(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    read_closed(path, what, 0o027, "640")
}

/// As [`read`], of a file with none of the bits `open` in its mode; `good` is what to set instead.
fn read_closed(
    path: &Path,
    what: &str,
    open: u32,
    good: &str,
) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let (content, mode) = read_with_mode(path, what)?;
    if mode & open != 0 {
        let done = if mode & open & 0o044 == 0 { "written" } else { "read" };
        return Err(CommandError::refused(format!(
            "the {what} {} can be {done} by others (mode {:04o}); take that away with `chmod {good} {0}`, \
             and replace it if someone may have {done} it",
            path.display(),
            mode & 0o7777
        )));
    }
    Ok(content)
}

fn read_with_mode(path: &Path, what: &str) -> Result<(Zeroizing<Vec<u8>>, u32), CommandError> {
    let failed = |reason: &dyn std::fmt::Display| {
        CommandError::failed(format!(
            "cannot read the {what} in {}: {reason}; check its path, and who may read it",
            path.display()
        ))
    };
    let open = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok::<_, std::io::Error>((file, metadata))
    };
    let (file, metadata) = open().map_err(|error| failed(&error))?;
    if !metadata.is_file() {
        return Err(failed(&"it is not a file"));
    }
    // Room at once: growing would leave copies behind that nobody wipes.
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    let mut file = file.take(MAX_BYTES as u64 + 1);
    file.read_to_end(&mut content).map_err(|error| failed(&error))?;
    if content.len() > MAX_BYTES {
        return Err(failed(&format_args!("it has more than {MAX_BYTES} bytes")));
    }
    Ok((content, metadata.permissions().mode()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::failure::ExitKind;

    #[test]
    fn files_are_bounded_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let message = |path: &Path| read(path, "token").unwrap_err().message;
        assert!(message(&path).contains("cannot read the token"), "{}", message(&path));
        assert!(message(folder.path()).contains("not a file"), "{}", message(folder.path()));
        fs::write(&path, vec![b'x'; MAX_BYTES]).unwrap();
        assert_eq!(read(&path, "token").unwrap().len(), MAX_BYTES);
        fs::write(&path, vec![b'x'; MAX_BYTES + 1]).unwrap();
        assert!(message(&path).contains("more than 65536 bytes"), "{}", message(&path));
    }

    #[test]
    fn what_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "hunter2").unwrap();
        type Read = fn(&Path, &str) -> Result<Zeroizing<Vec<u8>>, CommandError>;
        let check = |read: Read, mode, expected: Result<(), (&str, &str)>| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match (read(&path, "secret"), expected) {
                (Ok(content), Ok(())) => assert_eq!(*content, b"hunter2", "{mode:o}"),
                (Err(error), Err((done, command))) => {
                    assert_eq!(error.kind, ExitKind::Refused);
                    assert!(error.message.contains(&format!("can be {done} by others")), "{error}");
                    assert!(error.message.contains(command), "{error}");
                    assert!(!error.message.contains("hunter2"), "{error}");
                }
                (found, _) => panic!("{mode:o}: {}", found.is_ok()),
            }
        };
        for mode in [0o600, 0o400] {
            check(read_private, mode, Ok(()));
            check(read_token, mode, Ok(()));
        }
        for mode in [0o640, 0o604, 0o644] {
            check(read_private, mode, Err(("read", "chmod 600")));
        }
        check(read_private, 0o620, Err(("written", "chmod 600")));
        // Handed to the node by root.
        check(read_token, 0o640, Ok(()));
        check(read_token, 0o440, Ok(()));
        check(read_token, 0o644, Err(("read", "chmod 640")));
        check(read_token, 0o604, Err(("read", "chmod 640")));
        check(read_token, 0o660, Err(("written", "chmod 640")));
        check(read_token, 0o602, Err(("written", "chmod 640")));
    }
}
