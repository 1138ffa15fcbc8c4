//! Which addresses count as one client.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that count as one client: an IPv4 address, or an IPv6 network of 64 bits, because a client with one
/// IPv6 address usually has its whole /64. Every socket stores one; octets need no alignment, unlike integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientPrefix {
    /// The octets of one address.
    V4([u8; 4]),
    /// The first 64 bits of an address.
    V6([u8; 8]),
}

impl fmt::Display for ClientPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4(octets) => Ipv4Addr::from(octets).fmt(f),
            Self::V6(octets) => {
                write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(u64::from_be_bytes(octets)) << 64))
            }
        }
    }
}

impl ClientPrefix {
    /// The prefix of an address. An IPv4-mapped IPv6 address counts as its IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => Self::V6(((address.to_bits() >> 64) as u64).to_be_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str) -> Option<ClientPrefix> {
        Some(ClientPrefix::of(address.parse().unwrap()))
    }

    #[test]
    fn an_ipv6_64_or_an_ipv4_address_is_one_client() {
        assert_eq!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:2:ffff::9"));
        assert_ne!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:3::1"));
        assert_eq!(prefix("2001:db8:1:2::1").unwrap().to_string(), "2001:db8:1:2::/64");
        assert_eq!(prefix("::ffff:192.0.2.1"), prefix("192.0.2.1"));
        assert_eq!(prefix("192.0.2.1").unwrap().to_string(), "192.0.2.1");
        assert_ne!(prefix("192.0.2.1"), prefix("192.0.2.2"));
    }
}
