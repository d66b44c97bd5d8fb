use std::collections::BTreeSet;
use std::fmt;

use crate::{Fingerprint, KeyError, ParseFingerprintError, PublicKey};

const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Keys that must never count again.
///
/// As text: one public key a line, which `ssh-keygen -Y verify -r` takes, or a fingerprint, or the
/// `key:` and `hash:` lines of a KRL specification (`ssh-keygen(1)`, KEY REVOCATION LISTS). Empty
/// lines and lines that start with `#` are passed over. A line that cannot be read makes the whole
/// list an error: passing over it could bring a stolen key back to life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevokedKeys(BTreeSet<Fingerprint>);

/// Why a text is not a list of revoked keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokedKeysError {
    /// Beyond 4 MiB.
    #[error("the list is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not UTF-8.
    #[error(
        "line {line} is not text; binary revocation lists are not read, list the keys one a line"
    )]
    NotText {
        /// Counted from 1.
        line: usize,
    },
    /// A line with a damaged key.
    #[error("line {line} does not hold a public key; correct or remove it")]
    Key {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: KeyError,
    },
    /// A line with a damaged fingerprint.
    #[error("line {line} does not hold a fingerprint; correct or remove it")]
    Fingerprint {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: ParseFingerprintError,
    },
}

impl RevokedKeys {
    /// Parses a list.
    ///
    /// # Errors
    /// The first line that cannot be read, with its number. A key of an algorithm that is never
    /// verified here is not an error: it is revoked already.
    pub fn parse(bytes: &[u8]) -> Result<Self, RevokedKeysError> {
        if bytes.len() > MAX_BYTES {
            return Err(RevokedKeysError::TooLarge);
        }
        let mut keys = BTreeSet::new();
        for (index, text) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = index + 1;
            let text = std::str::from_utf8(text).map_err(|_| RevokedKeysError::NotText { line })?;
            let text = text.trim_matches([' ', '\t', '\r']);
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let hash = text.strip_prefix("hash:").map(str::trim_start);
            if hash.is_some() || text.starts_with("SHA256:") {
                let fingerprint = hash.unwrap_or(text).parse();
                keys.insert(
                    fingerprint.map_err(|source| RevokedKeysError::Fingerprint { line, source })?,
                );
                continue;
            }
            match text.strip_prefix("key:").unwrap_or(text).parse::<PublicKey>() {
                Ok(key) => {
                    keys.insert(key.fingerprint());
                }
                Err(KeyError::Unsupported(_) | KeyError::TooShort(_) | KeyError::TooLong(_)) => {}
                Err(source) => return Err(RevokedKeysError::Key { line, source }),
            }
        }
        Ok(Self(keys))
    }

    /// Whether `key` is revoked.
    #[must_use]
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.0.contains(&key.fingerprint())
    }

    /// Whether a key with this fingerprint is revoked.
    #[must_use]
    pub fn contains_fingerprint(&self, fingerprint: &Fingerprint) -> bool {
        self.0.contains(fingerprint)
    }

    /// The fingerprints, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Fingerprint> {
        self.0.iter()
    }
}

impl FromIterator<Fingerprint> for RevokedKeys {
    fn from_iter<I: IntoIterator<Item = Fingerprint>>(fingerprints: I) -> Self {
        Self(fingerprints.into_iter().collect())
    }
}

/// Writes a KRL specification, which `ssh-keygen -k` turns into a binary list.
impl fmt::Display for RevokedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fingerprint| writeln!(f, "hash: {fingerprint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIlizSIN3DQV78VPNjVvvwjgf+P5HqbPYCYu3BOMdjAE";

    #[test]
    fn takes_keys_and_fingerprints() {
        let key: PublicKey = KEY.parse().unwrap();
        let fingerprint = key.fingerprint();
        for text in [
            KEY.to_owned(),
            format!("# stolen\n\n{KEY} comment\r\n"),
            format!("key: {KEY}"),
            fingerprint.to_string(),
            format!("ssh-dss AAAAB3NzaC1kc3M=\nhash: {fingerprint}\n"),
        ] {
            let revoked = RevokedKeys::parse(text.as_bytes()).unwrap();
            assert!(revoked.contains(&key), "{text}");
            assert_eq!(RevokedKeys::parse(revoked.to_string().as_bytes()), Ok(revoked), "{text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for (text, line) in [("junk", 1), ("\nSHA256:x", 2), ("hash: MD5:00", 1), ("key:", 1)] {
            match RevokedKeys::parse(text.as_bytes()) {
                Err(
                    RevokedKeysError::Key { line: found, .. }
                    | RevokedKeysError::Fingerprint { line: found, .. },
                ) => {
                    assert_eq!(found, line, "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!(
            RevokedKeys::parse(b"SSHKRL\n\0\xff"),
            Err(RevokedKeysError::Key { line: 1, source: KeyError::Malformed })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = RevokedKeys::parse(&bytes);
        }
    }
}
