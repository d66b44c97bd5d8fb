//! The files of an environment: listed without following anything, and judged.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// The most files of one environment.
const MAX_FILES: usize = 50_000;

/// The files below a folder, by path, with their sizes.
#[derive(Debug)]
pub(super) struct Files(BTreeMap<String, u64>);

impl Files {
    /// Lists them, but for `left_out` at the top.
    pub(super) fn below(folder: &Path, left_out: &[&str]) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        let mut open = vec![String::new()];
        while let Some(below) = open.pop() {
            let here = folder.join(&below);
            let failed = |error: io::Error| format!("cannot list {}: {error}", here.display());
            for entry in fs::read_dir(&here).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let name = name.to_str().filter(|name| !name.chars().any(char::is_control));
                let Some(name) = name else {
                    return Err(format!("a file in `{below}` has a name that is no plain text"));
                };
                if below.is_empty() && left_out.contains(&name) {
                    continue;
                }
                let path =
                    if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
                let status = entry.metadata().map_err(failed)?;
                if status.is_dir() {
                    open.push(path);
                } else if status.is_file() {
                    files.insert(path, status.len());
                } else {
                    return Err(format!("`{path}` is neither a file nor a folder"));
                }
                if files.len() > MAX_FILES {
                    return Err(format!(
                        "it has more than {MAX_FILES} files; install fewer packages"
                    ));
                }
            }
        }
        Ok(Self(files))
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether they can be an environment.
    pub(super) fn check(&self, most_bytes: u64) -> Result<(), String> {
        let total: u64 = self.0.values().fold(0, |total, bytes| total.saturating_add(*bytes));
        if total > most_bytes {
            return Err(format!(
                "it has {total} bytes, allowed are {most_bytes}; raise `python.limits.disk` in the local file"
            ));
        }
        match self.paths().find(|path| path.ends_with(".pth") && !path.contains('/')) {
            Some(path) => Err(format!(
                "a package installs `{path}`, whose lines would be executed whenever an interpreter starts; \
                 leave that package out"
            )),
            None => Ok(()),
        }
    }
}
