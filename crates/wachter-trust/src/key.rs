use std::fmt;
use std::str::FromStr;

use base64ct::{Base64Unpadded, Encoding as _};
use sha2::{Digest as _, Sha256};

use crate::algorithm::{Algorithm, MAX_RSA_BITS, Material};
use crate::wire::{Truncated, WireReader};

/// A public key of an algorithm that this crate verifies.
///
/// Ed25519, ECDSA over P-256 and P-384, RSA from 2,048 bits, and the hardware-backed `sk-` forms of
/// Ed25519 and ECDSA P-256. Two keys are equal when their key data is; a comment is not kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    algorithm: Algorithm,
    blob: Vec<u8>,
}

/// The SHA-256 fingerprint of a public key, written as `ssh-keygen -l` does: `SHA256:` and unpadded
/// base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// Why a text or blob is not a public key that can be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not `TYPE BASE64 [COMMENT]`, or the base64 does not hold a key of that type.
    #[error(
        "not an OpenSSH public key; paste the line of a `.pub` file, as in `ssh-ed25519 AAAA...`"
    )]
    Malformed,
    /// A key type that is not verified here.
    #[error(
        "unsupported algorithm {0}; use an Ed25519 key: `ssh-keygen -t ed25519` or \
         `ssh-keygen -t ed25519-sk`"
    )]
    Unsupported(String),
    /// An RSA modulus below 2,048 bits.
    #[error("an RSA key of {0} bits is too short; 2048 is the least, Ed25519 is better")]
    TooShort(usize),
    /// An RSA modulus above 16,384 bits.
    #[error("an RSA key of {0} bits is too long; 16384 is the most")]
    TooLong(usize),
}

/// Why a text is not a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a fingerprint; write it as `ssh-keygen -lf KEY.pub` does: SHA256:...")]
pub struct ParseFingerprintError(String);

impl PublicKey {
    /// Decodes a key blob (RFC 4253 section 6.6).
    ///
    /// # Errors
    /// An algorithm that is not verified here, or bytes that are not exactly one key.
    pub fn from_wire(blob: &[u8]) -> Result<Self, KeyError> {
        let mut reader = WireReader::new(blob);
        let name = std::str::from_utf8(reader.string()?).map_err(|_| KeyError::Malformed)?;
        let Some(algorithm) = Algorithm::of_name(name) else {
            return Err(match is_algorithm_name(name) {
                true => KeyError::Unsupported(name.to_owned()),
                false => KeyError::Malformed,
            });
        };
        Material::read(algorithm, reader)?;
        Ok(Self { algorithm, blob: blob.to_vec() })
    }

    /// The key blob (RFC 4253 section 6.6).
    #[must_use]
    pub fn to_wire(&self) -> &[u8] {
        &self.blob
    }

    /// The fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(&self.blob).into())
    }

    /// The algorithm's name in SSH, such as `ssh-ed25519`.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        self.algorithm.name()
    }

    /// Whether the private half lives in a FIDO security key.
    #[must_use]
    pub fn is_hardware(&self) -> bool {
        matches!(self.algorithm, Algorithm::SkEd25519 | Algorithm::SkEcdsaP256)
    }

    /// Whether the key can be a root or publish modules: Ed25519 or ECDSA P-256, in memory or in a
    /// security key. The launcher verifies nothing else, so that what runs as root stays small. RSA and
    /// P-384 sign releases, which the node alone judges.
    #[must_use]
    pub fn is_for_modules(&self) -> bool {
        !matches!(self.algorithm, Algorithm::Rsa | Algorithm::EcdsaP384)
    }

    /// Takes the key apart.
    pub(crate) fn material(&self) -> Material<'_> {
        let mut reader = WireReader::new(&self.blob);
        reader
            .string()
            .map_err(KeyError::from)
            .and_then(|_| Material::read(self.algorithm, reader))
            .expect("the key was taken apart when it was read")
    }
}

impl From<Truncated> for KeyError {
    fn from(_: Truncated) -> Self {
        Self::Malformed
    }
}

/// RFC 4251 section 6, so that an error message never repeats control characters.
pub(crate) fn is_algorithm_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// Parses `TYPE BASE64 [COMMENT]`.
impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
        let (Some(name), Some(base64)) = (words.next(), words.next()) else {
            return Err(KeyError::Malformed);
        };
        if text.contains(['\n', '\r', '\0']) || base64.len() > 4 * MAX_RSA_BITS {
            return Err(KeyError::Malformed);
        }
        let blob = base64ct::Base64::decode_vec(base64).map_err(|_| KeyError::Malformed)?;
        let inner = WireReader::new(&blob).string().map_err(|_| KeyError::Malformed)?;
        if inner != name.as_bytes() {
            return Err(KeyError::Malformed);
        }
        Self::from_wire(&blob)
    }
}

/// Writes `TYPE BASE64`.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), base64ct::Base64::encode_string(&self.blob))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm(), self.fingerprint())
    }
}

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseFingerprintError(text.chars().take(80).collect());
        let base64 = text.strip_prefix("SHA256:").ok_or_else(refused)?;
        let mut bytes = [0; 32];
        match Base64Unpadded::decode(base64, &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(bytes)),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", Base64Unpadded::encode_string(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A public key made for this test, and what `ssh-keygen -lf` says of it.
    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIlizSIN3DQV78VPNjVvvwjgf+P5HqbPYCYu3BOMdjAE";
    const FINGERPRINT: &str = "SHA256:ZxTZQ/K7JZpz0mHqWqdmYCUcq3MAtnu9TYA66TCBkxM";

    fn check(text: &str, expected: Result<&str, KeyError>) {
        let found = text.parse::<PublicKey>().map(|key| key.to_string());
        assert_eq!(found, expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn reads_openssh_lines() {
        check(KEY, Ok(KEY));
        check(&format!(" {KEY}\ta comment"), Ok(KEY));
        check("", Err(KeyError::Malformed));
        check("ssh-ed25519", Err(KeyError::Malformed));
        check(&KEY.replacen("ssh-ed25519", "ssh-rsa", 1), Err(KeyError::Malformed));
        check(&KEY[..KEY.len() - 4], Err(KeyError::Malformed));
        check(&format!("{KEY}\n{KEY}"), Err(KeyError::Malformed));
        check("ssh-dss AAAAB3NzaC1kc3M=", Err(KeyError::Unsupported("ssh-dss".into())));
    }

    #[test]
    fn equality_and_fingerprint_ignore_the_comment() {
        let (bare, commented): (PublicKey, PublicKey) =
            (KEY.parse().unwrap(), format!("{KEY} someone").parse().unwrap());
        assert_eq!(bare, commented);
        assert_eq!(bare.fingerprint().to_string(), FINGERPRINT);
        assert_eq!(FINGERPRINT.parse(), Ok(commented.fingerprint()));
        for bad in ["", "SHA256:", "MD5:00", &FINGERPRINT[..40], &format!("{FINGERPRINT}=")] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_input_is_parsed_or_refused(text: String, blob: Vec<u8>) {
            let _ = (text.parse::<PublicKey>(), text.parse::<Fingerprint>());
            let _ = PublicKey::from_wire(&blob);
        }
    }
}
