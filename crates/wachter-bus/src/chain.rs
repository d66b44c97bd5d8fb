//! The hash chain over the bodies of events.
//!
//! `digest = SHA-256(body)`, `chain(n) = SHA-256(DOMAIN || chain(n-1) || seq || at || digest)`, with
//! `seq` and `at` (milliseconds since 1970) as eight bytes, most significant first. The value before
//! the first event is the SHA-256 of the journal's identity. Each row keeps its digest and its value
//! of the chain: with the former a reader tells damage without a neighbour, with the latter a
//! verification may begin anywhere, and tells which row is at fault.

use sha2::{Digest as _, Sha256};

use crate::Seq;

const DOMAIN: &[u8] = b"wachter-journal chain v1\0";

/// One value of the chain.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chain([u8; 32]);

/// What a row keeps besides its body: digest and chain, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) digest: [u8; 32],
    pub(crate) chain: Chain,
}

impl Chain {
    /// The value before the first event of the journal with this identity.
    #[must_use]
    pub fn begin(journal: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(journal.as_bytes());
        Self(hash.finalize().into())
    }

    /// The value after one more event, written at `at` milliseconds since 1970, whose body has this
    /// SHA-256.
    #[must_use]
    pub fn next(self, seq: Seq, at: i64, digest: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(self.0);
        hash.update(seq.get().to_be_bytes());
        hash.update(at.to_be_bytes());
        hash.update(digest);
        Self(hash.finalize().into())
    }

    /// The value as it is kept and chained.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digest: wachter_model::Digest = text.parse().ok()?;
        Some(Self(*digest.as_bytes()))
    }
}

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chain({self})")
    }
}

impl Seal {
    pub(crate) fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.digest);
        bytes[32..].copy_from_slice(self.chain.as_bytes());
        bytes
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let (digest, chain) = bytes.split_at_checked(32)?;
        Some(Self { digest: digest.try_into().ok()?, chain: Chain::from_slice(chain)? })
    }
}

pub(crate) fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}
