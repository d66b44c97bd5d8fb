use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a managed repository is fetched from. It never holds a credential, so it can be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `https://` or `http://`, through the proxy that `ALL_PROXY`, `HTTPS_PROXY` or `HTTP_PROXY` names,
    /// unless `NO_PROXY` or loopback exempts the host.
    Http(HttpLocation),
    /// `ssh://[USER@]HOST[:PORT]/PATH` or `[USER@]HOST:PATH`.
    Ssh(SshLocation),
    /// An absolute path, or `file://` and one: a repository that lies whole in that folder. One that
    /// borrows objects or keeps its `.git` elsewhere cannot be read from within the confinement.
    Local(PathBuf),
}

/// A repository behind HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLocation {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The whole URL, in the user's spelling.
    pub(crate) url: String,
}

/// A repository behind SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshLocation {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) path: String,
    /// The whole URL, in the user's spelling.
    url: String,
}

/// Why a text is not a location that can be fetched from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// A username or a token in it.
    #[error("a URL must not hold a username or token; take it out and name a credential instead")]
    Credential,
    /// `git://`, `ext::` and the like.
    #[error("only https://, http://, ssh://, file:// and absolute paths are fetched from")]
    Scheme,
    /// A query or a fragment.
    #[error("a repository's URL has no `?` and no `#`")]
    Query,
    /// White space or control characters, which could be read as another request or argument.
    #[error("a repository's URL has no white space and no control characters; write them as %20")]
    Character,
    /// No host, or one that a program would read as an option.
    #[error("the host is missing or starts with `-`")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// No path, a relative one, or one that a program would read as an option.
    #[error("the path is missing, relative or starts with `-`")]
    Path,
}

impl Location {
    /// Whether it needs no network beyond this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Http(http) => http.is_loopback(),
            Self::Ssh(_) => false,
            Self::Local(_) => true,
        }
    }
}

impl HttpLocation {
    /// Whether the host is this machine by its name: `localhost` or a loopback address.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether `other` is answered by the same server: scheme, host and port.
    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        (self.tls, self.port) == (other.tls, other.port)
            && self.host.eq_ignore_ascii_case(&other.host)
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().any(char::is_control) {
            return Err(LocationError::Character);
        }
        if text.starts_with('/') {
            return local(text);
        }
        let Some((scheme, rest)) = text.split_once("://") else { return short_ssh(text) };
        if scheme.eq_ignore_ascii_case("file") {
            return local(&decode(rest)?);
        }
        if text.chars().any(char::is_whitespace) {
            return Err(LocationError::Character);
        }
        if text.contains(['?', '#']) {
            return Err(LocationError::Query);
        }
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, format!("/{path}")),
            None => (rest, String::new()),
        };
        if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") {
            return http(text, scheme.eq_ignore_ascii_case("https"), authority);
        }
        if !scheme.eq_ignore_ascii_case("ssh") {
            return Err(LocationError::Scheme);
        }
        let (user, host_port) = split_user(authority)?;
        let (host, port) = split_port(host_port)?;
        // An IPv6 address stands in brackets in a URL, and without them for `ssh`.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        // `/~user/` is how a URL names a home folder.
        let path =
            decode(path.strip_prefix('/').filter(|path| path.starts_with('~')).unwrap_or(&path))?;
        ssh(text, user, host, port, path)
    }
}

fn http(text: &str, tls: bool, authority: &str) -> Result<Location, LocationError> {
    if authority.contains('@') {
        return Err(LocationError::Credential);
    }
    let (host, port) = split_port(authority)?;
    let port = port.unwrap_or(if tls { 443 } else { 80 });
    Ok(Location::Http(HttpLocation { tls, host: host.to_owned(), port, url: text.to_owned() }))
}

fn local(path: &str) -> Result<Location, LocationError> {
    if Path::new(path).is_absolute() {
        Ok(Location::Local(path.into()))
    } else {
        Err(LocationError::Path)
    }
}

/// Undoes percent-encoding (RFC 3986, section 2.1), as Git does for these schemes.
fn decode(path: &str) -> Result<String, LocationError> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.ok_or(LocationError::Character)?);
        rest = &rest[2..];
    }
    let text = String::from_utf8(decoded).map_err(|_| LocationError::Character)?;
    if text.chars().any(char::is_control) { Err(LocationError::Character) } else { Ok(text) }
}

/// `[USER@]HOST:PATH`, as `scp` has it.
fn short_ssh(text: &str) -> Result<Location, LocationError> {
    let (authority, path) = text.split_once(':').ok_or(LocationError::Scheme)?;
    // `helper::address` would run a program of that name.
    if path.starts_with(':') || authority.contains('/') {
        return Err(LocationError::Scheme);
    }
    if text.chars().any(char::is_whitespace) {
        return Err(LocationError::Character);
    }
    let (user, host) = split_user(authority)?;
    ssh(text, user, host.to_owned(), None, path.to_owned())
}

fn ssh(
    url: &str,
    user: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
) -> Result<Location, LocationError> {
    if host.is_empty() || host.starts_with('-') {
        return Err(LocationError::Host);
    }
    if path.is_empty() || path.starts_with('-') || path == "/" {
        return Err(LocationError::Path);
    }
    Ok(Location::Ssh(SshLocation { user, host, port, path, url: url.to_owned() }))
}

fn split_user(authority: &str) -> Result<(Option<String>, &str), LocationError> {
    let Some((user, host)) = authority.rsplit_once('@') else { return Ok((None, authority)) };
    if user.contains(':') {
        return Err(LocationError::Credential);
    }
    if user.is_empty() || user.starts_with('-') {
        return Err(LocationError::Host);
    }
    Ok((Some(user.to_owned()), host))
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), LocationError> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || host.starts_with('-') || (host.contains(':') && !bracketed) {
        return Err(LocationError::Host);
    }
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0).ok_or(LocationError::Port)?),
        None => None,
    };
    Ok((host, port))
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(http) => f.write_str(&http.url),
            Self::Ssh(ssh) => f.write_str(&ssh.url),
            Self::Local(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_could_mean_something_else() {
        for (text, expected) in [
            ("https://user:token@example.com/r.git", LocationError::Credential),
            ("https://token@example.com/r.git", LocationError::Credential),
            ("ssh://git:password@example.com/r.git", LocationError::Credential),
            ("git://example.com/r.git", LocationError::Scheme),
            ("ext::sh -c true", LocationError::Scheme),
            ("relative/path", LocationError::Scheme),
            ("https://example.com/r?x=y", LocationError::Query),
            ("https://example.com/a b", LocationError::Character),
            ("https://example.com/a\r\nHost: b", LocationError::Character),
            ("https:///r.git", LocationError::Host),
            ("https://example.com:0/r.git", LocationError::Port),
            ("https://example.com:x/r.git", LocationError::Port),
            ("ssh://-oProxyCommand=x/r.git", LocationError::Host),
            ("ssh://-x@example.com/r.git", LocationError::Host),
            ("-oProxyCommand=x:r.git", LocationError::Host),
            ("git@example.com:-r", LocationError::Path),
            ("ssh://example.com", LocationError::Path),
            ("file://relative", LocationError::Path),
            ("file:///a%0ab", LocationError::Character),
            ("file:///a%zz", LocationError::Character),
            ("file:///a%2", LocationError::Character),
            ("ssh://example.com/a%00b", LocationError::Character),
            ("ssh://example.com/%7e-x%ff", LocationError::Character),
        ] {
            assert_eq!(text.parse::<Location>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn reads_what_people_write() {
        for (text, loopback) in [
            ("https://github.com/example/fleet.git", false),
            ("http://127.0.0.1:8080/fleet.git", true),
            ("http://[::1]:8080/fleet.git", true),
            ("http://localhost.example.com/fleet.git", false),
            ("ssh://git@example.com:2222/fleet.git", false),
            ("git@github.com:example/fleet.git", false),
            ("/srv/git/fleet.git", true),
            ("file:///srv/git/fleet.git", true),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.is_loopback(), loopback, "{text}");
        }
        let Ok(Location::Ssh(ssh)) = "git@github.com:example/fleet.git".parse() else { panic!() };
        assert_eq!((ssh.user.as_deref(), ssh.host.as_str()), (Some("git"), "github.com"));
        assert_eq!((ssh.port, ssh.path.as_str()), (None, "example/fleet.git"));
        assert_eq!("file:///a%20b%25".parse(), Ok(Location::Local("/a b%".into())));
        let Ok(Location::Ssh(ssh)) = "ssh://[::1]:22/~git/fleet.git".parse() else { panic!() };
        assert_eq!(
            (ssh.host.as_str(), ssh.port, ssh.path.as_str()),
            ("::1", Some(22), "~git/fleet.git")
        );
    }

    proptest! {
        #[test]
        fn no_option_and_no_line_break_gets_through(text in "[ -~\r\n\t]{0,60}") {
            if let Ok(location) = text.parse::<Location>() {
                prop_assert!(!location.to_string().contains(['\r', '\n']));
                if let Location::Ssh(ssh) = location {
                    prop_assert!(!ssh.host.starts_with('-') && !ssh.path.starts_with('-'));
                    prop_assert!(!ssh.user.unwrap_or_default().starts_with('-'));
                }
            }
        }
    }
}
