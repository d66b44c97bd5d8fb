use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// The system refused; the file has more bytes; or it is a pipe, a device or a folder, which could
/// go on for ever or not begin: none of these is waited for.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    // Not by the size that is told: the file may grow, and files of the kernel have none.
    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        let kind = io::ErrorKind::FileTooLarge;
        return Err(io::Error::new(kind, format!("it has more than {limit} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_last_that_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (size, limit, taken) in
            [(0, 0, true), (1, 0, false), (5, 5, true), (6, 5, false), (9, u64::MAX, true)]
        {
            std::fs::write(&path, vec![7; size]).unwrap();
            let read = read_limited(&path, limit);
            assert_eq!(read.is_ok(), taken, "{size} bytes, {limit} allowed");
            assert!(read.is_err() || read.unwrap().len() == size);
        }
    }

    #[test]
    fn only_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        for path in [folder.path(), &pipe, Path::new("/dev/zero")] {
            let error = read_limited(path, 10).unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{path:?}: {error}");
        }
        let error = read_limited(&folder.path().join("none"), 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
