use std::fmt;
use std::str::FromStr;

use bech32::{Bech32, Hrp};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

/// Who a file is encrypted to: `age1…`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Recipient(pub(crate) PublicKey);

/// Who can open what was encrypted to its recipient: `AGE-SECRET-KEY-1…`.
#[derive(Clone)]
pub struct Identity(pub(crate) StaticSecret);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a recipient.
    #[error("this is no age recipient; one begins with `age1` and is what `age-keygen -y` prints")]
    Recipient,
    /// Not an identity.
    #[error(
        "this is no age identity; one begins with `AGE-SECRET-KEY-1` and is what `age-keygen` makes"
    )]
    Identity,
    /// A file of identities with something else on a line.
    #[error("line {0} is neither an age identity nor a comment; `age-keygen` makes such files")]
    Line(usize),
    /// A file of identities without any.
    #[error("there is no age identity in it; `age-keygen` makes such files")]
    None,
    /// The system has no randomness.
    #[error("the system gives no random numbers")]
    Random,
}

fn decode(text: &str, human: &str) -> Option<[u8; 32]> {
    let (found, mut bytes) = bech32::decode(text).ok()?;
    let key =
        (found == Hrp::parse(human).ok()?).then(|| bytes.as_slice().try_into().ok()).flatten();
    bytes.zeroize();
    key
}

fn encode(bytes: &[u8; 32], human: &str) -> String {
    let human = Hrp::parse(human).expect("the parts before the keys are in the alphabet");
    bech32::encode::<Bech32>(human, bytes).expect("32 bytes are within the length of a key")
}

impl FromStr for Recipient {
    type Err = KeyError;

    /// Takes lower case only, as age does.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.contains(|character: char| character.is_ascii_uppercase()) {
            return Err(KeyError::Recipient);
        }
        decode(text, "age").map(|key| Self(key.into())).ok_or(KeyError::Recipient)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&encode(self.0.as_bytes(), "age"))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl FromStr for Identity {
    type Err = KeyError;

    /// Takes upper case only, as age does.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.contains(|character: char| character.is_ascii_lowercase()) {
            return Err(KeyError::Identity);
        }
        let mut key = decode(text, "AGE-SECRET-KEY-").ok_or(KeyError::Identity)?;
        let identity = Self(key.into());
        key.zeroize();
        Ok(identity)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity of {}", self.recipient())
    }
}

impl Identity {
    /// A new one, of the system's randomness.
    ///
    /// # Errors
    /// The system gives none.
    #[cfg(feature = "seal")]
    pub fn generate() -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| KeyError::Random)?;
        Ok(Self((*key).into()))
    }

    /// Who to encrypt to.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient(PublicKey::from(&self.0))
    }

    /// The identity as text: a secret.
    #[must_use]
    pub fn secret_text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new(self.0.to_bytes());
        let mut lower = encode(&bytes, "age-secret-key-");
        lower.make_ascii_uppercase();
        Zeroizing::new(lower)
    }
}

/// The identities of a file as `age-keygen` makes it: one a line, between comments.
///
/// # Errors
/// A line that is something else, or no identity at all.
pub fn identities(text: &str) -> Result<Vec<Identity>, KeyError> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            found.push(line.parse().map_err(|_| KeyError::Line(index + 1))?);
        }
    }
    if found.is_empty() { Err(KeyError::None) } else { Ok(found) }
}

#[cfg(all(test, feature = "seal"))]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let identity = Identity::generate().unwrap();
        let text = identity.secret_text();
        assert!(text.starts_with("AGE-SECRET-KEY-1"));
        let again: Identity = text.parse().unwrap();
        assert_eq!(again.recipient(), identity.recipient());
        let recipient = identity.recipient().to_string();
        assert_eq!(recipient.parse(), Ok(identity.recipient()));
        assert!(!format!("{identity:?}").contains("SECRET"));
        for bad in [recipient.to_uppercase(), recipient[1..].to_owned(), text.to_string()] {
            assert_eq!(bad.parse::<Recipient>(), Err(KeyError::Recipient), "{bad}");
        }
        for bad in [text.to_lowercase(), text[1..].to_owned(), recipient] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn files_of_identities_are_read() {
        let key = Identity::generate().unwrap().secret_text();
        assert_eq!(identities(&format!("# made today\n\n{}\r\n", *key)).unwrap().len(), 1);
        assert_eq!(identities("# nothing\n").unwrap_err(), KeyError::None);
        assert_eq!(identities(&format!("{}\nx\n", *key)).unwrap_err(), KeyError::Line(2));
    }
}
