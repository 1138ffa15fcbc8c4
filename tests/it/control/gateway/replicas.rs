//! Several replicas with one Redis.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::{SECRET, control, ready};
use crate::support::client::Client;
use crate::support::deadline::eventually;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::gateway::{Plan, TestGateway};
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

/// In a few seconds: after each token that is minted now, whose time of issue is in whole seconds.
fn soon_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap() + 5_000
}

fn plan(redis: &RedisServer) -> Plan {
    TestGateway::redis(redis)
        .with("broker.probe_interval", "100ms")
        .with("broker.max_reconnect_delay", "200ms")
        .with("broker.connect_timeout", "500ms")
        // The leases of presence name the replicas.
        .with("presence.enabled", "true")
        .with("auth.kind", "jwt")
        .with("auth.secret", SECRET)
}

/// Starts replicas and waits until each answers the commands of the first.
#[track_caller]
fn start(plans: &[Plan]) -> Vec<TestGateway> {
    let replicas: Vec<_> = plans.iter().map(Plan::spawn).collect();
    replicas.iter().for_each(TestGateway::wait_ready);
    eventually(SOON, || {
        let answer = control(&replicas[0], &json!({"disconnect": {"user": "nobody"}}));
        (answer["replicas"].as_object().unwrap().len() == replicas.len()).then_some(())
    });
    replicas
}

fn name(gateway: &TestGateway) -> String {
    gateway.get("/v1/status").json()["replica"].as_str().unwrap().to_owned()
}

/// The answers of a command, by replica.
fn counts<const N: usize>(counts: [(&TestGateway, u64); N]) -> Value {
    counts.map(|(gateway, count)| (name(gateway), json!(count))).into_iter().collect::<Map<_, _>>().into()
}

/// Asserts that the gateway closes with `code`, and that only op 6 and op 8 come before.
#[track_caller]
fn expect_close_after_recovery(client: &mut Client, code: u16) {
    loop {
        match client.next_or_code() {
            Ok(frame) => assert!(frame.contains(r#""op":6"#) || frame.contains(r#""op":8"#), "{frame}"),
            Err(found) => return assert_eq!(found, Some(code)),
        }
    }
}

#[test]
fn a_disconnect_answers_for_the_sessions_of_three_replicas() {
    let redis = RedisServer::start();
    let replicas = start(&[plan(&redis), plan(&redis), plan(&redis)]);
    let token = replicas[0].token(&["--user", "42"]);
    let mut clients: Vec<Client> =
        [0, 1, 1, 2].iter().map(|&at: &usize| ready(&replicas[at], &token).0).collect();
    let (mut other, _) = ready(&replicas[2], &replicas[0].token(&["--user", "43"]));
    let deployment = replicas[1].get("/v1/replicas").json();
    let listed = deployment["replicas"].as_array().unwrap();
    let sessions =
        listed.iter().map(|one| (one["replica"].as_str().unwrap().to_owned(), one["sessions"].clone()));
    let expected = counts([(&replicas[0], 1), (&replicas[1], 2), (&replicas[2], 2)]);
    assert_eq!(sessions.collect::<Map<_, _>>(), *expected.as_object().unwrap());
    assert!(listed.iter().all(|one| one["report"]["users"].as_u64() >= Some(1)), "{deployment}");
    assert_eq!(deployment["missing"], json!([]));
    let answer = control(&replicas[0], &json!({"disconnect": {"user": "42", "reason": "banned"}}));
    assert_eq!(answer["missing"], json!([]));
    let expected = counts([(&replicas[0], 1), (&replicas[1], 2), (&replicas[2], 1)]);
    assert_eq!(answer["replicas"], expected);
    for client in &mut clients {
        assert_eq!(client.expect_close_reason(4010), "banned");
    }
    // A short form of another replica.
    let answer = replicas[1].post("/v1/users/43/disconnect", "").json();
    assert_eq!((&answer["disconnected"], &answer["missing"]), (&json!(1), &json!([])));
    other.expect_close(4010);
    let missing = replicas[1].post(&format!("/v1/sessions/{}/disconnect", "0".repeat(32)), "");
    assert_eq!((missing.status, &missing.json()["error"]["code"]), (404, &json!("no_such_session")));
}

#[test]
fn a_backend_with_redis_disconnects_without_the_admin_port() {
    let redis = RedisServer::start();
    let replicas = start(&[plan(&redis), plan(&redis)]);
    let token = replicas[0].token(&["--user", "42"]);
    let mut clients = [ready(&replicas[0], &token).0, ready(&replicas[1], &token).0];
    redis::cmd("FCALL")
        .arg("gateway_control")
        .arg(1)
        .arg("gateway:{control}:commands")
        .arg(r#"{"disconnect":{"user":"42"}}"#)
        .exec(&mut redis.client())
        .unwrap();
    clients.iter_mut().for_each(|client| client.expect_close(4010));
}

#[test]
fn a_replica_cut_off_applies_commands_to_old_sessions_only() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address());
    let proxied = plan(&redis)
        .with("broker.url", &format!("redis://{}", proxy.address))
        .with("broker.probe_timeout", "2s");
    let replicas = start(&[plan(&redis), proxied]);
    let token = replicas[0].token(&["--user", "42"]);
    let (mut here, _) = ready(&replicas[0], &token);
    let (mut old, _) = ready(&replicas[1], &token);
    proxy.set_both(Fault::BlackHole);
    let answer = control(&replicas[0], &json!({"disconnect": {"user": "42"}}));
    assert_eq!(answer["missing"], json!([name(&replicas[1])]));
    assert_eq!(answer["replicas"], counts([(&replicas[0], 1)]));
    here.expect_close(4010);
    // A session that is opened after the command is not its target, on any replica.
    replicas[1].wait_not_ready("redis");
    let (mut new, _) = ready(&replicas[1], &token);
    proxy.heal();
    expect_close_after_recovery(&mut old, 4010);
    replicas[1].wait_ready();
    replicas[0].publish("all", "1");
    eventually(SOON, || (new.next_json()["message"] == 1).then_some(()));
}

#[test]
fn a_replica_that_starts_later_refuses_a_revoked_token() {
    let redis = RedisServer::start();
    let replicas = start(&[plan(&redis), plan(&redis)]);
    let token = replicas[0].token(&["--user", "42"]);
    let mut clients = [ready(&replicas[0], &token).0, ready(&replicas[1], &token).0];
    let answer = control(&replicas[0], &json!({"revoke": {"user": "42", "issued_before": soon_ms()}}));
    assert_eq!(answer["replicas"], counts([(&replicas[0], 1), (&replicas[1], 1)]));
    for client in &mut clients {
        assert_eq!(client.expect_close_reason(4009), "token revoked");
    }
    let later = plan(&redis).spawn();
    later.wait_ready();
    for gateway in [&replicas[0], &replicas[1], &later] {
        let mut refused = gateway.connect();
        refused.identify(&token);
        refused.expect_close(4003);
        assert_eq!(gateway.metric(r#"identifies_total{result="revoked"}"#), 1);
    }
    ready(&later, &replicas[0].token(&["--user", "43"]));
}

#[test]
fn a_returning_replica_ends_sessions_with_revoked_tokens() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address());
    let proxied = plan(&redis)
        .with("broker.url", &format!("redis://{}", proxy.address))
        .with("broker.probe_timeout", "2s");
    let replicas = start(&[plan(&redis), proxied]);
    let token = replicas[0].token(&["--user", "42"]);
    proxy.set_both(Fault::BlackHole);
    replicas[1].wait_not_ready("redis");
    control(&replicas[0], &json!({"revoke": {"user": "42", "issued_before": soon_ms()}}));
    // The replica does not know of the revocation yet.
    let (mut client, _) = ready(&replicas[1], &token);
    proxy.heal();
    expect_close_after_recovery(&mut client, 4009);
}

#[test]
fn the_pages_of_all_replicas_have_each_session_once() {
    let redis = RedisServer::start();
    let replicas = start(&[plan(&redis), plan(&redis), plan(&redis)]);
    let token = replicas[0].token(&["--user", "42"]);
    let clients: Vec<(Client, String)> = (0..20).map(|at| ready(&replicas[at % 3], &token)).collect();
    let expected: Vec<_> =
        clients.iter().map(|(_, id)| id.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    for limit in [1, 7, 20, 1000] {
        let (mut found, mut after) = (Vec::new(), Value::Null);
        loop {
            let query = json!({"sessions": {"user": "42", "after": after, "limit": limit}});
            let page = control(&replicas[limit % 3], &query);
            assert_eq!((&page["total"], &page["missing"]), (&json!(20), &json!([])));
            for session in page["sessions"].as_array().unwrap() {
                let (id, replica) = (session["id"].as_str().unwrap(), session["replica"].as_str().unwrap());
                let at = clients.iter().position(|(_, known)| known == id).unwrap();
                assert_eq!(replica, name(&replicas[at % 3]));
                found.push(id.to_owned());
            }
            after = page["next"].clone();
            if after.is_null() {
                break;
            }
        }
        assert_eq!(found, expected, "limit {limit}");
    }
}

#[test]
fn the_command_line_names_a_missing_replica_and_fails() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address());
    let proxied = plan(&redis).with("broker.url", &format!("redis://{}", proxy.address));
    let replicas = start(&[plan(&redis), proxied]);
    proxy.set_both(Fault::BlackHole);
    let ended = replicas[0].command(&["control", "disconnect", "--user", "42"]);
    let expected = format!("{}: 0\nmissing: {}\n", name(&replicas[0]), name(&replicas[1]));
    assert_eq!((ended.code, ended.out), (Some(1), expected), "{}", ended.err);
    assert!(ended.err.contains("warning: 1 of 2 replicas answered"), "{}", ended.err);
    proxy.heal();
    replicas[1].wait_ready();
}
