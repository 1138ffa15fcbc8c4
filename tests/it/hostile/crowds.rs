//! Peers that open too many connections on either port.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::HealthyPeer;
use crate::support::deadline::eventually;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::http::Answer;
use crate::support::process::SOON;
use crate::support::raw_socket::{RawSocket, UPGRADE};

/// Opens `count` silent connections from 127.0.0.`host`.
#[track_caller]
fn silent(address: SocketAddr, host: u8, count: usize) -> Vec<TcpStream> {
    let connect = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)).into()).unwrap();
        socket.connect_timeout(&address.into(), SOON).unwrap();
        socket.into()
    };
    (0..count).map(connect).collect()
}

/// Reads the answer that a connection gets before the gateway ends it.
#[track_caller]
fn read_answer(mut stream: TcpStream) -> Answer {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    Answer::parse(&answer).unwrap_or_else(|| panic!("{answer:?}"))
}

/// Allows eight handshakes, four of them per address, with a long timeout.
fn few_handshakes() -> Plan {
    TestGateway::with("limits.connections_per_address", "100")
        .with("server.handshake_timeout", "1m")
        .with("server.workers", "1")
        .files(64)
}

#[test]
fn an_address_gets_at_most_half_of_the_handshake_permits() {
    let mut peer = HealthyPeer::of(&few_handshakes());
    let mut crowd = silent(peer.gateway.public, 2, 20);
    let refused = crowd.split_off(4);
    for stream in refused {
        let answer = read_answer(stream);
        assert_eq!((answer.status, answer.body.as_str()), (429, "too_many_handshakes"));
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    peer.gateway.wait_metric("handshakes", 4);
    assert_eq!(peer.gateway.metric("upgrades_refused_total{reason=\"too_many_handshakes\"}"), 16);
    // A connection that sends its upgrade at once gets the same answer.
    let upgrade = |host| {
        let source = Ipv4Addr::new(127, 0, 0, host);
        RawSocket::try_connect(peer.gateway.public, source, UPGRADE, b"")
    };
    assert_eq!(upgrade(2).err().unwrap().status, 429);
    // Other addresses are admitted.
    drop(upgrade(3).unwrap());
    peer.assert_served("a silent crowd");
    drop(crowd);
    peer.gateway.wait_metric("handshakes", 0);
    drop(RawSocket::try_connect(peer.gateway.public, Ipv4Addr::new(127, 0, 0, 2), UPGRADE, b"").unwrap());
    peer.assert_served("the end of the crowd");
}

#[test]
fn a_trusted_proxy_may_use_every_handshake_permit() {
    let plan = few_handshakes().with("server.trusted_proxies", "127.0.0.2");
    let mut peer = HealthyPeer::of(&plan);
    let crowd = silent(peer.gateway.public, 2, 7);
    peer.gateway.wait_metric("handshakes", 7);
    assert_eq!(peer.gateway.metric("upgrades_refused_total{reason=\"too_many_handshakes\"}"), 0);
    peer.assert_served("a busy proxy");
    drop(crowd);
}

/// Allows four admin connections, of which two may be kept alive.
fn small_admin_port() -> Plan {
    TestGateway::with("admin.max_connections", "4").with("admin.request_timeout", "500ms")
}

#[cfg(target_os = "linux")]
#[test]
fn an_admin_port_crowd_costs_few_descriptors_and_health_answers() {
    let mut peer = HealthyPeer::of(&small_admin_port());
    // The first crowd only warms up: after it, all descriptors that the gateway opens only once are open.
    let mut bound = None;
    for _ in 0..3 {
        let begin = Instant::now();
        let crowd = silent(peer.gateway.admin, 2, 20);
        // The public port is not affected.
        let client = peer.gateway.ready_client("42");
        let bound_now = bound.unwrap_or(usize::MAX);
        eventually(SOON, || (peer.gateway.open_files() <= bound_now).then_some(()));
        assert_eq!(peer.gateway.get("/livez").status, 200);
        assert_eq!(peer.gateway.readyz().0, 200);
        peer.assert_served("a crowd on the admin port");
        for stream in crowd {
            assert_eq!(read_answer(stream).status, 408);
        }
        // Five groups of four, each open for 500 ms: the gateway never held the whole crowd at once.
        assert!(begin.elapsed() > Duration::from_secs(2), "answered within {:?}", begin.elapsed());
        drop(client);
        for (name, open) in [("connections", 1), ("admin_connections", 1)] {
            peer.gateway.wait_metric(name, open);
        }
        // Four connections of the admin port, and the client.
        bound.get_or_insert_with(|| peer.gateway.open_files() + 4 + 1);
    }
}

#[test]
fn a_missing_body_is_answered_408_and_frees_its_permit() {
    let mut peer = HealthyPeer::of(&small_admin_port());
    let begin = |path: &str| {
        let mut stream = TcpStream::connect_timeout(&peer.gateway.admin, SOON).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n{{");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let slow: Vec<_> = (0..20).map(|_| begin("/v1/publish")).collect();
    for stream in slow {
        let answer = read_answer(stream);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (408, &json!("request_body_timeout")));
    }
    // A chunked body is treated like one with a length, on every route.
    let chunked: Vec<_> = ["POST /v1/publish", "GET /readyz", "GET /", "POST /nowhere"]
        .iter()
        .cycle()
        .take(20)
        .map(|request| {
            let mut stream = TcpStream::connect_timeout(&peer.gateway.admin, SOON).unwrap();
            let head = format!(
                "{request} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{{\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    peer.gateway.wait_metric("admin_connections", 1);
    drop(chunked);
    // A route without a body does not wait for one.
    for path in ["/livez", "/nowhere"] {
        assert!(matches!(read_answer(begin(path)).status, 404 | 405), "{path}");
    }
    peer.assert_served("missing bodies");
}

#[test]
fn keep_alive_ends_above_half_of_the_admin_connections() {
    let mut peer = HealthyPeer::of(&small_admin_port().with("admin.request_timeout", "1m"));
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        Answer::parse(&String::from_utf8(answer).unwrap()).unwrap()
    };
    let mut kept = silent(peer.gateway.admin, 2, 2);
    for stream in &mut kept {
        assert_eq!(ask(stream).header("connection"), None);
    }
    // The head of a connection's second request has no deadline.
    for stream in &mut kept {
        assert_eq!(ask(stream).header("connection"), None);
        stream.write_all(b"G").unwrap();
    }
    for mut stream in silent(peer.gateway.admin, 2, 5) {
        assert_eq!(ask(&mut stream).header("connection"), Some("close"));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the gateway closes it");
    }
    peer.assert_served("keep-alive connections");
    drop(kept);
}

#[test]
fn wrong_admin_keys_hold_no_connections() {
    let gateway = small_admin_port().with("admin.api_key", "a-key-of-sixteen-bytes").spawn();
    let started = Instant::now();
    let guesses: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect_timeout(&gateway.admin, SOON).unwrap();
            let head = "GET /v1/status HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer guess\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    assert_eq!(gateway.get("/livez").status, 200);
    // If each wrong key held a connection during its delay, four at a time, this would take ten delays.
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    drop(guesses);
}
