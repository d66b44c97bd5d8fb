//! The launcher's own store of verified modules: one folder a module, named by its digest.
//!
//! The node puts modules where it can write, so what lies there can change at any time. The launcher
//! copies a module into a folder that only it can write, hashing while it copies, and runs nothing
//! else. Before every run it hashes the copy again, so that a disk fault is found as well, and copies
//! anew what is spoilt, from a source that is still as signed.
//!
//! Layout: `modules/<digest>/` with the files as signed, modes 0644 and 0755; `modules/.new-<pid>`
//! while copying; a copy is on the disk before it has its name. Limits: [`MAX_FILE`] bytes a file, [`MAX_TOTAL`] a module.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wachter_model::Digest;
use wachter_trust::{ModuleDigests, ModuleFile};

use crate::server::eprintln_line;
use crate::transfer::{TransferError, transfer};

/// The most bytes of one file of a module.
const MAX_FILE: u64 = 1 << 30;
/// The most bytes of one module.
const MAX_TOTAL: u64 = 4 << 30;

/// What is hashed in less time than it takes to start a process for it.
const LITTLE: u64 = 1 << 20;
const FEW: usize = 64;

/// Why the files of a module are not those that were signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{path}` is not what was signed: its SHA-256 is {found}, signed was {signed}")]
    Changed { path: String, found: Digest, signed: Digest },
    #[error("`{0}` has more bytes than a module may")]
    TooLarge(String),
    #[error("`{0}` is not a regular file")]
    NotAFile(String),
}

/// The store.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
}

impl Store {
    /// Opens the store below `state` and removes what an interrupted copy left.
    pub(crate) fn open(state: &Path) -> Result<Self, StoreError> {
        let folder = state.join("modules");
        let failed = |source| StoreError::Write { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        // Runs have users of their own, which must be able to reach their module.
        for path in [state, &folder] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o711)).map_err(failed)?;
        }
        for entry in fs::read_dir(&folder).map_err(failed)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(".new-") {
                fs::remove_dir_all(entry.path()).map_err(failed)?;
            }
        }
        Ok(Self { folder })
    }

    /// Makes sure that the store holds `module` as signed, and says where. What it does not hold yet,
    /// or holds spoilt by a power cut or a disk fault, is copied from `source`; what is there is
    /// replaced file by file, so that a run that uses it keeps what it has open.
    pub(crate) fn hold(
        &self,
        module: &ModuleDigests,
        source: &Path,
    ) -> Result<PathBuf, StoreError> {
        let place = self.place(module);
        let wanted: Vec<_> =
            module.files().filter(|(path, file)| !is_sound(&place, path, file)).collect();
        if wanted.is_empty() {
            return Ok(place);
        }
        let building = self.folder.join(format!(".new-{}", std::process::id()));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Write { path, source }
        };
        if building.exists() {
            fs::remove_dir_all(&building).map_err(failed(&building))?;
        }
        fs::create_dir(&building).map_err(failed(&building))?;
        fs::set_permissions(&building, fs::Permissions::from_mode(0o755))
            .map_err(failed(&building))?;
        let mut total = 0;
        for (path, file) in &wanted {
            let target = building.join(path);
            make_folders(&building, path).map_err(failed(&target))?;
            let mode = if file.executable { 0o755 } else { 0o644 };
            let mut copy = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&target)
                .map_err(failed(&target))?;
            // Whatever the umask says.
            copy.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed(&target))?;
            total += transfer_signed(source, path, file.digest, Some(&mut copy))?;
            if total > MAX_TOTAL {
                return Err(StoreError::TooLarge((*path).to_owned()));
            }
        }
        // A name that outlived a power cut must not stand for a file that did not.
        for (path, _) in &wanted {
            sync(&building.join(path)).map_err(failed(&building))?;
        }
        sync_folders(&building, &wanted).map_err(failed(&building))?;
        if !place.exists() && fs::rename(&building, &place).is_ok() {
            sync(&self.folder).map_err(failed(&self.folder))?;
            return Ok(place);
        }
        // Spoilt, or another launcher of the same state was quicker.
        for (path, _) in &wanted {
            let target = place.join(path);
            eprintln_line(&format!("{} was not what was signed; it is replaced", target.display()));
            make_folders(&place, path)
                .and_then(|()| fs::rename(building.join(path), &target))
                .map_err(failed(&target))?;
        }
        sync_folders(&place, &wanted).map_err(failed(&place))?;
        // What cannot be removed now is when the store is opened next.
        let _ = fs::remove_dir_all(&building);
        Ok(place)
    }

    /// Where the store has `module`, or would have it.
    pub(crate) fn place(&self, module: &ModuleDigests) -> PathBuf {
        self.folder.join(module.digest().to_string())
    }

    /// Whether the store has `module` already, as signed; only where finding that out takes a moment.
    pub(crate) fn holds_little(&self, module: &ModuleDigests) -> bool {
        let place = self.place(module);
        let sizes = module.files().map(|(path, _)| {
            fs::symlink_metadata(place.join(path)).map_or(u64::MAX, |status| status.len())
        });
        module.files().len() <= FEW
            && sizes.fold(0, u64::saturating_add) <= LITTLE
            && module.files().all(|(path, file)| is_sound(&place, path, file))
    }

    /// Removes what a process that was ended left of a copy.
    pub(crate) fn remove_copy_of(&self, process: i32) {
        // What cannot be removed now is when the store is opened next.
        let _ = fs::remove_dir_all(self.folder.join(format!(".new-{process}")));
    }
}

fn is_sound(place: &Path, path: &str, file: &ModuleFile) -> bool {
    transfer_signed(place, path, file.digest, None).is_ok()
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes the names of files below `base` survive a power cut.
fn sync_folders(base: &Path, files: &[(&str, &ModuleFile)]) -> io::Result<()> {
    let folders: BTreeSet<&Path> =
        files.iter().flat_map(|(path, _)| Path::new(path).ancestors().skip(1)).collect();
    folders.iter().try_for_each(|folder| sync(&base.join(folder)))
}

fn make_folders(base: &Path, path: &str) -> io::Result<()> {
    let mut folder = base.to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    for part in &parts[..parts.len() - 1] {
        folder.push(part);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?,
        }
    }
    Ok(())
}

/// Hashes a file, copies it where `to` is given, and compares.
fn transfer_signed(
    base: &Path,
    path: &str,
    signed: Digest,
    to: Option<&mut File>,
) -> Result<u64, StoreError> {
    let from = base.join(path);
    let (found, total) = transfer(&from, MAX_FILE, to).map_err(|error| match error {
        TransferError::Read(source) => StoreError::Read { path: from, source },
        TransferError::Write(source) => StoreError::Write { path: path.into(), source },
        TransferError::NotAFile => StoreError::NotAFile(path.to_owned()),
        TransferError::TooLarge => StoreError::TooLarge(path.to_owned()),
    })?;
    if found == signed {
        Ok(total)
    } else {
        Err(StoreError::Changed { path: path.to_owned(), found, signed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn module(source: &Path) -> ModuleDigests {
        fs::create_dir_all(source.join("lib")).unwrap();
        fs::write(source.join("run"), "#!/bin/sh\n").unwrap();
        fs::write(source.join("lib/data"), "data").unwrap();
        let file =
            |content: &[u8], executable| ModuleFile { digest: Digest::of(content), executable };
        let files = BTreeMap::from([
            ("run".to_owned(), file(b"#!/bin/sh\n", true)),
            ("lib/data".to_owned(), file(b"data", false)),
        ]);
        ModuleDigests::new("sample".parse().unwrap(), "1.0.0".parse().unwrap(), files).unwrap()
    }

    #[test]
    fn copies_once_and_checks_ever_after() {
        let folder = tempfile::tempdir().unwrap();
        let (source, state) = (folder.path().join("source"), folder.path().join("state"));
        let module = module(&source);
        let store = Store::open(&state).unwrap();
        let place = store.hold(&module, &source).unwrap();
        assert_eq!(fs::metadata(place.join("run")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(
            fs::metadata(place.join("lib/data")).unwrap().permissions().mode() & 0o777,
            0o644
        );
        // What the node has no longer matters.
        fs::write(source.join("run"), "evil").unwrap();
        assert_eq!(store.hold(&module, &source).unwrap(), place);
        // What the launcher has does.
        fs::write(place.join("run"), "evil").unwrap();
        assert!(matches!(store.hold(&module, &source), Err(StoreError::Changed { .. })));
    }

    #[test]
    fn what_a_power_cut_left_empty_is_copied_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (source, state) = (folder.path().join("source"), folder.path().join("state"));
        let module = module(&source);
        let store = Store::open(&state).unwrap();
        let place = store.hold(&module, &source).unwrap();
        assert!(store.holds_little(&module));
        // A run that uses the module has this one open.
        let mut in_use = File::open(place.join("run")).unwrap();
        fs::write(place.join("lib/data"), "").unwrap();
        assert!(!store.holds_little(&module), "it is not copied where others wait");
        assert_eq!(store.hold(&module, &source).unwrap(), place);
        assert_eq!(fs::read(place.join("lib/data")).unwrap(), b"data");
        fs::remove_dir_all(place.join("lib")).unwrap();
        fs::remove_file(place.join("run")).unwrap();
        assert_eq!(store.hold(&module, &source).unwrap(), place);
        assert!(store.holds_little(&module));
        assert_eq!(fs::metadata(place.join("run")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(io::read_to_string(&mut in_use).unwrap(), "#!/bin/sh\n");
        assert_eq!(fs::read_dir(state.join("modules")).unwrap().count(), 1);
        // Where the source is spoilt as well there is nothing to copy.
        fs::write(place.join("run"), "").unwrap();
        fs::write(source.join("run"), "evil").unwrap();
        assert!(matches!(store.hold(&module, &source), Err(StoreError::Changed { .. })));
        assert_eq!(fs::read(place.join("run")).unwrap(), b"");
    }

    #[test]
    fn what_was_not_signed_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        let module = module(&source);
        let store = Store::open(&folder.path().join("state")).unwrap();
        fs::write(source.join("lib/data"), "other").unwrap();
        assert!(matches!(store.hold(&module, &source), Err(StoreError::Changed { .. })));
        fs::remove_file(source.join("lib/data")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", source.join("lib/data")).unwrap();
        assert!(matches!(store.hold(&module, &source), Err(StoreError::Read { .. })));
        fs::remove_file(source.join("lib/data")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            source.join("lib/data"),
            rustix::fs::FileType::Fifo,
            0o644.into(),
            0,
        )
        .unwrap();
        assert!(matches!(store.hold(&module, &source), Err(StoreError::NotAFile(_))));
        assert!(
            fs::read_dir(folder.path().join("state/modules"))
                .unwrap()
                .flatten()
                .all(|entry| entry.file_name().to_string_lossy().starts_with(".new-"))
        );
    }
}
