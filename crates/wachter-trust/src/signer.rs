use crate::{AgentError, Namespace, PublicKey, Signature, SignatureError, VerifyError};

/// Someone or something that can sign.
pub trait Signer {
    /// The key that signs.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message` for `namespace`. The signature has been verified.
    ///
    /// # Errors
    /// When the holder of the key refuses or cannot be reached, or gives a signature that does not
    /// hold.
    fn sign(&mut self, namespace: Namespace<'_>, message: &[u8]) -> Result<Signature, SignError>;
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The agent.
    #[error("the agent did not sign with key {key}")]
    Agent {
        /// Which key.
        key: crate::Fingerprint,
        /// Why.
        #[source]
        source: AgentError,
    },
    /// The signature is of a form that is not verified here.
    #[error("the signer gave a signature that cannot be used")]
    Unusable(#[source] SignatureError),
    /// The signature is wrong.
    #[error("the signer gave a signature that does not hold")]
    Wrong(#[source] VerifyError),
    /// The key in memory is damaged.
    #[error("the private key cannot sign; make a new one with `ssh-keygen -t ed25519`")]
    Key,
}

/// Puts a signature into its format and verifies it.
pub(crate) fn finish(
    key: &PublicKey,
    namespace: Namespace<'_>,
    message: &[u8],
    inner: &[u8],
) -> Result<Signature, SignError> {
    let signature = Signature::assemble(key, namespace, inner).map_err(SignError::Unusable)?;
    signature.verify(namespace, message).map_err(SignError::Wrong)?;
    Ok(signature)
}
