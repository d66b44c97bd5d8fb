use base64ct::{Base64Unpadded, Encoding as _};
use chacha20poly1305::aead::AeadInPlace as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::header::{FileKey, Stanza};
use crate::open::wrapping_key;
use crate::payload::NONCE;
use crate::{MAX_BYTES, Recipient, armor, header, payload};

/// Why nothing was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Nobody could open it.
    #[error("there is no recipient to encrypt to")]
    NoRecipient,
    /// A key that no honest program makes.
    #[error("{0} is a weak key; make another one")]
    Weak(Recipient),
    /// Larger than what is opened.
    #[error("a secret may have about {} bytes", MAX_BYTES / 2)]
    Large,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// Encrypts `text` so that each of the recipients alone can open it; in ASCII armor, which Git and
/// people bear better than bytes.
///
/// # Errors
/// See [`SealError`].
pub fn seal(text: &[u8], recipients: &[Recipient]) -> Result<String, SealError> {
    if recipients.is_empty() {
        return Err(SealError::NoRecipient);
    }
    if text.len() > MAX_BYTES / 2 {
        return Err(SealError::Large);
    }
    let key: FileKey = random()?;
    let mut shares = Vec::new();
    for recipient in recipients {
        let secret = random::<32>()?;
        shares.push(wrap(&key, recipient, &StaticSecret::from(*secret))?);
    }
    let stanzas: Vec<Stanza<'_>> = shares
        .iter()
        .map(|(share, body)| Stanza { words: vec!["X25519", share], body: body.clone() })
        .collect();
    let mut file = header::write(&stanzas, &key);
    payload::seal(&mut file, &key, *random::<NONCE>()?, text);
    Ok(armor::add(&file))
}

fn wrap(
    key: &FileKey,
    recipient: &Recipient,
    secret: &StaticSecret,
) -> Result<(String, Vec<u8>), SealError> {
    let share = PublicKey::from(secret);
    let shared = secret.diffie_hellman(&recipient.0);
    if !shared.was_contributory() {
        return Err(SealError::Weak(*recipient));
    }
    let wrapping = wrapping_key(share.as_bytes(), recipient, shared.as_bytes());
    let mut body = key.to_vec();
    let tag = ChaCha20Poly1305::new(wrapping.as_slice().into())
        .encrypt_in_place_detached(&Nonce::default(), &[], &mut body)
        .expect("a file key is far below the limit of the cipher");
    body.extend_from_slice(&tag);
    Ok((Base64Unpadded::encode_string(share.as_bytes()), body))
}

fn random<const LENGTH: usize>() -> Result<Zeroizing<[u8; LENGTH]>, SealError> {
    let mut bytes = Zeroizing::new([0; LENGTH]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| SealError::Random)?;
    Ok(bytes)
}
