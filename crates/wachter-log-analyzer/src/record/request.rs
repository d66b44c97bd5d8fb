use super::bytes::{Scan, text};
use super::json;
use super::time::{Calendar, common_log};
use jiff::Timestamp;

/// A line of a web server's access log: common or combined format, with the virtual host before it
/// or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// The address that asked.
    pub client: &'a [u8],
    /// The virtual host, where the log names it.
    pub host: Option<&'a [u8]>,
    /// The user that signed in.
    pub user: Option<&'a [u8]>,
    /// `GET`; empty where the request was none of HTTP.
    pub method: &'a [u8],
    /// What was asked for, as written: path and query; the whole request where it was none of HTTP.
    pub target: &'a [u8],
    /// `HTTP/1.1`.
    pub protocol: &'a [u8],
    /// The status of the answer.
    pub status: u16,
    /// Where the request says that it comes from.
    pub referer: &'a [u8],
    /// Which program the request says that it comes from.
    pub agent: &'a [u8],
}

/// How far into a line the time of a request may begin.
const MAX_BEFORE_TIME: usize = 512;

/// Reads a line of an access log.
pub(crate) fn read<'a>(
    line: &'a [u8],
    calendar: &Calendar,
) -> Option<(Request<'a>, Option<Timestamp>)> {
    let head = &line[..line.len().min(MAX_BEFORE_TIME)];
    let (start, end) = memchr::memchr_iter(b'[', head).find_map(|start| {
        // `[04/Jan/2020:`
        let rest = &line[start + 1..];
        let slash = memchr::memchr(b'/', rest.get(..3)?)?;
        (rest.get(slash + 4) == Some(&b'/')).then_some(())?;
        Some((start, start + 1 + memchr::memchr(b']', rest.get(..64).unwrap_or(rest))?))
    })?;
    let time = common_log(&mut Scan::new(&line[start + 1..end]), calendar);
    let mut words = line[..start].split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (first, second) = (words.next()?, words.next());
    // The virtual host may be what the client gave as its name, an address too: a word more stands there then.
    let host_first = !is_address(first) || words.clone().count() > 1;
    let (client, host) = match second {
        Some(second) if host_first && is_address(second) => (second, Some(first)),
        _ => (first, None),
    };
    let user = words.next_back().filter(|user| *user != b"-");
    let mut scan = Scan::new(&line[end + 1..]);
    scan.spaces();
    let request = quoted(&mut scan)?;
    scan.spaces();
    let status = scan.digits(3, 3).and_then(|status| u16::try_from(status).ok())?;
    scan.spaces();
    let _size = scan.word();
    let referer = quoted(&mut scan).unwrap_or_default();
    scan.spaces();
    let agent = quoted(&mut scan).unwrap_or_default();
    let (method, target, protocol) = split(request);
    Some((Request { client, host, user, method, target, protocol, status, referer, agent }, time))
}

/// Reads a request from the fields of a JSON object, as Caddy, Envoy, Traefik and nginx are set up to
/// write them.
pub(crate) fn of_object<'a>(fields: &[(&'a [u8], &'a [u8])]) -> Option<Request<'a>> {
    let nested = json::first(fields, &[b"request"]).and_then(json::fields).unwrap_or_default();
    let headers = json::first(&nested, &[b"headers"]).and_then(json::fields).unwrap_or_default();
    let given =
        |names: &[&[u8]]| json::first(fields, names).or_else(|| json::first(&nested, names));
    let client = given(&[
        b"client_ip",
        b"remote_ip",
        b"remote_addr",
        b"clienthost",
        b"clientip",
        b"downstream_remote_address",
    ])?;
    let status = given(&[
        b"status",
        b"response_code",
        b"status_code",
        b"downstreamstatus",
        b"originstatus",
    ])?;
    let agent = given(&[b"user-agent", b"user_agent", b"http_user_agent", b"request_user-agent"]);
    let of_headers = json::first(&headers, &[b"user-agent"]).map(|list| {
        list.trim_ascii()
            .strip_prefix(b"[\"")
            .and_then(|list| list.strip_suffix(b"\"]"))
            .unwrap_or(list)
    });
    Some(Request {
        client,
        host: given(&[b"host", b":authority", b"requesthost", b"vhost"]),
        user: given(&[b"user_id", b"remote_user", b"clientusername"])
            .filter(|user| !user.is_empty() && *user != b"-"),
        method: given(&[b"method", b"request_method", b"requestmethod"])?,
        target: given(&[b"uri", b"request_uri", b"requestpath", b"x-envoy-origin-path", b"path"])?,
        protocol: given(&[b"proto", b"protocol", b"requestprotocol"]).unwrap_or_default(),
        status: text(status)?.parse().ok()?,
        referer: given(&[b"referer", b"http_referer"]).unwrap_or_default(),
        agent: agent.or(of_headers).unwrap_or_default(),
    })
}

/// `GET /path HTTP/1.1`. A path with a space in it keeps it: clients that probe write such.
fn split(request: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let parts = (memchr::memchr(b' ', request), memchr::memrchr(b' ', request));
    if let (Some(first), Some(last)) = parts {
        let method = &request[..first];
        let protocol = &request[last + 1..];
        let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
        if first < last && is_method && protocol.starts_with(b"HTTP/") {
            return (method, &request[first + 1..last], protocol);
        }
    }
    (b"", request, b"")
}

/// A text in quotes, in which a quote is written `\"`.
fn quoted<'a>(scan: &mut Scan<'a>) -> Option<&'a [u8]> {
    let mut ahead = *scan;
    ahead.byte(b'"')?;
    let whole = ahead.rest();
    let mut from = 0;
    loop {
        let end = from + memchr::memchr(b'"', &whole[from..])?;
        let backslashes = whole[..end].iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 0 {
            *scan = Scan::new(&whole[end + 1..]);
            return Some(&whole[..end]);
        }
        from = end + 1;
    }
}

fn is_address(word: &[u8]) -> bool {
    text(word).is_some_and(|word| word.parse::<std::net::IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    #[test]
    fn requests_of_json_logs() {
        for (line, expected) in [
            (
                r#"{"request":{"client_ip":"1.2.3.4","method":"GET","uri":"/a","headers":{"User-Agent":["curl/7"]}},"status":401}"#,
                "1.2.3.4 GET /a 401 curl/7",
            ),
            (
                r#"{"method":"GET","x-envoy-origin-path":"/p","response_code":404,"user-agent":"M","downstream_remote_address":"10.0.0.1:4"}"#,
                "10.0.0.1:4 GET /p 404 M",
            ),
            (r#"{"method":"GET","path":"/p","status":"ok","remote_addr":"1.2.3.4"}"#, ""),
            (r#"{"msg":"x"}"#, ""),
        ] {
            let fields = json::fields(line.as_bytes()).unwrap();
            let told = of_object(&fields).map_or(String::new(), |request| {
                let say = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let Request { client, method, target, status, agent, .. } = request;
                format!("{} {} {} {status} {}", say(client), say(method), say(target), say(agent))
            });
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn formats_of_access_logs() {
        let calendar = Calendar::new(TimeZone::UTC, Timestamp::UNIX_EPOCH);
        for (line, expected) in [
            (
                r#"1.2.3.4 - - [04/Jan/2020:08:41:43 +0100] "POST /a?b HTTP/1.1" 200 550 "-" "foo \" bar""#,
                r#"1.2.3.4 - - POST /a?b HTTP/1.1 200 foo \" bar 2020-01-04T07:41:43Z"#,
            ),
            (
                r#"::1 - bob [4/Jan/2020:08:41:43 +0000] "GET /a b HTTP/1.0" 404 -"#,
                "::1 - bob GET /a b HTTP/1.0 404  2020-01-04T08:41:43Z",
            ),
            (
                r#"example.com 127.0.0.1 - id - [29/Sep/2021:14:11:34 +0000] "HEAD / HTTP/1.1" 200 0 "-" "x""#,
                "127.0.0.1 example.com - HEAD / HTTP/1.1 200 x 2021-09-29T14:11:34Z",
            ),
            (
                r#"9.9.9.9 1.2.3.4 - - [29/Sep/2021:14:11:34 +0000] "HEAD / HTTP/1.1" 200 0 "-" "x""#,
                "1.2.3.4 9.9.9.9 - HEAD / HTTP/1.1 200 x 2021-09-29T14:11:34Z",
            ),
            (
                r#"1.2.3.4 9.9.9.9 - [29/Sep/2021:14:11:34 +0000] "HEAD / HTTP/1.1" 200 0 "-" "x""#,
                "1.2.3.4 - - HEAD / HTTP/1.1 200 x 2021-09-29T14:11:34Z",
            ),
            (
                r#"1.2.3.4 - - [29/Jul/2023:10:26:06 +0000] "\x16\x03 a" 400 157 "-" "-""#,
                r"1.2.3.4 - -  \x16\x03 a  400 - 2023-07-29T10:26:06Z",
            ),
        ] {
            let (request, time) = read(line.as_bytes(), &calendar).unwrap();
            let say = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let read = format!(
                "{} {} {} {} {} {} {} {} {}",
                say(request.client),
                say(request.host.unwrap_or(b"-")),
                say(request.user.unwrap_or(b"-")),
                say(request.method),
                say(request.target),
                say(request.protocol),
                request.status,
                say(request.agent),
                time.unwrap(),
            );
            assert_eq!(read, expected);
        }
    }
}
