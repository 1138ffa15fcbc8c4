//! Requests about presence to the admin port.

use serde_json::{Value, json};

use super::admin::{Coverage, hasty, patient, plan};
use crate::support::deadline::{eventually, eventually_eq};
use crate::support::gateway::{Plan, TestGateway};
use crate::support::http::Answer;
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

const BOTH: &str = r#"{"users":["42","43"]}"#;

fn present(redis: &RedisServer) -> Plan {
    plan().redis(redis).with("presence.enabled", "true")
}

/// Asks both routes.
#[track_caller]
fn ask(coverage: &mut Coverage, gateway: &TestGateway) -> [Answer; 2] {
    [coverage.post(gateway, "/v1/presence", BOTH), coverage.get(gateway, "/v1/users/42")]
}

#[track_caller]
fn assert_code(answers: &[Answer], status: u16, code: &str) {
    for answer in answers {
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)));
    }
}

fn with_push(channel: &str) -> String {
    json!({"channel": channel, "message": 1, "durable": true, "push": true}).to_string()
}

fn user_json(gateway: &TestGateway, coverage: &mut Coverage, user: &str) -> Value {
    coverage.get(gateway, &format!("/v1/users/{user}")).json()
}

/// Asks a gateway that reports presence to a Redis that works, refuses and stalls.
pub(super) fn exercise_presence(coverage: &mut Coverage) {
    let redis = RedisServer::start();
    let gateway = patient(&present(&redis));
    let client = gateway.ready_client("42");
    let online = json!({"user": "42", "online": true, "replicas": 1});
    eventually_eq(SOON, &online, || user_json(&gateway, coverage, "42"));
    assert_eq!(
        coverage.post(&gateway, "/v1/presence", BOTH).json(),
        json!({"users": {"42": {"online": true, "replicas": 1}, "43": {"online": false, "replicas": 0}}})
    );
    for (channel, pushed) in [("user:42", json!(false)), ("user:43", json!(true))] {
        let answer = coverage.post(&gateway, "/v1/publish", &with_push(channel));
        assert_eq!((answer.status, &answer.json()["pushed"]), (200, &pushed));
    }
    assert_code(&[coverage.post(&gateway, "/v1/publish", &with_push("room:7"))], 400, "bad_push");
    drop(client);
    // Within the grace, the user is online on no replica.
    let graced = json!({"user": "42", "online": true, "replicas": 0});
    eventually_eq(SOON, &graced, || user_json(&gateway, coverage, "42"));
    assert_eq!(coverage.post(&gateway, "/v1/presence", r#"{"users":[]}"#).json(), json!({"users": {}}));
    let names = |count: usize| json!({"users": vec!["42"; count]}).to_string();
    assert_eq!(coverage.post(&gateway, "/v1/presence", &names(1000)).status, 200);
    assert_code(&[coverage.post(&gateway, "/v1/presence", &names(1001))], 400, "bad_body");
    assert_code(&[coverage.post(&gateway, "/v1/presence", r#"{"users":["4 2"]}"#)], 400, "bad_user");
    assert_code(&[coverage.get(&gateway, "/v1/users/a%7Bb")], 400, "bad_user");
    redis::cmd("SET").arg("gateway:{presence}:online").arg("no hash").exec(&mut redis.client()).unwrap();
    assert_code(&ask(coverage, &gateway), 502, "broker_refused");
    let hasty = hasty(coverage, &present(&redis), "/v1/users/42");
    redis.stop();
    assert_code(&ask(coverage, &hasty), 504, "broker_timeout");
    redis.cont();
}

/// Asks gateways whose presence is off, and one whose Redis is down.
pub(super) fn exercise_presence_without_redis(coverage: &mut Coverage) {
    let redis = RedisServer::start();
    for plan in [plan(), plan().redis(&redis)] {
        let gateway = plan.spawn();
        gateway.wait_ready();
        assert_code(&ask(coverage, &gateway), 409, "presence_disabled");
        let refused = coverage.post(&gateway, "/v1/publish", &with_push("user:42"));
        assert_code(&[refused], 409, "presence_disabled");
    }
    let gateway = present(&RedisServer::reserve(&[])).spawn();
    assert_code(&ask(coverage, &gateway), 503, "broker_unavailable");
}

#[test]
fn a_read_of_presence_succeeds_after_redis_returns() {
    let mut redis = RedisServer::start();
    let gateway = present(&redis).spawn();
    gateway.wait_ready();
    let _client = gateway.ready_client("42");
    redis.kill();
    let mut coverage = Coverage::new();
    eventually(SOON, || (coverage.get(&gateway, "/v1/users/42").status == 503).then_some(()));
    redis.restart();
    let online = json!({"user": "42", "online": true, "replicas": 1});
    eventually(SOON, || (user_json(&gateway, &mut coverage, "42") == online).then_some(()));
}
