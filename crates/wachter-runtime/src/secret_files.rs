//! The files of secrets: the node carries them from the release to where the launcher looks, and cannot
//! open them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use wachter_file::{Readers, read_limited, replace_durably};
use wachter_model::SecretName;

use crate::ReleaseFile;

/// Where they are in the managed repository.
const FOLDER: &str = "config/secrets/";

/// More than any file of age has that a launcher opens.
const MAX_BYTES: u64 = 2 << 20;

/// Makes `data/secrets/<name>.age` as the release has them: what is gone from it goes, what is the same
/// is not written again.
///
/// # Errors
/// The disk; what was not reached is as it was.
pub(crate) fn keep(data: &Path, files: &[ReleaseFile]) -> io::Result<()> {
    let folder = data.join("secrets");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let wanted: BTreeMap<String, &[u8]> = files
        .iter()
        .filter_map(|file| {
            // Other files may lie beside them.
            let name = file.path.strip_prefix(FOLDER)?;
            name.strip_suffix(".age")?.parse::<SecretName>().ok()?;
            Some((name.to_owned(), file.content.as_slice()))
        })
        .collect();
    for (name, content) in &wanted {
        let path = folder.join(name);
        if !read_limited(&path, MAX_BYTES).is_ok_and(|kept| kept == *content) {
            replace_durably(&path, content, Readers::Owner)?;
        }
    }
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| wanted.contains_key(name)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_as_the_release_has_them() {
        let data = tempfile::tempdir().unwrap();
        let check = |files: &[(&str, &str)], expected: &[(&str, &str)]| {
            let files: Vec<ReleaseFile> = files
                .iter()
                .map(|(path, text)| ReleaseFile {
                    path: (*path).to_owned(),
                    content: text.as_bytes().to_vec(),
                })
                .collect();
            for _ in 0..2 {
                keep(data.path(), &files).unwrap();
                let mut found: Vec<(String, String)> = fs::read_dir(data.path().join("secrets"))
                    .unwrap()
                    .map(|entry| entry.unwrap())
                    .map(|entry| {
                        let name = entry.file_name().into_string().unwrap();
                        (name, fs::read_to_string(entry.path()).unwrap())
                    })
                    .collect();
                found.sort();
                let found: Vec<(&str, &str)> =
                    found.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
                assert_eq!(found, expected);
            }
        };
        check(&[], &[]);
        check(
            &[("config/secrets/a.age", "1"), ("config/secrets/b.age", "2"), ("config/a.age", "3")],
            &[("a.age", "1"), ("b.age", "2")],
        );
        check(
            &[
                ("config/secrets/b.age", "4"),
                ("config/secrets/README", "5"),
                ("config/secrets/c/d.age", "6"),
                ("config/secrets/B.age", "7"),
            ],
            &[("b.age", "4")],
        );
        check(&[], &[]);
    }
}
