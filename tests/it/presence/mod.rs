//! Presence over a real Redis: online users, channels in use and rooms, for backends and clients.
//!
//! - `burial`: real replicas bury leases that the test has written.
//! - `crowd`: exact edges while everything fails at random.
//! - `edges`: the cause of each edge.
//! - `faults`: replicas that are killed, stop or lose Redis, with exact counts.
//! - `functions`: the functions in Redis, called directly.
//! - `occupancy`: channels in use.
//! - `online`: the state at the beginning of a subscription to `online:<user>`.
//! - `over_both`: the same test over both brokers.
//! - `push`: messages for users that are away.
//! - `push_worker`: the documented worker.
//! - `replica`: a broker with hubs that a test controls.
//! - `room_member`: a session in a room.
//! - `rooms`: counts and members of channels, over brokers.
//! - `rooms_ws`: rooms on the socket.
//! - `settings`: replicas whose settings differ.
//! - `wrong_types`: keys of presence that another program has written.

mod burial;
mod crowd;
mod edges;
mod faults;
mod functions;
mod occupancy;
mod online;
pub(crate) mod over_both;
mod push;
mod push_worker;
pub(crate) mod replica;
mod room_member;
mod rooms;
mod rooms_ws;
mod settings;
mod wrong_types;

use std::collections::BTreeMap;
use std::time::Duration;

use redis::Connection;

use crate::support::deadline::eventually_eq;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::redis_server::RedisServer;

/// A lease lapses after 5 s, and its burial follows. A replica that has just connected waits for the others first.
const BURIAL: Duration = Duration::from_secs(20);

fn plan(redis: &RedisServer, grace: &str) -> Plan {
    TestGateway::redis(redis)
        .with("presence.enabled", "true")
        .with("presence.grace", grace)
        .with("broker.max_reconnect_delay", "200ms")
        .with("broker.connect_timeout", "500ms")
}

/// The number of replicas with sessions of each user, as a backend reads it.
fn online(backend: &mut Connection, users: &[&str]) -> Vec<Option<u32>> {
    redis::cmd("HMGET").arg("gateway:{presence}:online").arg(users).query(backend).unwrap()
}

#[track_caller]
fn wait_online(backend: &mut Connection, user: &str, replicas: Option<u32>) {
    eventually_eq(BURIAL, &vec![replicas], || online(backend, &[user]));
}

/// The edges of each user, in order.
fn edges(backend: &mut Connection) -> BTreeMap<String, Vec<String>> {
    let entries: Vec<(String, BTreeMap<String, String>)> =
        redis::cmd("XRANGE").arg("gateway:{presence}:edges").arg("-").arg("+").query(backend).unwrap();
    let mut edges = BTreeMap::<String, Vec<String>>::new();
    for (_, fields) in entries {
        assert!(fields["at"].parse::<u64>().unwrap() > 1_700_000_000_000, "Unix time in milliseconds");
        edges.entry(fields["user"].clone()).or_default().push(fields["state"].clone());
    }
    edges
}

#[track_caller]
fn assert_edges(backend: &mut Connection, user: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|state| (*state).to_owned()).collect();
    eventually_eq(BURIAL, &expected, || edges(backend).remove(user).unwrap_or_default());
}
