//! The client's address when a trusted proxy connects for the client.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::request::{RequestHead, text};

/// The proxies whose `X-Forwarded-For` is trusted. Cloning copies a short list.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Box<[IpNet]>);

impl TrustedProxies {
    /// Trusts every address in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }

    /// The client's address: the address of `peer`, unless `peer` is a trusted proxy.
    ///
    /// Each proxy appends the address of its own peer to `X-Forwarded-For`. So the client is the last address there
    /// that is not a trusted proxy; the client may have written everything before it. If an address cannot be parsed,
    /// the header is ignored.
    pub fn client(&self, peer: IpAddr, request: &RequestHead<'_>) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return peer;
        }
        let mut client = peer;
        for value in request.values("x-forwarded-for").rev() {
            let Some(text) = text(value) else { return peer };
            for hop in text.rsplit(',') {
                let Some(address) = address(hop.trim()) else { return peer };
                if !self.contains(address) {
                    return address;
                }
                client = address;
            }
        }
        // All addresses are trusted proxies: the first one connected for itself.
        client
    }

    /// Whether this address is a trusted proxy, which may represent many clients.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Parses an address. Some proxies add its port.
fn address(hop: &str) -> Option<IpAddr> {
    let address = hop.parse().or_else(|_| hop.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::request::tests::with_headers;

    /// The client's address with 10.0.0.0/8 and fd00::/8 as trusted proxies.
    fn client(peer: &str, headers: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        client_of(&TrustedProxies::new(networks.into()), peer, headers)
    }

    fn client_of(proxies: &TrustedProxies, peer: &str, headers: &[&str]) -> String {
        let lines: Vec<_> = headers.iter().map(|value| ("X-Forwarded-For", *value)).collect();
        with_headers(&lines, |head| proxies.client(peer.parse().unwrap(), head)).to_string()
    }

    #[test]
    fn only_addresses_that_trusted_proxies_added_are_used() {
        for (peer, headers, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.1"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            // The client wrote the addresses to the left of the proxy's.
            ("10.0.0.1", &["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["nonsense, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["10.9.9.9, 198.51.100.1"], "198.51.100.1"),
            // Chains of proxies.
            ("10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.0.0.2,10.0.0.3"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, 10.0.0.2", "10.0.0.3"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
            // With a port, and IPv4-mapped.
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            // Malformed.
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1,"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1 198.51.100.2"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, x, 10.0.0.2"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1", "\u{e9}"], "10.0.0.1"),
        ] {
            assert_eq!(client(peer, headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn no_proxy_is_trusted_by_default() {
        assert_eq!(client_of(&TrustedProxies::default(), "127.0.0.1", &["198.51.100.1"]), "127.0.0.1");
    }
}
