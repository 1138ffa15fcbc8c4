//! The log in both formats, and secrets that it never contains.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use crate::support::client::{Client, Version};
use crate::support::gateway::{Plan, TestGateway};
use crate::support::http;
use crate::support::redis_server::RedisServer;

const SECRET: &str = "0123456789abcdef0123456789-secret";
const KEY: &str = "the-key-of-the-admin-api";
/// A text that every payload contains.
const PAYLOAD: &str = "a-message-between-users";

fn plan(format: &str) -> Plan {
    TestGateway::with("auth.kind", "jwt")
        .with("auth.secret", SECRET)
        .with("admin.api_key", KEY)
        .with("log.format", format)
}

/// Parses the log lines about sessions, which must be JSON objects.
fn session_lines(log: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: not JSON: {line}"))
    });
    lines.filter(|line| line["target"] == "emagine_gateway::session").collect()
}

#[test]
fn a_session_logs_three_lines_with_id_user_and_code() {
    let plan = plan("json").variable("RUST_LOG", "info,emagine_gateway::session=debug");
    let mut gateway = plan.spawn();
    let mut client = Client::connect(gateway.public, Version::V2);
    client.identify(&gateway.token(&["--user", "42"]));
    let session = client.expect_ready()["session"].clone();
    client.send_text("nonsense");
    client.expect_close(4001);
    gateway.wait_for_log("session closed");
    let lines = session_lines(&gateway.log());
    let expected = [
        json!({"message": "session opened", "session": session, "version": 2}),
        json!({"message": "session identified", "session": session, "user": "42"}),
        json!({"message": "session closed", "session": session, "user": "42", "code": 4001}),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (mut line, expected) in lines.into_iter().zip(expected) {
        let fields = line.as_object_mut().unwrap();
        let time = fields.remove("time").unwrap();
        let time = time.as_str().unwrap();
        // The format is 2026-11-24T00:00:00.000Z.
        assert!(time.len() == 24 && &time[10..11] == "T" && time.ends_with('Z'), "{time}");
        assert_eq!(fields.remove("level"), Some(json!("debug")));
        assert_eq!(fields.remove("target"), Some(json!("emagine_gateway::session")));
        assert_eq!(line, expected);
    }
}

#[test]
fn refused_tokens_and_broken_connections_are_logged_differently() {
    let mut gateway = plan("json").variable("RUST_LOG", "info,emagine_gateway::session=debug").spawn();
    let mut refused = gateway.connect();
    refused.identify("no-token-at-all");
    refused.expect_close(4003);
    gateway.wait_for_log("session closed");
    drop(gateway.connect());
    gateway.wait_metric("connections", 0);
    let lines = session_lines(&gateway.log());
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    let refusal = messages.iter().find(|message| message.starts_with("token refused: "));
    assert!(refusal.is_some(), "{messages:?}");
    let closed: Vec<_> = lines.iter().filter(|line| line["message"] == "session closed").collect();
    assert_eq!(closed.len(), 2);
    assert_eq!((&closed[0]["code"], closed[0].get("user")), (&json!(4003), None));
    assert_eq!(closed[1].get("code"), None, "there was no Close");
}

#[test]
fn by_default_a_client_causes_no_log_line() {
    for format in ["text", "json"] {
        let gateway = plan(format).spawn();
        let mut client = gateway.connect();
        client.identify(&gateway.token(&["--user", "42"]));
        client.expect_text(r#"{"op":2,"user":"42"}"#);
        client.send_text("nonsense");
        client.expect_close(4001);
        gateway.assert_empty();
        let log = gateway.log();
        assert!(!log.contains("session"), "{log}");
    }
}

/// Sends every kind of frame and request that carries a token, a key or a payload.
fn run_sessions(gateway: &TestGateway, redis: &RedisServer, tokens: &[String; 3]) {
    let [good, newer, bad] = tokens;
    let mut client = gateway.try_connect(&format!("/?v=2&token={good}")).unwrap();
    client.next_json();
    client.send_text(&format!(r#"{{"op":1,"token":"{good}","text":"{PAYLOAD}"}}"#));
    client.expect_ready();
    client.send_text(&format!(r#"{{"op":12,"token":"{newer}"}}"#));
    assert_eq!(client.next_json()["op"], 13);
    client.send_text(&format!(r#"{{"op":12,"token":"{bad}"}}"#));
    assert_eq!(client.next_json()["op"], 9);
    for durable in [false, true] {
        let head = format!("POST /v1/publish HTTP/1.1\nconnection: close\nauthorization: Bearer {KEY}");
        let body = format!(r#"{{"channel":"user:42","durable":{durable},"message":"{PAYLOAD}"}}"#);
        assert_eq!(http::request(gateway.admin, &head, &body).status, 200);
        assert_eq!(client.next_json()["message"], PAYLOAD);
    }
    let mut publisher = redis.client();
    for (channel, payload) in [
        ("gateway:user:42", PAYLOAD.to_owned()),
        ("gateway:users", format!(r#"{{"users":"{PAYLOAD}"}}"#)),
        ("gateway:user:42", format!("\"{PAYLOAD}\"")),
    ] {
        redis::cmd("PUBLISH").arg(channel).arg(payload).exec(&mut publisher).unwrap();
    }
    assert_eq!(client.next_json()["message"], PAYLOAD);
    client.send_text(&format!("{good} {PAYLOAD}"));
    client.expect_close(4001);
    let mut refused = gateway.connect();
    refused.identify(bad);
    refused.expect_close(4003);
}

#[test]
fn log_lines_never_contain_tokens_keys_or_payloads() {
    let redis = RedisServer::start();
    for format in ["text", "json"] {
        let plan = plan(format).redis(&redis).variable("RUST_LOG", "trace");
        let mut gateway = plan.spawn();
        gateway.wait_ready();
        let good = gateway.token(&["--user", "42"]);
        let newer = gateway.token(&["--user", "42", "--ttl", "2h"]);
        let bad = format!("{}.e30.{}", good.split('.').next().unwrap(), good.split('.').nth(2).unwrap());
        let tokens = [good, newer, bad];
        run_sessions(&gateway, &redis, &tokens);
        gateway.wait_for_log("session closed");
        gateway.terminate();
        let log = gateway.wait_exit().err;
        assert!(log.lines().count() > 20, "{log}");
        for never in [PAYLOAD, SECRET, KEY].into_iter().chain(tokens.iter().map(String::as_str)) {
            let line = log.lines().find(|line| line.contains(never));
            assert_eq!(line, None, "{format}: {never}");
        }
        if format == "json" {
            session_lines(&log);
        }
    }
}

/// Starts a server that gives the same answer to everything; returns its URL in the form of a Redis URL.
fn answers_with(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
        }
    });
    url
}

#[test]
fn a_log_entry_is_one_line_for_any_redis_answer() {
    for (answer, logged) in [
        (&b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n<html>\n</html>"[..], "is not Redis"),
        (b"220 mail.example.com ESMTP\r\n", "is not Redis"),
        (b"-ERR first\nsecond \x1b[31mred\r\n-ERR x\r\n-ERR x\r\n", "redis at "),
        (b"-NOPERM a\rb\r\n", "redis at "),
        (b"\xff\xfe\n\n\n", "redis at "),
    ] {
        let mut gateway = TestGateway::with("broker.url", &answers_with(answer)).spawn();
        gateway.wait_for_log(logged);
        gateway.terminate();
        let log = gateway.wait_exit().err;
        for line in log.lines() {
            assert!(line.starts_with("[20") && !line.contains(char::is_control), "{line:?} in {log}");
            assert!(!line.contains("os error"), "{line}");
        }
    }
}

#[test]
fn the_startup_lines_name_the_version_without_warnings() {
    let gateway = TestGateway::spawn();
    let log = gateway.log();
    let console = format!("console http://localhost:{}/console", gateway.admin.port());
    let start = format!("emagine-gateway {}: profile development, broker memory:", env!("CARGO_PKG_VERSION"));
    assert!(log.lines().any(|line| line.contains(&start) && line.contains(&console)), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

#[test]
fn the_start_line_masks_the_brokers_password() {
    let redis = RedisServer::start();
    let gateway = TestGateway::with("broker.url", &redis.url_with("hunter2")).spawn();
    assert!(gateway.log().contains(":***@127.0.0.1"), "{}", gateway.log());
    assert!(!gateway.log().contains("hunter2"), "{}", gateway.log());
}

#[test]
fn production_warns_once_if_tokens_have_no_audience_or_issuer() {
    let warning = "neither auth.audience nor auth.issuer is set";
    let production = TestGateway::with("auth.kind", "jwt")
        .with("auth.secret", SECRET)
        .with("server.allowed_origins", "https://app.example.com")
        .with("broker.url", "memory:")
        .variable("GATEWAY_PROFILE", "production");
    let gateway = production.spawn();
    assert_eq!(gateway.log().matches(warning).count(), 1);
    let checked = gateway.command(&["check", "--profile", "production"]);
    assert_eq!((checked.code, checked.err.matches(warning).count()), (Some(0), 1), "{}", checked.err);
    for key in ["auth.audience", "auth.issuer"] {
        let gateway = production.clone().with(key, "somebody").spawn();
        assert!(!gateway.log().contains(warning), "{}", gateway.log());
    }
    assert!(!plan("text").spawn().log().contains(warning));
}
