use std::net::{IpAddr, Ipv6Addr};

/// An address as a subject: an IPv4 address by itself, whichever way it was written, and an IPv6
/// address by its /64, since that is what one host or site has all of. What is no address stays as
/// it is.
pub(crate) fn subject(text: &str) -> String {
    let inner = text.trim_matches(['[', ']', '"', '\'']);
    // A zone (`fe80::1%eth0`) and a port (`1.2.3.4:567`) are no part of the address.
    let inner = inner.split_once('%').map_or(inner, |(address, _)| address);
    let address = inner.parse::<IpAddr>().or_else(|error| {
        let (address, port) = inner.rsplit_once(':').ok_or(error.clone())?;
        let address = address.trim_matches(['[', ']']);
        if port.parse::<u16>().is_ok() { address.parse() } else { Err(error) }
    });
    match address.map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) if address.is_loopback() => address.to_string(),
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalized() {
        for (text, expected) in [
            ("1.2.3.4", "1.2.3.4"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("[::FFFF:1.2.3.4]", "1.2.3.4"),
            ("1.2.3.4:567", "1.2.3.4"),
            ("2001:DB8::1", "2001:db8::/64"),
            ("[2001:db8:0:1::1]:443", "2001:db8:0:1::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::1", "::1"),
            ("bad.example.com", "bad.example.com"),
            ("", ""),
        ] {
            assert_eq!(subject(text), expected, "{text}");
        }
    }
}
