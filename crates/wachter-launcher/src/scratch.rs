//! A folder of its own for each run that has no `/tmp` of its own, because there are no namespaces.
//!
//! Layout: `scratch/<run>` below the launcher's state. Whatever a module builds in it is removed
//! without following links and without descending: a tree deeper than any path or stack allows is
//! taken apart from the top.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use wachter_model::RunId;

use crate::jail::user::User;

/// Where the folder of a run is.
pub(crate) fn folder(state: &Path, run: RunId) -> PathBuf {
    state.join("scratch").join(run.to_string())
}

/// Makes the folder of a run, closed to all but its user.
pub(crate) fn make(folder: &Path, user: &User) -> io::Result<()> {
    let all = folder.parent().unwrap_or(folder);
    match fs::DirBuilder::new().mode(0o711).create(all) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    if user.groups.is_some() {
        chown(folder, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// Removes the folders that a launcher left which was killed. None of their runs is alive.
pub(crate) fn sweep(state: &Path) {
    for entry in fs::read_dir(state.join("scratch")).into_iter().flatten().flatten() {
        remove(&entry.path());
    }
}

/// Removes a folder with all in it, however deep. What cannot be removed stays for the next start.
pub(crate) fn remove(folder: &Path) {
    let mut next = 0_u64;
    // Each round empties the folder's own folders by one level; none is visited twice.
    loop {
        let entries: Vec<PathBuf> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        let mut progress = false;
        for path in entries {
            progress |= match fs::symlink_metadata(&path) {
                Ok(status) if status.is_dir() => lift_children(folder, &path, &mut next),
                Ok(_) => fs::remove_file(&path).is_ok(),
                Err(_) => false,
            };
        }
        if !progress {
            break;
        }
    }
    let _ = fs::remove_dir(folder);
}

/// Moves the folders in `path` up into `top`, removes its files, and then `path` itself.
fn lift_children(top: &Path, path: &Path, next: &mut u64) -> bool {
    // A module may have closed its own folders even to itself.
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
            loop {
                let target = top.join(format!(".{next}"));
                *next += 1;
                // A name that is taken by a folder with something in it is passed over.
                match fs::rename(entry.path(), target) {
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory
                        ) => {}
                    _ => break,
                }
            }
        } else {
            let _ = fs::remove_file(entry.path());
        }
    }
    fs::remove_dir(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};

    #[test]
    fn deep_and_closed_trees_are_removed() {
        let state = tempfile::tempdir().unwrap();
        let scratch = folder(state.path(), RunId::new());
        let user = User { uid: 0, gid: 0, groups: None };
        make(&scratch, &user).unwrap();
        let outside = state.path().join("outside");
        fs::write(&outside, "kept").unwrap();
        // Deeper than a path can say.
        let mut at = rustix::fs::open(&scratch, OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        std::os::unix::fs::symlink(&outside, scratch.join("link")).unwrap();
        std::os::unix::fs::symlink(state.path(), scratch.join("link-to-folder")).unwrap();
        fs::create_dir(scratch.join(".0")).unwrap();
        fs::write(scratch.join(".0/file"), "").unwrap();
        fs::create_dir(scratch.join("closed")).unwrap();
        fs::write(scratch.join("closed/file"), "").unwrap();
        fs::set_permissions(scratch.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        sweep(state.path());
        assert!(!scratch.exists());
        assert_eq!(fs::read_to_string(outside).unwrap(), "kept");
    }
}
