use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::uuid_text;

/// Identifies one execution of a module: a UUID version 7 (RFC 9562), so that runs sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId([u8; 16]);

/// Why a text is not a run's identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run is named by a UUID in lower case; `wachter runs` lists them")]
pub struct ParseRunIdError;

#[cfg(feature = "generate")]
impl RunId {
    /// A new identifier; later calls in one process give later identifiers.
    #[must_use]
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7().into_bytes())
    }
}

#[cfg(feature = "generate")]
impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid_text::write(&self.0, f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

impl FromStr for RunId {
    type Err = ParseRunIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        uuid_text::parse(text).map(Self).ok_or(ParseRunIdError)
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for RunId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RunId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "uuid" })
    }
}

#[cfg(all(test, feature = "generate"))]
mod tests {
    use super::*;

    #[test]
    fn later_runs_sort_behind() {
        let runs: Vec<RunId> = (0..100).map(|_| RunId::new()).collect();
        assert!(runs.is_sorted());
        let texts: Vec<String> = runs.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted());
        for (run, text) in runs.iter().zip(&texts) {
            assert_eq!(text.parse(), Ok(*run));
            let json = serde_json::to_string(run).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<RunId>(&json).unwrap(), *run);
        }
        assert_eq!("".parse::<RunId>(), Err(ParseRunIdError));
    }
}
