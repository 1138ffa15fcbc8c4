//! Requests of operators and the console to the admin port: sessions, status, tokens and the console page.

use serde_json::{Value, json};

use super::admin::{Coverage, KEY, plan};
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::http::request;
use crate::support::process::SOON;
#[cfg(target_os = "linux")]
use crate::support::stopped_thread::{StoppedThread, WORKER};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Sends requests to a gateway with clients of both versions, one of them unidentified.
pub(super) fn exercise_operator_routes(coverage: &mut Coverage) {
    let gateway = plan().spawn();
    for path in ["/console", "/console/app.js", "/console/app.css"] {
        coverage.get(&gateway, path);
    }
    assert_eq!(coverage.get(&gateway, "/").status, 303);
    let (mut first, mut second, _third) = (gateway.connect(), gateway.connect_v2(), gateway.connect());
    first.identify("42");
    second.identify("42");
    first.expect_ready();
    let session = second.expect_ready()["session"].as_str().unwrap().to_owned();
    assert_eq!(coverage.get(&gateway, "/v1/status").json()["sessions"], 2);
    eventually(SOON, || (coverage.get(&gateway, "/v1/sessions").json()["total"] == 3).then_some(()));
    let deployment = coverage.get(&gateway, "/v1/replicas").json();
    assert_eq!((&deployment["missing"], &deployment["replicas"][0]["sessions"]), (&json!([]), &json!(3)));
    assert_eq!(deployment["replicas"][0]["report"]["users"], 1);
    let ended = format!("/v1/sessions/{session}/disconnect");
    let replica = coverage.get(&gateway, "/v1/status").json()["replica"].as_str().unwrap().to_owned();
    let one = json!({"disconnected": 1, "replicas": {replica: 1}, "missing": []});
    assert_eq!(coverage.post(&gateway, &ended, "").json(), one);
    second.expect_close(4010);
    eventually(SOON, || (coverage.post(&gateway, &ended, "").status == 404).then_some(()));
    assert_eq!(coverage.post(&gateway, "/v1/users/42/disconnect", "").json(), one);
    assert_eq!(coverage.post(&gateway, "/v1/users/a%7Bb/disconnect", "").status, 400);
    for query in ["limit=0", "user=a%20b", "more=1", "channel=room", "after=1"] {
        assert_eq!(coverage.get(&gateway, &format!("/v1/sessions?{query}")).status, 400, "{query}");
    }
    coverage.post(&gateway, "/v1/token", r#"{"user":"42"}"#);
    for bad in ["{", r#"{"user":"4 2"}"#] {
        assert_eq!(coverage.post(&gateway, "/v1/token", bad).status, 400, "{bad}");
    }
}

/// Without a key, the gateway checks the origin instead.
pub(super) fn exercise_cross_origin_requests(coverage: &mut Coverage) {
    let gateway = TestGateway::spawn();
    let answer = coverage.get_with(&gateway, "/v1/status", "origin: https://evil.test");
    assert_eq!(answer.json()["error"]["code"], "origin_not_allowed");
}

/// With a stalled worker, the replica is missing in answers about its sessions, and `/livez` fails.
#[cfg(target_os = "linux")]
pub(super) fn exercise_stalled_worker(coverage: &mut Coverage) {
    let gateway = plan().spawn();
    let stopped = StoppedThread::of(&gateway, WORKER);
    let replica = coverage.get(&gateway, "/v1/status").json()["replica"].clone();
    let disconnect = format!("/v1/sessions/{}/disconnect", "0".repeat(32));
    for answer in [
        coverage.get(&gateway, "/v1/sessions"),
        coverage.post(&gateway, &disconnect, ""),
        coverage.post(&gateway, "/v1/users/42/disconnect", ""),
        coverage.post(&gateway, "/v1/control", r#"{"disconnect":{"user":"42"}}"#),
    ] {
        assert_eq!((answer.status, &answer.json()["missing"]), (200, &json!([replica])));
    }
    assert_eq!(coverage.get(&gateway, "/livez").status, 503);
    assert_eq!(coverage.get(&gateway, "/v1/status").status, 200);
    drop(stopped);
    eventually(SOON, || {
        (coverage.get(&gateway, "/v1/sessions").json()["missing"] == json!([])).then_some(())
    });
}

/// In production, minting is refused even with the key.
pub(super) fn exercise_refused_minting(coverage: &mut Coverage) {
    let gateway = plan()
        .with("auth.kind", "jwt")
        .with("auth.secret", SECRET)
        .with("server.allowed_origins", "https://app.example.com")
        .with("broker.url", "memory:")
        .variable("GATEWAY_PROFILE", "production")
        .spawn();
    let answer = coverage.post(&gateway, "/v1/token", r#"{"user":"42"}"#);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("token_minting_disabled")));
    assert_eq!(coverage.get(&gateway, "/v1/status").json()["profile"], "production");
}

/// Returns the status of the answer to a request with the key.
#[track_caller]
fn status(gateway: &TestGateway, line: &str, body: &str) -> u16 {
    let head = format!("{line} HTTP/1.1\nconnection: close\nauthorization: Bearer {KEY}");
    request(gateway.admin, &head, body).status
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The gateway accepts exactly the parameters that the document allows.
#[test]
fn the_contract_and_the_gateway_agree_on_parameters() {
    let coverage = Coverage::new();
    let gateway = plan().spawn();
    let schema = |name: &str| {
        let all = coverage.document["paths"]["/v1/sessions"]["get"]["parameters"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()["schema"].clone()
    };
    for limit in [-1, 0, 1, 2, 999, 1000, 1001, i64::MAX] {
        let is_allowed = coverage.matches(&schema("limit"), &json!(limit));
        let status = status(&gateway, &format!("GET /v1/sessions?limit={limit}"), "");
        assert_eq!(is_allowed, status == 200, "limit {limit}");
    }
    let (longest, too_long) = ("x".repeat(250), "x".repeat(251));
    for user in ["42", "a/b:c*d", "{1}", "4 2", "\u{e9}", "\n", "~", &longest, &too_long] {
        let is_allowed = coverage.matches(&schema("user"), &json!(user));
        for line in ["GET /v1/sessions?user=USER", "POST /v1/users/USER/disconnect"] {
            let status = status(&gateway, &line.replace("USER", &encoded(user)), "");
            assert_eq!(is_allowed, status == 200, "{line} {user:?}: {status}");
        }
    }
}

/// The gateway mints exactly the tokens that the document allows.
#[test]
fn the_contract_and_the_gateway_agree_on_minting() {
    let coverage = Coverage::new();
    let schema = json!({"$ref": "#/components/schemas/Mint"});
    let gateway = plan().with("auth.kind", "jwt").with("auth.secret", SECRET).spawn();
    let (longest, too_long) = ("x".repeat(128), "x".repeat(129));
    let channels = |names: Value| json!({"user": "42", "channels": names});
    for mint in [
        json!({"user": "42"}),
        json!({"user": ""}),
        json!({"user": 42}),
        json!({"user": "4*2"}),
        json!({"user": "{"}),
        json!({"user": longest}),
        json!({"user": too_long}),
        json!({"user": "42", "more": 1}),
        json!({}),
        channels(json!([])),
        channels(json!(["room:7", "room:*"])),
        channels(json!(["all"])),
        channels(json!(["room:7*"])),
        channels(json!(["*:7"])),
        channels(json!(["a:b:c"])),
        channels(json!([7])),
        channels(json!(vec!["room:7"; 1000])),
        channels(json!(vec!["room:7"; 1001])),
    ] {
        let status = status(&gateway, "POST /v1/token", &mint.to_string());
        assert_eq!(coverage.matches(&schema, &mint), status == 200, "{mint}: {status}");
    }
}
