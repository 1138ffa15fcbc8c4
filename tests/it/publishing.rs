//! Publishing over HTTP, in one process and over Redis.

use serde_json::{Value, json};

use crate::support::gateway::TestGateway;
use crate::support::redis_server::RedisServer;

#[test]
fn a_published_message_keeps_every_byte() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.ready("42");
    for message in [
        r#"{"b": 1,  "a":[1.0, 1e3, "\u00e9é\/"], "a":null}"#,
        "18446744073709551616",
        r#""text""#,
        "null",
        "[ ]",
        r#""\ud83d\ude00 😀""#,
    ] {
        gateway.publish("user:42", message);
        client.hears(&format!(r#"{{"op":3,"message":{message}}}"#));
    }
    assert_eq!(gateway.metric("publications_accepted_total"), 6);
    assert_eq!(gateway.metric("publications_received_total"), 6);
    gateway.wait_metric("publications_delivered_total", 6);
}

#[test]
fn a_batch_is_published_in_order_and_each_message_has_its_own_result() {
    let redis = RedisServer::start();
    for plan in [TestGateway::with("broker.url", "memory:"), TestGateway::redis(&redis)] {
        let gateway = plan.spawn();
        gateway.wait_ready();
        let mut client = gateway.ready("42");
        let messages: Vec<Value> = (0..100)
            .map(|number| match number % 10 {
                3 => json!({"channel": "nonsense", "message": number}),
                7 => json!({"channel": "user:42", "message": number, "durable": true}),
                _ => json!({"channel": (["user:42", "all"][number % 2]), "message": number}),
            })
            .collect();
        let answer = gateway.post("/v1/publish/batch", &json!({ "messages": messages }).to_string());
        assert_eq!(answer.status, 200);
        let results = answer.json()["results"].as_array().unwrap().clone();
        assert_eq!(results.len(), 100);
        for (number, result) in results.iter().enumerate() {
            match number % 10 {
                3 => assert_eq!(result["error"]["code"], "bad_channel"),
                7 => {
                    assert!(result["position"].as_str().unwrap().ends_with(&format!("-{}", number / 10 + 1)));
                    client.hears(&format!(r#"{{"op":3,"message":{number}}}"#));
                }
                _ => {
                    assert_eq!(*result, json!({"replicas": 1}));
                    client.hears(&format!(r#"{{"op":3,"message":{number}}}"#));
                }
            }
        }
    }
}

#[test]
fn a_message_over_the_bound_is_refused_and_one_at_it_is_delivered() {
    let gateway = TestGateway::with("broker.max_payload_bytes", "2048").spawn();
    let mut client = gateway.ready("42");
    let longest = format!(r#""{}""#, "x".repeat(2046));
    gateway.publish("user:42", &longest);
    client.hears(&format!(r#"{{"op":3,"message":{longest}}}"#));
    let body = format!(r#"{{"channel":"user:42","message":"{}"}}"#, "x".repeat(2047));
    let answer = gateway.post("/v1/publish", &body);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (413, &json!("too_big")));
}

#[test]
fn publishing_to_nobody_succeeds() {
    let gateway = TestGateway::spawn();
    gateway.publish("user:nobody", "1");
    gateway.publish("room:empty", "1");
    assert_eq!(gateway.metric("publications_delivered_total"), 0);
}

#[test]
fn with_redis_away_publishing_says_so() {
    let mut redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis)
        .with("broker.probe_interval", "100ms")
        .with("broker.probe_timeout", "1s")
        .spawn();
    gateway.wait_ready();
    redis.kill();
    gateway.wait_not_ready("");
    let answer = gateway.post("/v1/publish", r#"{"channel":"user:42","message":1}"#);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("broker_unavailable")));
}
