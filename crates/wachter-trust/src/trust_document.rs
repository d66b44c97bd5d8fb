//! The shape of `trust.yaml`, before its parts are checked against each other.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use wachter_document::{DocumentError, Limits, Located, Node};

use crate::trust_problem::{TrustFileError, TrustFileProblem};

/// Room for thousands of keys. Anchors, aliases, merges and repeated keys are refused as everywhere:
/// what people signed is what stands there.
const LIMITS: Limits = Limits { bytes: 1 << 20, depth: 8, nodes: 100_000 };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    // Read by `Header` already.
    #[serde(rename = "version")]
    _version: IgnoredAny,
    pub(crate) repository: Located<String>,
    pub(crate) serial: Located<u64>,
    pub(crate) not_after: Located<String>,
    pub(crate) signers: Located<BTreeMap<String, Located<OneOrMany>>>,
    pub(crate) releases: Located<Releases>,
    #[serde(default)]
    pub(crate) publishers: Vec<Publisher>,
    #[serde(default)]
    pub(crate) approvers: Vec<Located<String>>,
    #[serde(default)]
    pub(crate) recipients: Vec<Recipient>,
    #[serde(default)]
    pub(crate) node_roles: BTreeMap<String, Located<Vec<Located<String>>>>,
    #[serde(default)]
    pub(crate) grants: Option<Located<Present>>,
    #[serde(default)]
    pub(crate) revoked: Vec<Located<Revocation>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Releases {
    pub(crate) signers: Vec<Located<String>>,
    pub(crate) threshold: Located<usize>,
    #[serde(default)]
    pub(crate) paths: Vec<PathRule>,
    pub(crate) rings: Option<Vec<Located<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathRule {
    pub(crate) path: Located<String>,
    pub(crate) threshold: Located<usize>,
    pub(crate) signers: Option<Vec<Located<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publisher {
    pub(crate) signer: Located<String>,
    pub(crate) modules: Located<Vec<Located<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipient {
    pub(crate) name: Located<String>,
    pub(crate) key: Located<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocation {
    pub(crate) key: Option<Located<String>>,
    pub(crate) fingerprint: Option<Located<String>>,
    pub(crate) reason: Located<String>,
    pub(crate) since: Located<String>,
}

/// One text or a list of them. Not an untagged enum, whose error messages name no cause.
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<Located<String>>),
}

/// Whether a value of a shape that does not exist yet holds anything.
pub(crate) struct Present(pub(crate) bool);

#[derive(Deserialize)]
struct Header {
    version: Located<u64>,
}

impl Document {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, TrustFileError> {
        let start = |problem| TrustFileError { line: 1, column: 1, problem };
        if bytes.len() > LIMITS.bytes {
            return Err(start(TrustFileProblem::TooLarge(LIMITS.bytes)));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| start(TrustFileProblem::NotText))?;
        // First the version alone: a later one may have keys that this one does not know.
        let document = Node::read_within(&LIMITS, text).map_err(shape)?;
        let header: Header = document.to().map_err(shape)?;
        match header.version.value {
            1 => document.to().map_err(shape),
            other => Err(TrustFileError::at(&header.version, TrustFileProblem::Version(other))),
        }
    }
}

fn shape(DocumentError { line, column, message }: DocumentError) -> TrustFileError {
    let problem = TrustFileProblem::Shape(message);
    TrustFileError { line: line.max(1), column: column.max(1), problem }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a public key or a list of public keys")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut keys = Vec::new();
                while let Some(key) = list.next_element()? {
                    keys.push(key);
                }
                Ok(OneOrMany::Many(keys))
            }
        }

        deserializer.deserialize_any(Keys)
    }
}

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;

        impl<'de> Visitor<'de> for Anything {
            type Value = Present;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an empty list or map")
            }

            fn visit_unit<E>(self) -> Result<Present, E> {
                Ok(Present(false))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Present, A::Error> {
                let mut some = false;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    some = true;
                }
                Ok(Present(some))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Present, A::Error> {
                let mut some = false;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    some = true;
                }
                Ok(Present(some))
            }
        }

        deserializer.deserialize_any(Anything)
    }
}
