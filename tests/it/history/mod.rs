//! The last messages of a channel, and pages of its history, over both brokers.
//!
//! - `last`: what a subscriber receives before live messages
//! - `pages`: op 19 and the route of the admin port

mod last;
mod pages;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::presence::over_both::Over;
use crate::support::client::{Client, Version};
use crate::support::gateway::{Plan, TestGateway};
use crate::support::redis_server::RedisServer;

const ROOM: &str = "room:7";

/// A gateway whose rooms are public and give the last 100 messages, over a broker with long histories.
struct Fixture {
    redis: Option<RedisServer>,
    gateway: TestGateway,
}

impl Fixture {
    #[track_caller]
    fn start(over: Over, change: impl FnOnce(Plan) -> Plan) -> Self {
        let redis = matches!(over, Over::Redis)
            .then(|| RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]));
        let plan = redis.as_ref().map_or_else(TestGateway::plan, TestGateway::redis);
        let plan = plan
            .with("broker.history_size", "2000")
            .with("namespaces.room.subscribe", "public")
            .with("namespaces.room.max_last", "100");
        let gateway = change(plan).spawn();
        gateway.wait_ready();
        Self { redis, gateway }
    }

    /// Publishes numbered messages durably, in one batch.
    #[track_caller]
    fn publish(&self, channel: &str, numbers: std::ops::RangeInclusive<u64>) {
        let messages: Vec<_> =
            numbers.map(|number| json!({"channel": channel, "message": number, "durable": true})).collect();
        let answer = self.gateway.post("/v1/publish/batch", &json!({ "messages": messages }).to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(!answer.body.contains("error"), "{}", answer.body);
    }

    /// Publishes in batches until `is_over`.
    fn publish_at_full_speed(&self, is_over: &AtomicBool, count: &AtomicU64) {
        while !is_over.load(Ordering::SeqCst) {
            let first = count.load(Ordering::SeqCst) + 1;
            self.publish(ROOM, first..=first + 49);
            count.store(first + 49, Ordering::SeqCst);
        }
    }

    /// Connects a client and sends Identify with these channels.
    #[track_caller]
    fn identify(&self, channels: &Value) -> Client {
        let mut client = Client::connect(self.gateway.public, Version::V2).answering_heartbeats();
        client.send_text(&json!({"op": 1, "token": "42", "channels": channels}).to_string());
        client
    }
}

/// The entry of a channel in Ready, or in the op 6 of a batch.
#[track_caller]
fn entry<'a>(frame: &'a Value, channel: &str) -> &'a Value {
    let channels = frame["channels"].as_array().unwrap_or_else(|| panic!("{frame}"));
    channels.iter().find(|entry| entry["channel"] == channel).unwrap_or_else(|| panic!("{frame}"))
}

/// Reads the next message of a channel; returns its number.
#[track_caller]
fn next_number(client: &mut Client, channel: &str) -> u64 {
    let frame = client.next_json();
    assert_eq!((&frame["op"], &frame["channel"]), (&json!(3), &json!(channel)), "{frame}");
    frame["message"].as_u64().unwrap()
}
