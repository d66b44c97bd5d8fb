//! A folder in memory with the secrets of a run that has no file system of its own to show them,
//! because there are no namespaces.
//!
//! Layout: `wachter-<state>/<run>/<name>` on a tmpfs of the host, where `<state>` tells launchers with
//! different state folders apart. The folder of a run is closed to all but its user. Landlock lets
//! nobody but that run read it. What a launcher that was killed left is removed at the next start.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use wachter_model::{Digest, RunId};

use crate::jail::user::User;
use crate::scratch;
use crate::secrets::Secret;

/// Where systems keep files in memory that every user may make.
const SHARED: &str = "/dev/shm";

/// Makes the folder of a run with its secrets, mode 0400 each, and gives its path.
///
/// # Errors
/// There is no file system in memory, or it cannot be written; one sentence.
pub(crate) fn make(
    state: &Path,
    run: RunId,
    user: &User,
    secrets: &[Secret],
) -> Result<PathBuf, String> {
    let base = base(user.groups.is_some()).ok_or_else(|| {
        format!(
            "secrets are kept in memory, and without namespaces this host offers none for it: neither {SHARED} nor \
             $XDG_RUNTIME_DIR is a tmpfs; mount one, or use a profile with namespaces"
        )
    })?;
    let all = base.join(name_of(state));
    let folder = all.join(run.to_string());
    let failed = |error| format!("cannot keep secrets in {}: {error}", folder.display());
    own_folder(&all).map_err(failed)?;
    fill(&folder, user, secrets).map_err(|error| {
        remove(&folder);
        failed(error)
    })?;
    Ok(folder)
}

/// Removes the folder of a run, with its secrets overwritten first. All processes of the run are gone.
pub(crate) fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // Where the owner does without Landlock, a module could have put a link there: to what root can
        // write.
        let Ok(status) = entry.metadata() else { continue };
        if !status.is_file() || status.nlink() != 1 {
            continue;
        }
        let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
        let file = fs::OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(&path);
        if let Ok(mut file) = file {
            // On a file system in memory this reaches the same pages, unless they were swapped out.
            let _ = io::copy(&mut io::Read::take(io::repeat(0), status.len()), &mut file);
        }
    }
    scratch::remove(folder);
    // The last run takes the folder above along; that of others stays, since it is not empty.
    let _ = folder.parent().map(fs::remove_dir);
}

/// Removes what a launcher with this state left that was killed. None of its runs is alive.
pub(crate) fn sweep(state: &Path) {
    for changes_users in [false, true] {
        let Some(base) = base(changes_users) else { continue };
        let all = base.join(name_of(state));
        if is_own(&all).is_ok_and(|own| own) {
            for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
                remove(&entry.path());
            }
            let _ = fs::remove_dir(&all);
        }
    }
}

/// A folder on a file system in memory: the user's own only where runs have no user of theirs, who
/// could not come to it.
fn base(changes_users: bool) -> Option<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|path| path.is_absolute() && !changes_users);
    own.into_iter()
        .chain([SHARED.into()])
        .find(|path| rustix::fs::statfs(path).is_ok_and(|found| found.f_type == libc::TMPFS_MAGIC))
}

fn name_of(state: &Path) -> String {
    format!("wachter-{}", Digest::of(state.as_os_str().as_encoded_bytes()).short())
}

/// Makes the folder above those of runs, or takes one that is there: anybody may have made it.
fn own_folder(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o711).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match is_own(path)? {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "{} is somebody else's, or open to others; remove it",
                path.display()
            ))),
        },
        made => made,
    }
}

fn is_own(path: &Path) -> io::Result<bool> {
    let status = fs::symlink_metadata(path)?;
    let own = rustix::process::geteuid().as_raw();
    Ok(status.is_dir() && status.uid() == own && status.mode() & 0o022 == 0)
}

fn fill(folder: &Path, user: &User, secrets: &[Secret]) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    let give = |path: &Path| match user.groups {
        Some(_) => chown(path, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    };
    for secret in secrets {
        let path = folder.join(secret.name.as_str());
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o400).open(&path)?;
        file.write_all(&secret.value)?;
        give(&path)?;
    }
    // Last: until now nobody else could come in.
    give(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_and_goes() {
        let state = tempfile::tempdir().unwrap();
        let user = User { uid: rustix::process::geteuid().as_raw(), gid: 0, groups: None };
        let secret = Secret { name: "a".parse().unwrap(), value: b"hunter2".to_vec().into() };
        let make = || make(state.path(), RunId::new(), &user, std::slice::from_ref(&secret));
        let folder = make().unwrap();
        let file = fs::metadata(folder.join("a")).unwrap();
        assert_eq!((file.mode() & 0o777, file.len()), (0o400, 7));
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        let opened = fs::File::open(folder.join("a")).unwrap();
        // What a module that Landlock does not hold could leave there.
        let outside = state.path().join("outside");
        fs::write(&outside, "kept").unwrap();
        std::os::unix::fs::symlink(&outside, folder.join("link")).unwrap();
        fs::create_dir(folder.join("folder")).unwrap();
        let other = make().unwrap();
        remove(&folder);
        assert!(!folder.exists() && other.exists());
        remove(&other);
        assert!(!other.parent().unwrap().exists());
        assert_eq!(fs::read_to_string(outside).unwrap(), "kept");
        assert_eq!(io::read_to_string(opened).unwrap(), "\0".repeat(7));
        // After a launcher that was killed.
        let folder = make().unwrap();
        sweep(state.path());
        assert!(!folder.exists() && !folder.parent().unwrap().exists());
        // What somebody else could have made is not used.
        fs::create_dir(folder.parent().unwrap()).unwrap();
        fs::set_permissions(folder.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = make().unwrap_err();
        assert!(refused.contains("is somebody else's, or open to others"), "{refused}");
        fs::remove_dir(folder.parent().unwrap()).unwrap();
    }
}
