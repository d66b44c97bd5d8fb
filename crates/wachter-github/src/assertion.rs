use base64ct::{Base64UrlUnpadded, Encoding as _};
use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{AppKey, ClientId};

/// How long before now an assertion begins to hold, in seconds: GitHub's clock may be behind.
const BEFORE: i64 = 60;

/// How long after now it ends, in seconds. GitHub refuses more than 600 by its own clock, which may
/// be behind by [`BEFORE`].
const AFTER: i64 = 540;

/// The claims that GitHub asks for (RFC 7519, section 4.1).
#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

/// A JSON Web Token (RFC 7519) in compact form (RFC 7515, section 3.1), which proves that who sends
/// it has the App's private key. Whoever sees it can act as the App until it ends.
pub(crate) fn assertion(client: &ClientId, key: &AppKey, now: Timestamp) -> Zeroizing<String> {
    let now = now.as_second();
    let claims = Claims { iat: now - BEFORE, exp: now + AFTER, iss: client.as_str() };
    let claims = serde_json::to_vec(&claims).expect("two numbers and a text are JSON");
    let header = Base64UrlUnpadded::encode_string(br#"{"alg":"RS256","typ":"JWT"}"#);
    let claims = Base64UrlUnpadded::encode_string(&claims);
    let signed = format!("{header}.{claims}");
    let signature = Base64UrlUnpadded::encode_string(&key.sign(signed.as_bytes()));
    Zeroizing::new(format!("{signed}.{signature}"))
}

#[cfg(test)]
mod tests {
    use wachter_testkit::RsaKey;

    use super::*;

    #[test]
    fn an_assertion_has_the_documented_parts() {
        let key = RsaKey::generate();
        let read = AppKey::from_pem(key.pkcs1_pem().as_bytes()).unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let text = assertion(&"Iv23x".parse().unwrap(), &read, now);
        let parts: Vec<&str> = text.split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("{} parts", parts.len()) };
        let decode = |part| Base64UrlUnpadded::decode_vec(part).unwrap();
        assert_eq!(decode(header), br#"{"alg":"RS256","typ":"JWT"}"#);
        assert_eq!(decode(claims), br#"{"iat":1799999940,"exp":1800000540,"iss":"Iv23x"}"#);
        assert!(key.verifies(format!("{header}.{claims}").as_bytes(), &decode(signature)));
        assert!(!key.verifies(b"another message", &decode(signature)));
    }
}
