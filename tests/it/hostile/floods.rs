//! Floods of control frames, and the queues of peers that do not read.

use super::{HealthyPeer, frame};
use crate::support::client::{Client, Version};
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::raw_socket::RawSocket;

/// The length of a long message, in bytes.
const LONG: usize = 60_000;

/// Reads up to the Close, which must have `code`; returns the Pongs before it.
#[track_caller]
fn pongs_before_close(raw: &mut RawSocket, code: u16) -> Vec<Vec<u8>> {
    let mut pongs = Vec::new();
    loop {
        match raw.frame() {
            (0x8A, payload) => pongs.push(payload),
            (0x88, payload) => {
                assert_eq!(payload[..2], code.to_be_bytes());
                return pongs;
            }
            (0x81, _) => {}
            (first, payload) => panic!("frame {first:02X}: {payload:02X?}"),
        }
    }
}

impl HealthyPeer {
    /// Opens a socket of this user that reads nothing after Ready.
    #[track_caller]
    fn ready_socket(&self, user: &str) -> RawSocket {
        let mut raw = self.attacker();
        raw.send_text(&format!(r#"{{"op":1,"token":"{user}"}}"#));
        raw.expect_text(&format!(r#"{{"op":2,"user":"{user}"}}"#));
        raw
    }

    /// Publishes long messages to a user until `is_enough` holds; returns their number.
    #[track_caller]
    fn publish_until(&self, user: &str, mut is_enough: impl FnMut(&TestGateway) -> bool) -> usize {
        let mut count = 0;
        eventually(SOON, || {
            self.gateway.publish(&format!("user:{user}"), &format!("{:?}", "x".repeat(LONG)));
            count += 1;
            is_enough(&self.gateway).then_some(count)
        })
    }
}

#[test]
fn a_ping_flood_is_closed_without_a_message_limit() {
    let plan =
        TestGateway::with("session.control_frames_per_minute", "10").with("session.messages_per_minute", "0");
    let mut peer = HealthyPeer::of(&plan);
    for (name, before, flood) in [
        ("Pings", vec![], frame(0x89, b"?")),
        ("Pings inside a message", frame(0x01, b"{"), frame(0x89, b"?")),
        ("Pings and Pongs", vec![], [frame(0x89, b"?"), frame(0x8A, b"?")].concat()),
    ] {
        let mut raw = peer.attacker();
        raw.write(&[before, flood.repeat(1_000)].concat());
        let pongs = pongs_before_close(&mut raw, 4007);
        // The rate allows one more every six seconds, which leaves room for a slow machine.
        assert!((5..=15).contains(&pongs.len()), "{name}: {} Pongs", pongs.len());
        peer.assert_served(name);
    }
    assert_eq!(peer.gateway.closes(4007), 3);
}

/// Unsolicited Pongs are allowed (RFC 6455, section 5.5.3), but not in a flood.
#[test]
fn a_flood_of_unsolicited_pongs_is_closed_with_4007() {
    let plan =
        TestGateway::with("session.control_frames_per_minute", "10").with("session.messages_per_minute", "0");
    let mut peer = HealthyPeer::of(&plan);
    let mut raw = peer.attacker();
    raw.write(&frame(0x8A, b"?").repeat(5));
    peer.assert_served("a few Pongs");
    raw.try_write(&frame(0x8A, b"?").repeat(1_000));
    assert_eq!(pongs_before_close(&mut raw, 4007), [[0; 0]; 0], "Pongs are not answered");
    peer.assert_served("a flood of Pongs");
}

#[test]
fn every_ping_within_the_rate_is_answered_in_order() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    let mut raw = peer.attacker();
    let pings: Vec<_> = (0..100_u8).map(|number| frame(0x89, &[number; 125])).collect();
    raw.write(&pings.concat());
    for number in 0..100 {
        assert_eq!(raw.frame(), (0x8A, vec![number; 125]));
    }
    peer.assert_served("a hundred Pings");
}

/// RFC 6455, section 5.5.3: an endpoint may answer the latest Ping only.
#[test]
fn only_the_latest_unread_pong_is_queued() {
    let plan = TestGateway::with("session.control_frames_per_minute", "1000000")
        .with("session.messages_per_minute", "0")
        .with("session.write_timeout", "1m");
    let mut peer = HealthyPeer::of(&plan);
    let mut raw = peer.ready_socket("42");
    peer.publish_until("42", |gateway| gateway.metric("outbound_queued_bytes") > 0);
    let before = peer.gateway.metric("outbound_queued_bytes");
    for number in 0..1_000_u16 {
        raw.write(&frame(0x89, &number.to_be_bytes().repeat(60)));
    }
    // The answer shows that the gateway has read everything before it.
    raw.send_text(r#"{"op":10,"time":7}"#);
    let after = before + 200;
    eventually(SOON, || (peer.gateway.metric("client_messages_total") == 3).then_some(()));
    let queued = peer.gateway.metric("outbound_queued_bytes");
    assert!(queued <= after, "{queued} bytes are queued, {before} were queued before the Pings");
    peer.assert_served("a thousand Pongs that are not read");
    let mut pongs = Vec::new();
    loop {
        match raw.frame() {
            (0x8A, payload) => pongs.push(payload),
            (0x81, payload) if payload == br#"{"op":11,"time":7}"# => break,
            (first, _) => assert_eq!(first, 0x81),
        }
    }
    assert_eq!(pongs, [999_u16.to_be_bytes().repeat(60)]);
}

#[test]
fn over_the_shared_outbound_bound_the_largest_queue_is_closed() {
    const TOGETHER: i64 = 2_000_000;
    let plan = TestGateway::with("server.max_outbound_bytes", &TOGETHER.to_string())
        .with("session.max_outbound_bytes", &TOGETHER.to_string())
        .with("session.write_timeout", "1m");
    let mut peer = HealthyPeer::of(&plan);
    let mut short_queue = peer.ready_socket("41");
    let messages = peer.publish_until("41", |gateway| gateway.metric("outbound_queued_bytes") > 0);
    let long_queue = peer.ready_socket("42");
    let mut most = 0;
    peer.publish_until("42", |gateway| {
        most = most.max(gateway.metric("outbound_queued_bytes"));
        gateway.closes(4008) == 1
    });
    assert!(most > TOGETHER / 4 && most <= TOGETHER, "{most} bytes were queued");
    peer.assert_served("a long queue");
    // The socket with the short queue stays open and receives everything.
    peer.gateway.publish("user:41", r#""the next""#);
    for _ in 0..messages {
        assert_eq!(short_queue.frame().1.len(), LONG + r#"{"op":3,"message":""}"#.len());
    }
    short_queue.expect_text(r#"{"op":3,"message":"the next"}"#);
    assert_eq!(peer.gateway.closes(4008), 1);
    drop(long_queue);
}

#[test]
fn a_flood_of_client_messages_and_signals_is_closed() {
    let plan = TestGateway::with("session.messages_per_minute", "30")
        .with("session.sends_per_minute", "2")
        .with("session.signals_per_minute", "2")
        .with("namespaces.public.send", "true")
        .with("namespaces.public.signals", "true");
    let mut peer = HealthyPeer::of(&plan);
    for (frame, sent, refused) in [
        (r#"{"op":16,"id":"c1","channel":"public:1","message":1}"#, 0..=2, 20..=30),
        (r#"{"op":18,"channel":"public:1","signal":1}"#, 0..=0, 0..=0),
    ] {
        let mut client = Client::connect(peer.gateway.public, Version::V2);
        client.send_text(r#"{"op":1,"token":"42","channels":[{"channel":"public:1"}]}"#);
        client.expect_ready();
        for _ in 0..36 {
            client.send_text(frame);
        }
        let answers: Vec<_> = std::iter::from_fn(|| client.next_or_close_with(4007)).collect();
        let count = |part: &str| answers.iter().filter(|answer| answer.contains(part)).count();
        // The Close may overtake an acknowledgement.
        assert!(sent.contains(&count(r#"{"op":17,"#)), "{answers:?}");
        assert!(refused.contains(&count("rate_limited")), "{answers:?}");
        peer.assert_served(frame);
    }
}
