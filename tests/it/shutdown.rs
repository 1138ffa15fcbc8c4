//! Orderly shutdown: every client gets a Close, and not all clients reconnect at once.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::deadline::{eventually, eventually_eq};
use crate::support::gateway::{Plan, TestGateway};
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

/// Plans a gateway that closes its sockets over `window`, after `delay`.
fn plan(delay: &str, window: &str) -> Plan {
    TestGateway::with("drain.delay", delay).with("drain.window", window).with("drain.timeout", "30s")
}

#[test]
fn after_sigterm_the_gateway_serves_until_the_delay_ends() {
    let mut gateway = plan("3s", "100ms").spawn();
    let mut client = gateway.ready_client("42");
    gateway.terminate();
    gateway.wait_not_ready("draining");
    // The load balancer still sends clients here, so they are served.
    let mut late = gateway.ready_client("42");
    gateway.publish("user:42", "1");
    for client in [&mut client, &mut late] {
        client.expect_text(r#"{"op":3,"message":1}"#);
        client.expect_close(1012);
    }
    assert_eq!(gateway.wait_exit().code, Some(0));
}

#[test]
fn no_new_socket_is_accepted_while_sockets_are_closed() {
    let mut gateway = plan("0s", "5s").spawn();
    let mut clients: Vec<_> = (0..8).map(|_| gateway.ready_client("42")).collect();
    gateway.terminate();
    gateway.wait_not_ready("draining");
    let refused = eventually(SOON, || gateway.try_connect("/").err());
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("1")));
    clients.iter_mut().for_each(|client| client.expect_close(1012));
    assert_eq!(gateway.wait_exit().code, Some(0));
}

#[test]
fn every_socket_is_closed_with_1012_before_the_exit() {
    let redis = RedisServer::start();
    for plan in [plan("0s", "200ms"), plan("0s", "200ms").redis(&redis)] {
        let mut gateway = plan.spawn();
        gateway.wait_ready();
        let mut v1 = gateway.ready_client("1");
        let mut v2 = gateway.connect_v2();
        v2.identify("2");
        v2.expect_ready();
        let mut unidentified = gateway.connect();
        let mut unidentified_v2 = gateway.connect_v2();
        gateway.terminate();
        for client in [&mut v1, &mut unidentified] {
            client.expect_close(1012);
        }
        for client in [&mut v2, &mut unidentified_v2] {
            let frame = client.next_json();
            let after = frame["after"].as_u64().unwrap();
            assert_eq!(frame.to_string(), format!(r#"{{"after":{after},"op":7,"reason":"draining"}}"#));
            client.expect_close(1012);
        }
        let ended = gateway.wait_exit();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.err.contains("drained in"), "{}", ended.err);
    }
}

#[test]
fn closes_are_spread_over_the_window() {
    let mut gateway = plan("0s", "1s").spawn();
    let clients: Vec<Client> = (0..20).map(|number| gateway.ready_client(&number.to_string())).collect();
    let waiting: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                client.expect_close(1012);
                Instant::now()
            })
        })
        .collect();
    gateway.terminate();
    let closed: Vec<_> = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
    let spread = *closed.iter().max().unwrap() - *closed.iter().min().unwrap();
    assert!(spread >= Duration::from_millis(300), "all were closed within {spread:?}");
    assert_eq!(gateway.wait_exit().code, Some(0));
}

#[test]
fn an_unanswered_close_does_not_delay_the_exit() {
    let mut gateway = plan("0s", "0s").with("server.close_timeout", "500ms").spawn();
    let silent = crate::support::raw_socket::RawSocket::connect(gateway.public);
    gateway.wait_metric("connections", 1);
    gateway.terminate();
    assert_eq!(gateway.wait_exit().code, Some(0));
    drop(silent);
}

#[test]
fn the_drain_timeout_disconnects_a_client_that_reads_nothing() {
    let mut gateway = TestGateway::with("drain.delay", "0s")
        .with("drain.window", "0s")
        .with("drain.timeout", "1s")
        .with("session.max_outbound_bytes", "100000000")
        .with("session.write_timeout", "5m")
        .spawn();
    let stalled = gateway.ready_client("42");
    let message = format!(r#""{}""#, "x".repeat(900_000));
    while gateway.metric("outbound_queued_bytes") < 1_000_000 {
        gateway.publish("user:42", &message);
    }
    gateway.terminate();
    let ended = gateway.wait_exit();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("drain.timeout has passed with 1 sockets left"), "{}", ended.err);
    drop(stalled);
}

#[test]
fn a_client_admitted_at_the_last_moment_is_closed_too() {
    let mut gateway = plan("200ms", "1s").spawn();
    let mut clients = thread::scope(|scope| {
        let arrivals: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    // Keeps only the latest clients, because some machines allow few descriptors.
                    let mut clients = VecDeque::new();
                    while let Ok(mut client) = gateway.try_connect("/") {
                        client.expect_hello();
                        client.identify("42");
                        clients.push_back(client);
                        clients.drain(..clients.len().saturating_sub(50));
                    }
                    clients
                })
            })
            .collect();
        gateway.wait_metric_above("connections", 20);
        gateway.terminate();
        arrivals.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for client in &mut clients {
        // The latest client may be closed before its Identify is read.
        if let Some(frame) = client.next_or_close_with(1012) {
            assert_eq!(frame, r#"{"op":2,"user":"42"}"#);
            client.expect_close(1012);
        }
    }
    assert_eq!(gateway.wait_exit().code, Some(0));
}

#[test]
fn a_second_sigint_ends_the_process_at_once() {
    for first in ["INT", "TERM"] {
        let mut gateway = plan("20s", "1s").spawn();
        let mut client = gateway.ready_client("42");
        gateway.signal(first);
        gateway.wait_not_ready("draining");
        let started = Instant::now();
        if first == "TERM" {
            gateway.signal("INT");
            gateway.wait_for_log("another SIGINT ends the process at once");
        }
        gateway.signal("INT");
        let ended = gateway.wait_exit();
        assert_eq!(ended.code, Some(130), "{first}: {}", ended.err);
        assert!(ended.err.contains("second SIGINT: ending at once"), "{first}: {}", ended.err);
        assert!(started.elapsed() < Duration::from_secs(10), "{first}: {:?}", started.elapsed());
        assert_eq!(client.next_or_close(), None);
    }
}

/// The kubelet and systemd may send SIGTERM twice.
#[test]
fn a_second_sigterm_does_not_shorten_a_drain() {
    let mut gateway = plan("3s", "100ms").spawn();
    let mut client = gateway.ready_client("42");
    gateway.terminate();
    gateway.wait_not_ready("draining");
    gateway.terminate();
    gateway.wait_for_log("already draining");
    gateway.signal("HUP");
    gateway.wait_for_log("SIGHUP is ignored");
    gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
    client.expect_close(1012);
    assert_eq!(gateway.wait_exit().code, Some(0));
}

#[test]
fn sigint_acts_like_sigterm() {
    let mut gateway = plan("0s", "0s").spawn();
    let mut client = gateway.ready_client("42");
    gateway.signal("INT");
    client.expect_close(1012);
    assert_eq!(gateway.wait_exit().code, Some(0));
}

#[test]
fn a_gateway_without_clients_exits_at_once() {
    let mut gateway = plan("0s", "20s").spawn();
    let started = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.wait_exit().code, Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let (public, admin) = (gateway.public.to_string(), gateway.admin.to_string());
    let again = TestGateway::with("server.public_addr", &public).with("server.admin_addr", &admin).spawn();
    assert_eq!(again.public, gateway.public);
}

#[test]
fn without_redis_the_shutdown_is_still_orderly() {
    let mut redis = RedisServer::start();
    let mut gateway = plan("0s", "0s").redis(&redis).spawn();
    gateway.wait_ready();
    let mut client = gateway.ready_client("42");
    redis.kill();
    eventually_eq(SOON, &503, || gateway.readyz().0);
    gateway.terminate();
    client.expect_close(1012);
    assert_eq!(gateway.wait_exit().code, Some(0));
}
