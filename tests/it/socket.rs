//! A client that reads slowly or not at all does not affect others.

use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::raw_socket::{RawSocket, text_frame};
use crate::support::redis_server::RedisServer;

/// Identifies a raw client that reads nothing afterwards.
fn stalled(gateway: &TestGateway, hello: &str) -> RawSocket {
    let mut raw = RawSocket::connect(gateway.public);
    raw.expect_text(hello);
    raw.send_text(r#"{"op":1,"token":"42"}"#);
    raw.expect_text(r#"{"op":2,"user":"42"}"#);
    raw
}

/// Publishes until `until` holds; a healthy client receives every message.
fn fill(gateway: &TestGateway, until: impl Fn() -> bool) -> usize {
    let mut healthy = gateway.ready_client("43").answering_heartbeats();
    let text = "x".repeat(200_000);
    let mut count = 0;
    eventually(SOON, || {
        gateway.publish("all", &format!(r#"[{count},"{text}"]"#));
        healthy.expect_text(&format!(r#"{{"op":3,"message":[{count},"{text}"]}}"#));
        count += 1;
        until().then_some(())
    });
    count
}

#[test]
fn a_client_that_does_not_read_is_closed_with_4008() {
    let gateway =
        TestGateway::with("session.max_outbound_bytes", "300000").with("session.write_timeout", "2s").spawn();
    let _stalled = stalled(&gateway, r#"{"op":0,"heartbeat_interval":45000}"#);
    fill(&gateway, || gateway.closes(4008) == 1);
    assert!(gateway.metric("outbound_queued_bytes") <= 300_000, "the queue of the closed client is freed");
    // The Close cannot be delivered either, so the gateway ends the connection although the client holds it open.
    gateway.wait_metric("connections", 0);
    gateway.assert_empty();
}

#[test]
fn a_slow_client_reads_whole_frames_and_then_the_reason() {
    let gateway =
        TestGateway::with("session.max_outbound_bytes", "300000").with("session.write_timeout", "1m").spawn();
    let mut slow = gateway.ready_client("42");
    fill(&gateway, || gateway.closes(4008) == 1);
    let text = "x".repeat(200_000);
    let mut count = 0;
    while let Some(frame) = slow.next_or_close_with(4008) {
        assert_eq!(frame, format!(r#"{{"op":3,"message":[{count},"{text}"]}}"#));
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn a_client_blocked_for_the_write_timeout_is_closed() {
    let gateway = TestGateway::with("session.max_outbound_bytes", "100000000")
        .with("session.write_timeout", "500ms")
        .spawn();
    let _stalled = stalled(&gateway, r#"{"op":0,"heartbeat_interval":45000}"#);
    fill(&gateway, || gateway.metric("outbound_queued_bytes") > 1_000_000);
    gateway.wait_metric(r#"websocket_closes_total{code="4008"}"#, 1);
    gateway.assert_empty();
}

#[test]
fn a_session_whose_socket_is_blocked_keeps_its_timers() {
    let gateway = TestGateway::with("session.max_outbound_bytes", "100000000")
        .with("session.write_timeout", "5m")
        .with("session.heartbeat_interval", "1s")
        .with("session.heartbeat_grace", "5s")
        .with("server.close_timeout", "1m")
        .spawn();
    let stalled = stalled(&gateway, r#"{"op":0,"heartbeat_interval":1000}"#);
    fill(&gateway, || gateway.metric("outbound_queued_bytes") > 1_000_000);
    gateway.wait_metric(r#"websocket_closes_total{code="4002"}"#, 1);
    gateway.wait_metric("sessions", 0);
    gateway.wait_metric("subscriptions", 0);
    gateway.wait_metric("connections", 1);
    assert!(gateway.metric("outbound_queued_bytes") > 0, "the socket is still blocked");
    drop(stalled);
}

#[test]
fn a_client_that_reads_late_gets_everything_in_order() {
    let gateway = TestGateway::with("session.max_outbound_bytes", "100000000").spawn();
    let mut late = gateway.ready_client("42");
    let count = fill(&gateway, || gateway.metric("outbound_queued_bytes") > 2_000_000);
    let text = "x".repeat(200_000);
    for number in 0..count {
        late.expect_text(&format!(r#"{{"op":3,"message":[{number},"{text}"]}}"#));
    }
    gateway.wait_metric("outbound_queued_bytes", 0);
}

#[test]
fn frames_sent_with_the_upgrade_request_are_processed() {
    let gateway = TestGateway::spawn();
    let identify = text_frame(0x81, r#"{"op":1,"token":"42"}"#);
    let mut raw = RawSocket::connect_with(gateway.public, &identify);
    raw.expect_text(r#"{"op":0,"heartbeat_interval":45000}"#);
    raw.expect_text(r#"{"op":2,"user":"42"}"#);
    gateway.wait_metric("received_bytes_total", identify.len() as i64);
}

#[test]
fn control_frames_may_interrupt_a_fragmented_message() {
    let gateway = TestGateway::spawn();
    let mut raw = RawSocket::connect(gateway.public);
    raw.expect_text(r#"{"op":0,"heartbeat_interval":45000}"#);
    raw.write(&text_frame(0x01, r#"{"op":1,"#));
    raw.write(&text_frame(0x89, "are you there?"));
    assert_eq!(raw.frame(), (0x8A, b"are you there?".to_vec()));
    raw.write(&text_frame(0x00, r#""token":"#));
    for byte in text_frame(0x80, r#""42"}"#) {
        raw.write(&[byte]);
    }
    raw.expect_text(r#"{"op":2,"user":"42"}"#);
}

#[test]
fn a_socket_disconnected_at_any_moment_leaves_no_state() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let mut kept = gateway.ready_client("42");
    for round in 0..150 {
        let mut raw = RawSocket::connect(gateway.public);
        if round % 5 > 0 {
            raw.send_text(r#"{"op":1,"token":"42"}"#);
        }
        if round % 5 > 1 {
            raw.expect_text(r#"{"op":0,"heartbeat_interval":45000}"#);
        }
        if round % 5 > 2 {
            raw.expect_text(r#"{"op":2,"user":"42"}"#);
        }
        if round % 5 > 3 {
            // Half a frame.
            raw.write(&[0x81, 0xFE, 1]);
        }
    }
    gateway.wait_metric("connections", 1);
    gateway.wait_metric("subscriptions", 2);
    gateway.publish("user:42", "1");
    kept.expect_text(r#"{"op":3,"message":1}"#);
}

#[test]
fn fragmented_and_incomplete_requests_are_harmless() {
    let gateway = TestGateway::with("server.handshake_timeout", "500ms").spawn();
    let mut silent: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(gateway.public).unwrap()).collect();
    let mut client = gateway.ready_client("42");
    gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
    for stream in &mut silent {
        use std::io::Read as _;
        stream.set_read_timeout(Some(SOON)).unwrap();
        // The gateway answers 408 or nothing, and ends the connection.
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}
