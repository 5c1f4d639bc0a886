//! Networks of addresses, such as `10.0.0.0/8`, and whether an address is in one of them.

use std::net::{IpAddr, Ipv6Addr};

/// Networks of either version.
pub(super) struct Networks(Box<[Network]>);

/// One network. An IPv4 address is the IPv6 address that it is mapped to, but in no IPv6 network.
pub(super) struct Network {
    v4: bool,
    first: u128,
    mask: u128,
}

impl Network {
    /// Reads a network: an address, a slash, and how many bits all its addresses have in common.
    pub(super) fn parse(network: &str) -> Option<Self> {
        let (address, bits) = network.split_once('/')?;
        let bits: u32 = bits.parse().ok().filter(|_| bits.bytes().all(|b| b.is_ascii_digit()))?;
        let address: IpAddr = address.parse().ok()?;
        let v4 = address.is_ipv4();
        let bits = if v4 { bits.checked_add(96)? } else { bits };
        let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits)?).unwrap_or(0);
        Some(Self { v4, first: number(address) & mask, mask })
    }
}

impl Networks {
    pub(super) fn new(networks: Vec<Network>) -> Self {
        Self(networks.into())
    }

    /// Whether the address that `text` is, if it is one, is in one of the networks.
    pub(super) fn has(&self, text: &[u8]) -> bool {
        // The longest address has 45 characters.
        let text = if text.len() <= 45 { std::str::from_utf8(text).unwrap_or_default() } else { "" };
        let Ok(address) = text.parse::<IpAddr>() else { return false };
        let v4 = address.to_canonical().is_ipv4();
        let address = number(address);
        self.0.iter().any(|network| network.v4 == v4 && address & network.mask == network.first)
    }
}

fn number(address: IpAddr) -> u128 {
    let v6: Ipv6Addr = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    v6.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_networks() {
        let networks = |all: &[&str]| Networks::new(all.iter().map(|n| Network::parse(n).unwrap()).collect());
        for (network, address, wanted) in [
            ("127.0.0.0/8", "127.1.2.3", true),
            ("127.0.0.0/8", "128.0.0.1", false),
            ("127.9.9.9/8", "127.0.0.1", true),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "1.2.3.4", false),
            ("::/0", "2001:db8::1", true),
            ("127.0.0.0/8", "", false),
            ("127.0.0.0/8", "127.0.0.1:80", false),
            ("127.0.0.0/8", "localhost", false),
        ] {
            assert_eq!(networks(&[network]).has(address.as_bytes()), wanted, "{address} in {network}");
        }
        assert!(networks(&["10.0.0.0/8", "::1/128"]).has(b"::1"));
    }

    #[test]
    fn what_is_no_network_is_none() {
        for wrong in
            ["", "/", "10.0.0.1", "10.0.0.1/", "10.0.0.1/33", "::1/129", "10.0.0/8", "10.0.0.1/+8", "a/8"]
        {
            assert!(Network::parse(wrong).is_none(), "{wrong}");
        }
    }
}
