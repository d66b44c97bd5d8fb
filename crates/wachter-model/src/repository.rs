use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::uuid_text;

/// Identifies a managed repository for good, wherever it moves: a UUID (RFC 9562), random, made by
/// `wachter init`.
///
/// It stands in the local file, in the trust file and in every release, so that a release of one
/// repository is worth nothing in another that has the same signers. There is one way to write it:
/// lower case, with hyphens, and not nil.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryId([u8; 16]);

/// Why a text is not a repository's identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a repository id is a UUID in lower case, as in 6f6b1a0e-2c8f-4b1d-9d4e-0c7d4f3a2b19")]
pub struct ParseRepositoryIdError;

impl RepositoryId {
    /// A new identity (UUID version 4) from 16 random bytes.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        // RFC 9562 section 5.4: version and variant.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

impl fmt::Debug for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepositoryId({self})")
    }
}

impl FromStr for RepositoryId {
    type Err = ParseRepositoryIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // One way to write it, so that equal texts and equal identities are the same thing.
        match uuid_text::parse(text) {
            Some(bytes) if bytes != [0; 16] => Ok(Self(bytes)),
            _ => Err(ParseRepositoryIdError),
        }
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid_text::write(&self.0, f)
    }
}

impl Serialize for RepositoryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RepositoryId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for RepositoryId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RepositoryId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "uuid" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_way_to_write_it() {
        assert!("6f6b1a0e-2c8f-4b1d-9d4e-0c7d4f3a2b19".parse::<RepositoryId>().is_ok());
        for bad in [
            "",
            "6F6B1A0E-2c8f-4b1d-9d4e-0c7d4f3a2b19",
            "6f6b1a0e2c8f4b1d9d4e0c7d4f3a2b19",
            "{6f6b1a0e-2c8f-4b1d-9d4e-0c7d4f3a2b19}",
            "urn:uuid:6f6b1a0e-2c8f-4b1d-9d4e-0c7d4f3a2b19",
            "00000000-0000-0000-0000-000000000000",
        ] {
            assert!(bad.parse::<RepositoryId>().is_err(), "{bad}");
            let json = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<RepositoryId>(&json).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text: String, bytes: [u8; 16]) {
            if let Ok(id) = text.parse::<RepositoryId>() {
                prop_assert_eq!(id.to_string(), text);
            }
            let id = RepositoryId::from_random(bytes);
            let expected = uuid::Builder::from_random_bytes(bytes).into_uuid();
            prop_assert_eq!(id.to_string(), expected.to_string());
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<RepositoryId>(&json).unwrap(), id);
        }
    }
}
