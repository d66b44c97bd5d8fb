use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wachter_model::{ByteSize, CpuShare, Duration};

use crate::ip_range::IpRange;
use crate::{AbsolutePath, Endpoint, Limits, LimitsAsked};

/// How environments of Python modules are built on this host: from where, by what, and within which
/// limits. What is installed is decided by the lock file of the signed module, and by nothing here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Python {
    /// The package index, in the form of PEP 503: `https://pypi.org/simple` where left out.
    pub index: String,
    /// Where the index keeps its files, beside its own host: `files.pythonhosted.org:443` where left
    /// out.
    pub hosts: BTreeSet<Endpoint>,
    /// Private, link-local or loopback ranges in which index and hosts may lie.
    pub network_ranges: BTreeSet<IpRange>,
    /// The executable of `uv`; where left out, the first of `/usr/local/bin/uv`, `/usr/bin/uv` and
    /// `/opt/uv/bin/uv`.
    pub uv: Option<AbsolutePath>,
    /// What one build may use: `timeout` 10m, `memory` 1GiB, `cpu` 2, `processes` 256 and `disk` 1GiB
    /// where left out. An environment of more than half of `disk` may not fit, since what is
    /// downloaded takes its place beside it.
    pub limits: LimitsAsked,
}

impl Default for Python {
    fn default() -> Self {
        Self {
            index: "https://pypi.org/simple".to_owned(),
            hosts: ["files.pythonhosted.org:443".parse().expect("it is host:port")].into(),
            network_ranges: BTreeSet::new(),
            uv: None,
            limits: LimitsAsked::default(),
        }
    }
}

/// Why an index is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Not an address.
    #[error(
        "`python.index` is `{0}`, which is no `https://host/path`; name the folder that holds one page a package"
    )]
    Address(String),
    /// A password in the address.
    #[error(
        "`python.index` holds a user's name or password, which everybody who reads the file would know; name an index that needs none"
    )]
    Secret,
}

impl Python {
    /// The interpreter of modules that name no other.
    pub const INTERPRETER: &str = "/usr/bin/python3";

    /// Where `uv` is looked for when nobody says where it is.
    pub const UV: [&str; 3] = ["/usr/local/bin/uv", "/usr/bin/uv", "/opt/uv/bin/uv"];

    /// Where the index listens.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn endpoint(&self) -> Result<Endpoint, IndexError> {
        let wrong = || IndexError::Address(self.index.clone());
        let plain = self.index.bytes().all(|byte| byte.is_ascii_graphic());
        let (scheme, rest) = self.index.split_once("://").filter(|_| plain).ok_or_else(wrong)?;
        let port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(wrong()),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(IndexError::Secret);
        }
        let with_port = authority.parse().or_else(|_| format!("{authority}:{port}").parse());
        with_port.map_err(|_| wrong())
    }

    /// All that a build may connect to.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn endpoints(&self) -> Result<BTreeSet<Endpoint>, IndexError> {
        let mut endpoints = self.hosts.clone();
        endpoints.insert(self.endpoint()?);
        Ok(endpoints)
    }

    /// What one build may use.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            timeout: Duration::from_secs(600),
            memory: ByteSize::from_mib(1_024),
            cpu: CpuShare::from_millicores(2_000),
            processes: 256,
            output: ByteSize::from_mib(4),
            disk: ByteSize::from_mib(1_024),
        }
        .filled(&self.limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(index: &str, expected: Result<&str, &str>) {
        let python = Python { index: index.to_owned(), ..Python::default() };
        match (python.endpoint(), expected) {
            (Ok(endpoint), Ok(expected)) => assert_eq!(endpoint.to_string(), expected, "{index}"),
            (Err(error), Err(words)) => {
                assert!(error.to_string().contains(words), "{index}: {error}");
            }
            (found, _) => panic!("{index}: {found:?}"),
        }
    }

    #[test]
    fn an_index_has_an_endpoint() {
        check("https://pypi.org/simple", Ok("pypi.org:443"));
        check("https://Index.Example.com:8443", Ok("index.example.com:8443"));
        check("http://127.0.0.1:8080/simple/", Ok("127.0.0.1:8080"));
        check("http://127.0.0.1", Ok("127.0.0.1:80"));
        check("https://[2001:db8::1]:8443/x", Ok("[2001:db8::1]:8443"));
        for wrong in ["", "pypi.org", "ftp://a/", "https://", "https:// a/", "https://a b/"] {
            check(wrong, Err("no `https://host/path`"));
        }
        check("https://user:secret@a/simple", Err("password"));
    }

    #[test]
    fn without_a_word_it_is_the_index_of_everybody() {
        let endpoints = Python::default().endpoints().unwrap();
        let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(endpoints, ["files.pythonhosted.org:443", "pypi.org:443"]);
    }

    proptest! {
        #[test]
        fn any_text_is_an_index_or_none(index: String) {
            let python = Python { index, ..Python::default() };
            if let Ok(endpoint) = python.endpoint() {
                prop_assert!(endpoint.port() > 0);
            }
        }
    }
}
