//! Peers that ignore the closing handshake.

use std::time::{Duration, Instant};

use super::{HealthyPeer, frame};
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;

/// A text that the gateway answers with Close 4001; the gateway then waits for the peer's Close.
const MALFORMED: &str = "x";

#[test]
fn a_peer_without_a_close_reply_is_disconnected_by_timeout() {
    let mut peer = HealthyPeer::of(&TestGateway::with("server.close_timeout", "300ms"));
    let mut raw = peer.attacker();
    raw.send_text(MALFORMED);
    let started = Instant::now();
    assert_eq!(raw.frame().1[..2], 4001_u16.to_be_bytes());
    assert!(raw.ends_within(SOON));
    assert!(
        started.elapsed() >= Duration::from_millis(250),
        "the gateway waited only {:?}",
        started.elapsed()
    );
    // The peer still holds its side open.
    peer.gateway.wait_metric("connections", 1);
    peer.assert_served("a peer that does not answer");
}

#[test]
fn a_peer_that_sends_after_our_close_is_disconnected() {
    let mut peer = HealthyPeer::of(&TestGateway::with("server.close_timeout", "300ms"));
    let mut raw = peer.attacker();
    raw.send_text(MALFORMED);
    assert_eq!(raw.frame().1[..2], 4001_u16.to_be_bytes());
    let message = frame(0x81, br#"{"op":1,"token":"42"}"#).repeat(100);
    let started = Instant::now();
    while raw.try_write(&message) {
        assert!(started.elapsed() < SOON, "the gateway still reads");
    }
    peer.gateway.wait_metric("connections", 1);
    assert_eq!(peer.gateway.metric("identifies_total{result=\"accepted\"}"), 1, "only the healthy client's");
    peer.assert_served("a peer that keeps sending");
}

#[test]
fn data_after_a_peer_s_close_is_ignored() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    let mut raw = peer.attacker();
    let identify = frame(0x81, br#"{"op":1,"token":"42"}"#);
    raw.write(&[frame(0x88, b"\x03\xE8"), identify.repeat(1_000), vec![0xFF; 1 << 16]].concat());
    raw.expect_close(1000);
    peer.gateway.wait_metric("connections", 1);
    assert_eq!(peer.gateway.metric("identifies_total{result=\"accepted\"}"), 1, "only the healthy client's");
    peer.assert_served("data after Close");
}

#[test]
fn peers_disconnected_at_any_byte_leave_no_state() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    let whole =
        [frame(0x81, br#"{"op":10}"#), frame(0x01, b"{"), frame(0x89, b"?"), frame(0x80, b"}")].concat();
    for length in 0..whole.len() {
        let mut raw = peer.attacker();
        raw.write(&whole[..length]);
        drop(raw);
        peer.assert_served("a cut");
    }
    peer.gateway.wait_metric("connections", 1);
}
