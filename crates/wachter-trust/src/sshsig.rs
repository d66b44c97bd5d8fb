use std::fmt;

use sha2::{Digest as _, Sha256, Sha512};

use crate::armor::{self, ArmorError};
use crate::key::{KeyError, PublicKey, is_algorithm_name};
use crate::wire::{Truncated, WireReader, put_string};

const MAGIC: &[u8; 6] = b"SSHSIG";

/// FIDO authenticator data flag: someone touched the key (PROTOCOL.u2f).
const USER_PRESENT: u8 = 0x01;

/// FIDO authenticator data flag: the key asked for a PIN or a finger first.
const USER_VERIFIED: u8 = 0x04;

/// What a signature is about. A signature for one namespace is worthless in any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace<'a>(&'a str);

impl Namespace<'static> {
    /// The trust file.
    pub const TRUST: Self = Self("wachter-trust");
    /// The digests of a module.
    pub const MODULE: Self = Self("wachter-module");
    /// Git commits and tags, as `git` itself signs them.
    pub const GIT: Self = Self("git");
}

impl<'a> Namespace<'a> {
    /// Any other namespace.
    ///
    /// # Errors
    /// The empty one, which the format does not allow.
    pub fn new(name: &'a str) -> Result<Self, EmptyNamespace> {
        if name.is_empty() { Err(EmptyNamespace) } else { Ok(Self(name)) }
    }

    /// The namespace as text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Namespace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

/// A namespace was empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature namespace cannot be empty")]
pub struct EmptyNamespace;

/// A detached SSH signature (OpenSSH's PROTOCOL.sshsig), well-formed but not yet verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    blob: Vec<u8>,
    key: PublicKey,
    namespace: String,
    hash: Hash,
    inner: Inner,
}

/// The hash over the message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha512,
}

/// The innermost signature, as the SSH protocol has it.
#[derive(Clone, PartialEq, Eq)]
struct Inner {
    algorithm: String,
    signature: Vec<u8>,
    /// FIDO flags and counter, of `sk-` keys alone.
    trailer: Option<[u8; 5]>,
}

/// Why bytes are not a signature that can be verified here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The armor around it.
    #[error("the signature's armor is damaged")]
    Armor(#[source] ArmorError),
    /// More than one block where one is expected.
    #[error("expected one signature, found {0}")]
    Several(usize),
    /// The bytes inside the armor.
    #[error("the signature is damaged; sign again")]
    Malformed,
    /// A version of the format that does not exist yet.
    #[error("version {0} of the signature format is not known; update Wachter")]
    Version(u32),
    /// The key inside.
    #[error("the signature's key cannot be used")]
    Key(#[source] KeyError),
    /// The signature's own algorithm, which for RSA and WebAuthn differs from the key's.
    #[error("unsupported algorithm {0}; sign with an Ed25519, ECDSA, RSA (SHA-2) or hardware key")]
    Unsupported(String),
    /// Neither SHA-256 nor SHA-512 over the message.
    #[error("unsupported hash {0}; only sha256 and sha512 are allowed")]
    Hash(String),
}

/// Why a signature does not hold for a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Made for something else.
    #[error("the signature is for namespace `{found}`, not `{expected}`")]
    Namespace {
        /// What the verifier asked for.
        expected: String,
        /// What the signature says.
        found: String,
    },
    /// Made by another key, over other bytes, or damaged.
    #[error("the signature does not match the signed bytes; sign them again if they are right")]
    Mismatch,
    /// A key of an algorithm that this build leaves out; see the crate's features.
    #[error(
        "signatures of {0} keys are not verified here; use an Ed25519 key: `ssh-keygen -t ed25519`"
    )]
    NotBuilt(&'static str),
    /// A security key that was not touched.
    #[error("the security key was used without a touch; sign again without `no-touch-required`")]
    NoUserPresence,
    /// A security key that did not ask for its PIN.
    #[error("the security key did not verify its user; sign again with a `verify-required` key")]
    NoUserVerification,
}

impl Signature {
    /// Reads armored signatures, one block after another: how several people sign one file.
    ///
    /// # Errors
    /// No block at all, or any block that is damaged or of an unsupported algorithm.
    pub fn parse_all(text: &[u8]) -> Result<Vec<Self>, SignatureError> {
        let blocks = armor::dearmor(text).map_err(SignatureError::Armor)?;
        blocks.into_iter().map(Self::from_blob).collect()
    }

    /// Reads exactly one armored signature.
    ///
    /// # Errors
    /// As [`Signature::parse_all`], and when there are several.
    pub fn parse(text: &[u8]) -> Result<Self, SignatureError> {
        let mut signatures = Self::parse_all(text)?;
        match (signatures.pop(), signatures.len()) {
            (Some(signature), 0) => Ok(signature),
            (_, others) => Err(SignatureError::Several(others + 1)),
        }
    }

    /// Decodes an `SSHSIG` blob.
    fn from_blob(blob: Vec<u8>) -> Result<Self, SignatureError> {
        let mut reader = WireReader::new(&blob);
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(SignatureError::Malformed);
        }
        match reader.uint32()? {
            1 => {}
            version => return Err(SignatureError::Version(version)),
        }
        let key = PublicKey::from_wire(reader.string()?).map_err(SignatureError::Key)?;
        let namespace = text(reader.string()?)?.to_owned();
        // Reserved for later: to be ignored, and it is signed as empty.
        reader.string()?;
        let hash = match text(reader.string()?)? {
            "sha256" => Hash::Sha256,
            "sha512" => Hash::Sha512,
            other if is_algorithm_name(other) => {
                return Err(SignatureError::Hash(other.to_owned()));
            }
            _ => return Err(SignatureError::Malformed),
        };
        let inner = decode_inner(reader.string()?, &key)?;
        if namespace.is_empty() || !reader.is_empty() {
            return Err(SignatureError::Malformed);
        }
        Ok(Self { key, namespace, hash, inner, blob })
    }

    /// Puts together what a signer made: `inner` is the signature as the SSH protocol has it, over
    /// what [`to_be_signed`] gave.
    pub(crate) fn assemble(
        key: &PublicKey,
        namespace: Namespace<'_>,
        inner: &[u8],
    ) -> Result<Self, SignatureError> {
        let mut blob = MAGIC.to_vec();
        blob.extend(1u32.to_be_bytes());
        put_string(&mut blob, key.to_wire());
        put_string(&mut blob, namespace.as_str().as_bytes());
        put_string(&mut blob, b"");
        put_string(&mut blob, Hash::Sha512.name().as_bytes());
        put_string(&mut blob, inner);
        Self::from_blob(blob)
    }

    /// The key that claims to have signed. Meaningless until [`Signature::verify`] agrees *and* the
    /// key is one that is trusted.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The namespace that the signature names.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The signature in its armor, as `ssh-keygen -Y sign` writes it.
    #[must_use]
    pub fn to_armor(&self) -> String {
        armor::armor(&self.blob)
    }

    /// Checks that the holder of [`Signature::key`] signed `message` for `namespace`, and touched
    /// the security key where there is one.
    ///
    /// This says nothing about whether that key is trusted.
    ///
    /// # Errors
    /// The first check that fails: namespace, user presence, the signature itself.
    pub fn verify(&self, namespace: Namespace<'_>, message: &[u8]) -> Result<(), VerifyError> {
        if self.namespace != namespace.as_str() {
            return Err(VerifyError::Namespace {
                expected: namespace.as_str().to_owned(),
                found: self.namespace.escape_debug().take(80).collect(),
            });
        }
        if self.flags().is_some_and(|flags| flags & USER_PRESENT == 0) {
            return Err(VerifyError::NoUserPresence);
        }
        let signed = signed_data(namespace, self.hash, message);
        let Inner { algorithm, signature, trailer } = &self.inner;
        let trailer = trailer.as_ref().map_or(&[][..], |trailer| trailer);
        self.key.material().verify(algorithm, &signed, signature, trailer)
    }

    fn flags(&self) -> Option<u8> {
        self.inner.trailer.map(|trailer| trailer[0])
    }

    /// As [`Signature::verify`], and a security key must have asked for its PIN or a finger.
    ///
    /// # Errors
    /// As [`Signature::verify`]; keys that are not security keys are refused too.
    pub fn verify_with_user_verification(
        &self,
        namespace: Namespace<'_>,
        message: &[u8],
    ) -> Result<(), VerifyError> {
        self.verify(namespace, message)?;
        match self.flags() {
            Some(flags) if flags & USER_VERIFIED != 0 => Ok(()),
            _ => Err(VerifyError::NoUserVerification),
        }
    }
}

/// The bytes that a key signs for `message` (PROTOCOL.sshsig section 3), with SHA-512.
pub(crate) fn to_be_signed(namespace: Namespace<'_>, message: &[u8]) -> Vec<u8> {
    signed_data(namespace, Hash::Sha512, message)
}

fn signed_data(namespace: Namespace<'_>, hash: Hash, message: &[u8]) -> Vec<u8> {
    let mut data = MAGIC.to_vec();
    put_string(&mut data, namespace.as_str().as_bytes());
    put_string(&mut data, b"");
    put_string(&mut data, hash.name().as_bytes());
    match hash {
        Hash::Sha256 => put_string(&mut data, &Sha256::digest(message)),
        Hash::Sha512 => put_string(&mut data, &Sha512::digest(message)),
    }
    data
}

impl Hash {
    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// Decodes the innermost signature (RFC 4253 section 6.6, PROTOCOL.u2f).
fn decode_inner(bytes: &[u8], key: &PublicKey) -> Result<Inner, SignatureError> {
    let mut reader = WireReader::new(bytes);
    let algorithm = text(reader.string()?)?;
    if !is_algorithm_name(algorithm) {
        return Err(SignatureError::Malformed);
    }
    let signature = reader.string()?.to_vec();
    let matches_key = match algorithm {
        "rsa-sha2-256" | "rsa-sha2-512" => key.algorithm() == "ssh-rsa",
        // SHA-1 over RSA goes by the name of the key.
        "ssh-rsa" => false,
        name => key.algorithm() == name,
    };
    if !matches_key {
        return Err(SignatureError::Unsupported(algorithm.to_owned()));
    }
    let trailer = match key.is_hardware() {
        true => Some(reader.take(5)?.try_into().map_err(|_| SignatureError::Malformed)?),
        false => None,
    };
    if !reader.is_empty() {
        return Err(SignatureError::Malformed);
    }
    Ok(Inner { algorithm: algorithm.to_owned(), signature, trailer })
}

fn text(bytes: &[u8]) -> Result<&str, SignatureError> {
    std::str::from_utf8(bytes).map_err(|_| SignatureError::Malformed)
}

impl From<Truncated> for SignatureError {
    fn from(_: Truncated) -> Self {
        Self::Malformed
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:?} for {:?})", self.key, self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};
    use ssh_key::private::Ed25519Keypair;

    use super::*;
    use proptest::prelude::*;

    const SPACE: Namespace<'static> = Namespace::GIT;

    /// `Signer` is a supertrait, which is enough to call it without naming its crate.
    fn raw_sign(pair: &impl ssh_key::SigningKey, message: &[u8]) -> Vec<u8> {
        pair.try_sign(message).unwrap().as_bytes().to_vec()
    }

    /// What a security key does (PROTOCOL.u2f), with any flags.
    fn security_key(flags: u8, message: &[u8]) -> Result<Signature, SignatureError> {
        let pair = Ed25519Keypair::from_seed(&[3; 32]);
        let name = "sk-ssh-ed25519@openssh.com";
        let mut key = Vec::new();
        put_string(&mut key, name.as_bytes());
        put_string(&mut key, pair.public.as_ref());
        put_string(&mut key, b"ssh:");
        let mut signed = Sha256::digest(b"ssh:").to_vec();
        signed.extend([flags, 0, 0, 0, 9]);
        signed.extend(Sha256::digest(to_be_signed(SPACE, message)));
        let mut inner = Vec::new();
        put_string(&mut inner, name.as_bytes());
        put_string(&mut inner, &raw_sign(&ssh_key::PrivateKey::from(pair), &signed));
        inner.extend([flags, 0, 0, 0, 9]);
        Signature::assemble(&PublicKey::from_wire(&key).unwrap(), SPACE, &inner)
    }

    #[test]
    fn a_security_key_must_be_touched() {
        use VerifyError::{NoUserPresence, NoUserVerification};
        for (flags, touched, verified) in [
            (0x00, Err(NoUserPresence), Err(NoUserPresence)),
            (0x01, Ok(()), Err(NoUserVerification)),
            (0x04, Err(NoUserPresence), Err(NoUserPresence)),
            (0x05, Ok(()), Ok(())),
        ] {
            let signature = security_key(flags, b"message").unwrap();
            assert_eq!(signature.verify(SPACE, b"message"), touched, "{flags}");
            assert_eq!(
                signature.verify_with_user_verification(SPACE, b"message"),
                verified,
                "{flags}"
            );
        }
        let signature = security_key(0x01, b"message").unwrap();
        assert_eq!(signature.verify(SPACE, b"other"), Err(VerifyError::Mismatch));
    }

    /// An `SSHSIG` blob by parts, each of which can be wrong.
    fn blob(version: u32, hash: &str, name: &str, tail: &[u8], end: &[u8]) -> Vec<u8> {
        let mut key = Vec::new();
        put_string(&mut key, b"ssh-ed25519");
        put_string(&mut key, Ed25519Keypair::from_seed(&[3; 32]).public.as_ref());
        let mut inner = Vec::new();
        put_string(&mut inner, name.as_bytes());
        put_string(&mut inner, &[0; 64]);
        inner.extend(tail);
        let mut blob = MAGIC.to_vec();
        blob.extend(version.to_be_bytes());
        for part in [&key[..], b"git", b"", hash.as_bytes(), &inner] {
            put_string(&mut blob, part);
        }
        blob.extend(end);
        blob
    }

    #[test]
    fn refuses_odd_blobs() {
        use SignatureError as E;
        let check =
            |blob: Vec<u8>, expected: E| assert_eq!(Signature::from_blob(blob), Err(expected));
        assert!(Signature::from_blob(blob(1, "sha512", "ssh-ed25519", b"", b"")).is_ok());
        check(blob(2, "sha512", "ssh-ed25519", b"", b""), E::Version(2));
        check(blob(0, "sha512", "ssh-ed25519", b"", b""), E::Version(0));
        check(blob(1, "sha1", "ssh-ed25519", b"", b""), E::Hash("sha1".into()));
        check(blob(1, "", "ssh-ed25519", b"", b""), E::Malformed);
        check(blob(1, "sha512", "ssh-rsa", b"", b""), E::Unsupported("ssh-rsa".into()));
        check(blob(1, "sha512", "rsa-sha2-512", b"", b""), E::Unsupported("rsa-sha2-512".into()));
        check(blob(1, "sha512", "a\nb", b"", b""), E::Malformed);
        check(blob(1, "sha512", "ssh-ed25519", b"x", b""), E::Malformed);
        check(blob(1, "sha512", "ssh-ed25519", b"", b"x"), E::Malformed);
        check(b"SSHSIH".to_vec(), E::Malformed);
        assert_eq!(Namespace::new(""), Err(EmptyNamespace));
    }

    #[test]
    fn expects_one() {
        let text = security_key(0x01, b"message").unwrap().to_armor();
        assert!(Signature::parse(text.as_bytes()).is_ok());
        let three = text.repeat(3);
        assert_eq!(Signature::parse(three.as_bytes()), Err(SignatureError::Several(3)));
        assert_eq!(Signature::parse_all(three.as_bytes()).unwrap().len(), 3);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(blob: Vec<u8>) {
            let mut with_magic = MAGIC.to_vec();
            with_magic.extend([0, 0, 0, 1]);
            with_magic.extend(&blob);
            let _ = (Signature::from_blob(blob), Signature::from_blob(with_magic));
        }
    }
}
