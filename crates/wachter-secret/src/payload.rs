//! What is encrypted: pieces of 64 KiB, each authenticated with its number and whether it is the last
//! (the STREAM construction).

use chacha20poly1305::aead::AeadInPlace as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce, Tag};
use zeroize::Zeroizing;

use crate::header::{FileKey, derive};

const PIECE: usize = 65_536;
const TAG: usize = 16;
pub(crate) const NONCE: usize = 16;

fn cipher(key: &FileKey, nonce: &[u8]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(derive(nonce, key.as_slice(), b"payload").as_slice().into())
}

/// Eleven bytes of number, one byte that says whether it is the last.
fn piece_nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce.into()
}

/// Decrypts all of it; none where any of it is not what was encrypted.
pub(crate) fn open(key: &FileKey, payload: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, mut rest) = payload.split_at_checked(NONCE)?;
    let cipher = cipher(key, nonce);
    let mut opened = Zeroizing::new(Vec::with_capacity(rest.len()));
    for number in 0.. {
        let (piece, after) = rest.split_at(rest.len().min(PIECE + TAG));
        let (text, tag) = piece.split_at_checked(piece.len().checked_sub(TAG)?)?;
        let last = after.is_empty();
        // An empty piece may only be the whole.
        if text.is_empty() && number > 0 {
            return None;
        }
        let start = opened.len();
        opened.extend_from_slice(text);
        cipher
            .decrypt_in_place_detached(
                &piece_nonce(number, last),
                &[],
                &mut opened[start..],
                Tag::from_slice(tag),
            )
            .ok()?;
        if last {
            break;
        }
        rest = after;
    }
    Some(opened)
}

/// Appends `text`, encrypted, to `file`.
#[cfg(feature = "seal")]
pub(crate) fn seal(file: &mut Vec<u8>, key: &FileKey, nonce: [u8; NONCE], text: &[u8]) {
    let cipher = cipher(key, &nonce);
    file.extend_from_slice(&nonce);
    let mut pieces: Vec<&[u8]> = text.chunks(PIECE).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let last = pieces.len() - 1;
    for (number, piece) in pieces.into_iter().enumerate() {
        let start = file.len();
        file.extend_from_slice(piece);
        let tag = cipher
            .encrypt_in_place_detached(
                &piece_nonce(number as u64, number == last),
                &[],
                &mut file[start..],
            )
            .expect("a piece is far below the limit of the cipher");
        file.extend_from_slice(&tag);
    }
}
