use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject as _};
use zeroize::Zeroize as _;

/// The private RSA key of an App. It cannot be printed, and its memory is wiped when it is dropped.
pub struct AppKey(KeyPair);

/// Why a file is not the private key of an App. It never holds a part of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppKeyError {
    /// Nothing in it looks like one.
    #[error(
        "it holds no private key in PEM; give the `.pem` file that the App's settings page offered for download"
    )]
    Missing,
    /// It is there and damaged.
    #[error("the private key in it is damaged; download a new one from the App's settings page")]
    Damaged,
    /// Behind a passphrase.
    #[error(
        "the private key in it is encrypted, and a node has nobody to ask; remove the passphrase with `openssl rsa`"
    )]
    Encrypted,
    /// Another kind, or RSA outside of 2,048 to 8,192 bits.
    #[error(
        "the private key in it is not an RSA key of 2048 to 8192 bits, which is what GitHub makes for an App"
    )]
    NotRsa,
}

impl AppKey {
    /// Reads a private key in PEM (RFC 7468): PKCS#1 as GitHub gives it (RFC 8017), or PKCS#8
    /// (RFC 5958).
    ///
    /// # Errors
    /// What is not an unencrypted RSA key of 2,048 to 8,192 bits.
    pub fn from_pem(text: &[u8]) -> Result<Self, AppKeyError> {
        // "BEGIN ENCRYPTED PRIVATE KEY" of PKCS#8, or the header of RFC 1421.
        let encrypted = |line: &[u8]| {
            line.starts_with(b"-----BEGIN ENCRYPTED") || line.starts_with(b"Proc-Type: 4,ENCRYPTED")
        };
        if text.split(|byte| *byte == b'\n').any(encrypted) {
            return Err(AppKeyError::Encrypted);
        }
        let mut der = PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
            pem::Error::NoItemsFound => AppKeyError::Missing,
            _ => AppKeyError::Damaged,
        })?;
        let pair = match &der {
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(AppKeyError::NotRsa),
        };
        der.zeroize();
        pair.map(Self).map_err(|_| AppKeyError::NotRsa)
    }

    /// Signs with RSASSA-PKCS1-v1_5 and SHA-256: `RS256` of RFC 7518, section 3.3.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("a key that was read signs, and the signature is as long as the modulus");
        signature
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKey")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wachter_testkit::RsaKey;

    use super::*;

    fn check(text: &str, expected: Result<(), AppKeyError>) {
        assert_eq!(AppKey::from_pem(text.as_bytes()).map(drop), expected, "{text}");
    }

    #[test]
    fn both_formats_of_the_same_key_are_read() {
        let key = RsaKey::generate();
        let signatures = [key.pkcs1_pem(), key.pkcs8_pem()].map(|text| {
            let read = AppKey::from_pem(text.as_bytes()).unwrap();
            assert_eq!(format!("{read:?}"), "AppKey");
            read.sign(b"message")
        });
        // PKCS#1 v1.5 is deterministic.
        assert_eq!(signatures[0], signatures[1]);
        assert_eq!(signatures[0].len(), 256);
    }

    #[test]
    fn other_files_are_refused() {
        let good = RsaKey::generate().pkcs1_pem();
        check("", Err(AppKeyError::Missing));
        check("ghp_0123456789", Err(AppKeyError::Missing));
        check(&good.replace("RSA PRIVATE", "RSA PUBLIC"), Err(AppKeyError::Missing));
        check(&good.replacen('M', "*", 1), Err(AppKeyError::Damaged));
        check(&good.replace("RSA PRIVATE", "PRIVATE"), Err(AppKeyError::NotRsa));
        check(&good.replace("RSA PRIVATE", "EC PRIVATE"), Err(AppKeyError::NotRsa));
        check(&good.replace("RSA PRIVATE", "ENCRYPTED PRIVATE"), Err(AppKeyError::Encrypted));
        let legacy = "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00";
        check(&good.replacen("KEY-----", legacy, 1), Err(AppKeyError::Encrypted));
        check(&good[..good.len() / 2], Err(AppKeyError::Damaged));
    }

    proptest! {
        #[test]
        fn any_file_is_judged(bytes in proptest::collection::vec(any::<u8>(), 0..400), framed: bool) {
            let mut text = bytes;
            if framed {
                let body = text.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
                text = format!("-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\n").into_bytes();
            }
            prop_assert!(AppKey::from_pem(&text).is_err());
        }
    }
}
