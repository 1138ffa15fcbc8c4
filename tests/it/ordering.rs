//! A client that subscribes while messages are published receives them in order, without gaps or duplicates, and none
//! before the confirmation.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::client::Client;
use crate::support::gateway::TestGateway;
use crate::support::redis_server::RedisServer;

/// Publishes 0, 1, 2, … to a channel over a plain connection while `act` runs.
fn while_publishing(redis: &RedisServer, channel: &str, act: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut backend = redis.client();
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                redis::cmd("PUBLISH").arg(channel).arg(number).exec(&mut backend).unwrap();
                number += 1;
            }
        });
        // Also stops the other thread when `act` panics.
        let _over = SetOnDrop(&is_over);
        act();
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asserts that the next `count` messages are successive numbers.
#[track_caller]
fn expect_successive(client: &mut Client, count: usize) {
    let mut expected = None;
    for _ in 0..count {
        let frame = client.next_json();
        assert_eq!(frame["op"], 3, "{frame}");
        let number = frame["message"].as_u64().unwrap();
        assert!(
            expected.is_none_or(|expected| expected == number),
            "expected {expected:?}, received {number}"
        );
        expected = Some(number + 1);
    }
}

#[test]
fn no_message_precedes_ready_and_none_is_missing_after_it() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    while_publishing(&redis, "gateway:user:42", || {
        for _ in 0..40 {
            let mut clients = [gateway.connect(), gateway.connect(), gateway.connect()];
            clients.iter_mut().for_each(|client| client.identify("42"));
            for client in &mut clients {
                client.expect_text(r#"{"op":2,"user":"42"}"#);
                expect_successive(client, 50);
            }
        }
    });
}

#[test]
fn a_subscription_covers_exactly_its_confirmed_range() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let mut client = gateway.connect_v2();
    client.identify("42");
    client.expect_ready();
    while_publishing(&redis, "gateway:public:news", || {
        for _ in 0..60 {
            client.send_text(r#"{"op":4,"channel":"public:news"}"#);
            let answer = client.next_json();
            assert_eq!((&answer["op"], &answer["state"]), (&6.into(), &"subscribed".into()), "{answer}");
            expect_successive(&mut client, 30);
            client.send_text(r#"{"op":5,"channel":"public:news"}"#);
            let mut frame = client.next_json();
            while frame["op"] == 3 {
                frame = client.next_json();
            }
            assert_eq!(frame["state"], "unsubscribed");
            client.send_text(r#"{"op":10,"time":1}"#);
            client.expect_text(r#"{"op":11,"time":1}"#);
        }
    });
}

#[test]
fn the_last_command_of_a_fast_client_counts() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let mut client = gateway.connect_v2();
    client.identify("42");
    client.expect_ready();
    for round in 0..50 {
        for _ in 0..3 {
            client.send_text(r#"{"op":4,"channel":"public:news"}"#);
            client.send_text(r#"{"op":5,"channel":"public:news"}"#);
        }
        client.send_text(r#"{"op":4,"channel":"public:news"}"#);
        // The client is subscribed at most four times, and stays subscribed at the end.
        let (mut unsubscribed, mut is_on) = (0, false);
        while unsubscribed < 3 || !is_on {
            let frame = client.next_json();
            assert_eq!(frame["op"], 6, "{frame}");
            is_on = frame["state"] == "subscribed";
            unsubscribed += usize::from(!is_on);
        }
        gateway.publish("public:news", &round.to_string());
        client.expect_text(&format!(r#"{{"op":3,"channel":"public:news","message":{round}}}"#));
        client.send_text(r#"{"op":5,"channel":"public:news"}"#);
        client.expect_text(r#"{"op":6,"channel":"public:news","state":"unsubscribed"}"#);
    }
}
