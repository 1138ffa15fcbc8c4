//! Signals (op 18): from one session to the other sessions of a channel, on every replica.

mod arrival;
mod delivery;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::redis_server::RedisServer;

const ROOM: &str = "room:7";

/// Rooms with signals, and `public` without.
fn with_signals(plan: Plan) -> Plan {
    plan.with("channels.public_namespaces", "room,public")
        .with("namespaces.room.signals", "true")
        .with("session.signal_interval", "20ms")
}

/// Starts two replicas of one Redis.
fn start_two(redis: &RedisServer) -> [TestGateway; 2] {
    let replicas = [(); 2].map(|()| with_signals(TestGateway::redis(redis)).spawn());
    replicas.iter().for_each(TestGateway::wait_ready);
    replicas
}

/// Identifies a client that is subscribed to a channel.
#[track_caller]
fn enter(gateway: &TestGateway, user: &str, channel: &str) -> Client {
    let mut client = gateway.connect_v2().answering_heartbeats();
    client.send_text(&format!(r#"{{"op":1,"token":"{user}","channels":[{{"channel":"{channel}"}}]}}"#));
    client.expect_ready();
    client
}

#[track_caller]
fn send(client: &mut Client, channel: &str, signal: &str) {
    client.send_text(&format!(r#"{{"op":18,"channel":"{channel}","signal":{signal}}}"#));
}

fn frame(user: &str, signal: &str) -> String {
    format!(r#"{{"op":18,"channel":"room:7","user":"{user}","signal":{signal}}}"#)
}

/// Publishes a payload as a backend does.
fn publish(redis: &RedisServer, channel: &str, payload: impl redis::ToRedisArgs) {
    redis::cmd("PUBLISH").arg(format!("gateway:{channel}")).arg(payload).exec(&mut redis.client()).unwrap();
}

/// The number of signals with this result.
#[track_caller]
fn signals(gateway: &TestGateway, result: &str) -> i64 {
    gateway.metric(&format!("signals_total{{result=\"{result}\"}}"))
}

#[track_caller]
fn wait_signals(gateway: &TestGateway, result: &str, count: i64) {
    gateway.wait_metric(&format!("signals_total{{result=\"{result}\"}}"), count);
}
