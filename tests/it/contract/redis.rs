//! Checks published payloads and Redis streams against the contract.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::support::contract::Contract;
use crate::support::gateway::TestGateway;
use crate::support::redis_server::RedisServer;

type Entries = Vec<(String, HashMap<String, String>)>;

#[track_caller]
fn assert_is(operation: &str, message: &str, value: &Value) {
    assert!(Contract::get().is(operation, message, value), "{value} does not match {message:?}");
}

fn entries(connection: &mut redis::Connection, stream: &str) -> Entries {
    redis::cmd("XRANGE").arg(stream).arg("-").arg("+").query(connection).unwrap()
}

#[test]
fn the_contract_covers_published_payloads_and_history_entries() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let (mut backend, mut listener) = (redis.client(), redis.client());
    let mut pubsub = listener.as_pubsub();
    pubsub.subscribe("gateway:room:7").unwrap();
    for message in [r#"{"a": 1}"#, "null"] {
        let position: String = redis::cmd("FCALL")
            .arg("gateway_publish")
            .arg(1)
            .arg("gateway:room:7")
            .arg(message)
            .query(&mut backend)
            .unwrap();
        let payload: String = pubsub.get_message().unwrap().get_payload().unwrap();
        assert_eq!(payload, format!("@{position} {message}"));
        assert_is("receivePublications", "A durable publication", &json!(payload));
    }
    for (_, fields) in entries(&mut backend, "gateway:room:7") {
        assert_is("receivePublications", "The fields of an entry of a history", &json!(fields));
    }
    // After the function is loaded again, the next entry names the last position before.
    let code: Vec<HashMap<String, redis::Value>> =
        redis::cmd("FUNCTION").arg("LIST").arg("WITHCODE").query(&mut backend).unwrap();
    let code: String = redis::from_redis_value(code[0]["library_code"].clone()).unwrap();
    redis::cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(code).exec(&mut backend).unwrap();
    redis::cmd("FCALL")
        .arg("gateway_publish")
        .arg(1)
        .arg("gateway:room:7")
        .arg("3")
        .exec(&mut backend)
        .unwrap();
    let last = entries(&mut backend, "gateway:room:7").pop().unwrap().1;
    assert!(last.contains_key("a"), "{last:?}");
    assert_is("receivePublications", "The fields of an entry of a history", &json!(last));
}

#[test]
fn the_contract_covers_multi_user_and_rejected_payloads() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).with("broker.max_payload_bytes", "1024").spawn();
    gateway.wait_ready();
    let mut client = gateway.ready_client("42");
    let mut backend = redis.client();
    let mut publish = |channel: &str, payload: &str| {
        redis::cmd("PUBLISH").arg(format!("gateway:{channel}")).arg(payload).exec(&mut backend).unwrap();
    };
    let mut rejected = 0;
    for (number, (payload, reaches)) in [
        (r#"{"users":["42","43"],"message":NUMBER}"#, true),
        (r#"{"users":["42"],"message":NUMBER,"more":1}"#, true),
        (r#"{"users":["4 2"],"message":NUMBER}"#, false),
        (r#"{"users":[""],"message":NUMBER}"#, false),
        (r#"{"users":[42],"message":NUMBER}"#, false),
        (r#"{"users":["42"],"massage":NUMBER}"#, false),
        (r#"{"users":"42","message":NUMBER}"#, false),
    ]
    .into_iter()
    .enumerate()
    {
        let payload = payload.replace("NUMBER", &number.to_string());
        let value = serde_json::from_str(&payload).unwrap();
        let known =
            Contract::get().is("receiveUsersPublications", "A plain publication to many users", &value);
        assert_eq!(known, reaches, "{payload}");
        publish("users", &payload);
        if reaches {
            client.expect_text(&format!(r#"{{"op":3,"message":{number}}}"#));
        } else {
            rejected += 1;
        }
    }
    for payload in ["not JSON", "@1-1", &"7".repeat(2000)] {
        publish("user:42", payload);
        rejected += 1;
    }
    gateway.wait_metric("rejected_total{result=\"recorded\"}", rejected);
    let recorded = entries(&mut redis.client(), "gateway:rejected");
    assert_eq!(recorded.len() as i64, rejected);
    for (_, fields) in recorded {
        assert_is("recordRejected", "The fields of an entry of the stream", &json!(fields));
    }
}

#[test]
fn the_contract_covers_signals_and_entries_of_the_inbox() {
    let redis = RedisServer::start();
    let plan = TestGateway::redis(&redis).with("channels.public_namespaces", "room");
    let gateway = plan.with("namespaces.room.send", "true").with("namespaces.room.signals", "true").spawn();
    gateway.wait_ready();
    gateway.wait_metric("history_available", 1);
    let (mut backend, mut listener) = (redis.client(), redis.client());
    let mut pubsub = listener.as_pubsub();
    pubsub.subscribe("gateway:room:7").unwrap();
    let mut client = gateway.connect_v2();
    client.send_text(r#"{"op":1,"token":"42","channels":[{"channel":"room:7"}]}"#);
    client.expect_ready();
    client.send_text(r#"{"op":18,"channel":"room:7","signal":{"typing": true}}"#);
    let payload: String = pubsub.get_message().unwrap().get_payload().unwrap();
    assert!(payload.ends_with(r#" 42 {"typing": true}"#), "{payload}");
    for operation in ["sendSignals", "receivePublications"] {
        assert_is(operation, "A signal", &json!(payload));
    }
    client.send_text(r#"{"op":16,"id":"c1","channel":"room:7","message":{"a": 1}}"#);
    client.expect_text(r#"{"op":17,"id":"c1"}"#);
    let stored = entries(&mut backend, "gateway:inbox");
    assert_eq!(stored.len(), 1);
    assert_is("storeClientMessages", "The fields of an entry of the inbox", &json!(stored[0].1));
}
