use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A key pair on disk, made by `ssh-keygen`.
#[derive(Clone, Debug)]
pub struct SshKey {
    private: PathBuf,
    public: String,
}

impl SshKey {
    /// Makes an unencrypted Ed25519 key in `directory`, in the files `name` and `name.pub`.
    ///
    /// # Errors
    /// When `ssh-keygen` cannot be run or fails, for instance because the key exists.
    pub fn generate(directory: &Path, name: &str) -> io::Result<Self> {
        let private = directory.join(name);
        let output = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(&private)
            .output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let public = std::fs::read_to_string(private.with_extension("pub"))?.trim_end().to_owned();
        Ok(Self { private, public })
    }

    /// Where the private key is.
    #[must_use]
    pub fn private(&self) -> &Path {
        &self.private
    }

    /// The public key in OpenSSH's one-line form, with its comment.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Signs `file` as `ssh-keygen -Y sign` does, and returns the armored signature.
    ///
    /// # Errors
    /// When `ssh-keygen` cannot be run or fails.
    pub fn sign(&self, namespace: &str, bytes: &[u8]) -> io::Result<String> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("message");
        std::fs::write(&file, bytes)?;
        let output = Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
            .arg(&self.private)
            .arg(&file)
            .output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        std::fs::read_to_string(file.with_extension("sig"))
    }
}
