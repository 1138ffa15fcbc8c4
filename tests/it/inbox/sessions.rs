//! What clients are answered, with both brokers.

use serde_json::{Value, json};

use super::*;
use crate::deployments::acl::{set_user, user_of_page};
use crate::support::client::Client;
use crate::support::gateway::Plan;
use crate::support::http;

const REDIS_PAGE: &str = include_str!("../../../docs/operations/redis.md");

/// A gateway whose clients may send to the channels of `room`.
pub(super) fn plan() -> Plan {
    TestGateway::plan()
        .with("channels.public_namespaces", "room,news")
        .with("namespaces.room.send", "true")
        .with("session.sends_per_minute", "0")
}

fn over_both(plan: &Plan, test: impl Fn(&TestGateway)) {
    let redis = RedisServer::start();
    for plan in [plan.clone().with("broker.url", "memory:"), plan.clone().redis(&redis)] {
        let gateway = plan.spawn();
        gateway.wait_ready();
        eventually_eq(SOON, &1, || gateway.metric("history_available"));
        test(&gateway);
    }
}

#[track_caller]
fn client(gateway: &TestGateway) -> Client {
    let mut client = gateway.connect_v2();
    client.identify("42");
    client.expect_ready();
    client
}

/// Sends a message to room:7. Returns the answer.
#[track_caller]
fn send(client: &mut Client, id: &str, message: &str) -> Value {
    send_to(client, "room:7", id, message)
}

#[track_caller]
fn send_to(client: &mut Client, channel: &str, id: &str, message: &str) -> Value {
    client.send_text(&format!(r#"{{"op":16,"id":"{id}","channel":"{channel}","message":{message}}}"#));
    next_answer(client)
}

/// Reads the next answer to a message, without the text for developers.
#[track_caller]
fn next_answer(client: &mut Client) -> Value {
    loop {
        let mut answer = client.next_json();
        if [json!(9), json!(17)].contains(&answer["op"]) {
            answer.as_object_mut().unwrap().remove("detail");
            return answer;
        }
    }
}

fn acknowledged(id: &str) -> Value {
    json!({"op": 17, "id": id})
}

fn refused(id: &str, code: &str) -> Value {
    json!({"op": 9, "code": code, "id": id})
}

/// The messages of the inbox, over HTTP.
#[track_caller]
fn messages(gateway: &TestGateway) -> Vec<Value> {
    gateway.get("/v1/inbox").json()["messages"].as_array().unwrap().clone()
}

#[track_caller]
fn delete_through(gateway: &TestGateway, entry: &Value) -> Value {
    let head = format!("DELETE /v1/inbox?through={} HTTP/1.1\nconnection: close", entry.as_str().unwrap());
    http::request(gateway.admin, &head, "").json()
}

#[test]
fn a_message_is_acknowledged_and_stored_once() {
    over_both(&plan(), |gateway| {
        let mut first = client(gateway);
        assert_eq!(send(&mut first, "c1", r#"{"b": 1,  "a":[1.0, 1e3]}"#), acknowledged("c1"));
        // Again over another connection, and also after the backend has deleted it.
        let mut second = client(gateway);
        assert_eq!(send(&mut second, "c1", r#"{"b": 1,  "a":[1.0, 1e3]}"#), acknowledged("c1"));
        let stored = messages(gateway);
        assert_eq!(stored.len(), 1);
        let expected =
            json!({"user": "42", "channel": "room:7", "id": "c1", "message": {"b": 1, "a": [1.0, 1e3]}});
        expected.as_object().unwrap().iter().for_each(|(name, value)| assert_eq!(stored[0][name], *value));
        assert!(gateway.get("/v1/inbox").body.contains(r#""message":{"b": 1,  "a":[1.0, 1e3]}"#));
        assert_eq!(delete_through(gateway, &stored[0]["entry"]), json!({"deleted": 1}));
        assert_eq!(send(&mut first, "c1", r#"{"b": 1,  "a":[1.0, 1e3]}"#), acknowledged("c1"));
        assert_eq!(send(&mut first, "c1", "2"), refused("c1", "not_allowed"));
        assert_eq!(messages(gateway), Vec::<Value>::new());
        assert_eq!(gateway.metric(r#"sends_total{result="stored"}"#), 3);
        assert_eq!(gateway.metric(r#"sends_total{result="refused"}"#), 1);
    });
}

#[test]
fn messages_of_a_session_keep_their_order() {
    over_both(&plan(), |gateway| {
        let mut client = client(gateway);
        let ids: Vec<String> = (0..16).map(|number| format!("c{number}")).collect();
        for id in &ids {
            client.send_text(&format!(r#"{{"op":16,"id":"{id}","channel":"room:7","message":1}}"#));
        }
        for id in &ids {
            assert_eq!(client.next_json(), acknowledged(id));
        }
        let stored: Vec<Value> = messages(gateway).iter().map(|entry| entry["id"].clone()).collect();
        assert_eq!(json!(stored), json!(ids));
    });
}

#[test]
fn messages_that_are_not_allowed_are_refused() {
    let plan = plan().with("inbox.max_message_bytes", "1024").with("broker.max_payload_depth", "5");
    over_both(&plan, |gateway| {
        let mut client = client(gateway);
        for channel in ["news:1", "nowhere", "other:1"] {
            assert_eq!(send_to(&mut client, channel, "c1", "1"), refused("c1", "not_allowed"), "{channel}");
        }
        assert_eq!(send(&mut client, "c1", "[[[[[[]]]]]]"), refused("c1", "not_allowed"));
        let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert_eq!(send(&mut client, "c1", &long(1025)), refused("c1", "too_big"));
        assert_eq!(send(&mut client, "c1", &long(1024)), acknowledged("c1"));
        assert_eq!(messages(gateway).len(), 1);
    });
}

#[test]
fn more_messages_than_the_rate_are_refused() {
    over_both(&plan().with("session.sends_per_minute", "2"), |gateway| {
        let mut client = client(gateway);
        assert_eq!(send(&mut client, "c1", "1"), acknowledged("c1"));
        assert_eq!(send(&mut client, "c2", "1"), acknowledged("c2"));
        assert_eq!(send(&mut client, "c3", "1"), refused("c3", "rate_limited"));
        assert_eq!(messages(gateway).len(), 2);
    });
}

#[test]
fn a_full_inbox_answers_busy_until_entries_are_deleted() {
    let plan = plan().with("inbox.max_entries", "2").with("broker.probe_interval", "50ms");
    over_both(&plan, |gateway| {
        let mut client = client(gateway);
        assert_eq!(
            [send(&mut client, "c1", "1"), send(&mut client, "c2", "1")],
            ["c1", "c2"].map(acknowledged)
        );
        for _ in 0..2 {
            let busy = send(&mut client, "c3", "1");
            assert_eq!((&busy["code"], &busy["id"]), (&json!("busy"), &json!("c3")));
            assert!((1_000..=5_000).contains(&busy["after"].as_u64().unwrap()), "{busy}");
        }
        assert_eq!(send(&mut client, "c1", "1"), acknowledged("c1"), "it is stored");
        gateway.wait_metric("inbox_entries", 2);
        assert_eq!(gateway.metric("inbox_entries_limit"), 2);
        let readyz = gateway.get("/readyz");
        assert_eq!(readyz.status, 200);
        assert!(readyz.json()["notes"][0].as_str().unwrap().starts_with("inbox: full with 2 entries"));
        let stored = messages(gateway);
        assert_eq!(json!([stored[0]["id"], stored[1]["id"], stored.len()]), json!(["c1", "c2", 2]));
        delete_through(gateway, &stored[0]["entry"]);
        assert_eq!(send(&mut client, "c3", "1"), acknowledged("c3"));
        assert_eq!(messages(gateway)[1]["id"], "c3");
        delete_through(gateway, &messages(gateway)[1]["entry"]);
        gateway.wait_metric("inbox_entries", 0);
        assert_eq!(gateway.get("/readyz").json()["notes"], Value::Null);
    });
}

#[test]
fn without_redis_a_message_is_to_be_sent_again() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let plan = plan().redis(&redis).with("broker.response_timeout", "500ms");
    let gateway = plan.spawn();
    gateway.wait_ready();
    let mut client = client(&gateway);
    assert_eq!(send(&mut client, "c1", "1"), acknowledged("c1"));
    redis.kill();
    // The messages behind it are not sent before it.
    for id in ["c2", "c3"] {
        client.send_text(&format!(r#"{{"op":16,"id":"{id}","channel":"room:7","message":1}}"#));
    }
    assert_eq!(
        [next_answer(&mut client), next_answer(&mut client)],
        ["c2", "c3"].map(|id| refused(id, "unavailable"))
    );
    redis.restart();
    gateway.wait_ready();
    for id in ["c1", "c2", "c3"] {
        assert_eq!(send(&mut client, id, "1"), acknowledged(id));
    }
    let stored: Vec<Value> = messages(&gateway).iter().map(|entry| entry["id"].clone()).collect();
    assert_eq!(json!(stored), json!(["c1", "c2", "c3"]));
}

#[test]
fn flushed_functions_are_loaded_by_the_next_message() {
    let redis = RedisServer::start();
    let gateway = plan().redis(&redis).spawn();
    gateway.wait_ready();
    let mut client = client(&gateway);
    run_line::<()>(&mut redis.client(), "FUNCTION FLUSH");
    assert_eq!(send(&mut client, "c1", "1"), acknowledged("c1"));
}

#[test]
fn the_documented_rights_are_enough_for_the_inbox() {
    let redis = RedisServer::start();
    let mut admin = redis.client();
    let documented = user_of_page(REDIS_PAGE, "gateway");
    set_user(&mut admin, &documented);
    let url = redis.url().replace("://", "://gateway:change-this-password@");
    let gateway = plan().with("broker.url", &url).with("broker.probe_interval", "50ms").spawn();
    gateway.wait_ready();
    let mut client = client(&gateway);
    assert_eq!(send(&mut client, "c1", "1"), acknowledged("c1"));
    gateway.wait_metric("inbox_entries", 1);
    assert_eq!(delete_through(&gateway, &messages(&gateway)[0]["entry"]), json!({"deleted": 1}));
    // Without one of them, only the inbox fails, and a note says so.
    set_user(&mut admin, &["gateway", "-xlen"].map(str::to_owned));
    assert_eq!(send(&mut client, "c2", "1"), refused("c2", "unavailable"));
    let readyz = gateway.get("/readyz");
    assert_eq!(readyz.status, 200);
    assert!(readyz.json()["notes"][0].as_str().unwrap().contains("refuses the messages of clients: NOPERM"));
    set_user(&mut admin, &["gateway", "+xlen"].map(str::to_owned));
    assert_eq!(send(&mut client, "c2", "1"), acknowledged("c2"));
    gateway.wait_metric("inbox_entries", 1);
    assert_eq!(gateway.get("/readyz").json()["notes"], Value::Null);
}

#[test]
fn the_page_after_the_largest_id_is_empty() {
    over_both(&plan(), |gateway| {
        assert_eq!(send(&mut client(gateway), "c1", "1"), acknowledged("c1"));
        let largest = u64::MAX;
        let answer = gateway.get(&format!("/v1/inbox?after={largest}-{largest}"));
        assert_eq!((answer.status, answer.json()), (200, json!({"messages": [], "next": null})));
    });
}
