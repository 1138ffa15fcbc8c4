//! Presence over a real Redis: who is online, and the edges that backends and clients hear.
//!
//! - `burial`: real replicas bury leases that the test has written.
//! - `crowd`: exact edges while everything fails at random.
//! - `edges`: what each edge stands for.
//! - `online`: the state at the beginning of a subscription to `online:<user>`.
//! - `push`: messages for users that are away.
//! - `push_worker`: the documented worker.
//! - `faults`: replicas that die, stop or lose Redis, with exact counts.
//! - `occupancy`: channels in use.
//! - `rooms`: counts and members of channels.
//! - `replica`: a broker whose hubs report what a test wants.
//! - `room_member`: a session in a room.
//! - `rooms_ws`: rooms on the socket.
//! - `functions`: the functions in Redis, called directly.
//! - `settings`: replicas whose settings differ.
//! - `wrong_types`: keys that somebody else has written.

mod burial;
mod crowd;
mod edges;
mod faults;
mod functions;
mod occupancy;
mod online;
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

/// On how many replicas each user is, as a backend asks for it.
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
