//! Limits of one client address, and the capacity left for others.

use std::net::Ipv4Addr;

use super::HealthyPeer;
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::http::Answer;
use crate::support::process::SOON;
use crate::support::raw_socket::{RawSocket, UPGRADE};

impl HealthyPeer {
    /// Opens a socket from 127.0.0.`host` and reads Hello.
    #[track_caller]
    fn socket_from(&self, host: u8) -> Result<RawSocket, Answer> {
        let source = Ipv4Addr::new(127, 0, 0, host);
        let mut raw = RawSocket::try_connect(self.gateway.public, source, UPGRADE, b"")?;
        raw.expect_text(super::HELLO);
        Ok(raw)
    }

    /// Identifies from 127.0.0.`host`; returns the code of the Close, or `None` for Ready.
    #[track_caller]
    fn identify_from(&self, host: u8, token: &str) -> Option<u16> {
        let mut raw = self.socket_from(host).unwrap();
        raw.send_text(&format!(r#"{{"op":1,"token":"{token}"}}"#));
        match raw.frame() {
            (0x81, ready) => {
                assert!(ready.starts_with(br#"{"op":2,"#));
                None
            }
            (_, close) => Some(u16::from_be_bytes([close[0], close[1]])),
        }
    }
}

#[track_caller]
fn assert_refused(answer: &Answer, reason: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (429, reason));
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn a_connect_flood_from_one_address_leaves_others_their_rate() {
    let plan = TestGateway::with("limits.connects_per_second", "20")
        .with("limits.connects_per_second_per_address", "5");
    let mut peer = HealthyPeer::of(&plan);
    let reason = "too_many_connects_from_address";
    for _ in 0..200 {
        // Refusals are fast, so few permits are released between two attempts even on a slow machine.
        if let Err(answer) = peer.socket_from(2) {
            assert_refused(&answer, reason);
        }
    }
    assert!(peer.gateway.metric(&format!("upgrades_refused_total{{reason=\"{reason}\"}}")) > 0);
    // If the flood had used up the global rate, some of these attempts would be refused.
    for host in 3..10 {
        drop(peer.socket_from(host).unwrap());
    }
    assert_eq!(peer.gateway.metric("upgrades_refused_total{reason=\"too_many_connects\"}"), 0);
    peer.assert_served("a flood of connects");
    // The address gets its own permits back over time.
    drop(eventually(SOON, || peer.socket_from(2).ok()));
}

#[test]
fn an_address_gets_at_most_half_of_the_unidentified_sockets() {
    let plan = TestGateway::with("limits.unidentified", "6").with("limits.connections_per_address", "100");
    let mut peer = HealthyPeer::of(&plan);
    let mut crowd: Vec<_> = (0..3).map(|_| peer.socket_from(2).unwrap()).collect();
    for _ in 0..20 {
        let answer = peer.socket_from(2).err().unwrap();
        assert_refused(&answer, "too_many_unidentified_from_address");
    }
    // Other addresses are admitted, and so is this one after one of its sockets has identified.
    let other = peer.socket_from(3).unwrap();
    assert_eq!(peer.identify_from(4, "42"), None);
    crowd[0].send_text(r#"{"op":1,"token":"42"}"#);
    crowd[0].expect_text(r#"{"op":2,"user":"42"}"#);
    drop(peer.socket_from(2).unwrap());
    peer.assert_served("a crowd that does not identify");
    drop((crowd, other));
    peer.gateway.wait_metric("connections", 1);
}

#[test]
fn after_many_bad_tokens_an_address_is_no_longer_verified() {
    let plan = TestGateway::with("limits.failed_identifies_per_minute_per_address", "3");
    let mut peer = HealthyPeer::of(&plan);
    let failed = "identifies_total{result=\"malformed\"}";
    let mut codes: Vec<_> = (0..20).map(|_| peer.identify_from(2, "").unwrap()).collect();
    let verified = peer.gateway.metric(failed) + peer.gateway.metric("identifies_total{result=\"no_user\"}");
    // The rate allows one more attempt every 20 seconds, which leaves room for a slow machine.
    assert!((3..8).contains(&verified), "{verified} tokens were verified");
    codes.dedup();
    assert_eq!(codes[..2], [4003, 4007]);
    // A valid token from this address is not verified either; one from another address is.
    if peer.identify_from(2, "42") == Some(4007) {
        assert!(peer.gateway.metric("identifies_total{result=\"too_many_failures\"}") > 0);
    }
    assert_eq!(peer.identify_from(3, "42"), None);
    peer.assert_served("bad tokens");
}

#[test]
fn clients_behind_a_trusted_proxy_have_their_own_limits() {
    let plan = TestGateway::with("limits.unidentified", "4")
        .with("limits.connections_per_address", "100")
        .with("limits.connects_per_second_per_address", "50")
        .with("server.trusted_proxies", "127.0.0.2");
    let mut peer = HealthyPeer::of(&plan);
    let forwarded = |client: &str| {
        let head = format!("{UPGRADE}\nx-forwarded-for: {client}");
        RawSocket::try_connect(peer.gateway.public, Ipv4Addr::new(127, 0, 0, 2), &head, b"")
    };
    let crowd: Vec<_> = (0..2).map(|_| forwarded("192.0.2.1").unwrap()).collect();
    let answer = forwarded("192.0.2.1").err().unwrap();
    assert_refused(&answer, "too_many_unidentified_from_address");
    drop(forwarded("192.0.2.2").unwrap());
    drop(crowd);
    peer.assert_served("a crowd of clients of a proxy");
}
