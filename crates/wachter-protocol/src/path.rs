use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is not a path that may stand in a manifest or a local file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Does not start with `/`.
    #[error("`{0}` is not an absolute path: start it with `/`")]
    Relative(String),
    /// Starts with `/`.
    #[error("`{0}` must be relative to the module's folder, as in `./main.py`")]
    Absolute(String),
    /// Not in its shortest form, or could leave its folder.
    #[error(
        "`{0}` is not a plain path: leave out `..`, `.` in the middle, double slashes and control characters"
    )]
    NotPlain(String),
}

fn plain(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control)
}

/// An absolute path in its shortest form: no `.`, no `..`, no empty part, no control character.
///
/// Nothing is said about symbolic links: who opens it resolves them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct AbsolutePath(#[cfg_attr(feature = "schema", schemars(regex(pattern = r"^/")))] String);

impl AbsolutePath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// Whether `other` is this path or lies below it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.as_path().starts_with(self.as_path())
    }
}

impl FromStr for AbsolutePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(parts) = text.strip_prefix('/') else {
            return Err(PathError::Relative(text.to_owned()));
        };
        if parts.is_empty() || parts.split('/').all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PathError::NotPlain(text.to_owned()))
        }
    }
}

/// A path below a module's folder, without the leading `./`, in its shortest form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct RelativePath(String);

impl RelativePath {
    /// The path as text, without the leading `./`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RelativePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with('/') {
            return Err(PathError::Absolute(text.to_owned()));
        }
        let path = text.strip_prefix("./").unwrap_or(text);
        if path.split('/').all(plain) {
            Ok(Self(path.to_owned()))
        } else {
            Err(PathError::NotPlain(text.to_owned()))
        }
    }
}

macro_rules! from_text {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

from_text! { AbsolutePath RelativePath }

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_paths() {
        for good in ["/", "/etc", "/var/log/nginx", "/a b"] {
            assert!(good.parse::<AbsolutePath>().is_ok(), "{good}");
        }
        for bad in ["", "etc", "/etc/", "//etc", "/etc/../root", "/./etc", "/a\nb", "/a\0"] {
            assert!(bad.parse::<AbsolutePath>().is_err(), "{bad}");
        }
        for good in ["main.py", "./main.py", "bin/run"] {
            assert!(good.parse::<RelativePath>().is_ok(), "{good}");
        }
        for bad in ["", "./", "/main", "../main", "a/../b", "a//b", "././a"] {
            assert!(bad.parse::<RelativePath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn containing_goes_by_parts() {
        let path = |text: &str| text.parse::<AbsolutePath>().unwrap();
        assert!(path("/etc").contains(&path("/etc/ssl")));
        assert!(path("/").contains(&path("/etc")));
        assert!(!path("/etc").contains(&path("/etcetera")));
    }

    proptest! {
        #[test]
        fn a_relative_path_stays_below(text: String) {
            if let Ok(path) = text.parse::<RelativePath>() {
                let joined = Path::new("/module").join(path.as_str());
                prop_assert!(joined.starts_with("/module"));
                prop_assert!(!joined.components().any(|part| part == std::path::Component::ParentDir));
            }
        }
    }
}
