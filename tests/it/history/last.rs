//! What a subscriber receives before live messages.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::json;

use super::{Fixture, ROOM, entry, next_number};
use crate::presence::over_both::{Over, over_both};
use crate::support::redis_server::RedisServer;

over_both! {
    the_last_50_come_before_live_ones_at_full_speed
    a_batch_gives_each_channel_its_last_messages
}

fn the_last_50_come_before_live_ones_at_full_speed(over: Over) {
    let fixture = Fixture::start(over, |plan| plan);
    fixture.publish(ROOM, 1..=100);
    let (is_over, count) = (AtomicBool::new(false), AtomicU64::new(100));
    thread::scope(|scope| {
        scope.spawn(|| fixture.publish_at_full_speed(&is_over, &count));
        let rounds = thread::scope(|readers| {
            let read = || (0..10).for_each(|_| read_last_and_live(&fixture, &count));
            let readers = [(); 3].map(|()| readers.spawn(read));
            readers.map(thread::ScopedJoinHandle::join)
        });
        is_over.store(true, Ordering::SeqCst);
        assert!(rounds.iter().all(Result::is_ok));
    });
    assert_eq!(fixture.gateway.metric("history_reads_total{kind=\"last\"}"), 30);
}

/// Asks for the last 50 messages: they and the live ones are consecutive numbers.
#[track_caller]
fn read_last_and_live(fixture: &Fixture, count: &AtomicU64) {
    let published = count.load(Ordering::SeqCst);
    let mut client = fixture.identify(&json!([{"channel": ROOM, "last": 50}]));
    let mut ready = client.expect_ready();
    // The history may be read after `broker.response_timeout` on a busy machine.
    if entry(&ready, ROOM)["state"] == "recovering" {
        ready = json!({"channels": [client.next_json()]});
    }
    assert_eq!(entry(&ready, ROOM)["last"], 50, "{ready}");
    let first = next_number(&mut client, ROOM);
    assert!(first + 49 >= published, "{first} is not among the last 50 of {published}");
    for number in first + 1..first + 150 {
        assert_eq!(next_number(&mut client, ROOM), number);
    }
}

fn a_batch_gives_each_channel_its_last_messages(over: Over) {
    let fixture = Fixture::start(over, |plan| plan);
    fixture.publish("room:1", 1..=5);
    fixture.publish("room:2", 1..=150);
    let mut client = fixture.identify(&json!([]));
    client.expect_ready();
    let since = fixture.gateway.publish_durably("room:3", "1");
    fixture.publish("room:3", 2..=3);
    let channels = json!([
        {"channel": "room:1", "last": 50},
        {"channel": "room:2", "last": 1_000},
        {"channel": "room:3", "since": since, "last": 1},
        {"channel": "room:4", "last": 50},
    ]);
    client.send_text(&json!({"op": 4, "channels": channels}).to_string());
    let answer = client.next_json();
    let last = |channel| answer_of(&answer, channel);
    assert_eq!(last("room:1"), (json!(5), json!(null)));
    assert_eq!(last("room:2"), (json!(100), json!(null)), "more than max_last");
    assert_eq!(last("room:3"), (json!(null), json!(true)), "since wins");
    assert_eq!(last("room:4"), (json!(0), json!(null)), "no history");
    for (channel, numbers) in [("room:1", 1..=5), ("room:2", 51..=150), ("room:3", 2..=3)] {
        numbers.for_each(|number| assert_eq!(next_number(&mut client, channel), number));
    }
    // The position in the answer is the one before the first message.
    let position = entry(&answer, "room:2")["position"].clone();
    let mut other = fixture.identify(&json!([{"channel": "room:2", "since": position}]));
    assert_eq!(entry(&other.expect_ready(), "room:2")["recovered"], true);
    (51..=150).for_each(|number| assert_eq!(next_number(&mut other, "room:2"), number));
}

#[track_caller]
fn answer_of(answer: &serde_json::Value, channel: &str) -> (serde_json::Value, serde_json::Value) {
    let entry = entry(answer, channel);
    assert_eq!(entry["state"], "subscribed", "{answer}");
    (entry["last"].clone(), entry["recovered"].clone())
}

#[test]
fn last_messages_follow_when_redis_answers_again() {
    let fixture = Fixture::start(Over::Redis, |plan| plan.with("broker.response_timeout", "300ms"));
    fixture.publish(ROOM, 1..=10);
    let mut client = fixture.identify(&json!([]));
    client.expect_ready();
    let redis = fixture.redis.as_ref().unwrap();
    redis.stop();
    client.send_text(&json!({"op": 4, "channel": ROOM, "last": 3}).to_string());
    assert_eq!(client.next_json(), json!({"op": 6, "channel": ROOM, "state": "recovering"}));
    redis.cont();
    // The link may be lost meanwhile, of which the other channels are told.
    let mut answer = client.next_json();
    while answer["channel"] != ROOM {
        answer = client.next_json();
    }
    assert_eq!((&answer["state"], &answer["last"]), (&json!("subscribed"), &json!(3)), "{answer}");
    (8..=10).for_each(|number| assert_eq!(next_number(&mut client, ROOM), number));
    fixture.gateway.wait_ready();
    fixture.publish(ROOM, 11..=11);
    assert_eq!(next_number(&mut client, ROOM), 11);
}

#[test]
fn long_last_messages_cost_redis_what_a_client_may_receive() {
    const MESSAGE_BYTES: usize = 500_000;
    // A client may receive four of the messages.
    let plan = |plan: crate::support::gateway::Plan| {
        plan.with("session.max_outbound_bytes", "4194304").with("namespaces.room.max_last", "1000")
    };
    let fixture = Fixture::start(Over::Redis, plan);
    let message = format!("\"{}\"", "x".repeat(MESSAGE_BYTES - 2));
    (0..30).for_each(|_| drop(fixture.gateway.publish_durably(ROOM, &message)));
    let redis = fixture.redis.as_ref().unwrap();
    let before = sent_bytes(redis);
    let mut client = fixture.identify(&json!([{"channel": ROOM, "last": 1_000}]));
    assert_eq!(entry(&client.expect_ready(), ROOM)["last"], 4);
    for _ in 0..4 {
        assert_eq!(client.next_json()["message"].as_str().unwrap().len(), MESSAGE_BYTES - 2);
    }
    let sent = sent_bytes(redis) - before;
    // One message more finds the end of the history, and another shows that it does not fit.
    assert!(sent < 7 * MESSAGE_BYTES, "Redis sent {sent} bytes");
}

fn sent_bytes(redis: &RedisServer) -> usize {
    let info: redis::InfoDict = redis::cmd("INFO").arg("stats").query(&mut redis.client()).unwrap();
    info.get("total_net_output_bytes").unwrap()
}
