use std::fmt;
use std::str::FromStr;

use jiff::tz::{self, TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time zone by its name in the IANA database: `Europe/Amsterdam`; UTC where left out.
///
/// Its rules come from the host's database (`/usr/share/zoneinfo`, or the folder that `TZDIR` names),
/// which the host keeps current, and where there is none from a copy in the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

/// Why a text is no time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no time zone `{name}`{}; write a name of the IANA database, as in Europe/Amsterdam or UTC",
    hint(nearest.as_deref())
)]
pub struct ParseZoneError {
    name: String,
    nearest: Option<String>,
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

impl Zone {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules.
    #[must_use]
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self { name: "UTC".to_owned(), rules: TimeZone::UTC }
    }
}

impl FromStr for Zone {
    type Err = ParseZoneError;

    fn from_str(text: &str) -> Result<Self, ParseZoneError> {
        if text == "UTC" {
            return Ok(Self::default());
        }
        // `Unknown` is jiff's own zone for hosts that have none; it would be UTC by accident.
        let known = tz::db().get(text).ok().filter(|rules| !rules.is_unknown());
        let named = known.and_then(|rules| Some((rules.iana_name()?.to_owned(), rules)));
        named.map(|(name, rules)| Self { name, rules }).ok_or_else(|| {
            let names: Vec<String> =
                tz::db().available().map(|name| name.as_str().to_owned()).collect();
            let nearest = wachter_document::nearest(text, names.iter().map(String::as_str));
            ParseZoneError { name: text.to_owned(), nearest: nearest.map(str::to_owned) }
        })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Zone {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Zone".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A time zone by its name in the IANA database.",
            "examples": ["Europe/Amsterdam", "UTC"]
        })
    }
}
