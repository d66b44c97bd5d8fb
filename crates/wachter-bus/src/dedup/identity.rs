use std::hash::{BuildHasher, Hasher};

use sha2::{Digest as _, Sha256};
use wachter_model::Event;

/// The identity of an event, in 128 bits that nobody without the secret can foresee.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Identity([u8; 16]);

/// What keeps identities from being made alike on purpose; drawn when a journal is made.
#[derive(Clone, Copy)]
pub(crate) struct Secret(pub(crate) [u8; 16]);

impl Identity {
    pub(crate) fn of(secret: Secret, event: &Event) -> Self {
        let source = event.source().as_str().as_bytes();
        let mut hash = Sha256::new();
        hash.update(secret.0);
        // The length keeps "ab" + "c" apart from "a" + "bc".
        hash.update((source.len() as u64).to_be_bytes());
        hash.update(source);
        hash.update(event.id().as_str().as_bytes());
        let mut identity = [0; 16];
        identity.copy_from_slice(&hash.finalize()[..16]);
        Self(identity)
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn high(&self) -> u64 {
        let (high, _) = self.0.split_at(8);
        u64::from_be_bytes(high.try_into().expect("eight bytes were split off"))
    }

    pub(crate) fn low(&self) -> u64 {
        let (_, low) = self.0.split_at(8);
        u64::from_be_bytes(low.try_into().expect("eight of sixteen bytes are left"))
    }
}

impl std::hash::Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low());
    }
}

/// Identities are hashes already.
#[derive(Clone, Copy, Default)]
pub(crate) struct BuildIdentityHasher;

pub(crate) struct IdentityHasher(u64);

impl BuildHasher for BuildIdentityHasher {
    type Hasher = IdentityHasher;

    fn build_hasher(&self) -> IdentityHasher {
        IdentityHasher(0)
    }
}

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
