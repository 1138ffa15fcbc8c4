//! Commands to the admin port.

use serde_json::json;

use super::admin::{Coverage, hasty, patient, plan};
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::http::Answer;
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

const COMMAND: &str = r#"{"disconnect":{"user":"42"}}"#;

/// Issues any command, and fails without Redis.
const CONTROL: (&str, &str, &str) = ("POST", "/v1/control", COMMAND);
/// Each route that issues a command, with its method and body.
const ROUTES: [(&str, &str, &str); 5] = [
    CONTROL,
    ("GET", "/v1/sessions", ""),
    ("GET", "/v1/replicas", ""),
    ("POST", "/v1/sessions/00000000000000000000000000000000/disconnect", ""),
    ("POST", "/v1/users/42/disconnect", ""),
];

#[track_caller]
fn ask(coverage: &mut Coverage, gateway: &TestGateway, (method, path, body): (&str, &str, &str)) -> Answer {
    if method == "GET" { coverage.get(gateway, path) } else { coverage.post(gateway, path, body) }
}

#[track_caller]
fn assert_code(answers: &[Answer], status: u16, code: &str) {
    for answer in answers {
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (status, &json!(code)),
            "{}",
            answer.body
        );
    }
}

/// Issues each command, with each choice of its sessions.
pub(super) fn exercise_commands(coverage: &mut Coverage) {
    let gateway = plan().spawn();
    let _client = gateway.ready_client("42");
    let id = "0".repeat(32);
    for command in [
        json!({"subscribe": {"user": "42", "channel": "room:7"}}),
        json!({"unsubscribe": {"session": id, "channel": "room:7"}}),
        json!({"revoke": {"jti": "a", "until": 4_000_000_000_000_u64}}),
        json!({"revoke": {"user": "42", "issued_before": 100_000_000_000_u64}}),
        json!({"sessions": {}}),
        json!({"sessions": {"user": "42", "channel": "room:7", "after": id, "limit": 1}}),
        json!({"disconnect": {"channel": "room:7"}}),
        json!({"disconnect": {"session": id, "reason": "banned"}}),
        json!({"disconnect": {"user": "42"}}),
    ] {
        let answer = coverage.post(&gateway, "/v1/control", &command.to_string());
        assert_eq!(answer.status, 200, "{command}: {}", answer.body);
    }
    assert_code(&[coverage.post(&gateway, "/v1/control", "{")], 400, "bad_body");
    for bad in [r#"{"revoke":{}}"#, r#"{"revoke":{"jti":"a","until":1764423000000}}"#] {
        assert_code(&[coverage.post(&gateway, "/v1/control", bad)], 400, "bad_command");
    }
}

/// Issues commands while Redis refuses them, stalls, and is down.
pub(super) fn exercise_commands_without_redis(coverage: &mut Coverage) {
    let redis = RedisServer::start();
    let gateway = patient(&plan().redis(&redis));
    let mut backend = redis.client();
    eventually(SOON, || (coverage.post(&gateway, "/v1/control", COMMAND).status == 200).then_some(()));
    for name in ["commands", "questions"] {
        let key = format!("gateway:{{control}}:{name}");
        redis::cmd("SET").arg(key).arg("no stream").exec(&mut backend).unwrap();
    }
    for route in ROUTES {
        assert_code(&[ask(coverage, &gateway, route)], 502, "broker_refused");
    }
    let gateway = hasty(coverage, &plan().redis(&redis), "/v1/sessions");
    for route in ROUTES {
        gateway.wait_ready();
        redis.stop();
        assert_code(&[ask(coverage, &gateway, route)], 504, "broker_timeout");
        redis.cont();
    }
    let gateway = plan().redis(&RedisServer::reserve(&[])).spawn();
    for route in ROUTES {
        let answer = ask(coverage, &gateway, route);
        if route == CONTROL {
            assert_code(&[answer], 503, "broker_unavailable");
        } else {
            assert_eq!(
                (answer.status, &answer.json()["missing"]),
                (200, &json!(["unnamed"])),
                "{}",
                answer.body
            );
        }
    }
}

/// The gateway accepts exactly the commands that the document allows, except for lengths in bytes.
#[test]
fn the_contract_and_the_gateway_agree_on_commands() {
    let coverage = Coverage::new();
    let gateway = TestGateway::spawn();
    let schema = json!({"$ref": "#/components/schemas/Command"});
    let id = "0123456789abcdef".repeat(2);
    for command in [
        json!({}),
        json!({"disconnect": {}}),
        json!({"disconnect": {"user": "42"}}),
        json!({"disconnect": {"user": ""}}),
        json!({"disconnect": {"user": "42", "session": id}}),
        json!({"disconnect": {"session": id.to_uppercase()}}),
        json!({"disconnect": {"channel": "room"}}),
        json!({"disconnect": {"channel": "all"}}),
        json!({"disconnect": {"channel": "all", "reason": "x".repeat(123)}}),
        json!({"disconnect": {"channel": "all", "reason": "x".repeat(124)}}),
        json!({"disconnect": {"user": "42"}, "subscribe": {"user": "42", "channel": "all"}}),
        json!({"subscribe": {"user": "42"}}),
        json!({"subscribe": {"user": "42", "channel": "room:7"}}),
        json!({"unsubscribe": {"channel": "room:7"}}),
        json!({"revoke": {"jti": "a", "user": "42"}}),
        json!({"revoke": {"jti": ""}}),
        json!({"revoke": {"jti": "x".repeat(255)}}),
        json!({"revoke": {"jti": "x".repeat(256)}}),
        json!({"revoke": {"jti": "a", "issued_before": 1}}),
        json!({"revoke": {"user": "42", "issued_before": 100_000_000_000_u64}}),
        json!({"revoke": {"user": "42", "issued_before": 99_999_999_999_u64}}),
        json!({"revoke": {"user": "42", "until": 999_999_999_999_999_u64}}),
        json!({"revoke": {"user": "42", "until": 1_000_000_000_000_000_u64}}),
        json!({"revoke": {"user": "42", "until": 99_999_999_999_u64}}),
        json!({"revoke": {"user": "42", "until": -1}}),
        json!({"sessions": {"limit": 0}}),
        json!({"sessions": {"limit": 1000, "after": id}}),
        json!({"sessions": {"limit": 1001}}),
        json!({"sessions": {"user": null, "after": null}}),
        json!({"sessions": {"page": 1}}),
    ] {
        let is_allowed = coverage.matches(&schema, &command);
        let answer = gateway.post("/v1/control", &command.to_string());
        assert_eq!(is_allowed, answer.status == 200, "{command}: {}", answer.body);
    }
}
