use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a Git object: SHA-1, computed with collision detection.
///
/// It names objects inside one repository. What is signed is named by SHA-256 as well, so that a
/// collision in SHA-1 gains nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub(crate) gix_hash::ObjectId);

/// Why a text is not an object id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an object id is 40 lower-case hexadecimal digits")]
pub struct ParseObjectIdError;

impl ObjectId {
    /// How many bytes an id has.
    pub(crate) const BYTES: usize = 20;

    /// Takes the raw bytes as they stand in a tree.
    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes.into())
    }

    /// The raw bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl FromStr for ObjectId {
    type Err = ParseObjectIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 2 * Self::BYTES || !digits {
            return Err(ParseObjectIdError);
        }
        gix_hash::ObjectId::from_hex(text.as_bytes()).map(Self).map_err(|_| ParseObjectIdError)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
