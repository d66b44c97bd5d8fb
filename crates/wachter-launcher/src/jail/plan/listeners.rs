//! The loopback addresses at which a run finds what it may reach.

use wachter_protocol::{Endpoint, Grant};

/// The port of the HTTP proxy that leads to the egress broker, inside.
pub(super) const PROXY_PORT: u16 = 3128;

/// The name of the loopback address, RFC 6761.
pub(super) const LOCALHOST: &str = "localhost";

/// A socket that the egress broker accepts from: an address inside, and what is meant by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: std::net::SocketAddrV4,
    /// None for the proxy.
    pub(crate) endpoint: Option<Endpoint>,
}

/// The most endpoints of one module: their sockets travel in one packet, with three pipes and the
/// proxy's.
const ENDPOINTS: usize = wachter_packet::MAX_DESCRIPTORS - 4;

/// A loopback address for each endpoint, and one for the proxy, so that programs that know proxies
/// and programs that do not both get through.
pub(super) fn listeners(grant: &Grant) -> Result<Vec<Listener>, String> {
    let network = &grant.permissions().network;
    if network.is_empty() {
        return Ok(Vec::new());
    }
    if network.len() > ENDPOINTS {
        return Err(format!(
            "`permissions.network` names {} endpoints, a run has {ENDPOINTS} at the most; split the module",
            network.len()
        ));
    }
    let proxy = Listener {
        address: std::net::SocketAddrV4::new([127, 0, 0, 1].into(), PROXY_PORT),
        endpoint: None,
    };
    let mut hosts: Vec<&str> = network.iter().map(Endpoint::host).collect();
    hosts.dedup();
    let addressed = network.iter().map(|endpoint| {
        // Many programs know where this name leads without asking anything.
        if endpoint.host() == LOCALHOST && endpoint.port() != PROXY_PORT {
            let address = std::net::SocketAddrV4::new([127, 0, 0, 1].into(), endpoint.port());
            return Listener { address, endpoint: Some(endpoint.clone()) };
        }
        let host = hosts.iter().position(|host| *host == endpoint.host()).unwrap_or(0);
        let last = u8::try_from(host % 250).unwrap_or(0) + 1;
        Listener {
            address: std::net::SocketAddrV4::new([127, 0, 1, last].into(), endpoint.port()),
            endpoint: Some(endpoint.clone()),
        }
    });
    Ok(std::iter::once(proxy).chain(addressed).collect())
}
