//! Which layout a data folder has, and how an older one becomes the present one.
//!
//! The file `schema` in the folder holds one number. A folder without that file is of version 0, from
//! before there was one, or is new and empty. Steps go forward, one version at a time, each safe to
//! repeat, and the number is written after each: a power cut in the middle costs a repetition.
//!
//! | version | layout |
//! |---|---|
//! | 0 | records of runs in `runs/<day>/<run>.json`, states of agents in `agents/<agent>.json` |
//! | 1 | both in the journal; what version 0 left lies in `before-journal/` |
//!
//! # Invariants
//! - A newer layout is refused before anything is read or written.
//! - Nothing is deleted; what is not used any more is moved aside whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wachter_file::{Readers, read_limited, replace_durably};

/// The layout that this version reads and writes.
pub(crate) const CURRENT: u32 = 1;

/// What the file is called.
pub(crate) const FILE: &str = "schema";

/// Where what came before the journal is put.
pub(crate) const ASIDE: &str = "before-journal";

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutError {
    /// A newer Wachter has had it.
    #[error(
        "{} was written by a newer version of Wachter (layout {found}; this one knows layouts up to \
         {CURRENT}); upgrade Wachter, or restore a backup from before the upgrade",
        folder.display()
    )]
    Newer {
        /// The data folder.
        folder: PathBuf,
        /// Its layout.
        found: u64,
    },
    /// The file does not hold a number.
    #[error(
        "{} is damaged: it holds no number; restore it, or write the number of the layout into it, which is \
         {CURRENT} unless this folder is from before an upgrade",
        .0.display()
    )]
    Damaged(PathBuf),
    /// The file system refuses.
    #[error("cannot {what} {}; make room or give the node's user the right to, and start it again", path.display())]
    File {
        /// What was attempted: `read`, `write`, `move`.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Makes sure that `data` has the present layout, for a node that is about to use it and holds its lock.
/// A folder that has it already is only read.
///
/// # Errors
/// See [`LayoutError`]. What a step had not finished is done when this is called again.
pub(crate) fn prepare(data: &Path) -> Result<(), LayoutError> {
    let mut version = version(data)?;
    while version < CURRENT {
        match version {
            0 => move_aside(data)?,
            other => {
                unreachable!("there is a step for each version below the present one, {other} too")
            }
        }
        version += 1;
        write(data, version)?;
    }
    Ok(())
}

/// The layout that `data` has; 0 where nothing says.
///
/// # Errors
/// It is newer, or cannot be told.
pub(crate) fn version(data: &Path) -> Result<u32, LayoutError> {
    let path = data.join(FILE);
    let bytes = match read_limited(&path, 64) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(LayoutError::File { what: "read", path, source }),
    };
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse::<u64>().ok());
    match number {
        None => Err(LayoutError::Damaged(path)),
        Some(found) => match u32::try_from(found) {
            Ok(version) if version <= CURRENT => Ok(version),
            _ => Err(LayoutError::Newer { folder: data.to_owned(), found }),
        },
    }
}

fn write(data: &Path, version: u32) -> Result<(), LayoutError> {
    let path = data.join(FILE);
    replace_durably(&path, format!("{version}\n").as_bytes(), Readers::Owner)
        .map_err(|source| LayoutError::File { what: "write", path, source })
}

/// From 0 to 1: what the journal holds from now on lies where nobody looks for it any more. A module
/// begins anew without its state, which is what it does on a new host.
fn move_aside(data: &Path) -> Result<(), LayoutError> {
    for name in ["runs", "agents"] {
        let (from, to) = (data.join(name), data.join(ASIDE).join(name));
        if !from.is_dir() {
            continue;
        }
        let failed = |source| LayoutError::File { what: "move", path: from.clone(), source };
        fs::create_dir_all(data.join(ASIDE)).map_err(failed)?;
        fs::rename(&from, &to).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: Option<&str>, expected: Result<(), &str>) {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        if let Some(schema) = schema {
            fs::write(data.join(FILE), schema).unwrap();
        }
        match (prepare(data), expected) {
            (Ok(()), Ok(())) => {
                assert_eq!(version(data).unwrap(), CURRENT, "{schema:?}");
            }
            (Err(error), Err(words)) => {
                let said = wachter_model::chain(&error);
                assert!(said.contains(words), "{schema:?}: {said}");
                assert_eq!(fs::read_to_string(data.join(FILE)).ok().as_deref(), schema);
            }
            (result, _) => panic!("{schema:?}: {result:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn versions() {
        check(None, Ok(()));
        check(Some("0\n"), Ok(()));
        check(Some("1\n"), Ok(()));
        check(Some("1"), Ok(()));
        check(Some("2\n"), Err("layout 2; this one knows layouts up to 1); upgrade Wachter"));
        check(Some("4294967296"), Err("layout 4294967296"));
        check(Some(""), Err("is damaged"));
        check(Some("one"), Err("is damaged"));
        check(Some("-1"), Err("is damaged"));
    }

    /// A folder as it was before there were versions.
    fn of_version_0() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("runs/2026-11-20/0190.json", "{}"),
            ("agents/hello.json", "{\"state\": 7}"),
            ("state.json", "{}"),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn is_of_version_1(data: &Path) {
        assert!(!data.join("runs").exists() && !data.join("agents").exists());
        let kept = fs::read_to_string(data.join(ASIDE).join("agents/hello.json")).unwrap();
        assert_eq!(kept, "{\"state\": 7}");
        assert!(data.join(ASIDE).join("runs/2026-11-20/0190.json").exists());
        assert!(data.join("state.json").exists(), "what is still used stays where it is");
        assert_eq!(version(data).unwrap(), 1);
    }

    #[test]
    fn what_came_before_the_journal_is_moved_aside() {
        let folder = of_version_0();
        prepare(folder.path()).unwrap();
        is_of_version_1(folder.path());
        // What is there now is of the present version, whatever its name.
        fs::create_dir(folder.path().join("runs")).unwrap();
        prepare(folder.path()).unwrap();
        assert!(folder.path().join("runs").exists());
    }

    #[test]
    fn a_step_that_was_cut_off_is_done_to_its_end() {
        let folder = of_version_0();
        let data = folder.path();
        fs::create_dir(data.join(ASIDE)).unwrap();
        fs::rename(data.join("runs"), data.join(ASIDE).join("runs")).unwrap();
        prepare(data).unwrap();
        is_of_version_1(data);
    }

    #[test]
    fn what_cannot_be_moved_stops_the_node_and_stays() {
        let folder = of_version_0();
        let data = folder.path();
        // Left over from an earlier time, and not empty.
        fs::create_dir_all(data.join(ASIDE).join("agents/older")).unwrap();
        let said = wachter_model::chain(&prepare(data).unwrap_err());
        assert!(said.contains("cannot move") && said.contains("agents"), "{said}");
        assert!(data.join("agents/hello.json").exists());
        assert_eq!(version(data).unwrap(), 0);
    }
}
