use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::siblings::is_rotated;

/// Entries of one folder that are looked at.
const MAX_ENTRIES: usize = 100_000;

/// What a path with `*` and `?` names.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Expanded {
    /// The files, as many as were asked for at most.
    pub(crate) paths: Vec<PathBuf>,
    /// How many were beyond that.
    pub(crate) beyond: usize,
    /// Those that are no text in UTF-8, which nothing can be said or kept about.
    pub(crate) unnamed: Vec<PathBuf>,
}

/// The files that a path with `*` and `?` names, `most` of them at most. `*` and `?` stand for characters of one name, and not for a dot at its beginning. What
/// another of the files was rotated to is left out: it is read as a part of that one. A path without
/// `*` and `?` is itself, whether it is there or not.
pub(crate) fn expand(pattern: &Path, most: usize) -> Expanded {
    let mut found = BTreeSet::from([PathBuf::from("/")]);
    let mut wild = false;
    let mut components = pattern.components().peekable();
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else { continue };
        let last = components.peek().is_none();
        let name = name.to_string_lossy();
        if !name.contains(['*', '?']) {
            found = found.into_iter().map(|path| path.join(&*name)).collect();
            continue;
        }
        wild = true;
        found = found
            .iter()
            .flat_map(|folder| entries(folder).unwrap_or_default())
            .filter(|path| {
                // What is no folder has no files below it.
                if !last && !path.is_dir() {
                    return false;
                }
                let entry = path.file_name().unwrap_or_default().to_string_lossy();
                (!entry.starts_with('.') || name.starts_with('.'))
                    && matches(name.as_bytes(), entry.as_bytes())
            })
            .collect();
    }
    let mut unnamed = Vec::new();
    if wild {
        found.retain(|path| !path.is_dir());
        unnamed = found.extract_if(.., |path| path.to_str().is_none()).collect();
        let rotated: Vec<PathBuf> =
            found.iter().filter(|path| rotated_from(path, &found)).cloned().collect();
        for path in rotated {
            found.remove(&path);
        }
    }
    let beyond = found.len().saturating_sub(most);
    Expanded { paths: found.into_iter().take(most).collect(), beyond, unnamed }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    folder.read_dir()?.take(MAX_ENTRIES).map(|entry| entry.map(|entry| entry.path())).collect()
}

/// Whether another file of the same folder has the name that this one was rotated from.
fn rotated_from(path: &Path, all: &BTreeSet<PathBuf>) -> bool {
    let (Some(folder), Some(name)) =
        (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return false;
    };
    // Names that it may come from begin with the same letter, and sort near.
    all.range(folder.to_path_buf()..).take_while(|other| other.starts_with(folder)).any(|other| {
        other.parent() == Some(folder)
            && other
                .file_name()
                .and_then(|base| base.to_str())
                .is_some_and(|base| base != name && is_rotated(base, name))
    })
}

/// Whether a name fits a pattern; in time of their product.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[place] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((star_at, star_place)) => {
                    star = Some((star_at, star_place + 1));
                    at = star_at + 1;
                    place = star_place + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_fit_or_not() {
        for (pattern, name, expected) in [
            ("*.log", "a.log", true),
            ("*.log", "a.log.1", false),
            ("a*b*c", "axxbyybc", true),
            ("a*b*c", "axxbyyb", false),
            ("?", "", false),
            ("*", "", true),
            ("a?c", "abc", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files_of_a_pattern() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.log", "a.log.1", "b.log", "b-20260101.log", ".c.log", "x/d.log", "y/d.log"]
        {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        for (pattern, most, expected, beyond) in [
            ("*.log", 9, vec!["a.log", "b.log"], 0),
            ("*", 9, vec!["a.log", "b.log"], 0),
            ("*/d.log", 9, vec!["x/d.log", "y/d.log"], 0),
            ("*/d.log", 1, vec!["x/d.log"], 1),
            ("none.log", 9, vec!["none.log"], 0),
            ("none*.log", 9, vec![], 0),
        ] {
            let found = expand(&folder.path().join(pattern), most);
            let paths = expected.iter().map(|name| folder.path().join(name)).collect();
            assert_eq!(found, Expanded { paths, beyond, unnamed: Vec::new() }, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_ends(pattern in "[a*?]{0,20}", name in "[ab]{0,40}") {
            let _ = matches(pattern.as_bytes(), name.as_bytes());
        }
    }
}
