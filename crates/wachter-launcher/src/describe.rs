//! Lists and hashes the files of a module that nobody signed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use wachter_model::{DigestWriter, ModuleName};
use wachter_trust::{ModuleDigests, ModuleFile};

/// What signing adds, and what is no part of a module.
const LEFT_OUT: [&str; 3] = ["module.digests", "module.sig", ".git"];

/// The digests that signing would write.
///
/// # Errors
/// A file that is neither regular nor a folder, or cannot be read; one sentence.
pub(crate) fn describe(
    folder: &Path,
    name: &ModuleName,
    version: &str,
) -> Result<ModuleDigests, String> {
    let mut files = BTreeMap::new();
    let mut open = vec![String::new()];
    while let Some(below) = open.pop() {
        let entries = fs::read_dir(folder.join(&below))
            .map_err(|error| format!("cannot list {}: {error}", folder.join(&below).display()))?;
        for entry in entries {
            let entry =
                entry.map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
            let entry_name = entry
                .file_name()
                .into_string()
                .map_err(|_| "a file name is not UTF-8".to_owned())?;
            let path = if below.is_empty() { entry_name } else { format!("{below}/{entry_name}") };
            if LEFT_OUT.contains(&path.as_str()) {
                continue;
            }
            let metadata =
                entry.metadata().map_err(|error| format!("cannot look at `{path}`: {error}"))?;
            if metadata.is_dir() {
                open.push(path);
            } else if metadata.is_file() {
                let digest = hash(&entry.path())
                    .map_err(|error| format!("cannot read `{path}`: {error}"))?;
                let executable = metadata.permissions().mode() & 0o111 != 0;
                files.insert(path, ModuleFile { digest, executable });
            } else {
                return Err(format!(
                    "`{path}` is neither a file nor a folder; a module holds nothing else"
                ));
            }
        }
    }
    let version = version.parse().map_err(|_| format!("`{version}` is no version"))?;
    ModuleDigests::new(name.clone(), version, files).map_err(|error| error.to_string())
}

fn hash(path: &Path) -> io::Result<wachter_model::Digest> {
    let mut writer = DigestWriter::new();
    io::copy(&mut fs::File::open(path)?, &mut writer)?;
    Ok(writer.finish())
}
