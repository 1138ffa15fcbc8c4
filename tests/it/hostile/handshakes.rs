//! A table of requests that must not open a socket, each with its exact answer.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::{HELLO, HealthyPeer};
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::raw_socket::{RawSocket, UPGRADE};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A name, the request, and the statuses of the answers.
type Case = (&'static str, String, &'static [u16]);

/// Encodes the upgrade request with one part replaced.
fn upgrade(replace: &str, with: &str) -> String {
    assert!(UPGRADE.contains(replace), "{replace}");
    on_the_wire(&UPGRADE.replacen(replace, with, 1))
}

fn on_the_wire(head: &str) -> String {
    format!("{}\r\nhost: gateway\r\n\r\n", head.replace('\n', "\r\n"))
}

/// Encodes the upgrade request with one more header.
fn with_header(header: &str) -> String {
    upgrade("GET / HTTP/1.1", &format!("GET / HTTP/1.1\n{header}"))
}

/// Sends a request and reads until the gateway ends the connection.
fn read_to_end(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // The gateway may end the connection while the request is still being sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<u16> {
    answer.split("HTTP/1.").skip(1).map(|rest| rest[2..5].parse().unwrap()).collect()
}

#[test]
fn each_invalid_upgrade_has_its_exact_answer() {
    let plan = TestGateway::with("server.allowed_origins", "https://app.example.com,https://*.example.org");
    let mut peer = HealthyPeer::of(&plan);
    for (name, request, wanted) in [upgrades(), origins(), requests(), smuggling()].concat() {
        let answer = read_to_end(peer.gateway.public, request.as_bytes());
        assert_eq!(statuses(&answer), wanted, "{name}: {answer}");
        assert!(!answer.contains(HELLO), "{name}: it opened a socket");
        peer.assert_served(name);
    }
    assert_eq!(peer.gateway.metric("connections_opened_total"), 1, "only the healthy client's");
}

fn upgrades() -> Vec<Case> {
    let key = |key| upgrade(KEY, key);
    vec![
        ("no Connection", upgrade("connection: upgrade\n", ""), &[400]),
        ("Connection without upgrade", upgrade("connection: upgrade", "connection: keep-alive"), &[400]),
        ("no Upgrade", upgrade("upgrade: websocket\n", ""), &[426]),
        ("an upgrade to something else", upgrade("upgrade: websocket", "upgrade: h2c"), &[426]),
        (
            "an upgrade to several other things",
            upgrade("upgrade: websocket", "upgrade: h2c, TLS/1.3"),
            &[426],
        ),
        (
            "an upgrade to a similar protocol",
            upgrade("upgrade: websocket", "upgrade: websockets, h2c"),
            &[426],
        ),
        (
            "an upgrade to a versioned protocol",
            upgrade("upgrade: websocket", "upgrade: websocket/13"),
            &[426],
        ),
        (
            "Connection with a similar option",
            upgrade("connection: upgrade", "connection: no-upgrade"),
            &[400],
        ),
        ("no version", upgrade("sec-websocket-version: 13\n", ""), &[426]),
        ("version 8", upgrade("version: 13", "version: 8"), &[426]),
        ("version 013", upgrade("version: 13", "version: 013"), &[426]),
        ("two versions in one header", upgrade("version: 13", "version: 13, 8"), &[426]),
        ("version 8 before 13", with_header("sec-websocket-version: 8"), &[426]),
        ("version 13 twice", with_header("sec-websocket-version: 13"), &[400]),
        ("no key", upgrade(&format!("\nsec-websocket-key: {KEY}"), ""), &[400]),
        ("an empty key", key(""), &[400]),
        ("a key of 10 bytes", key("dGhlIHNhbXBsZQ=="), &[400]),
        ("a key that is not base64", key("!!!!!!!!!!!!!!!!!!!!!!=="), &[400]),
        ("a key without its padding", key("dGhlIHNhbXBsZSBub25jZQ"), &[400]),
        ("two keys", with_header("sec-websocket-key: AAAAIHNhbXBsZSBub25jZQ=="), &[400]),
        ("HTTP/1.0", upgrade("HTTP/1.1", "HTTP/1.0"), &[400]),
        ("another path", upgrade("GET / ", "GET /other "), &[404]),
        ("a path with dot segments", upgrade("GET / ", "GET /../gateway "), &[404]),
        ("a percent-encoded path", upgrade("GET / ", "GET /%67ateway "), &[404]),
        ("another version of the protocol", upgrade("GET / ", "GET /?v=3 "), &[400]),
        ("a version twice", upgrade("GET / ", "GET /?v=2&v=1 "), &[400]),
        ("POST that asks to upgrade", upgrade("GET / ", "POST / "), &[405]),
        ("HEAD that asks to upgrade", upgrade("GET / ", "HEAD / "), &[405]),
        ("a method in lower case", upgrade("GET / ", "get / "), &[405]),
        ("CONNECT", upgrade("GET / ", "CONNECT / "), &[405]),
    ]
}

fn origins() -> Vec<Case> {
    let origin = |origin: &str| with_header(&format!("origin: {origin}"));
    vec![
        ("a foreign origin", origin("https://evil.test"), &[403]),
        ("a foreign origin with our name as prefix", origin("https://app.example.com.evil.test"), &[403]),
        ("our origin on another port", origin("https://app.example.com:8443"), &[403]),
        ("our origin without TLS", origin("http://app.example.com"), &[403]),
        ("the parent of the allowed subdomains", origin("https://example.org"), &[403]),
        ("a sandboxed page", origin("null"), &[403]),
        ("an empty Origin", origin(""), &[403]),
        ("two Origins", with_header("origin: https://app.example.com\norigin: https://evil.test"), &[403]),
        (
            "one Origin twice",
            with_header("origin: https://app.example.com\norigin: https://app.example.com"),
            &[403],
        ),
        ("two Origins in one header", origin("https://app.example.com, https://evil.test"), &[403]),
    ]
}

fn requests() -> Vec<Case> {
    vec![
        ("a plain GET", on_the_wire("GET / HTTP/1.1"), &[426]),
        ("a POST", on_the_wire("POST / HTTP/1.1\ncontent-length: 0"), &[405]),
        ("a body that is never sent", on_the_wire("POST / HTTP/1.1\ncontent-length: 100000000"), &[405]),
        ("HTTP/0.9", "GET /\r\n\r\n".to_owned(), &[400]),
        ("HTTP/2 by prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[400]),
        ("a TLS handshake", "\x16\x03\x01\x02\0\x01\0\x01".to_owned(), &[400]),
        ("noise", "\x01\x02\x03\r\n\r\n".to_owned(), &[400]),
        ("no Host", upgrade("GET", "GET").replace("host: gateway\r\n", ""), &[400]),
        ("two Hosts", with_header("host: other"), &[400]),
        ("NUL in the path", upgrade("GET / ", "GET /\0 "), &[400]),
        ("NUL in a header", with_header("x: a\0b"), &[400]),
        ("a blank in a header's name", with_header("na me: x"), &[400]),
        ("a folded header", with_header("x: a\n b"), &[400]),
        ("97 headers", with_header(&["x: y"; 97].join("\n")), &[431]),
        ("a thousand headers", with_header(&["x: y"; 1_000].join("\n")), &[431]),
        ("a header of 200 kB", with_header(&format!("x: {}", "y".repeat(200_000))), &[431]),
        ("a path of 200 kB", upgrade("GET / ", &format!("GET /{} ", "y".repeat(200_000))), &[431]),
        ("200 kB of an unfinished head", format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(200_000)), &[431]),
    ]
}

fn smuggling() -> Vec<Case> {
    let plain = on_the_wire("GET / HTTP/1.1");
    let whole = on_the_wire(UPGRADE);
    vec![
        ("two lengths", with_header("content-length: 5\ncontent-length: 6"), &[400]),
        ("a length and chunks", with_header("content-length: 5\ntransfer-encoding: chunked"), &[400]),
        ("a negative length", with_header("content-length: -1"), &[400]),
        ("an upgrade with a body", with_header("content-length: 5") + "hello", &[400]),
        ("an upgrade with chunks", with_header("transfer-encoding: chunked") + "0\r\n\r\n", &[426]),
        ("an upgrade after a request", [&plain[..], &whole].concat(), &[426]),
        (
            "an upgrade after a body",
            on_the_wire("POST / HTTP/1.1\ncontent-length: 2") + "hi" + &whole,
            &[405],
        ),
        ("an upgrade after a refused one", upgrade("GET / ", "GET /other ") + &whole, &[404]),
    ]
}

/// RFC 6455, section 4.2.1, and RFC 9110, section 7.8.
#[test]
fn an_upgrade_list_with_websocket_becomes_a_socket() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    for with in [
        "upgrade: websocket, h2c",
        "Upgrade: h2c,WebSocket",
        "upgrade: h2c\nupgrade: websocket",
        "upgrade: websocket\nupgrade: h2c, TLS/1.3",
    ] {
        let request = upgrade("upgrade: websocket", with);
        for length in [0, 20, request.find("h2c").unwrap(), request.len() - 1] {
            let mut stream = TcpStream::connect(peer.gateway.public).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream.set_nodelay(true).unwrap();
            let (first, second) = request.as_bytes().split_at(length);
            stream.write_all(first).unwrap();
            peer.gateway.wait_metric("handshakes", 1);
            stream.write_all(second).unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            assert_eq!(status, *b"HTTP/1.1 101", "{with}, cut after {length} bytes");
            drop(stream);
            peer.gateway.wait_metric("connections", 1);
        }
        peer.assert_served(with);
    }
}

#[test]
fn local_files_and_opaque_origins_connect_if_they_are_listed() {
    let mut peer = HealthyPeer::of(&TestGateway::with("server.allowed_origins", "file://,null"));
    for (origin, status) in [("file://", 101), ("null", 101), ("https://app.example.com", 403)] {
        let mut raw = TcpStream::connect(peer.gateway.public).unwrap();
        raw.set_read_timeout(Some(SOON)).unwrap();
        raw.write_all(with_header(&format!("origin: {origin}")).as_bytes()).unwrap();
        let mut answer = [0; 12];
        raw.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{origin}");
        peer.assert_served(origin);
    }
}

#[test]
fn a_request_after_an_upgrade_is_a_protocol_error() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    let mut raw = RawSocket::connect_with(peer.gateway.public, on_the_wire(UPGRADE).as_bytes());
    raw.expect_text(HELLO);
    raw.expect_close(1002);
    peer.assert_served("two requests at once");
}

/// The first answer announces the end of the connection. A proxy in between relies on it, so the gateway must not serve
/// a request that follows.
#[test]
fn an_upgrade_pipelined_with_another_request_opens_no_socket() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    let both = [on_the_wire("GET / HTTP/1.1"), on_the_wire(UPGRADE)].concat();
    for _ in 0..20 {
        let answer = read_to_end(peer.gateway.public, both.as_bytes());
        assert_eq!(statuses(&answer), [426], "{answer}");
    }
    assert_eq!(peer.gateway.metric("connections_opened_total"), 1, "only the healthy client's");
    peer.assert_served("hidden upgrades");
}

/// RFC 6455, sections 4.2.1 and 11.3.
#[test]
fn an_ambiguous_upgrade_is_refused() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    for request in [
        upgrade("HTTP/1.1", "HTTP/1.0"),
        with_header(&format!("sec-websocket-key: {KEY}")),
        with_header("content-length: 5") + "hello",
    ] {
        let answer = read_to_end(peer.gateway.public, request.as_bytes());
        assert_eq!(statuses(&answer), [400], "{answer}");
        assert!(answer.ends_with("bad_handshake"), "{answer}");
        peer.assert_served("an ambiguous request");
    }
}

#[test]
fn tokens_outside_identify_are_neither_accepted_nor_logged() {
    const TOKEN: &str = "zJ7secretQ";
    let plan = TestGateway::plan().variable("RUST_LOG", "trace");
    let mut peer = HealthyPeer::of(&plan);
    for (name, head) in [
        ("in the query", UPGRADE.replacen("GET / ", &format!("GET /?v=2&token={TOKEN} "), 1)),
        (
            "as access_token",
            UPGRADE.replacen("GET / ", &format!("GET /gateway?access_token={TOKEN}&v=2 "), 1),
        ),
        ("as bearer", with_v2(&format!("authorization: Bearer {TOKEN}"))),
        ("as cookie", with_v2(&format!("cookie: token={TOKEN}"))),
        ("as subprotocol", with_v2(&format!("sec-websocket-protocol: token, {TOKEN}"))),
    ] {
        let mut client = peer.gateway_v2(&head);
        client.send_text(r#"{"op":5,"channel":"all"}"#);
        // 4006 shows that the token did not identify the client.
        let (first, payload) = client.frame();
        assert_eq!((first, &payload[..2]), (0x88, &4006_u16.to_be_bytes()[..]), "{name}");
        drop(client);
        peer.assert_served(name);
    }
    // Refusals are logged, but without the request.
    let refused = upgrade("GET / ", &format!("GET /?v=3&token={TOKEN} "));
    assert_eq!(statuses(&read_to_end(peer.gateway.public, refused.as_bytes())), [400]);
    let broken = format!("GET /?token={TOKEN} HTTP/1.1\r\nhost: a\r\nhost: b\r\nx x\r\n\r\n");
    assert_eq!(statuses(&read_to_end(peer.gateway.public, broken.as_bytes())), [400]);
    peer.assert_served("refusals");
    assert!(peer.gateway.log().contains("refused an upgrade"));
    assert!(!peer.gateway.log().contains(TOKEN), "{}", peer.gateway.log());
}

fn with_v2(header: &str) -> String {
    UPGRADE.replacen("GET / HTTP/1.1", &format!("GET /?v=2 HTTP/1.1\n{header}"), 1)
}

impl HealthyPeer {
    /// Opens a version 2 socket with this request and reads Hello.
    #[track_caller]
    fn gateway_v2(&self, head: &str) -> RawSocket {
        let mut raw = RawSocket::connect_by(self.gateway.public, head, b"");
        raw.frame();
        raw
    }
}
