use std::fmt;
use std::str::FromStr;

/// The client identifier of an App (`Iv23…`), or its application identifier (a number).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientId(String);

/// Why a text is not a client identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a client identifier is 1 to 100 letters, digits and `._-`; \
     it stands at the top of the App's settings page"
)]
pub struct ClientIdError;

impl ClientId {
    /// As a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = ClientIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_plain(text) { Ok(Self(text.to_owned())) } else { Err(ClientIdError) }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a repository, without its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryName(String);

/// Why a text is not the name of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a repository's name is 1 to 100 letters, digits and `._-`, and not `.` or `..`")]
pub struct RepositoryNameError;

impl RepositoryName {
    /// As a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = RepositoryNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = is_plain(text) && !matches!(text, "." | "..");
        if good { Ok(Self(text.to_owned())) } else { Err(RepositoryNameError) }
    }
}

/// Whether nothing in a text could end a JSON string or a URL's segment.
fn is_plain(text: &str) -> bool {
    let character = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=100).contains(&text.len()) && text.bytes().all(character)
}

/// One installation of an App: the App on the repositories of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstallationId(pub u64);

impl fmt::Display for InstallationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_identifiers_are_plain() {
        for good in ["Iv23liABCDEFGHIJ", "12345", "Iv1.8a61f9b3a7aba766"] {
            assert_eq!(good.parse::<ClientId>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a\"", "é", "a\n", &"a".repeat(101)] {
            assert_eq!(bad.parse::<ClientId>(), Err(ClientIdError), "{bad:?}");
        }
    }

    #[test]
    fn repository_names_are_plain() {
        for good in ["infra", "in.fra_1-2", ".github"] {
            assert_eq!(good.parse::<RepositoryName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "a\"", "a b", "é", &"a".repeat(101)] {
            assert_eq!(bad.parse::<RepositoryName>(), Err(RepositoryNameError), "{bad:?}");
        }
    }
}
