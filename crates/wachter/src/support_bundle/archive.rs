use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use super::collect::Entry;

/// Writes a tar archive (POSIX ustar, compressed as RFC 1952 says) that only its owner can read, with
/// all entries in one folder.
///
/// # Errors
/// There is such a file, or it cannot be written; half of one is removed.
pub(super) fn write(
    file: &Path,
    folder: &str,
    entries: &[Entry],
    now: Timestamp,
) -> io::Result<()> {
    let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let written = fill(target, folder, entries, now);
    if written.is_err() {
        // The reason for the failure is worth more than that of this one.
        let _ = std::fs::remove_file(file);
    }
    written
}

fn fill(target: impl Write, folder: &str, entries: &[Entry], now: Timestamp) -> io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(target, Compression::default()));
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o600);
        header.set_mtime(now.as_second().try_into().unwrap_or_default());
        header.set_size(entry.content.len() as u64);
        archive.append_data(
            &mut header,
            format!("{folder}/{}", entry.name),
            entry.content.as_bytes(),
        )?;
    }
    archive.into_inner()?.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_put_in_comes_out_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bundle.tar.gz");
        let entry = |name: &str, content: &str| Entry {
            name: name.to_owned(),
            content: content.to_owned(),
            holds: "",
        };
        let entries = [entry("a.json", "{}"), entry("logs/node.log", "line\n")];
        write(&file, "wachter", &entries, Timestamp::UNIX_EPOCH).unwrap();
        let mut archive =
            tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(&file).unwrap()));
        let found: Vec<(String, String)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = String::new();
                entry.read_to_string(&mut content).unwrap();
                (entry.path().unwrap().display().to_string(), content)
            })
            .collect();
        let expected = [("wachter/a.json", "{}"), ("wachter/logs/node.log", "line\n")];
        assert_eq!(found, expected.map(|(name, content)| (name.to_owned(), content.to_owned())));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let again = write(&file, "wachter", &entries, Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert!(file.exists());
    }
}
