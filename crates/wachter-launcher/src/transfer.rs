//! Reading a regular file to its end: hashed, and copied on the way where that is wanted.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use wachter_model::{Digest, DigestWriter};

/// Why a file was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    #[error(transparent)]
    Read(io::Error),
    #[error(transparent)]
    Write(io::Error),
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it is too large")]
    TooLarge,
}

/// Hashes a file of at most `most` bytes, and copies it where `to` is given. Gives its digest and how
/// many bytes it has.
///
/// # Errors
/// It is no regular file, has more bytes, or cannot be read or copied.
pub(crate) fn transfer(
    from: &Path,
    most: u64,
    mut to: Option<&mut File>,
) -> Result<(Digest, u64), TransferError> {
    // A named pipe must not make the launcher wait, nor a link lead it elsewhere.
    let mut file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(from)
        .map_err(TransferError::Read)?;
    if !file.metadata().map_err(TransferError::Read)?.is_file() {
        return Err(TransferError::NotAFile);
    }
    let mut hash = DigestWriter::new();
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        let read = file.read(&mut buffer).map_err(TransferError::Read)?;
        if read == 0 {
            return Ok((hash.finish(), total));
        }
        total += read as u64;
        if total > most {
            return Err(TransferError::TooLarge);
        }
        hash.write_all(&buffer[..read]).map_err(TransferError::Read)?;
        if let Some(to) = to.as_deref_mut() {
            to.write_all(&buffer[..read]).map_err(TransferError::Write)?;
        }
    }
}
