//! The header of a file: who can open it, and a code that authenticates that.

use base64ct::{Base64Unpadded, Encoding as _};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The first line.
const VERSION: &str = "age-encryption.org/v1";

/// The key of one file.
pub(crate) type FileKey = Zeroizing<[u8; 16]>;

/// One way to the file key.
#[derive(Debug)]
pub(crate) struct Stanza<'a> {
    /// The words of its first line.
    pub(crate) words: Vec<&'a str>,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) stanzas: Vec<Stanza<'a>>,
    /// The bytes that the code is over.
    authenticated: &'a [u8],
    code: Vec<u8>,
}

fn base64(text: &str) -> Option<Vec<u8>> {
    Base64Unpadded::decode_vec(text).ok()
}

/// Visible ASCII, as words and lines are.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl<'a> Header<'a> {
    /// Reads the header and says what follows it; none where it is no header.
    pub(crate) fn parse(file: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut rest = file;
        if line(&mut rest)? != VERSION {
            return None;
        }
        let mut stanzas = Vec::new();
        loop {
            let start = rest;
            let first = line(&mut rest)?;
            if let Some(code) = first.strip_prefix("--- ") {
                let length = file.len() - start.len() + "---".len();
                let code = base64(code)?;
                let header = Self { stanzas, authenticated: &file[..length], code };
                return (!header.stanzas.is_empty()).then_some((header, rest));
            }
            let words: Vec<&str> = first.strip_prefix("-> ")?.split(' ').collect();
            if !words.iter().all(|word| is_word(word)) {
                return None;
            }
            stanzas.push(Stanza { words, body: body(&mut rest)? });
        }
    }

    /// Whether the header is what whoever knew the file key wrote. Takes the same time whatever
    /// differs.
    pub(crate) fn authenticates(&self, key: &FileKey) -> bool {
        code(key, self.authenticated).verify_slice(&self.code).is_ok()
    }
}

fn code(key: &FileKey, header: &[u8]) -> Hmac<Sha256> {
    let key = derive(&[], key.as_slice(), b"header");
    let mut code = Hmac::<Sha256>::new_from_slice(key.as_slice())
        .expect("a key of this code may have any length");
    code.update(header);
    code
}

/// HKDF-SHA-256 (RFC 5869) to 32 bytes.
pub(crate) fn derive(salt: &[u8], secret: &[u8], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), secret)
        .expand(purpose, key.as_mut_slice())
        .expect("32 bytes are within what can be derived");
    key
}

fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let (line, after) = rest.split_at(end);
    *rest = &after[1..];
    std::str::from_utf8(line).ok()
}

/// Lines of 64 characters, and a last one that is shorter, and may be empty.
fn body(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut text = String::new();
    loop {
        let line = line(rest)?;
        text.push_str(line);
        match line.len() {
            64 => {}
            0..64 => return base64(&text),
            _ => return None,
        }
    }
}

/// Writes a header.
#[cfg(feature = "seal")]
pub(crate) fn write(stanzas: &[Stanza<'_>], key: &FileKey) -> Vec<u8> {
    let mut text = format!("{VERSION}\n");
    for stanza in stanzas {
        text.push_str("->");
        for word in &stanza.words {
            text.push(' ');
            text.push_str(word);
        }
        text.push('\n');
        let body = Base64Unpadded::encode_string(&stanza.body);
        // What we write fits into one line.
        debug_assert!(body.len() < 64);
        text.push_str(&body);
        text.push('\n');
    }
    text.push_str("---");
    let code = code(key, text.as_bytes()).finalize().into_bytes();
    text.push(' ');
    text.push_str(&Base64Unpadded::encode_string(&code));
    text.push('\n');
    text.into_bytes()
}
