//! The gateway with the Redis setups of real deployments.
//!
//! - `acl`: users, passwords and permissions
//! - `busy`: a server that does not run commands for a moment
//! - `cluster_url`: a plain URL that leads to a Redis Cluster
//! - `failover`: sentinels and failovers
//! - `half_open`: servers that stop answering, or answer in the wrong role
//! - `loading`: servers that load their data
//! - `missing_commands`: servers that do not run all commands
//! - `presence_acl`: the permissions that presence needs
//! - `tls`: certificates
//! - `unix_socket`: Unix sockets

pub(crate) mod acl;
mod busy;
mod cluster_url;
mod control_acl;
mod failover;
mod half_open;
mod loading;
mod missing_commands;
mod presence_acl;
mod tls;
mod unix_socket;

use crate::support::gateway::{Plan, TestGateway};

/// Plans a gateway for this URL with short reconnect delays.
fn plan(url: &str) -> Plan {
    TestGateway::with("broker.url", url)
        .with("broker.min_reconnect_delay", "20ms")
        .with("broker.max_reconnect_delay", "300ms")
}

/// Asserts that messages published in `redis` and over HTTP reach a client.
#[track_caller]
fn assert_delivers(gateway: &TestGateway, redis: &mut redis::Connection) {
    let mut client = gateway.ready_client("42");
    redis::cmd("PUBLISH").arg("gateway:user:42").arg("1").exec(redis).unwrap();
    client.expect_text(r#"{"op":3,"message":1}"#);
    gateway.publish("user:42", "2");
    client.expect_text(r#"{"op":3,"message":2}"#);
}

/// Counts the log lines that contain `text`.
fn lines(gateway: &TestGateway, text: &str) -> usize {
    gateway.log().lines().filter(|line| line.contains(text)).count()
}
