use std::fmt;
use std::ops::Deref;

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};

use crate::signer::finish;
use crate::wire::put_string;
use crate::{Namespace, PublicKey, SignError, Signature, Signer};

/// An Ed25519 private key in memory, wiped when dropped.
///
/// For first steps and for tests. A key that matters lives in an agent or on a security key.
pub struct FileKey {
    private: PrivateKey,
    public: PublicKey,
}

/// Why a private key cannot be used from memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileKeyError {
    /// Not an OpenSSH private key.
    #[error(
        "not an OpenSSH private key; give the file without `.pub` that `ssh-keygen -t ed25519` made"
    )]
    Malformed,
    /// Under a passphrase.
    #[error("the private key is encrypted; load it with `ssh-add` and sign through ssh-agent")]
    Encrypted,
    /// Another algorithm.
    #[error(
        "a private key of algorithm {0} is not read; load it with `ssh-add` and sign through ssh-agent"
    )]
    NotEd25519(String),
}

impl FileKey {
    /// Reads an unencrypted private key as `ssh-keygen` writes it.
    ///
    /// # Errors
    /// Encrypted keys and keys of other algorithms, which belong into an agent.
    pub fn from_openssh(text: &[u8]) -> Result<Self, FileKeyError> {
        let private = PrivateKey::from_openssh(text).map_err(|_| FileKeyError::Malformed)?;
        if private.is_encrypted() {
            return Err(FileKeyError::Encrypted);
        }
        match private.key_data() {
            KeypairData::Ed25519(_) => Self::new(private),
            _ => Err(FileKeyError::NotEd25519(private.algorithm().as_str().to_owned())),
        }
    }

    /// Makes the key that belongs to 32 bytes from the system's random number generator.
    ///
    /// # Errors
    /// None for any seed; the type says so only because the key is checked again.
    pub fn from_seed(seed: &[u8; 32], comment: &str) -> Result<Self, FileKeyError> {
        let pair = KeypairData::from(Ed25519Keypair::from_seed(seed));
        Self::new(PrivateKey::new(pair, comment).map_err(|_| FileKeyError::Malformed)?)
    }

    /// The private key as `ssh-keygen` writes it, unencrypted; wiped when dropped.
    ///
    /// # Errors
    /// None for a key that was made or read here.
    pub fn to_openssh(&self) -> Result<impl Deref<Target = String> + use<>, FileKeyError> {
        self.private.to_openssh(LineEnding::LF).map_err(|_| FileKeyError::Malformed)
    }

    fn new(private: PrivateKey) -> Result<Self, FileKeyError> {
        let blob = private.public_key().to_bytes().map_err(|_| FileKeyError::Malformed)?;
        let public = PublicKey::from_wire(&blob).map_err(|_| FileKeyError::Malformed)?;
        Ok(Self { private, public })
    }
}

impl Signer for FileKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&mut self, namespace: Namespace<'_>, message: &[u8]) -> Result<Signature, SignError> {
        let signature = self
            .private
            .sign(namespace.as_str(), ssh_key::HashAlg::Sha512, message)
            .map_err(|_| SignError::Key)?;
        let mut inner = Vec::new();
        put_string(&mut inner, self.public.algorithm().as_bytes());
        put_string(&mut inner, signature.signature_bytes());
        finish(&self.public, namespace, message, &inner)
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileKey({:?})", self.public)
    }
}
