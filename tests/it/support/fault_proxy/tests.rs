//! Tests of the proxy itself.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::*;

/// A client and a server with a proxy in between.
struct ProxiedConnection {
    proxy: FaultProxy,
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
}

impl ProxiedConnection {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = FaultProxy::start(listener.local_addr().unwrap());
        let (client, server) = connect(&proxy, &listener);
        Self { proxy, listener, client, server }
    }
}

fn connect(proxy: &FaultProxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.address).unwrap();
    let (server, _) = listener.accept().unwrap();
    for side in [&client, &server] {
        side.set_read_timeout(Some(SOON)).unwrap();
    }
    (client, server)
}

#[track_caller]
fn expect_bytes(side: &mut TcpStream, expected: &[u8]) {
    let mut found = vec![0; expected.len()];
    side.read_exact(&mut found).unwrap();
    assert_eq!(found, expected);
}

/// Asserts that no byte arrives for 50 ms. A slow proxy can hide a failure but cannot cause one.
#[track_caller]
fn expect_silence(side: &mut TcpStream) {
    side.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let error = side.read(&mut [0]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    side.set_read_timeout(Some(SOON)).unwrap();
}

#[track_caller]
fn expect_reset(side: &mut TcpStream) {
    assert_eq!(side.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[track_caller]
fn expect_end(side: &mut TcpStream) {
    assert_eq!(side.read(&mut [0]).unwrap(), 0);
}

#[test]
fn bytes_and_ends_pass_in_both_directions() {
    let mut link = ProxiedConnection::new();
    link.client.write_all(b"ping").unwrap();
    expect_bytes(&mut link.server, b"ping");
    link.client.shutdown(std::net::Shutdown::Write).unwrap();
    expect_end(&mut link.server);
    link.server.write_all(b"pong").unwrap();
    expect_bytes(&mut link.client, b"pong");
    drop(link.server);
    expect_end(&mut link.client);
    assert_eq!(BOTH.map(|direction| link.proxy.forwarded(direction)), [4, 4]);
    assert_eq!(link.proxy.broken(), 0);
    eventually(SOON, || (link.proxy.open() == 0).then_some(()));
}

#[test]
fn delays_one_direction_and_not_the_other() {
    let mut link = ProxiedConnection::new();
    let delay = Duration::from_millis(150);
    link.proxy.set(Direction::ToServer, Fault::Delay(delay));
    let start = Instant::now();
    link.server.write_all(b"at once").unwrap();
    expect_bytes(&mut link.client, b"at once");
    link.client.write_all(b"later").unwrap();
    expect_bytes(&mut link.server, b"later");
    assert!(start.elapsed() >= delay);
}

#[test]
fn throttles_to_a_rate() {
    let mut link = ProxiedConnection::new();
    link.proxy.set(Direction::ToClient, Fault::Throttle(10_000));
    let start = Instant::now();
    link.server.write_all(&[7; 2_000]).unwrap();
    expect_bytes(&mut link.client, &[7; 2_000]);
    // The test does not wait for the last piece of 200 bytes.
    assert!(start.elapsed() >= Duration::from_millis(170), "{:?}", start.elapsed());
}

#[test]
fn a_stall_keeps_the_bytes_it_accepted() {
    let mut link = ProxiedConnection::new();
    link.proxy.set(Direction::ToServer, Fault::Stall(100));
    link.client.write_all(b"kept").unwrap();
    expect_silence(&mut link.server);
    link.server.write_all(b"the other way").unwrap();
    expect_bytes(&mut link.client, b"the other way");
    link.client.write_all(b" and more").unwrap();
    link.proxy.heal();
    expect_bytes(&mut link.server, b"kept and more");
}

#[test]
fn a_full_stall_blocks_the_sender() {
    let mut link = ProxiedConnection::new();
    link.proxy.set(Direction::ToServer, Fault::Stall(100));
    link.client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = link.client.write_all(&vec![0; 64 << 20]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    expect_silence(&mut link.server);
}

#[test]
fn a_black_hole_drops_bytes_and_resets_when_healed() {
    let mut link = ProxiedConnection::new();
    link.proxy.set(Direction::ToServer, Fault::BlackHole);
    link.client.write_all(b"lost").unwrap();
    link.client.shutdown(std::net::Shutdown::Write).unwrap();
    expect_silence(&mut link.server);
    link.proxy.heal();
    expect_reset(&mut link.server);
    expect_reset(&mut link.client);
    let (mut client, mut server) = connect(&link.proxy, &link.listener);
    client.write_all(b"again").unwrap();
    expect_bytes(&mut server, b"again");
}

#[test]
fn a_connection_that_lost_nothing_survives_a_black_hole() {
    let mut link = ProxiedConnection::new();
    link.proxy.set_both(Fault::BlackHole);
    link.proxy.heal();
    link.client.write_all(b"here").unwrap();
    expect_bytes(&mut link.server, b"here");
}

#[test]
fn only_open_connections_are_reset() {
    let mut link = ProxiedConnection::new();
    link.proxy.reset_open();
    expect_reset(&mut link.client);
    expect_reset(&mut link.server);
    link.proxy.wait_broken(0);
    let (mut client, mut server) = connect(&link.proxy, &link.listener);
    client.write_all(b"new").unwrap();
    expect_bytes(&mut server, b"new");
    link.proxy.set(Direction::ToClient, Fault::Reset);
    expect_reset(&mut client);
}

#[test]
fn connections_are_cut_after_the_exact_byte_count() {
    for bytes in [0, 1, 5, 11] {
        let mut link = ProxiedConnection::new();
        link.server.write_all(b"before").unwrap();
        expect_bytes(&mut link.client, b"before");
        link.proxy.set(Direction::ToClient, Fault::CutAfter(bytes));
        let _ = link.server.write_all(b"hello world, and bytes that never arrive");
        expect_bytes(&mut link.client, &b"hello world"[..bytes]);
        expect_end(&mut link.client);
        link.proxy.wait_broken(0);
    }
}

#[test]
fn each_new_connection_has_its_own_cut() {
    let link = ProxiedConnection::new();
    link.proxy.set(Direction::ToServer, Fault::CutAfter(3));
    for _ in 0..2 {
        let (mut client, mut server) = connect(&link.proxy, &link.listener);
        client.write_all(b"abcdef").unwrap();
        expect_bytes(&mut server, b"abc");
        expect_end(&mut server);
    }
}

#[test]
fn refuses_and_redirects_new_connections() {
    let mut link = ProxiedConnection::new();
    link.proxy.refuse(true);
    let mut refused = TcpStream::connect(link.proxy.address).unwrap();
    assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)));
    link.client.write_all(b"still open").unwrap();
    expect_bytes(&mut link.server, b"still open");

    link.proxy.heal();
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    link.proxy.redirect(other.local_addr().unwrap());
    let (mut client, mut server) = connect(&link.proxy, &other);
    client.write_all(b"other").unwrap();
    expect_bytes(&mut server, b"other");
    assert_eq!(link.proxy.accepted(), 3);
}

#[test]
fn the_same_seed_plans_the_same_faults() {
    let plan = |seed| plan::random(seed, 200, Duration::from_millis(500));
    assert_eq!(plan(1), plan(1));
    assert_ne!(plan(1), plan(2));
    let kinds = |wanted: fn(&plan::Action) -> bool| plan(1).iter().any(|step| wanted(&step.action));
    assert!(kinds(|action| matches!(action, plan::Action::ResetOpen)));
    assert!(kinds(|action| matches!(action, plan::Action::Set(_, Fault::BlackHole))));
    assert!(kinds(|action| matches!(action, plan::Action::Set(_, Fault::CutAfter(_)))));
    assert!(plan(1).iter().all(|step| step.lasts <= Duration::from_millis(500)));
}

#[test]
fn a_plan_is_carried_out_and_ends_healed() {
    let link = ProxiedConnection::new();
    link.proxy.run(&plan::random(3, 20, Duration::from_millis(10)));
    // The old connection may be cut; a new one must work.
    let mut client = TcpStream::connect(link.proxy.address).unwrap();
    client.write_all(b"whole").unwrap();
    let (mut server, _) = link.listener.accept().unwrap();
    expect_bytes(&mut server, b"whole");
}
