use std::fmt;
use std::str::FromStr;

/// The name of a durable subscription: 1 to 255 of `a-z`, `0-9`, `.`, `-`, `_` and `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct SubscriptionName(String);

/// Why a text is no name of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a subscription: use 1 to 255 of a-z, 0-9, `.`, `-`, `_` and `/`")]
pub struct SubscriptionNameError(String);

impl SubscriptionName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubscriptionName {
    type Err = SubscriptionNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=255).contains(&text.len())
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'/'));
        if fits { Ok(Self(text.to_owned())) } else { Err(SubscriptionNameError(text.to_owned())) }
    }
}

impl fmt::Display for SubscriptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
