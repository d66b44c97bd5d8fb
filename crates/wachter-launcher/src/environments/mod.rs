//! The launcher's own store of environments of Python modules: one folder for each lock file and
//! interpreter, whoever uses it.
//!
//! An environment is built by `uv` in a jail, from the lock file of a module that was verified, and
//! then copied here, file by file, into a folder that only the launcher can write. Each file is hashed
//! as it is copied, and again when a launcher uses the environment for the first time; from then on it
//! is enough that the kernel has seen no change, by the times and sizes of all files.
//!
//! Layout: `<key>/site/` with what is installed; `<key>/list.json` with the digest of each file;
//! `<key>/modules` with the modules that asked for it, a line each; `<key>.lock` while it is built;
//! `.new-<pid>` while it is copied. Limits: 50,000 files.
//!
//! # Invariants
//! - Nothing in an environment is a link, a device or a program: regular files with mode 0644.
//! - No file that is executed when an interpreter starts (`*.pth`).
//! - An environment is there whole or not at all.

mod files;
mod lock_file;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wachter_model::{Digest, DigestWriter};

use crate::interpreter::Interpreter;
use crate::scratch;
use crate::transfer::transfer;
use files::Files;
pub(crate) use lock_file::{key, stands_alone};

/// The most bytes of a list.
const MAX_LIST: u64 = 32 << 20;
/// How long one that nobody asks for is kept where there are no releases to tell.
const UNUSED: Duration = Duration::from_secs(30 * 86_400);

/// The folder of what is installed.
const SITE: &str = "site";
const LIST: &str = "list.json";
const MODULES: &str = "modules";

/// What `uv` leaves beside packages: programs, which no run may execute, and its lock.
const LEFT_OUT: [&str; 2] = ["bin", ".lock"];

/// The store.
#[derive(Debug)]
pub(crate) struct Environments {
    folder: PathBuf,
    /// Those whose files were hashed, with what the kernel said of them then.
    verified: BTreeMap<Digest, Digest>,
}

/// How an environment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has to be built.
    Absent,
    /// Its files have to be hashed.
    Unchecked,
    /// It may be used.
    Ready,
}

/// What was installed, and from what.
#[derive(Debug, Serialize, Deserialize)]
struct List {
    version: u32,
    interpreter: String,
    files: BTreeMap<String, Digest>,
}

impl Environments {
    /// Opens the store. What an interrupted copy left is removed; with `forget`, what nobody has asked
    /// for in a month as well.
    pub(crate) fn open(folder: &Path, forget: bool) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        // Runs have users of their own, which must be able to reach their environment.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711))?;
        let store = Self { folder: folder.to_owned(), verified: BTreeMap::new() };
        for entry in fs::read_dir(folder)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let alone = |process: &str| {
                process
                    .parse::<i32>()
                    .is_ok_and(|process| !Path::new(&format!("/proc/{process}")).exists())
            };
            let left = name.strip_prefix(".new-").is_some_and(alone);
            let unused = || {
                let asked =
                    fs::metadata(entry.path().join(MODULES)).and_then(|file| file.modified());
                asked.is_ok_and(|asked| asked.elapsed().is_ok_and(|since| since > UNUSED))
            };
            if left || (forget && unused()) {
                scratch::remove(&entry.path());
            }
        }
        Ok(store)
    }

    /// Where an environment has what is installed, or would have it.
    pub(crate) fn site(&self, key: Digest) -> PathBuf {
        self.place(key).join(SITE)
    }

    fn place(&self, key: Digest) -> PathBuf {
        self.folder.join(key.to_string())
    }

    /// Whether an environment may be used.
    pub(crate) fn standing(&self, key: Digest) -> Standing {
        if !self.place(key).is_dir() {
            return Standing::Absent;
        }
        let known = self.verified.get(&key);
        match known.is_some_and(|known| self.fingerprint(key).is_ok_and(|now| now == *known)) {
            true => Standing::Ready,
            false => Standing::Unchecked,
        }
    }

    /// Takes note that the files of an environment were hashed.
    pub(crate) fn trust(&mut self, key: Digest, fingerprint: Digest) {
        self.verified.insert(key, fingerprint);
    }

    /// Removes an environment.
    pub(crate) fn remove(&mut self, key: Digest) {
        self.verified.remove(&key);
        // Whoever looks for it finds nothing from here on, however long the rest takes.
        let gone = self.folder.join(format!(".new-{}", std::process::id()));
        if fs::rename(self.place(key), &gone).is_ok() {
            scratch::remove(&gone);
        }
    }

    /// Hashes the files of an environment. Gives what the kernel says of them.
    ///
    /// # Errors
    /// They are not those that were installed; one sentence.
    pub(crate) fn verify(&self, key: Digest) -> Result<Digest, String> {
        let damaged = |what: String| format!("the environment {} is damaged: {what}", key.short());
        let before = self.fingerprint(key).map_err(|error| damaged(error.to_string()))?;
        let list = File::open(self.place(key).join(LIST)).and_then(|file| {
            let mut text = Vec::new();
            file.take(MAX_LIST).read_to_end(&mut text)?;
            Ok(text)
        });
        let list = list.map_err(|error| damaged(format!("cannot read {LIST}: {error}")))?;
        let list: List = serde_json::from_slice(&list)
            .map_err(|error| damaged(format!("{LIST} makes no sense: {error}")))?;
        let site = self.site(key);
        let found = Files::below(&site, &[]).map_err(damaged)?;
        if !found.paths().eq(list.files.keys().map(String::as_str)) {
            return Err(damaged("it has other files than were installed".to_owned()));
        }
        for (path, installed) in &list.files {
            let (digest, _) = transfer(&site.join(path), u64::MAX, None)
                .map_err(|error| damaged(format!("cannot read `{path}`: {error}")))?;
            if digest != *installed {
                return Err(damaged(format!("`{path}` is not what was installed")));
            }
        }
        Ok(before)
    }

    /// Copies what was built in `from` into the store, and gives what [`verify`](Self::verify) would.
    /// One that is there already stays.
    ///
    /// # Errors
    /// What was built cannot be an environment, or the disk is full; one sentence.
    pub(crate) fn keep(
        &self,
        key: Digest,
        interpreter: &Interpreter,
        from: &Path,
        most_bytes: u64,
    ) -> Result<Digest, String> {
        let files = Files::below(from, &LEFT_OUT)?;
        files.check(most_bytes)?;
        let new = self.folder.join(format!(".new-{}", std::process::id()));
        let failed =
            |error: io::Error| format!("cannot write {}: {error}; make room", new.display());
        if new.exists() {
            scratch::remove(&new);
        }
        let site = new.join(SITE);
        fs::create_dir_all(&site).map_err(failed)?;
        let mut list = List {
            version: 1,
            interpreter: interpreter.identity().to_owned(),
            files: BTreeMap::new(),
        };
        for path in files.paths() {
            let target = site.join(path);
            fs::create_dir_all(target.parent().unwrap_or(&site)).map_err(failed)?;
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o644)
                .open(&target)
                .map_err(failed)?;
            let (digest, _) = transfer(&from.join(path), u64::MAX, Some(&mut file))
                .map_err(|error| format!("cannot copy `{path}`: {error}; make room"))?;
            list.files.insert(path.to_owned(), digest);
        }
        let text = serde_json::to_vec(&list).map_err(|error| error.to_string())?;
        let mut file = File::create(new.join(LIST)).map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        match fs::rename(&new, self.place(key)) {
            Ok(()) => {}
            // Another launcher of the same store was quicker.
            Err(_) if self.place(key).is_dir() => scratch::remove(&new),
            Err(error) => return Err(failed(error)),
        }
        self.verify(key)
    }

    /// Removes what the process of this number left of a copy.
    pub(crate) fn remove_copy_of(&self, process: i32) {
        scratch::remove(&self.folder.join(format!(".new-{process}")));
    }

    /// Takes note that a module uses an environment.
    pub(crate) fn note(&self, key: Digest, module: Digest) {
        let path = self.place(key).join(MODULES);
        let mut modules = users(&path);
        modules.insert(module);
        let text: String = modules.iter().map(|module| format!("{module}\n")).collect();
        // What is not noted is built again one day.
        let _ = fs::write(path, text);
    }

    /// Removes the environments that none of these modules uses, but for those in `busy`.
    pub(crate) fn retain(&mut self, modules: &BTreeSet<Digest>, busy: &BTreeSet<Digest>) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let named = names.filter_map(|name| name.trim_end_matches(".lock").parse().ok());
        let keys: BTreeSet<Digest> = named.collect();
        for key in keys.difference(busy).copied() {
            if users(&self.place(key).join(MODULES)).is_disjoint(modules) {
                self.remove(key);
                // Another launcher may be building it.
                if let Ok(Some(_held)) = self.lock(key) {
                    let _ = fs::remove_file(self.lock_file(key));
                }
            }
        }
    }

    fn lock_file(&self, key: Digest) -> PathBuf {
        self.folder.join(format!("{key}.lock"))
    }

    /// Makes sure that nobody else builds this environment, as long as the file is held. None where
    /// somebody does.
    pub(crate) fn lock(&self, key: Digest) -> io::Result<Option<File>> {
        let file = File::create(self.lock_file(key))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// What the kernel says of all files and folders of an environment. Any change to one, by whomever,
    /// changes it.
    fn fingerprint(&self, key: Digest) -> io::Result<Digest> {
        let mut writer = DigestWriter::new();
        let mut open = vec![self.site(key)];
        while let Some(folder) = open.pop() {
            let mut entries = fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let status = entry.metadata()?;
                writer.write_all(entry.file_name().as_encoded_bytes())?;
                for number in
                    [status.ino(), status.size(), u64::from(status.mode()), u64::from(status.uid())]
                {
                    writer.write_all(&number.to_le_bytes())?;
                }
                for number in
                    [status.mtime(), status.mtime_nsec(), status.ctime(), status.ctime_nsec()]
                {
                    writer.write_all(&number.to_le_bytes())?;
                }
                if status.is_dir() {
                    open.push(entry.path());
                }
            }
        }
        Ok(writer.finish())
    }
}

/// The modules that a file names.
fn users(path: &Path) -> BTreeSet<Digest> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
        store: Environments,
        key: Digest,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Environments::open(&folder.path().join("store"), false).unwrap();
            fs::create_dir_all(folder.path().join("built/six-1.0.dist-info")).unwrap();
            fs::create_dir_all(folder.path().join("built/bin")).unwrap();
            fs::write(folder.path().join("built/six.py"), "value = 6\n").unwrap();
            fs::write(folder.path().join("built/six-1.0.dist-info/RECORD"), "").unwrap();
            fs::write(folder.path().join("built/bin/tool"), "#!/bin/sh\n").unwrap();
            let key = key(b"six==1.0", &interpreter());
            Self { folder, store, key }
        }

        fn built(&self, path: &str) -> PathBuf {
            self.folder.path().join("built").join(path)
        }

        fn keep(&self) -> Result<Digest, String> {
            self.store.keep(self.key, &interpreter(), &self.built(""), 1 << 20)
        }
    }

    fn interpreter() -> Interpreter {
        Interpreter::find(Path::new("/usr/bin/env")).unwrap()
    }

    #[test]
    fn what_was_built_is_kept_once_and_found_again() {
        let mut bench = Bench::new();
        assert_eq!(bench.store.standing(bench.key), Standing::Absent);
        let fingerprint = bench.keep().unwrap();
        assert_eq!(bench.store.standing(bench.key), Standing::Unchecked);
        bench.store.trust(bench.key, fingerprint);
        assert_eq!(bench.store.standing(bench.key), Standing::Ready);
        let site = bench.store.site(bench.key);
        assert!(site.join("six-1.0.dist-info/RECORD").is_file() && !site.join("bin").exists());
        let mode = fs::metadata(site.join("six.py")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
        // A second builder changes nothing.
        fs::write(bench.built("six.py"), "value = 7\n").unwrap();
        assert_eq!(bench.keep().unwrap(), fingerprint);
        assert_eq!(fs::read_to_string(site.join("six.py")).unwrap(), "value = 6\n");
        let names = fs::read_dir(bench.folder.path().join("store")).unwrap().flatten();
        assert_eq!(names.count(), 1, "nothing half is left");
    }

    #[test]
    fn what_changed_on_the_disk_is_seen() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 4] = [
            ("is not what was installed", |site| {
                fs::write(site.join("six.py"), "value = 7\n").unwrap();
            }),
            ("other files", |site| fs::write(site.join("more.py"), "").unwrap()),
            ("other files", |site| fs::remove_file(site.join("six.py")).unwrap()),
            ("neither a file", |site| std::os::unix::fs::symlink("/", site.join("all")).unwrap()),
        ];
        for (words, change) in changes {
            let mut bench = Bench::new();
            let fingerprint = bench.keep().unwrap();
            bench.store.trust(bench.key, fingerprint);
            change(&bench.store.site(bench.key));
            assert_eq!(bench.store.standing(bench.key), Standing::Unchecked, "{words}");
            let said = bench.store.verify(bench.key).unwrap_err();
            assert!(said.contains(words), "{said}");
            bench.store.remove(bench.key);
            assert_eq!(bench.store.standing(bench.key), Standing::Absent);
        }
    }

    #[test]
    fn what_cannot_be_an_environment_is_refused() {
        type Spoil = fn(&Bench);
        let spoils: [(&str, Spoil); 4] = [
            ("`evil.pth`", |bench| fs::write(bench.built("evil.pth"), "import os\n").unwrap()),
            ("neither a file nor a folder", |bench| {
                std::os::unix::fs::symlink("/etc/shadow", bench.built("link")).unwrap();
            }),
            ("no plain text", |bench| fs::write(bench.built("a\nb"), "").unwrap()),
            ("raise `python.limits.disk`", |bench| {
                fs::write(bench.built("large"), vec![0; 2 << 20]).unwrap();
            }),
        ];
        for (words, spoil) in spoils {
            let bench = Bench::new();
            spoil(&bench);
            let said = bench.keep().unwrap_err();
            assert!(said.contains(words), "{said}");
            assert_eq!(bench.store.standing(bench.key), Standing::Absent);
        }
    }

    #[test]
    fn what_no_module_uses_any_more_goes() {
        let mut bench = Bench::new();
        bench.keep().unwrap();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        bench.store.note(bench.key, one);
        bench.store.note(bench.key, one);
        bench.store.retain(&[one, other].into(), &BTreeSet::new());
        assert!(bench.store.site(bench.key).exists());
        bench.store.retain(&[other].into(), &[bench.key].into());
        assert!(bench.store.site(bench.key).exists(), "it is busy");
        drop(bench.store.lock(bench.key).unwrap());
        let failed = Digest::of(b"never built");
        let building = bench.store.lock(failed).unwrap();
        bench.store.retain(&[other].into(), &BTreeSet::new());
        assert!(!bench.store.site(bench.key).exists());
        let left = || fs::read_dir(bench.folder.path().join("store")).unwrap().count();
        assert_eq!(left(), 1, "somebody builds that one");
        drop(building);
        bench.store.retain(&[other].into(), &BTreeSet::new());
        assert_eq!(left(), 0);
    }

    #[test]
    fn one_builds_at_a_time_and_what_a_dead_one_left_goes() {
        let bench = Bench::new();
        let held = bench.store.lock(bench.key).unwrap();
        assert!(held.is_some());
        assert!(bench.store.lock(bench.key).unwrap().is_none());
        drop(held);
        assert!(bench.store.lock(bench.key).unwrap().is_some());
        // No process has this number.
        let left = bench.folder.path().join("store/.new-2147483647");
        fs::create_dir_all(left.join("site")).unwrap();
        Environments::open(&bench.folder.path().join("store"), false).unwrap();
        assert!(!left.exists());
    }
}
