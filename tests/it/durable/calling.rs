//! Durable publishing over HTTP and with the command line, in one process and over Redis.

use serde_json::json;

use super::*;
use crate::support::gateway::TestGateway;

/// Publishes durably; returns the position in the answer.
#[track_caller]
fn publish(gateway: &TestGateway, body: &str) -> Position {
    let answer = gateway.post("/v1/publish", body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    parse(answer.json()["position"].as_str().unwrap())
}

fn over_both(test: impl Fn(&TestGateway)) {
    let redis = RedisServer::start();
    for plan in [TestGateway::with("broker.url", "memory:"), TestGateway::redis(&redis)] {
        let gateway = plan.spawn();
        gateway.wait_ready();
        test(&gateway);
    }
}

#[test]
fn a_client_gets_a_durable_message_byte_for_byte() {
    over_both(|gateway| {
        let mut client = gateway.ready_client("42");
        let message = r#"{"b": 1,  "a":[1.0, 1e3, "\u00e9é"], "a":null}"#;
        let first =
            publish(gateway, &format!(r#"{{"channel":"user:42","durable":true,"message":{message}}}"#));
        client.expect_text(&format!(r#"{{"op":3,"message":{message}}}"#));
        gateway.publish("user:42", "1");
        client.expect_text(r#"{"op":3,"message":1}"#);
        let second = publish(gateway, r#"{"channel":"user:42","durable":true,"message":2}"#);
        client.expect_text(r#"{"op":3,"message":2}"#);
        assert_eq!(second, next(first));
        assert_eq!(gateway.metric("history_available"), 1);
    });
}

#[test]
fn a_message_with_an_idempotency_key_arrives_once() {
    over_both(|gateway| {
        let mut client = gateway.ready_client("42");
        let body = r#"{"channel":"user:42","durable":true,"idempotency_key":"order 1","message":1}"#;
        let first = publish(gateway, body);
        assert_eq!(publish(gateway, body), first);
        let batch = gateway.post("/v1/publish/batch", &format!(r#"{{"messages":[{body},{body}]}}"#));
        assert_eq!(batch.json()["results"][1], json!({"position": first.to_string()}));
        gateway.publish("user:42", "2");
        client.expect_text(r#"{"op":3,"message":1}"#);
        client.expect_text(r#"{"op":3,"message":2}"#);
    });
}

#[test]
fn a_key_with_another_message_is_a_conflict() {
    over_both(|gateway| {
        let body = r#"{"channel":"user:42","durable":true,"idempotency_key":"order 1","message":1}"#;
        let first = publish(gateway, body);
        let other = body.replace(":1}", ":2}");
        let answer = gateway.post("/v1/publish", &other);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (409, &json!("idempotency_key_reused")));
        let batch = gateway.post("/v1/publish/batch", &format!(r#"{{"messages":[{other},{body}]}}"#)).json();
        assert_eq!(batch["results"][0]["error"]["code"], "idempotency_key_reused");
        assert_eq!(batch["results"][1], json!({"position": first.to_string()}));
    });
}

#[test]
fn unreadable_messages_are_refused_by_every_publishing_interface() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let half = r#""\ud800""#.to_owned();
    over_both(|gateway| {
        for durable in [false, true] {
            let post = |message: &str| {
                let body = format!(r#"{{"channel":"user:42","durable":{durable},"message":{message}}}"#);
                gateway.post("/v1/publish", &body)
            };
            for bad in [&nested(129), &nested(200_000), &half] {
                let answer = post(bad);
                assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("bad_message")));
            }
            assert_eq!(post(&nested(128)).status, 200);
        }
    });
}

#[test]
fn an_unreadable_plain_payload_is_dropped_and_counted() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).with("broker.max_payload_depth", "5").spawn();
    gateway.wait_ready();
    let mut client = gateway.ready_client("42");
    let mut backend = redis.client();
    let half = r#""\udc00""#;
    let for_users = r#"{"users":["42"],"message":[[[[[[]]]]]]}"#;
    for (channel, payload) in
        [("user:42", "[[[[[[]]]]]]"), ("user:42", half), ("users", for_users), ("user:42", "[[[[[]]]]]")]
    {
        cmd("PUBLISH").arg(format!("gateway:{channel}")).arg(payload).exec(&mut backend).unwrap();
    }
    client.expect_text(r#"{"op":3,"message":[[[[[]]]]]}"#);
    assert_eq!((gateway.dropped("too_deep"), gateway.dropped("lone_surrogate")), (2, 1));
    gateway.wait_metric("rejected_total{result=\"recorded\"}", 3);
    let error = refused(&mut backend, &["user:42"], &["[[[[[[]]]]]]"]);
    assert!(error.contains("nested too deeply: more than 5 levels"), "{error}");
}

#[test]
fn the_longest_message_is_stored_and_delivered() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).with("broker.max_payload_bytes", "2048").spawn();
    gateway.wait_ready();
    let mut client = gateway.ready_client("42");
    let longest = format!(r#""{}""#, "x".repeat(2046));
    publish(&gateway, &format!(r#"{{"channel":"user:42","durable":true,"message":{longest}}}"#));
    client.expect_text(&format!(r#"{{"op":3,"message":{longest}}}"#));
}

#[test]
fn the_command_line_prints_the_position() {
    over_both(|gateway| {
        let mut client = gateway.ready_client("42");
        let publish = |further: &[&str]| {
            gateway.command(&[&["publish", "user:42", r#"{"a": 1}"#, "--durable"], further].concat())
        };
        let first = publish(&["--idempotency-key", "k"]);
        assert_eq!(first.code, Some(0), "{}", first.err);
        let position = parse(first.out.trim_end());
        assert_eq!(publish(&["--idempotency-key", "k"]).out, first.out);
        assert_eq!(publish(&[]).out, format!("{}\n", next(position)));
        client.expect_text(r#"{"op":3,"message":{"a": 1}}"#);
        client.expect_text(r#"{"op":3,"message":{"a": 1}}"#);
        let without = gateway.command(&["publish", "user:42", "1", "--idempotency-key", "k"]);
        assert_eq!(without.code, Some(2), "{}", without.err);
    });
}

#[test]
fn a_history_key_of_another_type_is_reported() {
    let redis = RedisServer::start();
    run_line::<()>(&mut redis.client(), "SET gateway:user:42 text");
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let answer = gateway.post("/v1/publish", r#"{"channel":"user:42","durable":true,"message":1}"#);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!("broker_refused")));
    assert!(answer.body.contains("WRONGTYPE"), "{}", answer.body);
}
