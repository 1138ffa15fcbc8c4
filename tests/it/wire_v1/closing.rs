//! The close codes of version 1.

use tokio_tungstenite::tungstenite::Message;

use crate::support::gateway::TestGateway;
use crate::support::raw_socket::RawSocket;

/// Starts a gateway with a short identify timeout.
const IDENTIFY_TIMEOUT: &str = "300ms";

#[test]
fn a_malformed_frame_is_closed_with_4001() {
    let gateway = TestGateway::spawn();
    let all = [
        "",
        "x",
        "{",
        "[]",
        "1",
        "null",
        "{}",
        r#"{"op":"1"}"#,
        r#"{"op":1.0}"#,
        r#"{"op":-1}"#,
        r#"{"op":99}"#,
        r#"{"op":0}"#,
        r#"{"op":2,"user":"42"}"#,
        r#"{"op":1}"#,
        r#"{"op":1,"token":42}"#,
        r#"{"op":1,"token":null}"#,
        r#"{"op":10,"time":"1"}"#,
        r#"{"op":1,"op":1,"token":"42"}"#,
        // Commands of version 2.
        r#"{"op":1,"token":"42","channels":[]}"#,
        r#"{"op":4,"channel":"public:news"}"#,
        r#"{"op":5,"channel":"public:news"}"#,
        r#"{"op":12,"token":"42"}"#,
        r#"{"op":15,"id":"m1","channel":"room:7"}"#,
    ];
    for text in all {
        let mut client = gateway.connect();
        client.send_text(text);
        client.expect_close(4001);
    }
    let mut identified = gateway.ready_client("42");
    identified.send_text("x");
    identified.expect_close(4001);
    assert_eq!(gateway.closes(4001), all.len() as i64 + 1);
}

#[test]
fn a_token_that_is_no_user_is_closed_with_4003() {
    let gateway = TestGateway::spawn();
    for token in ["", "4 2", "*", "{42}", r"\n", "\u{e9}", &"x".repeat(129)] {
        let mut client = gateway.connect();
        client.identify(token);
        client.expect_close(4003);
    }
    assert_eq!(gateway.closes(4003), 7);
    assert_eq!(gateway.metric("sessions"), 0);
}

#[test]
fn a_client_that_does_not_identify_is_closed_with_4004() {
    let gateway = TestGateway::with("session.identify_timeout", IDENTIFY_TIMEOUT).spawn();
    let mut identified = gateway.ready_client("42");
    let mut silent = gateway.connect();
    // Heartbeats do not replace Identify.
    let mut client_with_heartbeats = gateway.connect();
    client_with_heartbeats.send_text(r#"{"op":10}"#);
    client_with_heartbeats.expect_text(r#"{"op":11}"#);
    silent.expect_close(4004);
    client_with_heartbeats.expect_close(4004);
    gateway.publish("user:42", "1");
    identified.expect_text(r#"{"op":3,"message":1}"#);
}

#[test]
fn a_second_identify_is_closed_with_4005() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.ready_client("42");
    client.identify("42");
    client.expect_close(4005);
    // Both are sent together: the gateway may read the second one before or after it sends Ready.
    let mut hasty = gateway.connect();
    hasty.identify("42");
    hasty.identify("42");
    let ready_came = hasty.next_or_close();
    assert!(matches!(ready_came.as_deref(), None | Some(r#"{"op":2,"user":"42"}"#)), "{ready_came:?}");
    gateway.wait_metric(r#"websocket_closes_total{code="4005"}"#, 2);
}

#[test]
fn a_client_over_the_message_rate_is_closed_with_4007() {
    let gateway = TestGateway::with("session.messages_per_minute", "5").spawn();
    let mut client = gateway.ready_client("42");
    for _ in 0..4 {
        client.send_text(r#"{"op":10}"#);
        client.expect_text(r#"{"op":11}"#);
    }
    client.send_text(r#"{"op":10}"#);
    client.expect_close(4007);
}

#[test]
fn a_session_ends_with_4009_when_its_token_does() {
    let gateway =
        TestGateway::with("auth.kind", "jwt").with("auth.secret", "0123456789abcdef0123456789abcdef").spawn();
    let mut long = gateway.connect();
    long.identify(&gateway.token(&["--user", "42", "--ttl", "1h"]));
    long.expect_text(r#"{"op":2,"user":"42"}"#);
    let mut short = gateway.connect();
    short.identify(&gateway.token(&["--user", "42", "--ttl", "4s"]));
    short.expect_text(r#"{"op":2,"user":"42"}"#);
    short.expect_close(4009);
    gateway.publish("user:42", "1");
    long.expect_text(r#"{"op":3,"message":1}"#);
}

#[test]
fn a_binary_frame_is_closed_with_1003() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.ready_client("42");
    client.send(Message::binary(br#"{"op":10}"#.to_vec()));
    client.expect_close(1003);
}

#[test]
fn a_message_that_is_too_big_is_closed_with_1009() {
    let gateway = TestGateway::with("session.max_message_bytes", "1024").spawn();
    let mut client = gateway.ready_client("42");
    client.send_text(&format!("{:1024}", r#"{"op":10}"#));
    client.expect_text(r#"{"op":11}"#);
    client.send_text(&format!("{:1025}", r#"{"op":10}"#));
    client.expect_close(1009);
    // The announced length is enough; no byte of the payload is sent.
    let mut raw = RawSocket::connect(gateway.public);
    raw.expect_text(r#"{"op":0,"heartbeat_interval":45000}"#);
    raw.write(&[0x81, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    raw.expect_close(1009);
}

#[test]
fn unmasked_frames_and_invalid_utf_8_are_closed() {
    let gateway = TestGateway::spawn();
    for (bytes, code) in [
        (&b"\x81\x09{\"op\":10}"[..], 1002),
        (b"\xF1\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x81\x82\0\0\0\0\xC3\x28", 1007),
    ] {
        let mut raw = RawSocket::connect(gateway.public);
        raw.expect_text(r#"{"op":0,"heartbeat_interval":45000}"#);
        raw.write(bytes);
        raw.expect_close(code);
    }
}

#[test]
fn a_client_s_close_is_answered_and_its_state_removed() {
    let gateway = TestGateway::spawn();
    let mut raw = RawSocket::connect(gateway.public);
    raw.expect_text(r#"{"op":0,"heartbeat_interval":45000}"#);
    raw.send_text(r#"{"op":1,"token":"42"}"#);
    raw.expect_text(r#"{"op":2,"user":"42"}"#);
    // Close 1000.
    raw.write(b"\x88\x82\0\0\0\0\x03\xE8");
    raw.expect_close(1000);
    gateway.assert_empty();
}
