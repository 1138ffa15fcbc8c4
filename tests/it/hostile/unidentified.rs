//! Peers that obey RFC 6455 but violate the gateway's protocol, and what the gateway logs about them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use super::{HealthyPeer, frame};
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::raw_socket::{RawSocket, UPGRADE};

/// Reads up to the Close, which must have `code`; returns the texts before it.
#[track_caller]
fn texts_before_close(raw: &mut RawSocket, code: u16) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        match raw.frame() {
            (0x81, payload) => texts.push(String::from_utf8(payload).unwrap()),
            (0x88, payload) => {
                assert_eq!(payload[..2], code.to_be_bytes(), "{texts:?}");
                return texts;
            }
            (0x8A, _) => {}
            (first, payload) => panic!("frame {first:02X}: {payload:02X?}"),
        }
    }
}

#[test]
fn a_peer_that_never_identifies_is_closed_with_4004() {
    let mut peer = HealthyPeer::of(&TestGateway::with("session.identify_timeout", "1s"));
    for (name, frames) in [
        ("nothing", vec![]),
        ("a Ping", frame(0x89, b"?")),
        ("a heartbeat", frame(0x81, br#"{"op":10}"#)),
        ("half a message", frame(0x01, b"{")),
    ] {
        let mut raw = peer.attacker();
        raw.write(&frames);
        texts_before_close(&mut raw, 4004);
        peer.assert_served(name);
    }
    assert_eq!(peer.gateway.metric("sessions"), 1, "only the healthy client's");
}

#[test]
fn out_of_order_commands_are_closed_with_their_code() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    let identify = r#"{"op":1,"token":"42"}"#;
    for (name, frames, code) in [
        ("a subscription before Identify", &[r#"{"op":4,"channel":"public:news"}"#][..], 4006),
        ("an unsubscription before Identify", &[r#"{"op":5,"channel":"all"}"#], 4006),
        ("a new token before the first", &[r#"{"op":12,"token":"42"}"#], 4006),
        ("a second Identify", &[identify, identify], 4005),
        ("a second Identify for another", &[identify, r#"{"op":1,"token":"43"}"#], 4005),
        ("an empty token", &[r#"{"op":1,"token":""}"#], 4003),
        ("NUL as a token", &[r#"{"op":1,"token":"\u0000"}"#], 4003),
        ("a channel as a token", &[r#"{"op":1,"token":"43:*"}"#], 4003),
    ] {
        let mut raw = RawSocket::connect_by(peer.gateway.public, &UPGRADE.replacen("/ ", "/?v=2 ", 1), b"");
        frames.iter().for_each(|text| raw.send_text(text));
        texts_before_close(&mut raw, code);
        peer.assert_served(name);
    }
}

#[test]
fn a_message_flood_is_closed_and_the_rest_ignored() {
    let mut peer = HealthyPeer::of(&TestGateway::with("session.messages_per_minute", "20"));
    let mut raw = peer.attacker();
    raw.write(&frame(0x81, br#"{"op":10}"#).repeat(1_000));
    let answers = texts_before_close(&mut raw, 4007);
    // The rate allows one more every three seconds, which leaves room for a slow machine.
    assert!((15..=30).contains(&answers.len()), "{} answers", answers.len());
    peer.assert_served("a flood of messages");
}

#[test]
fn a_flood_of_subscriptions_stops_at_the_limit() {
    let mut peer = HealthyPeer::of(&TestGateway::with("limits.subscriptions_per_session", "3"));
    let mut raw = RawSocket::connect_by(peer.gateway.public, &UPGRADE.replacen("/ ", "/?v=2 ", 1), b"");
    raw.send_text(r#"{"op":1,"token":"42"}"#);
    for _ in 0..2 {
        assert_eq!(raw.frame().0, 0x81);
    }
    for channel in 0..500 {
        raw.send_text(&format!(r#"{{"op":4,"channel":"public:{channel}"}}"#));
    }
    let refused = |text: &[u8]| String::from_utf8_lossy(text).contains("too_many_subscriptions");
    let answers: Vec<_> = (0..500).map(|_| raw.frame().1).collect();
    assert_eq!(answers.iter().filter(|answer| refused(answer)).count(), 497);
    assert_eq!(peer.gateway.metric("subscriptions"), 2 + 2 + 3);
    assert_eq!(peer.gateway.metric("channels"), 3 + 3, "refused subscriptions have no channel");
    peer.assert_served("a flood of subscriptions");
}

/// A peer that has closed its side can no longer answer heartbeats.
#[test]
fn a_half_closed_peer_is_disconnected() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    for (name, identifies) in [("an unidentified peer", false), ("a user", true)] {
        let mut raw = peer.attacker();
        if identifies {
            raw.send_text(r#"{"op":1,"token":"42"}"#);
            raw.expect_text(r#"{"op":2,"user":"42"}"#);
        }
        raw.shutdown_write();
        peer.gateway.wait_metric("connections", 1);
        peer.gateway.wait_metric("sessions", 1);
        assert!(raw.ends_within(SOON), "{name} is still served");
        peer.assert_served(name);
    }
    // The same holds in the middle of a request.
    let mut stream = TcpStream::connect(peer.gateway.public).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: ").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).unwrap();
    peer.gateway.wait_metric("handshakes", 0);
    peer.assert_served("half a request");
}

#[test]
fn an_offered_subprotocol_is_not_selected() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    let mut stream = TcpStream::connect(peer.gateway.public).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let head = format!("{UPGRADE}\nsec-websocket-protocol: chat, graphql-ws\nhost: gateway\n\n");
    stream.write_all(head.replace('\n', "\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert!(!answer.contains("sec-websocket-protocol"), "{answer}");
    drop(stream);
    peer.assert_served("a subprotocol");
}

/// A peer must not be able to fill the log, or to slow down the threads that write it.
#[test]
fn peers_cause_no_log_lines_at_the_default_level() {
    let plan = TestGateway::with("session.control_frames_per_minute", "10")
        .with("session.identify_timeout", "300ms")
        .with("limits.connections_per_address", "20");
    let mut peer = HealthyPeer::of(&plan);
    // The last line of the start. The port is open before it.
    peer.gateway.wait_for_log("starting service: \"admin\"");
    let before = peer.gateway.log();
    for bytes in [
        vec![0xFF; 100],
        frame(0x81, b"nonsense"),
        frame(0x81, b"\xFF"),
        frame(0x82, b""),
        frame(0x88, b"\x03"),
        frame(0x81, br#"{"op":1,"token":""}"#),
        frame(0x89, b"").repeat(100),
        frame(0x00, b""),
        Vec::new(),
    ] {
        let mut raw = peer.attacker();
        raw.write(&bytes);
        assert!(raw.ends_within(SOON));
    }
    peer.attacker().reset();
    for request in ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01", "GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n", ""]
    {
        for address in [peer.gateway.public, peer.gateway.admin] {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    peer.gateway.wait_metric("connections", 1);
    peer.gateway.wait_metric("handshakes", 0);
    peer.assert_served("all of that");
    assert_eq!(peer.gateway.log(), before);
    assert_eq!(
        peer.gateway.metric("upgrades_refused_total{reason=\"bad_request\"}"),
        2,
        "refusals are counted"
    );
}
