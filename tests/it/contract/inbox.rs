//! Requests about the inbox to the admin port.

use serde_json::{Value, json};

use super::admin::{Coverage, KEY, hasty, patient, plan};
use crate::inbox::{SESSION, STREAM, fcall};
use crate::support::gateway::TestGateway;
use crate::support::http::{self, Answer};
use crate::support::redis_line::run_line;
use crate::support::redis_server::RedisServer;

const THROUGH: &str = "/v1/inbox?through=1-1";

#[track_caller]
fn delete(coverage: &mut Coverage, gateway: &TestGateway, path: &str) -> Answer {
    let head = format!("DELETE {path} HTTP/1.1\nconnection: close\nauthorization: Bearer {KEY}");
    let answer = http::request(gateway.admin, &head, "");
    coverage.check("delete", path, "", &answer);
    answer
}

/// Reads and deletes.
#[track_caller]
fn assert_codes(coverage: &mut Coverage, gateway: &TestGateway, status: u16, code: &str) {
    for answer in [coverage.get(gateway, "/v1/inbox"), delete(coverage, gateway, THROUGH)] {
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)));
    }
}

/// Reads and deletes the inbox of a Redis that works, refuses, stalls and is down.
pub(super) fn exercise_inbox(coverage: &mut Coverage) {
    let redis = RedisServer::start();
    let gateway = patient(&plan().redis(&redis));
    let mut backend = redis.client();
    let ids = ["a", "b", "c"].map(|id| fcall::<String>(&mut backend, "42", id, r#"{"a": 1}"#).unwrap());
    // An entry of another program is left out.
    run_line::<String>(&mut backend, &format!("XADD {STREAM} * user 42"));
    let mut get = |path: &str| -> Value { coverage.get(&gateway, path).json() };
    let page = get("/v1/inbox");
    let at = page["messages"][0]["at"].clone();
    let first = json!({"entry": ids[0], "user": "42", "session": SESSION, "channel": "room:7", "id": "a",
        "message": {"a": 1}, "at": at});
    assert_eq!((&page["messages"][0], &page["next"]), (&first, &json!(null)));
    assert_eq!(page["messages"].as_array().unwrap().len(), 3);
    assert_eq!(get("/v1/inbox?limit=2")["next"], json!(ids[1]));
    let rest = get(&format!("/v1/inbox?after={}", ids[1]));
    assert_eq!((&rest["messages"][0]["id"], &rest["messages"][1]), (&json!("c"), &json!(null)));
    for bad in ["after=7", "limit=0", "limit=1001", "through=1-1"] {
        assert_eq!(get(&format!("/v1/inbox?{bad}"))["error"]["code"], "bad_query", "{bad}");
    }
    for bad in ["/v1/inbox", "/v1/inbox?through=x", "/v1/inbox?after=1-1"] {
        assert_eq!(delete(coverage, &gateway, bad).json()["error"]["code"], "bad_query", "{bad}");
    }
    let through = format!("/v1/inbox?through={}", ids[1]);
    assert_eq!([(); 2].map(|()| delete(coverage, &gateway, &through).json()["deleted"].clone()), [2, 0]);
    run_line::<()>(&mut backend, &format!("SET {STREAM} text"));
    assert_codes(coverage, &gateway, 502, "broker_refused");
    let hasty = hasty(coverage, &plan().redis(&redis), "/v1/inbox");
    redis.stop();
    assert_codes(coverage, &hasty, 504, "broker_timeout");
    redis.cont();
    let gateway = plan().redis(&RedisServer::reserve(&[])).spawn();
    assert_codes(coverage, &gateway, 503, "broker_unavailable");
}
