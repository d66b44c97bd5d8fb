use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::Seq;

/// Names one event to one subscription: the same at each attempt, after each crash, and when the event
/// comes back from the dead letters. A receiver that remembers it does nothing twice.
///
/// A UUID version 8 (RFC 9562) from a SHA-256 over journal, subscription and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct IdempotencyKey(uuid::Uuid);

impl IdempotencyKey {
    pub(crate) fn of(journal: &str, subscription: &str, seq: Seq) -> Self {
        let mut hash = Sha256::new();
        for part in
            [b"wachter idempotency v1".as_slice(), journal.as_bytes(), subscription.as_bytes()]
        {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(seq.get().to_be_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}
