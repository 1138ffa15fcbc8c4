//! After a stop, the process sees its deadlines late. It must not close clients that sent their data in time.
//!
//! SIGSTOP and SIGCONT act like a paused machine. Afterwards, all due timers fire before the runtime has read the data
//! of the peers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{HELLO, HealthyPeer, frame};
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::raw_socket::{RawSocket, UPGRADE};
use crate::support::redis_server::RedisServer;

/// The number of clients that send while the gateway is stopped.
const CLIENTS: usize = 100;
/// Longer than every deadline in these tests.
const STOP: Duration = Duration::from_secs(5);

impl HealthyPeer {
    /// Stops the gateway for longer than every deadline. Meanwhile, calls `speak` and sends from the healthy client.
    #[track_caller]
    fn stop_while(&mut self, speak: impl FnOnce()) {
        let started = Instant::now();
        self.gateway.signal("STOP");
        speak();
        self.client.send_text(r#"{"op":10,"time":43}"#);
        eventually(SOON, || (started.elapsed() > STOP).then_some(()));
        self.gateway.signal("CONT");
        self.client.expect_text(r#"{"op":11,"time":43}"#);
    }
}

/// Reads the status line up to the status.
#[track_caller]
fn status(client: &mut TcpStream) -> String {
    let mut status = [0; 12];
    client.read_exact(&mut status).unwrap();
    String::from_utf8_lossy(&status).into_owned()
}

#[test]
fn clients_that_sent_during_a_stop_are_not_silent() {
    // The clients say nothing until all of them are connected, which may take seconds on a busy machine.
    let plan = TestGateway::with("session.heartbeat_interval", "2s").with("session.heartbeat_grace", "2s");
    let mut peer = HealthyPeer::of(&plan);
    let hello = HELLO.replace("45000", "2000");
    let ready = || {
        let mut raw = RawSocket::connect(peer.gateway.public);
        raw.expect_text(&hello);
        raw.send_text(r#"{"op":1,"token":"42"}"#);
        raw.expect_text(r#"{"op":2,"user":"42"}"#);
        raw
    };
    let mut silent: Vec<_> = (0..5).map(|_| ready()).collect();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| ready()).collect();
    peer.stop_while(|| clients.iter_mut().for_each(|client| client.send_text(r#"{"op":10,"time":7}"#)));
    // Sent to all clients before reading: a hundred answers may take longer than a heartbeat on a busy machine.
    clients.iter_mut().for_each(|client| client.send_text(r#"{"op":10,"time":8}"#));
    for client in &mut clients {
        client.expect_text(r#"{"op":11,"time":7}"#);
        client.expect_text(r#"{"op":11,"time":8}"#);
    }
    for client in &mut silent {
        client.expect_close(4002);
    }
    peer.assert_served("a stop longer than a heartbeat");
}

#[test]
fn an_identify_received_during_a_stop_is_in_time() {
    let mut peer = HealthyPeer::of(&TestGateway::with("session.identify_timeout", "2s"));
    let mut clients: Vec<_> = (0..20).map(|_| peer.attacker()).collect();
    let mut silent = peer.attacker();
    peer.stop_while(|| clients.iter_mut().for_each(|client| client.send_text(r#"{"op":1,"token":"42"}"#)));
    for client in &mut clients {
        client.expect_text(r#"{"op":2,"user":"42"}"#);
    }
    silent.expect_close(4004);
    peer.assert_served("a stop longer than an Identify may take");
}

#[test]
fn a_request_received_during_a_stop_is_in_time() {
    let mut peer = HealthyPeer::of(&TestGateway::with("server.handshake_timeout", "2s"));
    let connect = || {
        let stream = TcpStream::connect(peer.gateway.public).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    };
    let mut clients: Vec<_> = (0..20).map(|_| connect()).collect();
    let mut silent = connect();
    peer.gateway.wait_metric("handshakes", 21);
    let request = format!("{UPGRADE}\nhost: gateway\n\n").replace('\n', "\r\n");
    peer.stop_while(|| {
        clients.iter_mut().for_each(|client| client.write_all(request.as_bytes()).unwrap());
    });
    for client in &mut clients {
        assert_eq!(status(client), "HTTP/1.1 101");
    }
    assert_eq!(status(&mut silent), "HTTP/1.1 408");
    peer.assert_served("a stop longer than a handshake");
}

#[test]
fn a_message_completed_during_a_stop_is_in_time() {
    let mut peer = HealthyPeer::of(&TestGateway::with("session.message_timeout", "2s"));
    // The Pong shows that the gateway has read the beginning of the message.
    let begin = |raw: &mut RawSocket| {
        raw.write(&[frame(0x01, br#"{"op":10,"#), frame(0x89, b"")].concat());
        assert_eq!(raw.frame().0, 0x8A);
    };
    let mut clients: Vec<_> = (0..20).map(|_| peer.attacker()).collect();
    let mut silent = peer.attacker();
    clients.iter_mut().chain([&mut silent]).for_each(begin);
    peer.stop_while(|| {
        clients.iter_mut().for_each(|client| client.write(&frame(0x80, br#""time":7}"#)));
    });
    for client in &mut clients {
        client.expect_text(r#"{"op":11,"time":7}"#);
    }
    silent.expect_close(1008);
    peer.assert_served("a stop longer than a message may take");
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_that_read_during_a_stop_is_not_slow() {
    let mut peer = HealthyPeer::of(&TestGateway::with("session.write_timeout", "2s"));
    let mut client = RawSocket::connect_narrowly(peer.gateway.public);
    client.expect_text(HELLO);
    client.send_text(r#"{"op":1,"token":"42"}"#);
    client.expect_text(r#"{"op":2,"user":"42"}"#);
    // Publishes until the gateway queues more than its kernel accepts.
    let message = format!(r#""{}""#, "x".repeat(50_000));
    let mut published = 0;
    while peer.gateway.metric("outbound_queued_bytes") < 300_000 {
        peer.gateway.publish("user:42", &message);
        published += 1;
    }
    let mut read = 0;
    peer.stop_while(|| read = client.read_available());
    let frames = published * (message.len() + r#"{"op":3,"message":}"#.len() + 4);
    assert!(read < frames, "{read} of {frames} bytes had left the gateway");
    client.read_exactly(frames - read);
    client.send_text(r#"{"op":10,"time":7}"#);
    client.expect_text(r#"{"op":11,"time":7}"#);
    assert_eq!(peer.gateway.closes(4008), 0);
    peer.assert_served("a stop longer than a write may take");
}

#[test]
fn a_body_received_during_a_stop_is_in_time() {
    let mut peer = HealthyPeer::of(&TestGateway::with("admin.request_timeout", "2s"));
    let body = r#"{"channel":"user:44","message":1}"#;
    let head = format!(
        "POST /v1/publish HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let begin = || {
        let mut stream = TcpStream::connect(peer.gateway.admin).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let mut backends: Vec<_> = (0..20).map(|_| begin()).collect();
    let mut silent = begin();
    peer.gateway.wait_metric_above("admin_connections", 20);
    // The answer shows that the gateway has read the request heads.
    peer.gateway.get("/livez");
    peer.stop_while(|| {
        backends.iter_mut().for_each(|backend| backend.write_all(body.as_bytes()).unwrap());
    });
    for backend in &mut backends {
        assert_eq!(status(backend), "HTTP/1.1 200");
    }
    assert_eq!(status(&mut silent), "HTTP/1.1 408");
    peer.assert_served("a stop longer than a body may take");
}

#[test]
fn a_probe_answered_during_a_stop_is_in_time() {
    let redis = RedisServer::start();
    let plan = TestGateway::redis(&redis)
        .with("broker.probe_interval", "100ms")
        .with("broker.probe_timeout", "2s")
        .with("broker.response_timeout", "2s");
    let mut peer = HealthyPeer::of(&plan);
    peer.gateway.wait_ready();
    // Longer than the probe interval, so that a probe is pending when the gateway is stopped.
    redis.stop();
    let started = Instant::now();
    eventually(SOON, || (started.elapsed() > Duration::from_millis(500)).then_some(()));
    peer.stop_while(|| redis.cont());
    peer.assert_served("a stop longer than a probe may take");
    peer.gateway.wait_ready();
    peer.assert_no_link_loss();
}

#[test]
fn a_subscription_confirmed_during_a_stop_is_in_time() {
    let redis = RedisServer::start();
    let plan = TestGateway::redis(&redis)
        .with("broker.probe_interval", "30s")
        .with("broker.probe_timeout", "1m")
        .with("broker.response_timeout", "2s");
    let mut peer = HealthyPeer::of(&plan);
    peer.gateway.wait_ready();
    let before = peer.gateway.metric("channels");
    redis.stop();
    let mut client = peer.attacker();
    client.send_text(r#"{"op":1,"token":"42"}"#);
    peer.gateway.wait_metric("channels", before + 1);
    peer.stop_while(|| redis.cont());
    client.expect_text(r#"{"op":2,"user":"42"}"#);
    peer.gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
    peer.assert_served("a stop longer than a subscription may take");
    peer.assert_no_link_loss();
}

#[test]
fn a_drain_interrupted_by_a_stop_still_closes_every_client() {
    let plan = TestGateway::with("drain.delay", "1s").with("drain.window", "1s").with("drain.timeout", "2s");
    let mut gateway = plan.spawn();
    let mut clients: Vec<_> = (0..20).map(|_| gateway.ready_client("42")).collect();
    gateway.terminate();
    gateway.wait_not_ready("draining");
    let started = Instant::now();
    gateway.signal("STOP");
    eventually(SOON, || (started.elapsed() > STOP).then_some(()));
    gateway.signal("CONT");
    for client in &mut clients {
        client.expect_close(1012);
    }
    assert_eq!(gateway.wait_exit().code, Some(0));
    assert!(gateway.log().contains("drained in"), "{}", gateway.log());
}
