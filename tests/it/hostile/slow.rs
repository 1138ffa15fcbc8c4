//! Requests and messages that arrive slowly or remain unfinished.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{HealthyPeer, frame, header};
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::raw_socket::RawSocket;

/// The pause between two bytes.
const PAUSE: Duration = Duration::from_millis(25);

/// Sends one byte at a time, with a pause after each, until the gateway answers or ends the connection.
#[track_caller]
fn drip(stream: &mut TcpStream, bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    stream.set_read_timeout(Some(PAUSE)).unwrap();
    let mut buffer = [0; 512];
    for byte in bytes {
        if stream.write_all(&[byte]).is_err() {
            return Vec::new();
        }
        match stream.read(&mut buffer) {
            Ok(length) => return buffer[..length].to_vec(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Vec::new(),
        }
    }
    panic!("the gateway did not react to the whole request");
}

#[test]
fn a_slow_request_is_ended_by_the_handshake_timeout() {
    let mut peer = HealthyPeer::of(&TestGateway::with("server.handshake_timeout", "1s"));
    let mut stream = TcpStream::connect(peer.gateway.public).unwrap();
    let started = Instant::now();
    let endless = b"GET / HTTP/1.1\r\nhost: ".iter().copied().chain(std::iter::repeat(b'x'));
    let answer = drip(&mut stream, endless);
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    assert!(started.elapsed() < SOON);
    peer.assert_served("a slow request");
}

#[test]
fn a_silent_connection_is_ended_by_the_handshake_timeout() {
    let mut peer = HealthyPeer::of(&TestGateway::with("server.handshake_timeout", "1s"));
    let mut streams: Vec<_> = (0..50).map(|_| TcpStream::connect(peer.gateway.public).unwrap()).collect();
    peer.assert_served("fifty silent connections");
    for stream in &mut streams {
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    }
    peer.assert_served("their end");
}

#[test]
fn endless_chunks_are_ended_by_the_handshake_timeout() {
    let mut peer = HealthyPeer::of(&TestGateway::with("server.handshake_timeout", "500ms"));
    for request in ["GET /gateway", "POST /"] {
        for drips in [false, true] {
            let mut stream = TcpStream::connect(peer.gateway.public).unwrap();
            let head =
                format!("{request} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            peer.gateway.wait_metric("handshakes", 1);
            if drips {
                while stream.write_all(b"1\r\nx\r\n").is_ok() {}
            }
            peer.gateway.wait_metric("handshakes", 0);
            peer.assert_served(request);
        }
    }
}

#[test]
fn an_unfinished_message_is_closed_with_1008() {
    let mut peer = HealthyPeer::of(&TestGateway::with("session.message_timeout", "300ms"));
    for (name, begun) in [
        ("half a header", vec![0x81]),
        ("a header", header(0x81, 100)),
        ("half a frame", [header(0x81, 100), b"xx".to_vec()].concat()),
        ("a first fragment", frame(0x01, b"{")),
        ("an empty first fragment", frame(0x01, b"")),
        ("half a Ping", header(0x89, 5)),
        ("a Ping inside a message", [frame(0x01, b"{"), frame(0x89, b"")].concat()),
        ("the second of two", [frame(0x81, br#"{"op":10}"#), vec![0x81]].concat()),
    ] {
        let mut raw = peer.attacker();
        raw.write(&begun);
        let close = loop {
            let (first, payload) = raw.frame();
            match first {
                0x88 => break payload,
                _ => assert!(matches!(first, 0x81 | 0x8A), "{name}: {first:02X}"),
            }
        };
        assert_eq!(close[..2], 1008_u16.to_be_bytes(), "{name}");
        assert!(raw.ends_within(SOON), "{name}");
        peer.assert_served(name);
    }
}

#[test]
fn bytes_and_pings_do_not_extend_the_message_timeout() {
    // Enough fragments are allowed that only the timeout applies.
    let plan = TestGateway::with("session.message_timeout", "500ms").with("session.max_fragments", "65536");
    let mut peer = HealthyPeer::of(&plan);
    let mut raw = peer.attacker();
    raw.write(&frame(0x01, b"\""));
    let started = Instant::now();
    eventually(SOON, || {
        // Alternates bytes of the message and Pings; the Pong shows that the socket is still open.
        raw.try_write(&[frame(0x00, b""), frame(0x89, b"?")].concat());
        (raw.frame().0 == 0x88).then_some(())
    });
    assert!(started.elapsed() >= Duration::from_millis(490), "{:?}", started.elapsed());
    assert_eq!(peer.gateway.closes(1008), 1);
    peer.assert_served("a message without end");
}

#[test]
fn completed_messages_restart_the_message_timeout() {
    let mut peer = HealthyPeer::of(
        &TestGateway::with("session.message_timeout", "700ms")
            .with("session.messages_per_minute", "0")
            .with("session.heartbeat_interval", "1h"),
    );
    let mut raw = RawSocket::connect(peer.gateway.public);
    raw.expect_text(r#"{"op":0,"heartbeat_interval":3600000}"#);
    let message = frame(0x81, br#"{"op":10}"#);
    let started = Instant::now();
    // Each write ends one message and begins the next, so the socket is almost always inside a message.
    raw.write(&message[..3]);
    while started.elapsed() < Duration::from_millis(1_500) {
        raw.write(&[&message[3..], &message[..3]].concat());
        raw.expect_text(r#"{"op":11}"#);
    }
    peer.assert_served("many messages");
}
