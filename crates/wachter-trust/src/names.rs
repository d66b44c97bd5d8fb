use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use wachter_model::ModuleName;

/// The name of a Git commit: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(String);

/// Why a text is not a commit's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a commit is named by 40 or 64 lower-case hexadecimal digits")]
pub struct ParseCommitIdError;

impl CommitId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CommitId {
    type Err = ParseCommitIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && matches!(text.len(), 40 | 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseCommitIdError)
        }
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $error:ident, $accepts:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        #[doc = concat!("Why a text is not a `", stringify!($name), "`.")]
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("`{}` {}", .0.escape_debug(), $rule)]
        pub struct $error(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err($error(text.chars().take(80).collect()))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// The name of someone who signs, approves or decrypts: a person, or a machine that builds.
    ///
    /// It is also the principal in `allowed_signers`, so it holds none of the characters that mean
    /// something there.
    SignerName, ParseSignerNameError,
    |text| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@' | b'+');
        (1..=64).contains(&text.len())
            && text.bytes().all(inner)
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
    },
    "is not a signer's name: use 1 to 64 letters, digits and `.`, `_`, `-`, `@`, `+`, starting with a letter or digit"
}

name! {
    /// The name of a role that nodes have, such as `web`.
    RoleName, ParseRoleNameError, is_label,
    "is not a role: use 1 to 63 lower-case letters, digits and single hyphens, starting with a letter"
}

name! {
    /// Who gets a release first: nodes follow one ring each. `stable` where nothing is said.
    Ring, ParseRingError, is_label,
    "is not a ring: use 1 to 63 lower-case letters, digits and single hyphens, starting with a letter"
}

impl Default for Ring {
    fn default() -> Self {
        Self("stable".to_owned())
    }
}

/// The same rule as for modules and nodes.
fn is_label(text: &str) -> bool {
    text.parse::<ModuleName>().is_ok()
}

/// Parses an RFC 3339 time in UTC and whole seconds, such as `2027-01-31T00:00:00Z`: the one form
/// that signed text may have.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    (time.subsec_nanosecond() == 0 && time.to_string() == text).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_each() {
        for bad in ["", "abc", &"A".repeat(40), &"a".repeat(41)] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad}");
        }
        assert!(
            "a".repeat(40).parse::<CommitId>().is_ok()
                && "0".repeat(64).parse::<CommitId>().is_ok()
        );
        for bad in ["", "a,b", "*", "!a", "a b", "-a", "\"a\"", "#a", "é"] {
            assert!(bad.parse::<SignerName>().is_err(), "{bad}");
        }
        assert!("alice+git@example.com".parse::<SignerName>().is_ok());
        assert_eq!(Ring::default().as_str().parse(), Ok(Ring::default()));
        assert!(parse_time("2027-01-31T00:00:00Z").is_some());
        for bad in [
            "2027-01-31",
            "2027-01-31T00:00:00+00:00",
            "2027-01-31T00:00:00.5Z",
            "2027-01-31t00:00:00z",
            "2027-02-30T00:00:00Z",
        ] {
            assert!(parse_time(bad).is_none(), "{bad}");
        }
    }
}
