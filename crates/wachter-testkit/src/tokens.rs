use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64ct::{Base64, Encoding as _};

/// The username that goes with a token.
const USERNAME: &str = "x-access-token";

/// The tokens that a forge takes at this time. Clones share them.
#[derive(Clone, Default)]
pub struct Tokens(Arc<Mutex<Vec<String>>>);

impl Tokens {
    /// Takes `token` from now on.
    pub fn add(&self, token: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(token.into());
    }

    /// Takes none of the former ones any more.
    pub fn revoke_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether an `Authorization` header has one of them as the password of `x-access-token`
    /// (RFC 7617).
    pub(crate) fn admit(&self, authorization: Option<&str>) -> bool {
        self.all().iter().any(|token| {
            let pair = Base64::encode_string(format!("{USERNAME}:{token}").as_bytes());
            authorization == Some(&format!("Basic {pair}"))
        })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}
