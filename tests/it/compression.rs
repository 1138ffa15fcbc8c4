//! Compression with permessage-deflate.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use bytes::BytesMut;
use protocol::deflate::{Inflater, deflate};

use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::raw_socket::{RawSocket, text_frame};

const OFFER: &str = "\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
const BOUND: usize = 100_000;

/// Builds an upgrade request with further headers for `RawSocket`.
fn head(more: &str) -> String {
    format!(
        "GET / HTTP/1.1\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=={more}"
    )
}

/// Connects a client that offers compression, and identifies it as `user`.
fn ready(gateway: &TestGateway, user: &str) -> RawSocket {
    let mut client = RawSocket::connect_by(gateway.public, &head(OFFER), b"");
    client.expect_text(r#"{"op":0,"heartbeat_interval":45000}"#);
    client.send_text(&format!(r#"{{"op":1,"token":"{user}"}}"#));
    client.expect_text(&format!(r#"{{"op":2,"user":"{user}"}}"#));
    client
}

fn inflate(wire: &[u8]) -> String {
    let (mut inflater, mut output) = (Inflater::new(), BytesMut::new());
    inflater.push(wire, &mut output, BOUND).unwrap();
    inflater.finish(&mut output, BOUND).unwrap();
    String::from_utf8(output.to_vec()).unwrap()
}

/// Encodes a masked frame with a compressed text message.
fn compressed(text: &[u8]) -> Vec<u8> {
    let payload = deflate(text);
    let mut frame = vec![0xC1, 0x80 | 126];
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(&payload);
    if payload.len() < 126 {
        frame.splice(1..4, [0x80 | payload.len() as u8]);
    }
    frame
}

#[test]
fn long_messages_are_compressed_for_clients_that_offer_it() {
    let gateway = TestGateway::with("server.compression", "true").spawn();
    let mut plain = gateway.ready_client("42");
    let mut client = ready(&gateway, "42");
    let message = format!(r#"{{"text":"{}"}}"#, "again and ".repeat(200));
    gateway.publish("user:42", &message);
    plain.expect_text(&format!(r#"{{"op":3,"message":{message}}}"#));
    let (first, wire) = client.frame();
    assert_eq!(first, 0xC1, "a compressed text message");
    assert!(wire.len() < message.len() / 10, "{} bytes", wire.len());
    assert_eq!(inflate(&wire), format!(r#"{{"op":3,"message":{message}}}"#));
    gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
}

#[test]
fn a_client_may_compress_its_messages() {
    let gateway = TestGateway::with("server.compression", "true").spawn();
    let mut client = ready(&gateway, "42");
    client.write(&compressed(br#"{"op":10,"time":7,"more":"again and again and again and again"}"#));
    client.expect_text(r#"{"op":11,"time":7}"#);
}

#[test]
fn a_compression_bomb_is_refused_and_another_client_served() {
    let gateway = TestGateway::with("server.compression", "true").spawn();
    let mut healthy = gateway.ready_client("1");
    let mut client = ready(&gateway, "42");
    // 4 MiB compressed to a few KiB; the bound is 64 KiB.
    client.write(&compressed(&vec![b'x'; 4 << 20]));
    client.expect_close(1009);
    gateway.publish("user:1", "1");
    healthy.expect_text(r#"{"op":3,"message":1}"#);
}

#[cfg(target_os = "linux")]
#[test]
fn an_unfinished_compressed_message_costs_only_its_received_bytes() {
    let gateway = TestGateway::with("server.compression", "true").spawn();
    let mut unfinished = compressed(&[b'x'; 60_000]);
    assert!(unfinished.len() < 1_000);
    // The message is not finished.
    unfinished[0] &= 0x7F;
    let mut client = ready(&gateway, "1");
    client.write(&unfinished);
    let before = gateway.peak_memory();
    let clients: Vec<_> = (0..100)
        .map(|number| {
            let mut client = ready(&gateway, &number.to_string());
            // The Pong shows that the gateway has read the beginning of the message.
            client.write(&[&unfinished[..], &text_frame(0x89, "")].concat());
            assert_eq!(client.frame().0, 0x8A);
            client
        })
        .collect();
    let grown = gateway.peak_memory() - before;
    assert!(grown < 3_072, "memory grew by {grown} KiB for {} messages", clients.len());
}

#[test]
fn a_compressed_frame_without_negotiation_is_a_protocol_error() {
    for (setting, offer) in [("false", OFFER), ("true", "")] {
        let gateway = TestGateway::with("server.compression", setting).spawn();
        let mut client = RawSocket::connect_by(gateway.public, &head(offer), b"");
        client.expect_text(r#"{"op":0,"heartbeat_interval":45000}"#);
        client.write(&compressed(br#"{"op":10}"#));
        client.expect_close(1002);
    }
}

/// Returns the extensions in the answer to an upgrade with these offers.
fn answer_to(gateway: &TestGateway, offers: &str) -> Option<String> {
    let mut stream = TcpStream::connect(gateway.public).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let request = format!("{}\nhost: gateway\n\n", head(&format!("\nSec-WebSocket-Extensions: {offers}")));
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("HTTP/1.1 101 "), "{offers}");
    let mut headers = lines.take_while(|line| !line.is_empty());
    headers.find_map(|line| line.strip_prefix("sec-websocket-extensions: ").map(str::to_owned))
}

/// RFC 7692, section 7.1.2.1: a client that limits the server's window fails the connection unless the answer repeats
/// the limit.
#[test]
fn a_limit_on_the_server_window_is_accepted_or_declined() {
    let gateway = TestGateway::with("server.compression", "true").spawn();
    let accepted = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let bounded = format!("{accepted}; server_max_window_bits=15");
    for (offers, expected) in [
        ("permessage-deflate", Some(accepted)),
        ("permessage-deflate; server_max_window_bits=15", Some(&bounded)),
        ("permessage-deflate; client_max_window_bits=15; server_max_window_bits=15", Some(&bounded)),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", Some(accepted)),
        ("permessage-deflate; server_max_window_bits=10", None),
        ("permessage-deflate; server_max_window_bits", None),
    ] {
        assert_eq!(answer_to(&gateway, offers).as_deref(), expected, "{offers}");
    }
}
