use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use zeroize::Zeroizing;

/// More than any token has; today's are 40 characters.
const MAX_TOKEN_BYTES: usize = 4 * 1024;

/// A token of an installation. It cannot be printed, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct InstallationToken {
    secret: Zeroizing<String>,
    expires_at: Timestamp,
}

impl InstallationToken {
    /// Reads the answer of `POST /app/installations/{id}/access_tokens`. `None` when it is not one,
    /// or its token could not stand in a header.
    pub(crate) fn from_answer(answer: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            token: Zeroizing<String>,
            expires_at: Timestamp,
        }
        let Answer { token, expires_at } = serde_json::from_slice(answer).ok()?;
        let good = (1..=MAX_TOKEN_BYTES).contains(&token.len())
            && token.bytes().all(|byte| byte.is_ascii_graphic());
        good.then_some(Self { secret: token, expires_at })
    }

    /// The token itself, for who sends it.
    #[must_use]
    pub fn secret(&self) -> &Zeroizing<String> {
        &self.secret
    }

    /// When GitHub takes it no more: an hour after it was made.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

impl fmt::Debug for InstallationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstallationToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(answer: &str, expected: Option<&str>) {
        let found = InstallationToken::from_answer(answer.as_bytes());
        assert_eq!(found.as_ref().map(|token| token.secret().as_str()), expected, "{answer}");
        assert!(!format!("{found:?} {found:#?}").contains("ghs_"), "{answer}");
    }

    #[test]
    fn answers() {
        check(
            r#"{"token":"ghs_16C7","expires_at":"2026-11-22T11:14:48Z","permissions":{"contents":"read"}}"#,
            Some("ghs_16C7"),
        );
        check(r#"{"token":"ghs_16C7","expires_at":"soon"}"#, None);
        check(r#"{"token":"ghs_16C7"}"#, None);
        check(r#"{"token":"","expires_at":"2026-11-22T11:14:48Z"}"#, None);
        check(r#"{"token":"ghs_\r\nX: y","expires_at":"2026-11-22T11:14:48Z"}"#, None);
        check(r#"{"token":"ghs_é","expires_at":"2026-11-22T11:14:48Z"}"#, None);
        check("<html>", None);
    }

    proptest! {
        #[test]
        fn what_is_taken_fits_a_header(token in "\\PC{0,60}|[ -~]{0,60}", bytes: Vec<u8>) {
            prop_assert!(InstallationToken::from_answer(&bytes).is_none());
            let answer = serde_json::json!({ "token": token, "expires_at": "2026-11-22T11:14:48Z" });
            let read = InstallationToken::from_answer(answer.to_string().as_bytes());
            let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
            prop_assert_eq!(read.map(|read| read.secret().as_str() == token), plain.then_some(true));
        }
    }
}
