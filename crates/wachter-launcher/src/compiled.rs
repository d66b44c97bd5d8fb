//! Machine code of modules in WebAssembly, compiled once and kept.
//!
//! Machine code cannot be verified, so what counts is who may write it. The launcher has a module that
//! it verified compiled in a jail that holds nothing else, takes what comes out, and keeps it in a folder
//! that only the launcher can write. It is shown to runs of that very module and to no others. Before
//! each of them it is hashed, so that a disk fault is found; code that is damaged is compiled again.
//!
//! Layout: `compiled/<engine>/<module>-<code>`, each a digest: of the executable that compiles, as the
//! disk knows it, with the features of the processors; of the module; and of the code. What another
//! engine compiled is removed when the launcher starts. Limits: [`MOST`] bytes of code a module,
//! [`MODULES`] modules; of more, the oldest goes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wachter_model::{Digest, DigestWriter};

use crate::transfer::transfer;

/// The most bytes of code of one module.
const MOST: u64 = 512 << 20;
/// The most modules.
const MODULES: usize = 64;
/// What begins the name of a file that is not whole.
const UNFINISHED: &str = ".new-";

/// The code that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    folder: PathBuf,
    /// The executable that compiles.
    engine: PathBuf,
    /// What the processors of this host can do.
    processors: String,
}

impl Compiled {
    /// Opens what is kept below `state`, compiled by `engine`, and removes what another one compiled.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn open(state: &Path, engine: &Path) -> io::Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let compiled = Self {
            folder: state.join("compiled"),
            engine: engine.to_owned(),
            processors: features(&processors).to_owned(),
        };
        let place = compiled.place();
        fs::create_dir_all(&place)?;
        for folder in [&compiled.folder, &place] {
            // Runs have users of their own, which must be able to reach their code and need not see what
            // else there is.
            fs::set_permissions(folder, fs::Permissions::from_mode(0o711))?;
        }
        for entry in fs::read_dir(&compiled.folder)?.flatten() {
            if entry.path() != place {
                fs::remove_dir_all(entry.path())?;
            }
        }
        for entry in fs::read_dir(&place)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(compiled)
    }

    /// The folder of what the engine as it is now compiled.
    fn place(&self) -> PathBuf {
        let engine = fs::metadata(&self.engine).map_or_else(
            |_| String::new(),
            |status| {
                // A package that is upgraded brings another file; a file that is written over has
                // another time, which nobody but the clock sets.
                let times = (status.ctime(), status.ctime_nsec());
                format!("{} {} {} {times:?}", status.dev(), status.ino(), status.len())
            },
        );
        let key = format!("{}\0{engine}\0{}", self.engine.display(), self.processors);
        self.folder.join(Digest::of(key.as_bytes()).to_string())
    }

    /// The code of a module, by the module's digest and its own.
    fn entries(&self) -> impl Iterator<Item = (Digest, Digest, PathBuf)> {
        fs::read_dir(self.place()).into_iter().flatten().flatten().filter_map(|entry| {
            let name = entry.file_name();
            let (module, code) = name.to_str()?.split_once('-')?;
            Some((module.parse().ok()?, code.parse().ok()?, entry.path()))
        })
    }

    /// Where the code of `module` is, if there is any.
    pub(crate) fn find(&self, module: Digest) -> Option<PathBuf> {
        self.entries().find(|(of, ..)| *of == module).map(|(.., path)| path)
    }

    /// Where the code of `module` is, if there is any that is as it was written. Other code of it is
    /// removed.
    pub(crate) fn check(&self, module: Digest) -> Option<PathBuf> {
        let mut sound = None;
        for (_, code, path) in self.entries().filter(|(of, ..)| *of == module) {
            if transfer(&path, MOST, None).is_ok_and(|(found, _)| found == code) {
                sound.get_or_insert(path);
            } else {
                // What cannot be removed is not used either: a run that is shown it is refused.
                let _ = fs::remove_file(path);
            }
        }
        sound
    }

    /// Begins to write the code of a module.
    pub(crate) fn begin(&self) -> io::Result<Unfinished> {
        let place = self.place();
        // The engine may have been replaced since the launcher started.
        fs::create_dir_all(&place)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o711))?;
        let path = place.join(format!("{UNFINISHED}{}", std::process::id()));
        let file = File::create(&path)?;
        Ok(Unfinished { place, path, file, hash: DigestWriter::new(), length: 0 })
    }

    /// Removes what a process that was ended left unfinished.
    pub(crate) fn remove_unfinished_of(&self, process: i32) {
        // What cannot be removed now is when the launcher starts next.
        let _ = fs::remove_file(self.place().join(format!("{UNFINISHED}{process}")));
    }

    /// Removes the oldest code where there is too much.
    fn make_room(&self) {
        let age = |path: &PathBuf| fs::metadata(path).and_then(|status| status.modified()).ok();
        let mut all: Vec<PathBuf> = self.entries().map(|(.., path)| path).collect();
        all.sort_by_cached_key(age);
        for path in all.iter().take(all.len().saturating_sub(MODULES)) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Code that is being written.
pub(crate) struct Unfinished {
    place: PathBuf,
    path: PathBuf,
    file: File,
    hash: DigestWriter,
    length: u64,
}

impl Unfinished {
    /// Keeps it, as the code of `module`.
    ///
    /// # Errors
    /// There is none, or it cannot be written.
    pub(crate) fn keep(mut self, module: Digest, kept: &Compiled) -> io::Result<()> {
        if self.length == 0 {
            return Err(io::Error::other("there is no code"));
        }
        self.file.flush()?;
        self.file.set_permissions(fs::Permissions::from_mode(0o644))?;
        self.file.sync_all()?;
        let name = format!("{module}-{}", self.hash.finish());
        fs::rename(&self.path, self.place.join(name))?;
        kept.make_room();
        Ok(())
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.length += written as u64;
        if self.length > MOST {
            return Err(io::Error::other(format!("the code has more than {MOST} bytes")));
        }
        self.hash.write_all(&bytes[..written])?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The line of /proc/cpuinfo (proc(5)) that says what a processor can do: `flags` on x86-64, `Features`
/// on arm64. All that a system uses are alike.
fn features(processors: &str) -> &str {
    let line = |line: &&str| line.starts_with("flags") || line.starts_with("Features");
    processors.lines().find(line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn keep(compiled: &Compiled, name: &str, code: &[u8]) {
        let mut unfinished = compiled.begin().unwrap();
        unfinished.write_all(code).unwrap();
        unfinished.keep(module(name), compiled).unwrap();
    }

    #[test]
    fn code_is_kept_for_its_module_and_its_engine() {
        let folder = tempfile::tempdir().unwrap();
        let (state, engine) = (folder.path().join("state"), folder.path().join("engine"));
        fs::write(&engine, "one").unwrap();
        let compiled = Compiled::open(&state, &engine).unwrap();
        keep(&compiled, "a", b"code of a");
        let path = compiled.find(module("a")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"code of a");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(compiled.find(module("b")), None);
        compiled.check(module("a"));
        assert_eq!(compiled.find(module("a")).as_ref(), Some(&path));
        // It outlives the launcher, and what was not finished does not.
        fs::write(path.with_file_name(".new-1"), "half").unwrap();
        let compiled = Compiled::open(&state, &engine).unwrap();
        assert_eq!(compiled.find(module("a")).as_ref(), Some(&path));
        assert!(!path.with_file_name(".new-1").exists());
        // Another engine does not see it, and the launcher does not keep it.
        fs::remove_file(&engine).unwrap();
        fs::write(&engine, "two").unwrap();
        assert_eq!(compiled.find(module("a")), None);
        Compiled::open(&state, &engine).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn damaged_code_goes() {
        let folder = tempfile::tempdir().unwrap();
        let compiled = Compiled::open(folder.path(), Path::new("/nowhere")).unwrap();
        for spoil in [&b"code of B"[..], b"", b"code of b and more"] {
            keep(&compiled, "b", b"code of b");
            let path = compiled.find(module("b")).unwrap();
            fs::write(&path, spoil).unwrap();
            compiled.check(module("b"));
            assert_eq!(compiled.find(module("b")), None);
        }
        assert!(compiled.begin().unwrap().keep(module("c"), &compiled).is_err());
    }

    #[test]
    fn there_is_room_for_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let compiled = Compiled::open(folder.path(), Path::new("/nowhere")).unwrap();
        for number in 0..MODULES + 3 {
            let name = number.to_string();
            keep(&compiled, &name, name.as_bytes());
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            let path = compiled.find(module(&name)).unwrap();
            File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        }
        let kept = |number: usize| compiled.find(module(&number.to_string())).is_some();
        assert!(!kept(0) && !kept(2) && kept(3) && kept(MODULES + 2));
    }

    #[test]
    fn features_are_those_of_the_first_processor() {
        let text = "processor\t: 0\nflags\t\t: fpu sse2\n\nprocessor\t: 1\nflags\t\t: fpu\n";
        assert_eq!(features(text), "flags\t\t: fpu sse2");
        assert_eq!(features("Features\t: fp asimd\n"), "Features\t: fp asimd");
        assert_eq!(features(""), "");
    }
}
