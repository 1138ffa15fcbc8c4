//! Tokens whose claims the backend puts into Redis.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{UNVERIFIABLE, assert_accepted, code_of, identifies, notes};
use crate::support::deadline::{eventually, eventually_eq};
use crate::support::gateway::{Plan, TestGateway};
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

fn plan(server: &RedisServer) -> Plan {
    TestGateway::redis(server).with("auth.kind", "redis")
}

fn key(token: &str) -> String {
    let hash: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("gateway:token:{hash}")
}

fn log_in(server: &RedisServer, token: &str, claims: &str, ttl_ms: u64) {
    let mut command = redis::cmd("SET");
    command.arg(key(token)).arg(claims).arg("PX").arg(ttl_ms);
    command.exec(&mut server.client()).unwrap();
}

fn log_out(server: &RedisServer, token: &str) {
    redis::cmd("DEL").arg(key(token)).exec(&mut server.client()).unwrap();
}

#[test]
fn a_login_lasts_until_its_key_is_deleted() {
    let server = RedisServer::start();
    let gateway = plan(&server).with("auth.cache_ttl", "200ms").spawn();
    gateway.wait_ready();
    let claims = json!({"sub": "42", "channels": ["room:*"], "jti": "a", "iat": 1_700_000_000});
    log_in(&server, "secret", &claims.to_string(), 60_000);
    let mut client = gateway.connect_v2();
    client.identify("secret");
    // Waits for Ready, whenever the answer of Redis comes.
    client.send_text(r#"{"op":4,"channel":"room:7"}"#);
    let ready = client.expect_ready();
    assert_eq!(ready["user"], "42");
    let left = ready["expires_in"].as_u64().unwrap();
    assert!((50_000..=60_000).contains(&left), "the session ends with the key: {ready}");
    assert_eq!(client.next_json()["state"], "subscribed");
    log_out(&server, "secret");
    eventually_eq(SOON, &Some(4003), || code_of(&gateway, "secret"));
    assert_eq!(code_of(&gateway, "never issued"), Some(4003));
    // The session itself goes on.
    gateway.publish("room:7", "1");
    assert_eq!(client.next_json()["message"], 1);
}

#[test]
fn a_value_that_is_no_claims_refuses_only_its_token() {
    let server = RedisServer::start();
    let gateway = plan(&server).spawn();
    gateway.wait_ready();
    log_in(&server, "text", "42", 60_000);
    log_in(&server, "nobody", "{}", 60_000);
    redis::cmd("RPUSH").arg(key("list")).arg("x").exec(&mut server.client()).unwrap();
    log_in(&server, "good", r#"{"sub":42}"#, 60_000);
    for token in ["text", "nobody", "list"] {
        assert_eq!(code_of(&gateway, token), Some(4003), "{token}");
    }
    assert_accepted(&gateway, "good");
    assert_eq!((identifies(&gateway, "malformed"), identifies(&gateway, "no_user")), (2, 1));
}

#[test]
fn a_session_ends_when_its_key_expires() {
    let server = RedisServer::start();
    let gateway = plan(&server).spawn();
    gateway.wait_ready();
    log_in(&server, "short", r#"{"sub":"42"}"#, 1_500);
    log_in(&server, "long", r#"{"sub":"42"}"#, 60_000);
    let [mut ended, mut refreshed] = [(); 2].map(|()| {
        let mut client = gateway.connect_v2();
        client.identify("short");
        client.expect_ready();
        client
    });
    refreshed.send_text(r#"{"op":12,"token":"long"}"#);
    assert_eq!(refreshed.next_json()["op"], 13);
    ended.expect_close(4009);
    gateway.publish("user:42", "1");
    assert_eq!(refreshed.next_json()["message"], 1);
}

#[test]
fn revoke_ends_sessions_of_cached_tokens() {
    let server = RedisServer::start();
    let gateway = plan(&server).with("auth.cache_ttl", "5m").spawn();
    gateway.wait_ready();
    log_in(&server, "secret", r#"{"sub":"42","jti":"login-1"}"#, 60_000);
    let mut client = gateway.connect_v2();
    client.identify("secret");
    client.expect_ready();
    let answer = gateway.post("/v1/control", r#"{"revoke":{"jti":"login-1"}}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(client.expect_close_reason(4009), "token revoked");
    assert_eq!(code_of(&gateway, "secret"), Some(4003));
    assert_eq!(identifies(&gateway, "revoked"), 1);
    assert_eq!(gateway.metric(r#"token_lookups_total{result="asked"}"#), 1, "the second one is cached");
}

#[test]
fn without_redis_clients_come_back_instead_of_logging_out() {
    let mut server = RedisServer::start();
    let plan = plan(&server).with("auth.cache_ttl", "0s").with("auth.call_timeout", "300ms");
    let gateway = plan.with("limits.failed_identifies_per_minute_per_address", "2").spawn();
    gateway.wait_ready();
    log_in(&server, "secret", r#"{"sub":"42"}"#, 60_000);
    let mut client = gateway.connect_v2();
    client.identify("secret");
    client.expect_ready();
    server.kill();
    for _ in 0..5 {
        let mut refused = gateway.connect_v2();
        refused.identify("secret");
        assert_eq!(refused.expect_close_reason(1013), UNVERIFIABLE);
    }
    client.send_text(r#"{"op":12,"token":"secret"}"#);
    eventually(SOON, || (client.next_json()["code"] == "unavailable").then_some(()));
    assert!(notes(&gateway).contains("tokens cannot be verified"), "{}", notes(&gateway));
    assert_eq!(identifies(&gateway, "unavailable"), 6);
    server.restart();
    gateway.wait_ready();
    log_in(&server, "secret", r#"{"sub":"42"}"#, 60_000);
    // No failure was counted for the address.
    eventually_eq(SOON, &None, || code_of(&gateway, "secret"));
    assert!(!notes(&gateway).contains("tokens cannot be verified"));
}

#[test]
fn the_command_token_prints_the_login_for_redis() {
    let server = RedisServer::start();
    let gateway = plan(&server).spawn();
    gateway.wait_ready();
    let printed = gateway.command(&["token", "--user", "42", "--channel", "room:*"]);
    let token = printed.out.trim();
    assert!(printed.err.contains(&format!("redis-cli SET {} ", key(token))), "{}", printed.err);
    let claims = printed.err.split('\'').nth(1).unwrap();
    log_in(&server, token, claims, 60_000);
    assert_accepted(&gateway, token);
}
