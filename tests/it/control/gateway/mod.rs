//! Commands to every replica: what they do to sessions, and what the admin port and the command line answer.
//!
//! - `disconnecting`, `subscribing`, `revoking`, `listing`: each command on one replica.
//! - `command_line`: `emagine-gateway control`.
//! - `replicas`: several replicas with one Redis.
//! - `staleness`, `without_redis`: a replica without Redis.

mod command_line;
mod disconnecting;
mod listing;
mod replicas;
mod revoking;
mod staleness;
mod subscribing;
mod without_redis;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::gateway::{Plan, TestGateway};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn jwt() -> Plan {
    TestGateway::with("auth.kind", "jwt").with("auth.secret", SECRET)
}

/// Issues a command; returns the response.
#[track_caller]
fn control(gateway: &TestGateway, command: &Value) -> Value {
    let answer = gateway.post("/v1/control", &command.to_string());
    assert_eq!(answer.status, 200, "{command}: {}", answer.body);
    answer.json()
}

/// Issues a command that all replicas answer; returns the number of affected sessions on all of them.
#[track_caller]
fn affected(gateway: &TestGateway, command: &Value) -> u64 {
    let answer = control(gateway, command);
    assert_eq!(answer["missing"], Value::Array(Vec::new()), "{command}: {answer}");
    let replicas = answer["replicas"].as_object().unwrap();
    assert!(!replicas.is_empty(), "{answer}");
    replicas.values().map(|affected| affected.as_u64().unwrap()).sum()
}

/// Connects a client of version 2 with this token; returns the id of its session.
#[track_caller]
fn ready(gateway: &TestGateway, token: &str) -> (Client, String) {
    let mut client = gateway.connect_v2();
    client.identify(token);
    let session = client.expect_ready()["session"].as_str().unwrap().to_owned();
    (client, session)
}

#[track_caller]
fn subscribe(client: &mut Client, channel: &str) {
    client.send_text(&format!(r#"{{"op":4,"channel":"{channel}"}}"#));
    assert_eq!(client.next_json()["state"], "subscribed");
}
