use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wachter_model::SecretName;

use crate::AbsolutePath;

/// What a manifest asks to touch. Nothing is asked where a key is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    /// Folders and files of the host.
    pub filesystem: FilesystemAsked,
    /// `host:port` pairs to connect to, through the node's egress broker.
    pub network: BTreeSet<Endpoint>,
    /// Programs, or folders of programs, that may be executed by path.
    pub exec: BTreeSet<AbsolutePath>,
    /// Snapshots of the host that the node takes and hands in as input.
    pub host: BTreeSet<HostView>,
    /// Supplementary groups of the host.
    pub groups: BTreeSet<String>,
    /// Secrets, as files that last as long as the run.
    pub secrets: BTreeSet<SecretName>,
    /// The host's user to run as; one that nothing else uses where left out.
    pub user: Option<String>,
}

/// The folders and files that a manifest asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FilesystemAsked {
    /// To be read.
    pub read: BTreeSet<AbsolutePath>,
    /// To be read and written.
    pub write: BTreeSet<AbsolutePath>,
}

/// A kind of snapshot of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum HostView {
    /// Processor time and load.
    Cpu,
    /// Memory and swap.
    Memory,
    /// Processes.
    Processes,
    /// Mounted file systems and their free space.
    Mounts,
    /// Network interfaces.
    Network,
    /// Temperatures and fans.
    Sensors,
    /// Block devices and what they read and write.
    Disks,
    /// Sockets by state, and the ports that are listened on.
    Sockets,
    /// Units of systemd.
    Units,
    /// Whether the time of day is kept in step.
    Clock,
}

impl HostView {
    /// Every view.
    pub const ALL: [Self; 10] = [
        Self::Cpu,
        Self::Memory,
        Self::Processes,
        Self::Mounts,
        Self::Network,
        Self::Sensors,
        Self::Disks,
        Self::Sockets,
        Self::Units,
        Self::Clock,
    ];
}

impl fmt::Display for HostView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Mounts => "mounts",
            Self::Network => "network",
            Self::Sensors => "sensors",
            Self::Disks => "disks",
            Self::Sockets => "sockets",
            Self::Units => "units",
            Self::Clock => "clock",
        })
    }
}

/// A host and a port, as in `backup.example.com:443`, `192.0.2.1:22` or `[2001:db8::1]:443`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// Why a text is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not `host:port`: write one host name or address and one port, as in `backup.example.com:443`"
)]
pub struct EndpointError(String);

impl Endpoint {
    /// A lower-case host name, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// A host name as RFC 1123 has it: labels of letters, digits and hyphens.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || EndpointError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
        let port = port.parse().ok().filter(|port| digits && *port != 0).ok_or_else(refused)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().map_err(|_| refused())?.to_string(),
            None if is_host_name(host) => host.to_ascii_lowercase(),
            None => return Err(refused()),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Endpoint {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "host:port",
            "examples": ["backup.example.com:443"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn endpoints() {
        for (text, host, port) in [
            ("backup.example.com:443", "backup.example.com", 443),
            ("Example.COM:80", "example.com", 80),
            ("192.0.2.1:22", "192.0.2.1", 22),
            ("[2001:DB8::1]:443", "2001:db8::1", 443),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host(), endpoint.port()), (host, port), "{text}");
        }
        for bad in [
            "",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:+1",
            "a:01",
            "a b:1",
            "a\n:1",
            "::1:1",
            "http://a:1",
            "*.a:1",
            "-a:1",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text: String) {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
            }
        }
    }
}
