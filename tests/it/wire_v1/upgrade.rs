//! Accepted and refused upgrade requests.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::client::{Client, Version};
use crate::support::gateway::TestGateway;
use crate::support::http::{Answer, request};
use crate::support::raw_socket::{RawSocket, UPGRADE};

/// Sends the upgrade request with one part replaced; the gateway must end the connection after the answer.
#[track_caller]
fn upgrade(gateway: &TestGateway, replace: &str, with: &str) -> Answer {
    assert!(UPGRADE.contains(replace));
    let answer = request(gateway.public, &UPGRADE.replace(replace, with), "");
    assert_closes(&answer);
    answer
}

/// Asserts that the answer announces the end of the connection.
#[track_caller]
fn assert_closes(answer: &Answer) {
    let connection = answer.header("connection").unwrap_or_default();
    assert!(connection.split(", ").any(|option| option == "close"), "connection: {connection}");
}

#[test]
fn an_invalid_upgrade_is_answered_with_the_reason() {
    let gateway = TestGateway::spawn();
    for (replace, with, status, reason) in [
        ("GET / ", "GET /?v=1 ", 400, "unknown_protocol_version"),
        ("GET / ", "GET /?v=3 ", 400, "unknown_protocol_version"),
        ("GET / ", "GET /gateway?v= ", 400, "unknown_protocol_version"),
        ("GET / ", "GET /other ", 404, "not_found"),
        ("GET / ", "GET /gateway/ ", 404, "not_found"),
        ("sec-websocket-version: 13", "sec-websocket-version: 12", 426, "upgrade_required"),
        ("sec-websocket-version: 13\n", "", 426, "upgrade_required"),
        ("\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "", 400, "bad_handshake"),
        ("GET / ", "POST / ", 405, "method_not_allowed"),
    ] {
        let answer = upgrade(&gateway, replace, with);
        assert_eq!((answer.status, answer.body.as_str()), (status, reason), "{with}");
        assert_eq!(answer.header("sec-websocket-version"), (status == 426).then_some("13"), "{with}");
        let metric = format!("upgrades_refused_total{{reason=\"{reason}\"}}");
        assert!(gateway.metric(&metric) > 0, "{with}");
    }
    assert_eq!(gateway.metric("connections_opened_total"), 0);
}

#[test]
fn requests_of_browsers_and_proxies_are_accepted() {
    let gateway = TestGateway::with("server.allowed_origins", "*").spawn();
    for (replace, with) in [
        ("connection: upgrade", "Connection: keep-alive, Upgrade"),
        ("upgrade: websocket", "Upgrade: WebSocket"),
        ("\nsec", "\norigin: https://anywhere.example\nsec-websocket-extensions: permessage-deflate\nsec"),
    ] {
        // The connection stays open, so only the head of the answer arrives.
        let head = UPGRADE.replacen(replace, with, 1);
        let mut raw = RawSocket::connect_by(gateway.public, &head, b"");
        raw.expect_text(r#"{"op":0,"heartbeat_interval":45000}"#);
    }
}

#[test]
fn a_plain_request_is_answered_with_426() {
    let gateway = TestGateway::spawn();
    for path in ["/", "/gateway", "/other"] {
        let answer = request(gateway.public, &format!("GET {path} HTTP/1.1"), "");
        assert_eq!(answer.status, 426, "{path}");
        assert_closes(&answer);
        assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        assert_eq!(answer.header("upgrade"), Some("websocket"));
    }
    let answer = request(gateway.public, "POST /gateway HTTP/1.1", "{}");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
}

#[test]
fn the_admin_routes_are_not_on_the_public_port() {
    let gateway = TestGateway::spawn();
    for path in ["/livez", "/readyz", "/metrics", "/v1/publish"] {
        assert_eq!(request(gateway.public, &format!("GET {path} HTTP/1.1"), "").status, 426, "{path}");
    }
}

#[test]
fn only_allowed_origins_may_open_a_socket() {
    let gateway = TestGateway::with("server.allowed_origins", "https://app.example.com").spawn();
    for origin in ["https://evil.test", "https://app.example.com.evil.test", "null"] {
        let answer = upgrade(&gateway, "GET / HTTP/1.1", &format!("GET / HTTP/1.1\norigin: {origin}"));
        assert_eq!((answer.status, answer.body.as_str()), (403, "origin_not_allowed"), "{origin}");
    }
    // A client that is no browser sends no Origin.
    gateway.connect();
    let strict = TestGateway::with("server.allow_missing_origin", "false").spawn();
    assert_eq!(upgrade(&strict, "GET / ", "GET / ").status, 403);
}

#[test]
fn in_development_only_local_pages_open_a_socket() {
    let gateway = TestGateway::spawn();
    for (origin, status) in [
        ("http://localhost:3000", 101),
        ("http://127.0.0.1:5173", 101),
        ("http://[::1]:8081", 101),
        ("https://evil.test", 403),
        ("http://localhost.evil.test", 403),
        ("null", 403),
    ] {
        let head = UPGRADE.replace("GET / HTTP/1.1", &format!("GET / HTTP/1.1\norigin: {origin}"));
        let mut socket = TcpStream::connect(gateway.public).unwrap();
        let head = format!("{}\r\nhost: localhost\r\n\r\n", head.replace('\n', "\r\n"));
        socket.write_all(head.as_bytes()).unwrap();
        let mut line = [0; 12];
        socket.read_exact(&mut line).unwrap();
        assert_eq!(line, *format!("HTTP/1.1 {status}").as_bytes(), "{origin}");
    }
}

#[test]
fn over_the_connection_limit_retry_after_is_sent() {
    let gateway = TestGateway::with("server.max_connections", "2").spawn();
    let first = gateway.connect();
    let mut second = gateway.ready_client("42");
    let refused = gateway.try_connect("/").err().unwrap();
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("5")));
    assert_eq!(gateway.readyz(), (503, vec!["all 2 connections are taken".to_owned()]));
    gateway.publish("user:42", "1");
    second.expect_text(r#"{"op":3,"message":1}"#);
    drop(first);
    gateway.wait_metric("connections", 1);
    gateway.wait_ready();
    Client::connect(gateway.public, Version::V1);
}
