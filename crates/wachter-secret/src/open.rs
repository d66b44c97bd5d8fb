use base64ct::{Base64Unpadded, Encoding as _};
use chacha20poly1305::aead::AeadInPlace as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce, Tag};
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

use crate::header::{FileKey, Header, Stanza, derive};
use crate::{Identity, MAX_BYTES, armor, payload};

/// Why a file was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Larger than [`MAX_BYTES`].
    #[error("it has more than {MAX_BYTES} bytes")]
    Large,
    /// It is no file of age, or was cut off or changed.
    #[error("it is no whole file of age; encrypt it again")]
    Damaged,
    /// None of the identities can open it.
    #[error("it is encrypted to others; encrypt it again, to this recipient too")]
    Recipient,
}

/// Opens a file, binary or in ASCII armor.
///
/// # Errors
/// See [`OpenError`]. A file that is damaged anywhere is not opened in part.
pub fn open(file: &[u8], identities: &[Identity]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    // Armor adds a third and an end of line to each 64 characters.
    if file.len() > MAX_BYTES * 3 / 2 {
        return Err(OpenError::Large);
    }
    let file = armor::remove(file).ok_or(OpenError::Damaged)?;
    if file.len() > MAX_BYTES {
        return Err(OpenError::Large);
    }
    let (header, rest) = Header::parse(&file).ok_or(OpenError::Damaged)?;
    let key = file_key(&header, identities)?;
    if !header.authenticates(&key) {
        return Err(OpenError::Damaged);
    }
    payload::open(&key, rest).ok_or(OpenError::Damaged)
}

/// For how many X25519 recipients a file is; none where it is no file of age. For whom cannot be told.
#[must_use]
pub fn recipients(file: &[u8]) -> Option<usize> {
    let file = armor::remove(file)?;
    let (header, _) = Header::parse(&file)?;
    Some(header.stanzas.iter().filter(|stanza| stanza.words[0] == "X25519").count())
}

fn file_key(header: &Header<'_>, identities: &[Identity]) -> Result<FileKey, OpenError> {
    // A passphrase cannot stand beside anything else.
    if header.stanzas.len() > 1 && header.stanzas.iter().any(|stanza| stanza.words[0] == "scrypt") {
        return Err(OpenError::Damaged);
    }
    for stanza in header.stanzas.iter().filter(|stanza| stanza.words[0] == "X25519") {
        let (share, wrapped) = parts(stanza).ok_or(OpenError::Damaged)?;
        for identity in identities {
            if let Some(key) = unwrap(share, wrapped, identity)? {
                return Ok(key);
            }
        }
    }
    Err(OpenError::Recipient)
}

/// The ephemeral share and the wrapped file key.
fn parts<'a>(stanza: &'a Stanza<'_>) -> Option<([u8; 32], &'a [u8; 32])> {
    let [_, share] = stanza.words.as_slice() else { return None };
    let share = Base64Unpadded::decode_vec(share).ok()?;
    Some((share.as_slice().try_into().ok()?, stanza.body.as_slice().try_into().ok()?))
}

/// The file key, where this stanza is for this identity.
fn unwrap(
    share: [u8; 32],
    wrapped: &[u8; 32],
    identity: &Identity,
) -> Result<Option<FileKey>, OpenError> {
    let shared = identity.0.diffie_hellman(&PublicKey::from(share));
    // A share of low order makes a key that everybody knows (RFC 7748, section 6.1).
    if !shared.was_contributory() {
        return Err(OpenError::Damaged);
    }
    let wrapping = wrapping_key(&share, &identity.recipient(), shared.as_bytes());
    let mut key = FileKey::new([0; 16]);
    let (text, tag) = wrapped.split_at(16);
    key.copy_from_slice(text);
    let opened = ChaCha20Poly1305::new(wrapping.as_slice().into()).decrypt_in_place_detached(
        &Nonce::default(),
        &[],
        key.as_mut_slice(),
        Tag::from_slice(tag),
    );
    Ok(opened.is_ok().then_some(key))
}

/// The key that wraps the file key: of the shared secret, bound to both public keys.
pub(crate) fn wrapping_key(
    share: &[u8; 32],
    recipient: &crate::Recipient,
    shared: &[u8; 32],
) -> Zeroizing<[u8; 32]> {
    let salt = [share.as_slice(), recipient.0.as_bytes()].concat();
    derive(&salt, shared, b"age-encryption.org/v1/X25519")
}
