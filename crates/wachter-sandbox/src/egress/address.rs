use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wachter_protocol::IpRange;

/// Why an address is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// Not an address of the public internet.
    #[error("{0} is not public; grant its range under `network_ranges` in the local file")]
    NotPublic(IpAddr),
    /// This host itself.
    #[error("{0} is this host; grant its range under `network_ranges` in the local file")]
    OwnHost(IpAddr),
}

/// Whether a run may be connected to `address`. `own` are the addresses of this host.
pub(crate) fn check(
    address: IpAddr,
    granted: &BTreeSet<IpRange>,
    own: &BTreeSet<IpAddr>,
) -> Result<(), AddressRefused> {
    let address = address.to_canonical();
    if granted.iter().any(|range| range.contains(address)) {
        return Ok(());
    }
    if own.contains(&address) {
        return Err(AddressRefused::OwnHost(address));
    }
    let public = match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    };
    if public { Ok(()) } else { Err(AddressRefused::NotPublic(address)) }
}

/// The IANA special-purpose registry (RFC 6890 and its updates), what is globally reachable there
/// left in.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(a, 0 | 10 | 127 | 224..)
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && matches!(c, 0 | 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && matches!(b, 18 | 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113);
    !special
}

/// Global unicast (RFC 4291) without what is set apart in it: translation and tunnels, through
/// which an IPv4 address that is not public could be meant, and documentation.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let global = (0x2000..0x4000).contains(&first);
    let special = (first == 0x2001 && (second < 0x200 || second == 0xdb8))
        || first == 0x2002
        || (first == 0x3fff && second < 0x1000);
    global && !special
}

/// The addresses of this host's interfaces, as the kernel's routing tables list them.
pub(crate) fn own() -> BTreeSet<IpAddr> {
    let mut own = BTreeSet::new();
    // Local addresses stand in the table as host routes, a line after each address.
    let table = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut last = None;
    for line in table.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<IpAddr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            own.extend(last);
        }
    }
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    for digits in table.lines().filter_map(|line| line.split(' ').next()) {
        own.extend(
            u128::from_str_radix(digits, 16).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
        );
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(address: &str, granted: &[&str]) -> bool {
        let granted = granted.iter().map(|range| range.parse().unwrap()).collect();
        let own = ["198.51.99.7".parse().unwrap()].into();
        check(address.parse().unwrap(), &granted, &own).is_ok()
    }

    #[test]
    fn only_public_addresses_of_others() {
        for address in
            ["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "2606:4700::1", "198.51.99.8"]
        {
            assert!(check_one(address, &[]), "{address}");
        }
        for address in [
            "0.0.0.0",
            "127.0.0.1",
            "127.8.8.8",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "198.51.99.7",
            "::127.0.0.1",
        ] {
            assert!(!check_one(address, &[]), "{address}");
        }
        assert!(check_one("10.1.2.3", &["10.0.0.0/8"]));
        assert!(check_one("::ffff:10.1.2.3", &["10.0.0.0/8"]));
        assert!(check_one("127.0.0.1", &["127.0.0.1/32"]));
        assert!(!check_one("127.0.0.2", &["127.0.0.1/32"]));
    }

    #[test]
    fn this_host_has_addresses() {
        assert!(own().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
