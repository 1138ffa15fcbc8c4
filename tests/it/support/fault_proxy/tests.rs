//! The proxy does what it says; what is found with its help depends on that.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::*;

/// A client and a server with a proxy in between.
struct Line {
    proxy: FaultProxy,
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
}

impl Line {
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
fn hears(side: &mut TcpStream, expected: &[u8]) {
    let mut found = vec![0; expected.len()];
    side.read_exact(&mut found).unwrap();
    assert_eq!(found, expected);
}

/// Nothing comes for a while. If the proxy were slower than that the test would only see less.
#[track_caller]
fn hears_nothing(side: &mut TcpStream) {
    side.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let error = side.read(&mut [0]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    side.set_read_timeout(Some(SOON)).unwrap();
}

#[track_caller]
fn is_reset(side: &mut TcpStream) {
    assert_eq!(side.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[track_caller]
fn is_closed(side: &mut TcpStream) {
    assert_eq!(side.read(&mut [0]).unwrap(), 0);
}

#[test]
fn passes_both_ways_and_passes_each_end_on() {
    let mut line = Line::new();
    line.client.write_all(b"ping").unwrap();
    hears(&mut line.server, b"ping");
    line.client.shutdown(std::net::Shutdown::Write).unwrap();
    is_closed(&mut line.server);
    line.server.write_all(b"pong").unwrap();
    hears(&mut line.client, b"pong");
    drop(line.server);
    is_closed(&mut line.client);
    assert_eq!(BOTH.map(|direction| line.proxy.forwarded(direction)), [4, 4]);
    assert_eq!(line.proxy.broken(), 0);
    eventually(SOON, || (line.proxy.open() == 0).then_some(()));
}

#[test]
fn delays_one_direction_and_not_the_other() {
    let mut line = Line::new();
    let delay = Duration::from_millis(150);
    line.proxy.set(Direction::ToServer, Fault::Delay(delay));
    let start = Instant::now();
    line.server.write_all(b"at once").unwrap();
    hears(&mut line.client, b"at once");
    line.client.write_all(b"later").unwrap();
    hears(&mut line.server, b"later");
    assert!(start.elapsed() >= delay);
}

#[test]
fn throttles_to_a_rate() {
    let mut line = Line::new();
    line.proxy.set(Direction::ToClient, Fault::Throttle(10_000));
    let start = Instant::now();
    line.server.write_all(&[7; 2_000]).unwrap();
    hears(&mut line.client, &[7; 2_000]);
    // The last piece, of 200 bytes, is not waited for.
    assert!(start.elapsed() >= Duration::from_millis(170), "{:?}", start.elapsed());
}

#[test]
fn a_stall_keeps_what_it_takes() {
    let mut line = Line::new();
    line.proxy.set(Direction::ToServer, Fault::Stall(100));
    line.client.write_all(b"kept").unwrap();
    hears_nothing(&mut line.server);
    line.server.write_all(b"the other way").unwrap();
    hears(&mut line.client, b"the other way");
    line.client.write_all(b" and more").unwrap();
    line.proxy.heal();
    hears(&mut line.server, b"kept and more");
}

#[test]
fn a_stalls_bound_is_felt_by_the_sender() {
    let mut line = Line::new();
    line.proxy.set(Direction::ToServer, Fault::Stall(100));
    line.client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = line.client.write_all(&vec![0; 64 << 20]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    hears_nothing(&mut line.server);
}

#[test]
fn a_black_hole_swallows_bytes_and_ends_and_is_reset_when_it_heals() {
    let mut line = Line::new();
    line.proxy.set(Direction::ToServer, Fault::BlackHole);
    line.client.write_all(b"lost").unwrap();
    line.client.shutdown(std::net::Shutdown::Write).unwrap();
    hears_nothing(&mut line.server);
    line.proxy.heal();
    is_reset(&mut line.server);
    is_reset(&mut line.client);
    let (mut client, mut server) = connect(&line.proxy, &line.listener);
    client.write_all(b"again").unwrap();
    hears(&mut server, b"again");
}

#[test]
fn a_connection_that_lost_nothing_survives_a_black_hole() {
    let mut line = Line::new();
    line.proxy.set_both(Fault::BlackHole);
    line.proxy.heal();
    line.client.write_all(b"here").unwrap();
    hears(&mut line.server, b"here");
}

#[test]
fn resets_what_is_open_and_only_that() {
    let mut line = Line::new();
    line.proxy.reset_open();
    is_reset(&mut line.client);
    is_reset(&mut line.server);
    line.proxy.wait_broken(0);
    let (mut client, mut server) = connect(&line.proxy, &line.listener);
    client.write_all(b"new").unwrap();
    hears(&mut server, b"new");
    line.proxy.set(Direction::ToClient, Fault::Reset);
    is_reset(&mut client);
}

#[test]
fn cuts_after_exactly_so_many_bytes() {
    for bytes in [0, 1, 5, 11] {
        let mut line = Line::new();
        line.server.write_all(b"before").unwrap();
        hears(&mut line.client, b"before");
        line.proxy.set(Direction::ToClient, Fault::CutAfter(bytes));
        let _ = line.server.write_all(b"hello world, and what is never heard");
        hears(&mut line.client, &b"hello world"[..bytes]);
        is_closed(&mut line.client);
        line.proxy.wait_broken(0);
    }
}

#[test]
fn each_new_connection_has_its_own_cut() {
    let line = Line::new();
    line.proxy.set(Direction::ToServer, Fault::CutAfter(3));
    for _ in 0..2 {
        let (mut client, mut server) = connect(&line.proxy, &line.listener);
        client.write_all(b"abcdef").unwrap();
        hears(&mut server, b"abc");
        is_closed(&mut server);
    }
}

#[test]
fn refuses_and_redirects_new_connections() {
    let mut line = Line::new();
    line.proxy.refuse(true);
    let mut refused = TcpStream::connect(line.proxy.address).unwrap();
    assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)));
    line.client.write_all(b"still open").unwrap();
    hears(&mut line.server, b"still open");

    line.proxy.heal();
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    line.proxy.redirect(elsewhere.local_addr().unwrap());
    let (mut client, mut server) = connect(&line.proxy, &elsewhere);
    client.write_all(b"elsewhere").unwrap();
    hears(&mut server, b"elsewhere");
    assert_eq!(line.proxy.accepted(), 3);
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
    let line = Line::new();
    line.proxy.run(&plan::random(3, 20, Duration::from_millis(10)));
    // The line of before may be cut; a new one must be whole.
    let mut client = TcpStream::connect(line.proxy.address).unwrap();
    client.write_all(b"whole").unwrap();
    let (mut server, _) = line.listener.accept().unwrap();
    hears(&mut server, b"whole");
}
