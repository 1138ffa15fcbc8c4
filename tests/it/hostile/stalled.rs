//! Peers that stop reading or sending: the memory and the time that they cost.
#![cfg(target_os = "linux")]

use std::thread;
use std::time::{Duration, Instant};

use super::{HealthyPeer, frame};
use crate::support::client::Client;
use crate::support::deadline::eventually;
use crate::support::gateway::{Plan, TestGateway, ms};
use crate::support::process::SOON;
use crate::support::raw_socket::RawSocket;

/// The allowed growth besides the queues, in KiB: memory that the allocator caches for two threads, and code pages
/// that run for the first time.
const ALLOWANCE: u64 = 3 * 1024;
/// `session.max_outbound_bytes` in these tests.
const BOUND: u64 = 256 * 1024;
/// `session.heartbeat_interval` in these tests.
const INTERVAL: Duration = Duration::from_millis(200);
/// `session.heartbeat_grace` in these tests.
const GRACE: Duration = Duration::from_millis(2_000);

/// Bounds queues by their bytes; the write timeout is too long to matter.
fn bounded_by_bytes() -> Plan {
    TestGateway::with("session.max_outbound_bytes", &BOUND.to_string()).with("session.write_timeout", "5m")
}

/// Disconnects silent peers soon.
fn short_heartbeats() -> Plan {
    TestGateway::with("session.heartbeat_interval", &ms(INTERVAL))
        .with("session.heartbeat_grace", &ms(GRACE))
        .with("server.close_timeout", "200ms")
}

/// Opens a socket that reads nothing after Ready, or after Hello without a user.
#[track_caller]
fn stalled(gateway: &TestGateway, user: Option<&str>) -> RawSocket {
    let mut raw = RawSocket::connect_narrowly(gateway.public);
    let (first, hello) = raw.frame();
    assert!(first == 0x81 && hello.starts_with(br#"{"op":0,"#));
    if let Some(user) = user {
        raw.send_text(&format!(r#"{{"op":1,"token":"{user}"}}"#));
        raw.expect_text(&format!(r#"{{"op":2,"user":"{user}"}}"#));
    }
    raw
}

/// Waits until the healthy client is the only one. Serves it meanwhile, so that it answers its heartbeats: otherwise it
/// would be disconnected as silent.
#[track_caller]
fn wait_until_alone(peer: &mut HealthyPeer) {
    eventually(SOON, || {
        peer.assert_served("a moment");
        (peer.gateway.metric("connections") == 1).then_some(())
    });
}

/// Whether the kernel still has the gateway's end. Listing all connections of a busy machine takes seconds, so the
/// healthy client answers its heartbeats meanwhile.
#[track_caller]
fn is_known_to_the_kernel(raw: &RawSocket, healthy: &mut Client) -> bool {
    thread::scope(|scope| {
        let asking = scope.spawn(|| raw.is_known_to_the_kernel());
        while !asking.is_finished() {
            assert_eq!(healthy.next_within(INTERVAL / 10), None);
        }
        asking.join().unwrap()
    })
}

#[test]
fn stalled_readers_do_not_affect_other_clients() {
    let mut peer = HealthyPeer::of(&bounded_by_bytes());
    let mut healthy: Vec<_> =
        (0..180).map(|number| peer.gateway.ready_client(&format!("h{number}"))).collect();
    let readers: Vec<_> = (0..20).map(|number| stalled(&peer.gateway, Some(&format!("s{number}")))).collect();
    let text = "x".repeat(10_000);
    let mut count = 0;
    let mut before = 0;
    eventually(SOON, || {
        let message = format!(r#"[{count},"{text}"]"#);
        peer.gateway.publish("all", &message);
        let frame = format!(r#"{{"op":3,"message":{message}}}"#);
        peer.client.expect_text(&frame);
        healthy.iter_mut().for_each(|reader| reader.expect_text(&frame));
        // The first fan-out also loads code and allocates buffers, which the measurement excludes.
        if count == 5 {
            before = peer.gateway.peak_memory();
        }
        count += 1;
        (peer.gateway.closes(4008) == 20).then_some(())
    });
    let grown = peer.gateway.peak_memory() - before;
    assert!(grown <= 20 * BOUND / 1024 + ALLOWANCE, "memory grew by {grown} KiB");
    // The stalled peers still hold their ends open.
    peer.gateway.wait_metric("connections", 181);
    peer.gateway.wait_metric("outbound_queued_bytes", 0);
    drop(readers);
    peer.assert_served("twenty that stalled");
}

#[test]
fn unread_answers_stay_within_the_memory_bound() {
    let mut peer = HealthyPeer::of(&bounded_by_bytes().with("server.close_timeout", "100ms"));
    let before = peer.gateway.peak_memory();
    // Each is answered with eleven bytes. One peer after the other: each has gone before the next connects.
    let heartbeats = frame(0x81, br#"{"op":10}"#).repeat(4_000);
    let readers: Vec<_> = (0..10)
        .map(|_| {
            let mut raw = stalled(&peer.gateway, None);
            while raw.try_write(&heartbeats) {}
            raw
        })
        .collect();
    assert_eq!(peer.gateway.closes(4008), 10);
    let grown = peer.gateway.peak_memory() - before;
    assert!(grown <= BOUND / 1024 + ALLOWANCE, "memory grew by {grown} KiB");
    drop(readers);
    peer.assert_served("heartbeats without number");
}

#[test]
fn a_silent_zero_window_peer_leaves_gateway_and_kernel() {
    let mut peer = HealthyPeer::of(&short_heartbeats().with("session.write_timeout", "1s"));
    let started = Instant::now();
    let raw = stalled(&peer.gateway, Some("42"));
    assert!(is_known_to_the_kernel(&raw, &mut peer.client));
    // More than the peer's kernel accepts, and less than the gateway's kernel buffers.
    let message = format!("{:?}", "x".repeat(8_000));
    peer.gateway.publish("user:42", &message);
    assert_eq!(peer.gateway.metric("outbound_queued_bytes"), 0);
    wait_until_alone(&mut peer);
    assert!(started.elapsed() >= INTERVAL + GRACE);
    assert_eq!(peer.gateway.closes(4002), 1);
    // The peer acknowledges every window probe, so the kernel alone would keep the connection for minutes.
    eventually(SOON, || (!is_known_to_the_kernel(&raw, &mut peer.client)).then_some(()));
    peer.assert_served("a zero window");
}

#[test]
fn a_silent_peer_with_queued_megabytes_is_disconnected() {
    let plan = short_heartbeats()
        .with("session.max_outbound_bytes", "100000000")
        .with("session.write_timeout", "5m");
    let mut peer = HealthyPeer::of(&plan);
    let started = Instant::now();
    let raw = stalled(&peer.gateway, Some("42"));
    let message = format!("{:?}", "x".repeat(1_000_000));
    eventually(SOON, || {
        peer.gateway.publish("user:42", &message);
        peer.assert_served("a message that waits");
        (peer.gateway.metric("outbound_queued_bytes") > 2_000_000).then_some(())
    });
    wait_until_alone(&mut peer);
    assert!(started.elapsed() >= INTERVAL + GRACE);
    assert_eq!(peer.gateway.closes(4002), 1, "the session's timers still ran");
    peer.gateway.wait_metric("outbound_queued_bytes", 0);
    drop(raw);
    peer.assert_served("a silent peer");
}
