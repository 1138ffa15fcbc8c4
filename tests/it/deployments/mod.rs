//! The gateway over the Redis of a real deployment: users, TLS, sentinels, Unix sockets, and faults of servers.

mod acl;
mod failover;
mod half_open;
mod tls;
mod unix_socket;

use crate::support::gateway::{Plan, TestGateway};

/// A gateway over this URL, which looks for a new link soon.
fn plan(url: &str) -> Plan {
    TestGateway::with("broker.url", url)
        .with("broker.min_reconnect_delay", "20ms")
        .with("broker.max_reconnect_delay", "300ms")
}

/// What is published at `redis` arrives here.
#[track_caller]
fn assert_delivers(gateway: &TestGateway, redis: &mut redis::Connection) {
    let mut client = gateway.ready_client("42");
    redis::cmd("PUBLISH").arg("gateway:user:42").arg("1").exec(redis).unwrap();
    client.expect_text(r#"{"op":3,"message":1}"#);
    gateway.publish("user:42", "2");
    client.expect_text(r#"{"op":3,"message":2}"#);
}

/// How many lines of its log hold this text.
fn lines(gateway: &TestGateway, text: &str) -> usize {
    gateway.log().lines().filter(|line| line.contains(text)).count()
}
