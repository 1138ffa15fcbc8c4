//! Peers that open more connections than they have use for, on either port.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::Neighbourhood;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::http::Answer;
use crate::support::process::SOON;
use crate::support::raw_socket::{RawSocket, UPGRADE};

/// So many connections from 127.0.0.`host` that say nothing.
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

/// What a connection is told before it is ended.
#[track_caller]
fn told(mut stream: TcpStream) -> Answer {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    Answer::parse(&answer).unwrap_or_else(|| panic!("{answer:?}"))
}

/// With eight places for handshakes, of which one address may have four, and a long time for each.
fn few_handshakes() -> Plan {
    TestGateway::with("limits.connections_per_address", "100")
        .with("server.handshake_timeout", "1m")
        .with("server.workers", "1")
        .files(64)
}

#[test]
fn an_address_has_no_more_than_half_of_the_handshake_places() {
    let mut street = Neighbourhood::of(&few_handshakes());
    let mut crowd = silent(street.gateway.public, 2, 20);
    let refused = crowd.split_off(4);
    for stream in refused {
        let answer = told(stream);
        assert_eq!((answer.status, answer.body.as_str()), (429, "too_many_handshakes"));
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    street.gateway.wait_metric("handshakes", 4);
    assert_eq!(street.gateway.metric("upgrades_refused_total{reason=\"too_many_handshakes\"}"), 16);
    // Whoever asks for a WebSocket at once is told so, too.
    let upgrade = |host| {
        let source = Ipv4Addr::new(127, 0, 0, host);
        RawSocket::try_connect(street.gateway.public, source, UPGRADE, b"")
    };
    assert_eq!(upgrade(2).err().unwrap().status, 429);
    // Others find places.
    drop(upgrade(3).unwrap());
    street.neighbour_is_served("a crowd that says nothing");
    drop(crowd);
    street.gateway.wait_metric("handshakes", 0);
    drop(RawSocket::try_connect(street.gateway.public, Ipv4Addr::new(127, 0, 0, 2), UPGRADE, b"").unwrap());
    street.neighbour_is_served("the end of the crowd");
}

#[test]
fn a_trusted_proxy_has_as_many_handshakes_as_there_are() {
    let plan = few_handshakes().with("server.trusted_proxies", "127.0.0.2");
    let mut street = Neighbourhood::of(&plan);
    let crowd = silent(street.gateway.public, 2, 7);
    street.gateway.wait_metric("handshakes", 7);
    assert_eq!(street.gateway.metric("upgrades_refused_total{reason=\"too_many_handshakes\"}"), 0);
    street.neighbour_is_served("a proxy with much to do");
    drop(crowd);
}
