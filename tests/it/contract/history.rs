//! Requests about histories to the admin port.

use serde_json::{Value, json};

use super::admin::{Coverage, hasty, patient, plan};
use super::channels::assert_codes;
use crate::support::redis_server::RedisServer;

const ROUTE: &str = "/v1/channels/room:7/history";

/// Reads pages in both directions, and of a channel without a history.
pub(super) fn exercise_histories(coverage: &mut Coverage) {
    let redis = RedisServer::start();
    let gateway = patient(&plan().redis(&redis));
    let messages = ["1", r#"{"a":[null]}"#, r#""x""#];
    let positions: Vec<Value> = messages
        .iter()
        .map(|message| {
            let body = format!(r#"{{"channel":"room:7","durable":true,"message":{message}}}"#);
            coverage.post(&gateway, "/v1/publish", &body).json()["position"].clone()
        })
        .collect();
    let mut get = |path: &str| -> Value { coverage.get(&gateway, path).json() };
    let stored = |index: usize| {
        let message: Value = serde_json::from_str(messages[index]).unwrap();
        json!({"position": positions[index], "message": message})
    };
    let page = |messages: &[usize], next: Option<usize>| {
        let messages: Vec<_> = messages.iter().map(|index| stored(*index)).collect();
        json!({
            "channel": "room:7", "messages": messages, "more": next.is_some(),
            "next": next.map(|index| &positions[index]),
        })
    };
    let second = positions[1].as_str().unwrap();
    for (query, expected) in [
        (String::new(), page(&[0, 1, 2], None)),
        ("?since=&limit=&reverse=".to_owned(), page(&[0, 1, 2], None)),
        ("?limit=2".to_owned(), page(&[0, 1], Some(1))),
        (format!("?since={second}&limit=2"), page(&[2], None)),
        ("?limit=2&reverse=true".to_owned(), page(&[2, 1], Some(1))),
        (format!("?since={second}&reverse=true"), page(&[0], None)),
        (format!("?since={second}&reverse=false"), page(&[2], None)),
    ] {
        assert_eq!(get(&format!("{ROUTE}{query}")), expected, "{query}");
    }
    let none = json!({"channel": "room:8", "messages": [], "more": false, "next": null});
    assert_eq!(get("/v1/channels/room:8/history"), none);
    for query in ["limit=0", "limit=1001", "since=latest", "since=01-1", "reverse=1", "before=1-1"] {
        assert_codes(coverage, &gateway, &[&format!("{ROUTE}?{query}")], 400, "bad_query");
    }
    assert_codes(coverage, &gateway, &["/v1/channels/nowhere/history"], 400, "bad_channel");
    redis::cmd("SET").arg("gateway:room:9").arg("1").exec(&mut redis.client()).unwrap();
    assert_codes(coverage, &gateway, &["/v1/channels/room:9/history"], 502, "broker_refused");
    let hasty = hasty(coverage, &plan().redis(&redis), "/v1/channels/room:9/history");
    redis.stop();
    assert_codes(coverage, &hasty, &[ROUTE], 504, "broker_timeout");
    redis.cont();
    let gateway = plan().redis(&RedisServer::reserve(&[])).spawn();
    assert_codes(coverage, &gateway, &[ROUTE], 503, "broker_unavailable");
}
