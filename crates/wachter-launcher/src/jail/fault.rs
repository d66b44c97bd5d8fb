use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A step of the set-up that failed, in a form that crosses from the child to the launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("cannot {attempted}: {}", Errno::from_raw_os_error(*errno))]
pub(crate) struct Fault {
    /// What was attempted, with its subject: "bind /etc/ssl".
    pub(crate) attempted: String,
    /// The kernel's answer.
    pub(crate) errno: i32,
}

/// Says what a failed system call was for.
pub(crate) trait Attempt<T> {
    /// Names the attempt; the text is made only on failure.
    fn attempt<S: Into<String>>(self, attempted: impl FnOnce() -> S) -> Result<T, Fault>;
}

impl<T> Attempt<T> for Result<T, Errno> {
    fn attempt<S: Into<String>>(self, attempted: impl FnOnce() -> S) -> Result<T, Fault> {
        self.map_err(|errno| Fault { attempted: attempted().into(), errno: errno.raw_os_error() })
    }
}

impl<T> Attempt<T> for std::io::Result<T> {
    fn attempt<S: Into<String>>(self, attempted: impl FnOnce() -> S) -> Result<T, Fault> {
        self.map_err(|error| Fault {
            attempted: attempted().into(),
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        })
    }
}
