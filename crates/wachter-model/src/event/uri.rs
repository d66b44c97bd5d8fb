//! Whether a text is a URI, a URI-reference (RFC 3986), a media type (RFC 2045, 2046) or a date and
//! time (RFC 3339). Nothing is resolved or normalized: these texts name things.

use super::AttributeError;

/// Checks a URI-reference (RFC 3986, section 4.1).
pub(super) fn check_reference(text: &str) -> Result<(), AttributeError> {
    if is_reference(text) { Ok(()) } else { Err(AttributeError::UriReference(text.to_owned())) }
}

/// Checks a URI: a scheme is required. A fragment may follow, as the specification's JSON Schema
/// has it, although its prose speaks of section 4.3, which has none.
pub(super) fn check_uri(text: &str) -> Result<(), AttributeError> {
    if scheme_length(text).is_some() && is_reference(text) {
        Ok(())
    } else {
        Err(AttributeError::Uri(text.to_owned()))
    }
}

/// Checks a media type with its parameters (RFC 2045, section 5.1).
pub(super) fn check_media_type(text: &str) -> Result<(), AttributeError> {
    if is_media_type(text) { Ok(()) } else { Err(AttributeError::MediaType(text.to_owned())) }
}

/// Reads a date and time in the narrow form of RFC 3339, which is less than jiff reads.
pub(super) fn parse_time(text: &str) -> Result<jiff::Timestamp, AttributeError> {
    let error = || AttributeError::Time(text.to_owned());
    if !is_rfc3339(text.as_bytes()) {
        return Err(error());
    }
    text.parse().map_err(|_| error())
}

/// The length of the scheme before its colon, if there is one.
fn scheme_length(text: &str) -> Option<usize> {
    let end = text.find([':', '/', '?', '#'])?;
    let scheme = &text.as_bytes()[..end];
    let named = text.as_bytes()[end] == b':'
        && scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    named.then_some(end)
}

fn is_reference(text: &str) -> bool {
    let after_scheme = match scheme_length(text) {
        Some(end) => &text[end + 1..],
        // Without a scheme the first segment of a path may hold no colon (section 4.2).
        None if text.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')) => {
            return false;
        }
        None => text,
    };
    let (before, fragment) = after_scheme.split_once('#').unwrap_or((after_scheme, ""));
    let (hierarchy, query) = before.split_once('?').unwrap_or((before, ""));
    let (authority, path) = match hierarchy.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", hierarchy),
    };
    is_authority(authority)
        && is_written_with(path, b"/:@")
        && is_written_with(query, b"/:@?")
        && is_written_with(fragment, b"/:@?")
}

fn is_authority(text: &str) -> bool {
    let (user, rest) = text.rsplit_once('@').unwrap_or(("", text));
    let (host, port) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        // An address of IPv6 stands in brackets (section 3.2.2).
        Some((address, port)) => {
            let fits =
                address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
            if !fits || address.is_empty() || !(port.is_empty() || port.starts_with(':')) {
                return false;
            }
            ("", port.trim_start_matches(':'))
        }
        None => rest.rsplit_once(':').unwrap_or((rest, "")),
    };
    is_written_with(user, b":")
        && is_written_with(host, b"")
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Unreserved characters, sub-delimiters, percent-encoded bytes, and `more` (section 3.3).
fn is_written_with(text: &str, more: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let plain = byte.is_ascii_alphanumeric()
            || b"-._~!$&'()*+,;=".contains(byte)
            || more.contains(byte);
        let hexadecimal = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
        if plain {
            index += 1;
        } else if *byte == b'%' && hexadecimal(index + 1) && hexadecimal(index + 2) {
            index += 3;
        } else {
            return false;
        }
    }
    true
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
}

fn is_media_type(text: &str) -> bool {
    let (essence, mut parameters) = text.split_at(text.find(';').unwrap_or(text.len()));
    let named = essence
        .trim_end_matches([' ', '\t'])
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    if !named {
        return false;
    }
    while let Some(rest) = parameters.strip_prefix(';') {
        let Some((name, value)) = rest.split_once('=') else { return false };
        if !is_token(name.trim_start_matches([' ', '\t'])) {
            return false;
        }
        let end = match value.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let close = quoted.bytes().position(|byte| {
                    let closes = byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    closes
                });
                match close {
                    Some(close) => close + 2,
                    None => return false,
                }
            }
            None => {
                let end = value.find([';', ' ', '\t']).unwrap_or(value.len());
                if !is_token(&value[..end]) {
                    return false;
                }
                end
            }
        };
        parameters = value[end..].trim_start_matches([' ', '\t']);
    }
    parameters.is_empty()
}

/// `2026-11-22T10:00:00.5+01:00`: four-digit year, `T`, seconds, and an offset or `Z`.
fn is_rfc3339(text: &[u8]) -> bool {
    let shape = |text: &[u8], shape: &[u8]| {
        text.len() == shape.len()
            && text.iter().zip(shape).all(|(byte, want)| match want {
                b'0' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b't'),
                want => byte == want,
            })
    };
    let Some((date_time, rest)) = text.split_at_checked(19) else { return false };
    let fraction = match rest.strip_prefix(b".") {
        Some(digits) => match digits.iter().take_while(|byte| byte.is_ascii_digit()).count() {
            count @ 1..=9 => count + 1,
            _ => return false,
        },
        None => 0,
    };
    let offset = &rest[fraction..];
    shape(date_time, b"0000-00-00T00:00:00")
        && (matches!(offset, b"Z" | b"z") || shape(offset, b"+00:00") || shape(offset, b"-00:00"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(is: impl Fn(&str) -> bool, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(is(text), "{text:?} is right");
        }
        for text in bad {
            assert!(!is(text), "{text:?} is wrong");
        }
    }

    #[test]
    fn references_follow_rfc_3986() {
        check(
            |text| check_reference(text).is_ok(),
            &[
                "https://github.com/owner/repository",
                "mailto:person@example.org",
                "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
                "//host/path",
                "/path/to?query=a/b?c#part",
                "path/pull/123",
                "1-555-123-4567",
                "http://[2001:db8::1]:8080/",
                "http://user:word@host:1/a%20b",
                "./a:b",
                "",
            ],
            &[
                "a b",
                "a%2",
                "a%zz",
                "1:b",
                "http://[::1",
                "http://[x]/",
                "http://h:p/",
                "a#b#c",
                "é",
                "<a>",
            ],
        );
    }

    #[test]
    fn uris_have_a_scheme() {
        check(
            |text| check_uri(text).is_ok(),
            &["https://example.org/schema#part", "urn:a:b", "a+b-c.1:x"],
            &["/schema", "schema", "", ":a", "1a:b"],
        );
    }

    #[test]
    fn media_types_follow_rfc_2045() {
        check(
            is_media_type,
            &[
                "application/json",
                "TEXT/Plain; CharSet=utf-8",
                "application/vnd.apache.thrift.binary",
                "a/b;c=\"d;\\\"e\" ; f=g",
            ],
            &["", "json", "a/", "/b", "a/b;", "a/b;c", "a/b;c=", "a/b;c=\"d", "a b/c", "a/b/c"],
        );
    }

    #[test]
    fn times_follow_rfc_3339() {
        check(
            |text| parse_time(text).is_ok(),
            &[
                "2018-04-05T17:31:00Z",
                "2018-04-05t17:31:00z",
                "2018-04-05T17:31:00.123456789+01:30",
                "2016-12-31T23:59:60Z",
            ],
            &[
                "2018-04-05",
                "2018-04-05 17:31:00Z",
                "2018-04-05T17:31Z",
                "2018-04-05T17:31:00",
                "2018-02-30T00:00:00Z",
                "2018-04-05T25:00:00Z",
                "2018-04-05T17:31:00+01",
                "2018-04-05T17:31:00.Z",
                "2018-04-05T17:31:00Z[UTC]",
                "+002018-04-05T17:31:00Z",
            ],
        );
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text: String) {
            let _ = (check_reference(&text), check_uri(&text), is_media_type(&text), parse_time(&text));
        }

        #[test]
        fn any_time_is_read_back(second in -60_000_000_000_i64..200_000_000_000, nano in 0..1_000_000_000_i32) {
            let time = jiff::Timestamp::new(second, nano).unwrap();
            prop_assert_eq!(parse_time(&time.to_string()), Ok(time));
        }
    }
}
