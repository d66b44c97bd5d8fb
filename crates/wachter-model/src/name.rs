use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a name: use 1 to 63 lower-case letters, digits and single hyphens, \
     starting with a letter and not ending with a hyphen"
)]
pub struct NameError(String);

/// Names end up in file names, topics, cgroup folders and host names, so they keep to the
/// strictest of these: an RFC 1035 label.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--")
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(#[cfg_attr(feature = "schema", schemars(regex(pattern = r"^[a-z](-?[a-z0-9])*$"), length(max = 63)))] String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if is_label(text) { Ok(Self(text.to_owned())) } else { Err(NameError(text.to_owned())) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a module: its folder below `modules/`.
    ModuleName
}
name! {
    /// The name of an agent: its file below `config/agents/`, without the ending.
    AgentName
}
name! {
    /// The name of a node: one host under care.
    NodeName
}
name! {
    /// The name of a secret: its file below `config/secrets/`, without the ending `.age`.
    SecretName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_labels() {
        for good in ["a", "system-monitor", "web-1", &"a".repeat(63)] {
            assert!(good.parse::<ModuleName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "A", "1a", "a.b", "a/b", "..", "é", &"a".repeat(64)] {
            assert!(bad.parse::<ModuleName>().is_err(), "{bad}");
        }
    }
}
