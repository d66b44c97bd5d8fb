//! What a client of the proxy asks for.

use wachter_protocol::Endpoint;

/// The most bytes of a request's head.
pub(super) const MAX_HEAD: usize = 16 << 10;

/// A request to the proxy, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Where to.
    pub(super) endpoint: Endpoint,
    /// What to send first: nothing for CONNECT, the rewritten head for plain HTTP.
    pub(super) head: Vec<u8>,
    /// Whether the client waits for `200` before it sends.
    pub(super) tunnel: bool,
}

/// Why a request to the proxy was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("the request is not HTTP/1")]
    Malformed,
    #[error("the request's head is longer than {MAX_HEAD} bytes")]
    TooLong,
    #[error("the proxy takes CONNECT host:port, or an http:// address")]
    Target,
}

/// Reads the head of a request, or says that more is needed. Gives the head's length too: what
/// follows is the client's and goes on untouched.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Asked, usize)>, ProxyError> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(_) => return Err(ProxyError::TooLong),
        Err(_) => return Err(ProxyError::Malformed),
    };
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    if method == "CONNECT" {
        let endpoint = target.parse().map_err(|_| ProxyError::Target)?;
        return Ok(Some((Asked { endpoint, head: Vec::new(), tunnel: true }, length)));
    }
    let rest = target.strip_prefix("http://").ok_or(ProxyError::Target)?;
    let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(cut);
    let with_port = authority.parse().or_else(|_| format!("{authority}:80").parse());
    let endpoint: Endpoint = with_port.map_err(|_| ProxyError::Target)?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    // One request a connection: a second one on it could name another host.
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n")
            .into_bytes();
    for header in request.headers.iter() {
        const OURS: [&str; 5] =
            ["host", "connection", "proxy-connection", "proxy-authorization", "keep-alive"];
        if OURS.iter().any(|name| header.name.eq_ignore_ascii_case(name)) {
            continue;
        }
        head.extend_from_slice(header.name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(header.value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Ok(Some((Asked { endpoint, head, tunnel: false }, length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(request: &str, endpoint: &str, head: &str) {
        let (asked, length) = parse(request.as_bytes()).unwrap().unwrap();
        assert_eq!(asked.endpoint.to_string(), endpoint);
        assert_eq!(String::from_utf8(asked.head).unwrap(), head);
        assert_eq!(length, request.len());
    }

    #[test]
    fn tunnels_and_plain_requests() {
        check(
            "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
            "example.com:443",
            "",
        );
        check(
            "GET http://example.com/a?b HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\nA: b\r\n\r\n",
            "example.com:80",
            "GET /a?b HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\nA: b\r\n\r\n",
        );
        check(
            "POST http://example.com:8080 HTTP/1.1\r\n\r\n",
            "example.com:8080",
            "POST / HTTP/1.1\r\nHost: example.com:8080\r\nConnection: close\r\n\r\n",
        );
    }

    #[test]
    fn what_is_no_request() {
        assert_eq!(parse(b"CONNECT exam"), Ok(None));
        for (request, expected) in [
            ("CONNECT example.com HTTP/1.1\r\n\r\n", ProxyError::Target),
            ("GET / HTTP/1.1\r\n\r\n", ProxyError::Target),
            ("GET ftp://a/ HTTP/1.1\r\n\r\n", ProxyError::Target),
            ("GET http://user:secret@a/ HTTP/1.1\r\n\r\n", ProxyError::Target),
            ("\0\0\r\n\r\n", ProxyError::Malformed),
        ] {
            assert_eq!(parse(request.as_bytes()), Err(expected), "{request}");
        }
        let long = format!("GET http://a/{} HTTP/1.1\r\n\r\n", "x".repeat(MAX_HEAD));
        assert_eq!(parse(long.as_bytes()), Err(ProxyError::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_target_smuggles_a_line(target in "[ -~\r\n]{0,40}") {
            if let Ok(Some((asked, _))) = parse(format!("GET http://{target} HTTP/1.1\r\n\r\n").as_bytes()) {
                let head = String::from_utf8_lossy(&asked.head).into_owned();
                prop_assert_eq!(head.matches("Host: ").count(), 1);
            }
        }
    }
}
