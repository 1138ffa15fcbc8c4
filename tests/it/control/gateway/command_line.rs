//! `emagine-gateway control`.

use serde_json::{Value, json};

use super::{SECRET, jwt, ready};
use crate::support::gateway::TestGateway;

#[test]
fn each_command_prints_the_affected_sessions_of_the_replica() {
    let gateway = TestGateway::with("admin.api_key", "the-key-of-the-admin-api").spawn();
    let replica = {
        let ended = gateway.command(&["control", "disconnect", "--user", "nobody", "--json"]);
        let answer: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(answer["missing"], json!([]));
        answer["replicas"].as_object().unwrap().keys().next().unwrap().clone()
    };
    let (mut client, session) = ready(&gateway, "42");
    let run = |arguments: &[&str], affected: usize| {
        let ended = gateway.command(&[&["control"], arguments].concat());
        let line = format!("{replica}: {affected}\n");
        assert_eq!((ended.code, &ended.out), (Some(0), &line), "{arguments:?}: {}", ended.err);
    };
    run(&["subscribe", "--user", "42", "--channel", "room:7"], 1);
    assert_eq!(client.next_json()["state"], "subscribed");
    run(&["unsubscribe", "--session", &session, "--channel", "room:7"], 1);
    assert_eq!(client.next_json()["reason"], "by_server");
    let ended = gateway.command(&["control", "sessions", "--user", "42"]);
    let lines: Vec<_> = ended.out.lines().collect();
    assert!(lines[0].starts_with(&format!("{session} 42 {replica} ")), "{}", ended.out);
    assert_eq!((ended.code, &lines[1..]), (Some(0), &["total: 1"][..]));
    run(&["revoke", "--user", "42", "--issued-before", "100000000000"], 1);
    client.expect_close(4009);
    run(&["disconnect", "--channel", "room:7", "--reason", "closed"], 0);
}

#[test]
fn a_disconnect_has_the_reason_of_the_command_line() {
    let gateway = jwt().spawn();
    let (mut client, session) = ready(&gateway, &gateway.token(&["--user", "42"]));
    let ended = gateway.command(&["control", "disconnect", "--session", &session, "--reason", "banned"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(client.expect_close_reason(4010), "banned");
}

#[test]
fn a_refused_command_prints_why() {
    let gateway = TestGateway::with("auth.secret", SECRET).spawn();
    for (arguments, code, part) in [
        (&["disconnect", "--user", "4 2"][..], 1, "this is not a user id"),
        (&["disconnect", "--session", "7"], 1, "32 hexadecimal digits"),
        (&["sessions", "--limit", "0"], 1, "1 to 1000"),
        (&["sessions", "--url", "http://127.0.0.1:9"], 1, "http://127.0.0.1:9"),
        (&["revoke", "--jti", "a", "--until", "1764423000"], 1, "times are in Unix milliseconds"),
        (&["disconnect"], 2, "--user"),
        (&["disconnect", "--user", "42", "--channel", "all"], 2, "cannot be used with"),
        (&["revoke", "--jti", "a", "--issued-before", "1"], 2, "--issued-before"),
        (&["subscribe", "--user", "42"], 2, "--channel"),
    ] {
        let ended = gateway.command(&[&["control"], arguments].concat());
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(part), "{arguments:?}: {}", ended.err);
    }
}
