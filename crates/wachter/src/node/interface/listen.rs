use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use tokio::net::UnixListener;

/// The folder of the host's own node, which the system empties at each start.
const RUN: &str = "/run/wachter";

/// The most bytes of a socket's path: `sun_path` of `sockaddr_un` without its end (unix(7)).
const LONGEST_PATH: usize = 107;

/// Listens on the node's socket. Everybody may open it: what they may do is decided by who they are.
/// A socket that a dead node left is removed; the caller holds the lock of the data, so no other node
/// listens there.
///
/// # Errors
/// The path is too long or something else is there, or the folder cannot be written.
pub(crate) fn listen(socket: &Path) -> io::Result<UnixListener> {
    let length = socket.as_os_str().len();
    if length > LONGEST_PATH {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} has {length} bytes and a socket's path has {LONGEST_PATH} at most; give the node a shorter folder with --data",
                socket.display()
            ),
        ));
    }
    if let Some(folder) = socket.parent().filter(|folder| *folder == Path::new(RUN)) {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    match std::fs::symlink_metadata(socket) {
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(socket)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is no socket; move it away", socket.display()),
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o666))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn takes_the_place_of_a_dead_node_and_of_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("node.sock");
        drop(listen(&socket).unwrap());
        assert!(socket.exists(), "a socket stays behind");
        let listener = listen(&socket).unwrap();
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        tokio::net::UnixStream::connect(&socket).await.unwrap();
        drop(listener);
        let file = folder.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        let error = listen(&file).unwrap_err().to_string();
        assert!(error.contains("move it away"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    }

    #[tokio::test]
    async fn says_that_a_path_is_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("x".repeat(100)).join("node.sock");
        let error = listen(&long).unwrap_err().to_string();
        assert!(error.contains("--data"), "{error}");
    }
}
