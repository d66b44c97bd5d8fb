use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ureq::http::Uri;

/// Where GitHub's REST API is: `https://api.github.com`, or `https://HOST/api/v3` for a server of
/// one's own. HTTP without TLS reaches this machine only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiAddress {
    /// Without a slash at the end.
    base: String,
    tls: bool,
    loopback: bool,
}

/// Why a text is not an API's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiAddressError {
    /// Not a URL, or one with parts that an address of an API has not.
    #[error(
        "it is not an address such as https://api.github.com or https://HOST/api/v3, \
         without user, query or fragment"
    )]
    Malformed,
    /// HTTP without TLS to another machine.
    #[error(
        "plain HTTP is used only to this machine, since the App's assertion is a secret; use https"
    )]
    PlainHttp,
}

impl ApiAddress {
    /// The address of what a path (with its first slash) names.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Whether it speaks TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether it names this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl Default for ApiAddress {
    /// `https://api.github.com`.
    fn default() -> Self {
        Self { base: "https://api.github.com".to_owned(), tls: true, loopback: false }
    }
}

impl FromStr for ApiAddress {
    type Err = ApiAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(['#', '?', '@', '\\']) {
            return Err(ApiAddressError::Malformed);
        }
        let uri: Uri = text.parse().map_err(|_| ApiAddressError::Malformed)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(ApiAddressError::Malformed),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(ApiAddressError::Malformed)?;
        let loopback = is_loopback(host);
        if !tls && !loopback {
            return Err(ApiAddressError::PlainHttp);
        }
        Ok(Self { base: text.trim_end_matches('/').to_owned(), tls, loopback })
    }
}

impl fmt::Display for ApiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<&str, ApiAddressError>) {
        let found = text.parse::<ApiAddress>().map(|address| address.at("/app"));
        assert_eq!(found, expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn addresses() {
        use ApiAddressError::{Malformed, PlainHttp};
        check("https://api.github.com", Ok("https://api.github.com/app"));
        check("https://git.example.com/api/v3/", Ok("https://git.example.com/api/v3/app"));
        check("http://127.0.0.1:8080", Ok("http://127.0.0.1:8080/app"));
        check("http://[::1]:8080", Ok("http://[::1]:8080/app"));
        check("http://localhost", Ok("http://localhost/app"));
        check("http://api.github.com", Err(PlainHttp));
        check("http://127.0.0.1.example.com", Err(PlainHttp));
        check("http://localhost.example.com", Err(PlainHttp));
        check("http://10.0.0.1", Err(PlainHttp));
        check("https://token@api.github.com", Err(Malformed));
        check("https://api.github.com?a=b", Err(Malformed));
        check("https://api.github.com#a", Err(Malformed));
        check("ssh://api.github.com", Err(Malformed));
        check("api.github.com", Err(Malformed));
        check("https://", Err(Malformed));
        check("", Err(Malformed));
        assert_eq!("https://api.github.com".parse(), Ok(ApiAddress::default()));
    }

    proptest! {
        #[test]
        fn plain_http_never_leaves_the_machine(text in "(http|https|HTTP)://[a-z0-9.:@\\[\\]/?#%-]{0,30}|\\PC{0,40}") {
            if let Ok(address) = text.parse::<ApiAddress>() {
                prop_assert!(address.is_tls() || address.is_loopback());
                prop_assert_eq!(address.to_string().parse::<ApiAddress>(), Ok(address));
            }
        }
    }
}
