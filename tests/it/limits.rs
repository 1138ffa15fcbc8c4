//! The limits against abuse: each at its bound, above it, and after a release. Other clients must not be affected.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use crate::support::client::Client;
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::http::Answer;
use crate::support::process::{SOON, run};
use crate::support::raw_socket::{RawSocket, UPGRADE};

/// Opens a socket from 127.0.0.`host` with further header lines.
#[track_caller]
fn socket(gateway: &TestGateway, host: u8, headers: &str) -> Result<RawSocket, Answer> {
    RawSocket::try_connect(
        gateway.public,
        Ipv4Addr::new(127, 0, 0, host),
        &format!("{UPGRADE}{headers}"),
        b"",
    )
}

/// Opens a socket from 127.0.0.`host` with this X-Forwarded-For header.
#[track_caller]
fn forwarded(gateway: &TestGateway, host: u8, forwarded_for: &str) -> Result<RawSocket, Answer> {
    socket(gateway, host, &format!("\nx-forwarded-for: {forwarded_for}"))
}

/// Asserts that an upgrade was refused for this reason, with a Retry-After header, and was counted.
#[track_caller]
fn assert_refused(gateway: &TestGateway, result: Result<RawSocket, Answer>, status: u16, reason: &str) {
    let answer = result.err().expect("the upgrade should be refused");
    assert_eq!((answer.status, answer.body.as_str()), (status, reason));
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    assert!(gateway.metric(&format!("upgrades_refused_total{{reason=\"{reason}\"}}")) > 0);
}

/// Asserts that the healthy client receives its next message.
#[track_caller]
fn assert_healthy(gateway: &TestGateway, user: &str, healthy: &mut Client) {
    gateway.publish(&format!("user:{user}"), r#""still here""#);
    healthy.expect_text(r#"{"op":3,"message":"still here"}"#);
}

#[test]
fn an_address_gets_at_most_its_limit_of_sockets() {
    let gateway = TestGateway::with("limits.connections_per_address", "2").spawn();
    let mut healthy = gateway.ready_client("1");
    let first = socket(&gateway, 2, "").unwrap();
    let _second = socket(&gateway, 2, "").unwrap();
    for _ in 0..20 {
        assert_refused(&gateway, socket(&gateway, 2, ""), 429, "too_many_from_address");
    }
    let _another = socket(&gateway, 3, "").unwrap();
    assert_healthy(&gateway, "1", &mut healthy);
    drop(first);
    gateway.wait_metric("connections", 3);
    let _third = socket(&gateway, 2, "").unwrap();
    assert_refused(&gateway, socket(&gateway, 2, ""), 429, "too_many_from_address");
}

#[test]
fn a_forwarded_header_from_a_client_is_ignored() {
    let gateway = TestGateway::with("limits.connections_per_address", "1").spawn();
    let _first = forwarded(&gateway, 2, "192.0.2.1").unwrap();
    assert_refused(&gateway, forwarded(&gateway, 2, "192.0.2.2"), 429, "too_many_from_address");
    let _another = forwarded(&gateway, 3, "192.0.2.1").unwrap();
}

#[test]
fn a_trusted_proxy_is_trusted_for_its_own_hop_only() {
    let gateway = TestGateway::with("limits.connections_per_address", "1")
        .with("server.trusted_proxies", "127.0.0.2, 10.0.0.0/8")
        .spawn();
    let _first = forwarded(&gateway, 2, "192.0.2.1").unwrap();
    let _second = forwarded(&gateway, 2, "192.0.2.2").unwrap();
    for same in [
        "192.0.2.1",
        "192.0.2.99, 192.0.2.1",
        "192.0.2.99\nx-forwarded-for: 192.0.2.1",
        "192.0.2.99, 192.0.2.1, 10.0.0.3",
        "nonsense, 192.0.2.1:4711",
    ] {
        assert_refused(&gateway, forwarded(&gateway, 2, same), 429, "too_many_from_address");
    }
    // A missing or invalid header counts for the proxy's own address.
    let _third = forwarded(&gateway, 2, "192.0.2.1, nonsense").unwrap();
    assert_refused(&gateway, socket(&gateway, 2, ""), 429, "too_many_from_address");
    // 127.0.0.3 is no trusted proxy.
    let _fourth = forwarded(&gateway, 3, "192.0.2.3").unwrap();
    assert_refused(&gateway, forwarded(&gateway, 3, "192.0.2.4"), 429, "too_many_from_address");
}

#[test]
fn an_invalid_proxy_network_is_refused_at_startup() {
    let ended = run(&["check", "--set", "server.trusted_proxies=10.0.0.0/8,10.0.0.0/33"]);
    assert_eq!(ended.code, Some(78), "{}", ended.err);
    assert!(ended.err.contains("server.trusted_proxies"), "{}", ended.err);
}

#[test]
fn sockets_opened_per_second_are_limited() {
    let gateway = TestGateway::with("limits.connects_per_second", "3").spawn();
    let mut healthy = gateway.ready_client("1");
    // Refusals are fast, so few permits are released between two attempts even on a slow machine.
    let refused = eventually(SOON, || socket(&gateway, 2, "").err());
    assert_refused(&gateway, Err(refused), 503, "too_many_connects");
    assert_healthy(&gateway, "1", &mut healthy);
    // The permits are released over time.
    let _later = eventually(SOON, || socket(&gateway, 2, "").ok());
}

#[test]
fn unidentified_sockets_are_limited() {
    let gateway = TestGateway::with("limits.unidentified", "2").spawn();
    let mut healthy = gateway.ready_client("1");
    let first = gateway.connect();
    let mut second = gateway.connect();
    assert_refused(&gateway, socket(&gateway, 2, ""), 503, "too_many_unidentified");
    assert_healthy(&gateway, "1", &mut healthy);
    // One client identifies, which frees one permit.
    second.identify("2");
    second.expect_text(r#"{"op":2,"user":"2"}"#);
    let third = gateway.connect();
    assert_refused(&gateway, socket(&gateway, 2, ""), 503, "too_many_unidentified");
    // One client leaves, which frees one permit. A bad handshake or path takes none.
    drop(first);
    gateway.wait_metric("connections", 3);
    let _ =
        RawSocket::try_connect(gateway.public, Ipv4Addr::LOCALHOST, &UPGRADE.replace("/ ", "/x "), b"").err();
    let fourth = gateway.connect();
    drop((third, fourth));
    gateway.wait_metric("connections", 2);
    gateway.ready_client("3");
}

#[test]
fn a_session_over_the_user_s_limit_is_closed() {
    let gateway = TestGateway::with("limits.sessions_per_user", "2").spawn();
    let mut healthy = gateway.ready_client("1");
    let mut first = gateway.ready_client("2");
    let mut second = gateway.ready_client("2");
    for _ in 0..20 {
        let mut third = gateway.connect();
        third.identify("2");
        third.expect_close(4007);
    }
    assert_eq!(gateway.metric("identifies_total{result=\"too_many_sessions\"}"), 20);
    assert_eq!(gateway.metric("identifies_total{result=\"accepted\"}"), 3);
    assert_healthy(&gateway, "1", &mut healthy);
    assert_healthy(&gateway, "2", &mut first);
    second.expect_text(r#"{"op":3,"message":"still here"}"#);
    drop(first);
    gateway.wait_metric("sessions", 2);
    gateway.wait_metric("connections", 2);
    gateway.ready_client("2");
}

#[test]
fn a_refresh_uses_no_second_session_permit() {
    let gateway = TestGateway::with("limits.sessions_per_user", "1").spawn();
    let mut client = gateway.connect_v2();
    client.identify("1");
    client.expect_ready();
    client.send_text(r#"{"op":12,"token":"1"}"#);
    assert_eq!(client.next_json()["op"], 13);
}

#[test]
fn near_the_file_limit_sockets_are_refused_and_logged() {
    let gateway = TestGateway::with("server.max_connections", "100000").files(200).spawn();
    assert!(gateway.log().contains("server.max_connections is 100000, but the limit of open files (200)"));
    let mut healthy = gateway.ready_client("1");
    let mut sockets = Vec::new();
    let refused = loop {
        match socket(&gateway, 2, "") {
            Ok(socket) => sockets.push(socket),
            Err(answer) => break answer,
        }
        assert!(sockets.len() < 200);
    };
    assert!(sockets.len() > 50, "{}", sockets.len());
    assert_refused(&gateway, Err(refused), 503, "too_many_connections");
    gateway.wait_not_ready("file descriptors are nearly used up");
    assert_healthy(&gateway, "1", &mut healthy);
    sockets.pop();
    gateway.wait_ready();
    let _again = gateway.connect();
}

#[test]
fn silent_connections_never_exhaust_the_descriptors() {
    let gateway = TestGateway::with("server.handshake_timeout", "500ms").files(64).spawn();
    let mut healthy = gateway.ready_client("1");
    let silent = flood(gateway.public, 80);
    assert_healthy(&gateway, "1", &mut healthy);
    // A client that connects meanwhile waits to be accepted.
    gateway.ready_client("2");
    drop(silent);
    gateway.wait_ready();
}

#[test]
fn the_gateway_recovers_from_descriptor_exhaustion() {
    // More connections than free descriptors.
    let mut gateway = TestGateway::with("admin.max_connections", "100").files(64).spawn();
    let mut healthy = gateway.ready_client("1");
    let silent = flood(gateway.admin, 100);
    gateway.wait_for_log("Too many open files");
    healthy.send_text(r#"{"op":10,"time":7}"#);
    healthy.expect_text(r#"{"op":11,"time":7}"#);
    drop(silent);
    assert_healthy(&gateway, "1", &mut healthy);
    gateway.ready_client("2");
    gateway.wait_ready();
}

/// Opens connections that send nothing.
fn flood(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect_timeout(&address, SOON).unwrap()).collect()
}
