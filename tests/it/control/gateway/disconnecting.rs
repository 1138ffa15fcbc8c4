//! The command `disconnect`.

use serde_json::json;

use super::{affected, control, ready, subscribe};
use crate::support::gateway::TestGateway;

#[test]
fn a_user_a_session_and_a_channel_can_be_disconnected() {
    let gateway = TestGateway::spawn();
    let (mut first, session) = ready(&gateway, "42");
    let (mut second, _) = ready(&gateway, "42");
    let mut old = gateway.ready_client("42");
    let (mut other, _) = ready(&gateway, "43");
    let (mut reader, _) = ready(&gateway, "44");
    subscribe(&mut other, "public:7");
    subscribe(&mut reader, "public:7");
    assert_eq!(affected(&gateway, &json!({"disconnect": {"session": session}})), 1);
    first.expect_close(4010);
    assert_eq!(affected(&gateway, &json!({"disconnect": {"session": session}})), 0);
    assert_eq!(affected(&gateway, &json!({"disconnect": {"user": "42"}})), 2);
    second.expect_close(4010);
    old.expect_close(4010);
    assert_eq!(affected(&gateway, &json!({"disconnect": {"channel": "public:8"}})), 0);
    assert_eq!(affected(&gateway, &json!({"disconnect": {"channel": "public:7"}})), 2);
    other.expect_close(4010);
    reader.expect_close(4010);
    assert_eq!(gateway.closes(4010), 5);
}

#[test]
fn the_reason_is_in_the_close_frame() {
    let gateway = TestGateway::spawn();
    let reason = "é".repeat(61);
    for (command, expected) in [
        (json!({"disconnect": {"user": "42"}}), "disconnected by the backend"),
        (json!({"disconnect": {"user": "42", "reason": reason}}), &*reason),
    ] {
        let mut clients = [gateway.ready_client("42"), ready(&gateway, "42").0];
        assert_eq!(affected(&gateway, &command), 2);
        for client in &mut clients {
            assert_eq!(client.expect_close_reason(4010), expected);
        }
    }
}

#[test]
fn the_answer_names_the_replica_and_the_command() {
    let gateway = TestGateway::spawn();
    let _client = gateway.ready_client("42");
    let replica = gateway.get("/v1/status").json()["replica"].as_str().unwrap().to_owned();
    let first = control(&gateway, &json!({"disconnect": {"user": "43"}}));
    assert_eq!((&first["replicas"], &first["missing"]), (&json!({&replica: 0}), &json!([])));
    let second = control(&gateway, &json!({"disconnect": {"user": "42"}}));
    assert_eq!(second["replicas"], json!({ replica: 1 }));
    assert_ne!(first["id"], second["id"]);
}

#[test]
fn an_invalid_command_is_refused_with_a_reason() {
    let gateway = TestGateway::spawn();
    for (command, code, part) in [
        ("{", "bad_body", ""),
        (r#"{"destroy":{}}"#, "bad_body", "unknown variant `destroy`"),
        (r#"{"disconnect":{"users":"42"}}"#, "bad_body", "unknown field `users`"),
        (r#"{"disconnect":{}}"#, "bad_command", "exactly one of user, session and channel"),
        (r#"{"disconnect":{"user":"4 2"}}"#, "bad_command", "user id"),
        (r#"{"disconnect":{"session":"1"}}"#, "bad_command", "32 hexadecimal digits"),
        (r#"{"subscribe":{"user":"42","channel":"room"}}"#, "bad_command", "channel"),
        (r#"{"unsubscribe":{"channel":"room:7"}}"#, "bad_command", "exactly one of user and session"),
        (r#"{"revoke":{}}"#, "bad_command", "exactly one of jti and user"),
        (r#"{"sessions":{"limit":0}}"#, "bad_command", "1 to 1000"),
    ] {
        let answer = gateway.post("/v1/control", command);
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, error["code"].as_str()), (400, Some(code)), "{command}: {error}");
        assert!(error["detail"].as_str().unwrap().contains(part), "{command}: {error}");
    }
    let long = format!(r#"{{"disconnect":{{"user":"42","reason":"{}"}}}}"#, "x".repeat(124));
    assert_eq!(gateway.post("/v1/control", &long).status, 400);
}
