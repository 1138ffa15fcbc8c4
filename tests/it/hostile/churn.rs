//! Connections that end in any way leave no descriptor and no state.

use std::net::Ipv4Addr;

use super::{HealthyPeer, frame};
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::raw_socket::{RawSocket, UPGRADE};

/// The number of connections; `CHURN=100000` sets it for a long run.
fn rounds() -> usize {
    std::env::var("CHURN").map_or(2_000, |number| number.parse().unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn thousands_of_short_connections_leak_no_descriptor_or_entry() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    // After these, all descriptors that the gateway opens only once are open.
    come_and_go(&peer, 100);
    for (name, open) in [("connections", 1), ("handshakes", 0), ("admin_connections", 1)] {
        peer.gateway.wait_metric(name, open);
    }
    let before = peer.gateway.open_files();
    come_and_go(&peer, rounds());
    peer.assert_served("the churn");
    // `before` may count a connection of the admin port that was closing.
    eventually(SOON, || (peer.gateway.open_files() <= before).then_some(()));
    // Each task that serves a peer counts in one of these gauges until it ends: `connections` for sockets,
    // `handshakes` for connections before their upgrade, `admin_connections` for the admin port. One of the latter is
    // the connection of this query.
    peer.gateway.wait_metric("handshakes", 0);
    peer.gateway.wait_metric("admin_connections", 1);
    for name in ["connections", "sessions", "users"] {
        peer.gateway.wait_metric(name, 1);
    }
    peer.gateway.wait_metric("subscriptions", 2);
    peer.gateway.wait_metric("channels", 2);
}

/// Opens connections and ends them in every way, one after the other.
#[cfg(target_os = "linux")]
fn come_and_go(peer: &HealthyPeer, rounds: usize) {
    for round in 0..rounds {
        // One address has fewer ports than a long run has connections.
        let source = Ipv4Addr::new(127, 0, 1, 1 + (round / 10_000) as u8);
        let mut raw = RawSocket::try_connect(peer.gateway.public, source, UPGRADE, b"").unwrap();
        if round % 2 == 0 {
            raw.send_text(&format!(r#"{{"op":1,"token":"{round}"}}"#));
        }
        match round % 4 + round / 4 % 2 {
            // Cleanly, and without waiting for the answer.
            0 => raw.write(&frame(0x88, &1000_u16.to_be_bytes())),
            1 => raw.reset(),
            // In the middle of a frame.
            2 => raw.write(&frame(0x81, b"0123456789")[..9]),
            // In the middle of a message.
            3 => raw.write(&frame(0x01, b"begun")),
            // Without a Close frame.
            _ => {}
        }
    }
}
