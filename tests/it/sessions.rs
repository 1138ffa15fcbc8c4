//! The operators' view of sessions: listing and disconnecting them, status, tokens and the console.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::http::request;
use crate::support::process::SOON;
use crate::support::raw_socket::{RawSocket, UPGRADE};

/// Waits until a user has `count` sessions; lists them.
#[track_caller]
fn sessions_of(gateway: &TestGateway, user: &str, count: usize) -> Vec<Value> {
    eventually(SOON, || {
        let answer = gateway.get(&format!("/v1/sessions?user={user}"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let list = answer.json();
        let sessions = list["sessions"].as_array().unwrap().clone();
        assert_eq!((&list["total"], &list["truncated"]), (&json!(sessions.len()), &json!(false)));
        (sessions.len() == count).then_some(sessions)
    })
}

fn ready_v2(gateway: &TestGateway, user: &str) -> (Client, String) {
    let mut client = gateway.connect_v2();
    client.identify(user);
    let session = client.expect_ready()["session"].as_str().unwrap().to_owned();
    (client, session)
}

fn subscribe(client: &mut Client, channel: &str) {
    client.send_text(&format!(r#"{{"op":4,"channel":"{channel}"}}"#));
    assert_eq!(client.next_json()["state"], "subscribed");
}

#[track_caller]
fn disconnected(gateway: &TestGateway, path: &str) -> Value {
    let answer = gateway.post(path, "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["disconnected"].clone()
}

#[test]
fn the_list_has_users_channels_and_start_times() {
    let gateway = TestGateway::spawn();
    let (mut client, session) = ready_v2(&gateway, "42");
    for channel in ["public:1", "public:2", "public:3"] {
        subscribe(&mut client, channel);
    }
    client.send_text(r#"{"op":5,"channel":"public:1"}"#);
    assert_eq!(client.next_json()["state"], "unsubscribed");
    let _other = gateway.ready_client("43");

    let mut found = sessions_of(&gateway, "42", 1).remove(0);
    let fields = found.as_object_mut().unwrap();
    let age = fields.remove("age_ms").unwrap().as_u64().unwrap();
    assert!(age < 600_000, "{age}");
    let mut channels: Vec<_> = fields.remove("channels").unwrap().as_array().unwrap().clone();
    assert_eq!(channels[..2], [json!("user:42"), json!("all")]);
    channels.sort_by_key(ToString::to_string);
    assert_eq!(channels, ["all", "public:2", "public:3", "user:42"]);
    let replica = gateway.get("/v1/status").json()["replica"].clone();
    let expected = json!({
        "replica": replica,
        "id": session, "user": "42", "version": 2, "subscriptions": 4, "queued_bytes": 0, "address": "127.0.0.1",
    });
    assert_eq!(found, expected);
    assert_eq!(sessions_of(&gateway, "43", 1)[0]["version"], 1);
    assert_eq!(sessions_of(&gateway, "44", 0), [] as [Value; 0]);
}

#[test]
fn an_unidentified_session_has_no_user_and_no_channel() {
    let gateway = TestGateway::spawn();
    let _silent = gateway.connect();
    let list = eventually(SOON, || {
        let list = gateway.get("/v1/sessions").json();
        (list["total"] == 1).then_some(list)
    });
    let found = &list["sessions"][0];
    assert_eq!((&found["user"], &found["channels"]), (&Value::Null, &json!([])));
}

#[test]
fn the_list_is_bounded_and_marked_when_truncated() {
    let gateway = TestGateway::spawn();
    let _clients: Vec<_> = (0..5).map(|user| gateway.ready_client(&user.to_string())).collect();
    let list = gateway.get("/v1/sessions?limit=3").json();
    assert_eq!(list["sessions"].as_array().unwrap().len(), 3);
    assert_eq!((&list["total"], &list["truncated"]), (&json!(5), &json!(true)));
    for (query, code) in [
        ("limit=0", "bad_query"),
        ("limit=1001", "bad_query"),
        ("limit=x", "bad_query"),
        ("limits=1", "bad_query"),
        ("limit=1&limit=2", "bad_query"),
        ("after=x", "bad_query"),
        ("user=%7B1%7D", "bad_user"),
    ] {
        let answer = gateway.get(&format!("/v1/sessions?{query}"));
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(code)), "{query}");
    }
}

#[test]
fn an_empty_parameter_of_the_list_counts_as_absent() {
    let gateway = TestGateway::spawn();
    let _client = gateway.ready_client("42");
    let list = gateway.get("/v1/sessions?user=&channel=&after=&limit=").json();
    assert_eq!((&list["total"], &list["truncated"]), (&json!(1), &json!(false)));
}

#[test]
fn a_refused_query_says_which_parameter_must_be_what() {
    let gateway = TestGateway::spawn();
    for (query, text) in [
        ("limit=x", "limit must be a whole number from 1 to 1000"),
        ("limit=-1", "limit must be a whole number from 1 to 1000"),
        ("limit=1001", "limit must be a whole number from 1 to 1000"),
        ("limit=1&limit=2", "limit must be given only once"),
        ("limits=", "unknown parameter \"limits\"; known are user, channel, after, limit"),
        ("after=x", "after: a session id has 32 hexadecimal digits"),
    ] {
        let answer = gateway.get(&format!("/v1/sessions?{query}")).json();
        assert_eq!(answer["error"]["detail"], format!("the query is invalid: {text}"), "{query}");
    }
}

#[test]
fn the_address_is_the_client_s_not_the_proxy_s() {
    let gateway = TestGateway::with("server.trusted_proxies", "127.0.0.0/8").spawn();
    let forwarded = |address: &str| {
        RawSocket::connect_by(gateway.public, &format!("{UPGRADE}\nx-forwarded-for: {address}"), b"")
    };
    let _clients = [forwarded("192.0.2.7"), forwarded("2001:db8:1:2:3::4")];
    let addresses = eventually(SOON, || {
        let list = gateway.get("/v1/sessions").json();
        let sessions = list["sessions"].as_array().unwrap();
        let mut all: Vec<_> =
            sessions.iter().map(|one| one["address"].as_str().unwrap().to_owned()).collect();
        all.sort();
        (all.len() == 2).then_some(all)
    });
    assert_eq!(addresses, ["192.0.2.7", "2001:db8:1:2::/64"]);
}

#[test]
fn disconnecting_one_session_keeps_the_user_s_others() {
    let gateway = TestGateway::spawn();
    let (mut ended, session) = ready_v2(&gateway, "42");
    let (mut stays, _) = ready_v2(&gateway, "42");
    let path = format!("/v1/sessions/{session}/disconnect");
    assert_eq!(disconnected(&gateway, &path), 1);
    ended.expect_close(4010);
    sessions_of(&gateway, "42", 1);
    let gone = gateway.post(&path, "");
    assert_eq!((gone.status, &gone.json()["error"]["code"]), (404, &json!("no_such_session")));
    for wrong in ["0", "x", "+0000000000000000000000000000001"] {
        assert_eq!(gateway.post(&format!("/v1/sessions/{wrong}/disconnect"), "").status, 404, "{wrong}");
    }
    gateway.publish("user:42", "1");
    stays.expect_text(r#"{"op":3,"channel":"user:42","message":1}"#);
    assert_eq!(gateway.closes(4010), 1);
}

#[test]
fn disconnecting_a_user_ends_its_sessions_on_every_worker() {
    let gateway = TestGateway::with("auth.kind", "jwt")
        .with("auth.secret", "0123456789abcdef0123456789abcdef")
        .with("auth.allow_foreign_user_channels", "true")
        .spawn();
    let ready = |user: &str, version: u8, grant: &[&str]| {
        let arguments = [&["--user", user][..], grant].concat();
        let mut client = if version == 1 { gateway.connect() } else { gateway.connect_v2() };
        client.identify(&gateway.token(&arguments));
        client.expect_ready();
        client
    };
    let theirs: Vec<_> = [1, 2, 1, 2].map(|version| ready("a/b", version, &[])).into();
    // Another user on the same channel.
    let mut watcher = ready("7", 2, &["--channel", "user:a/b"]);
    subscribe(&mut watcher, "user:a/b");
    assert_eq!(sessions_of(&gateway, "a/b", 4).len(), 4);
    assert_eq!(disconnected(&gateway, "/v1/users/a%2Fb/disconnect"), 4);
    for mut client in theirs {
        client.expect_close(4010);
    }
    assert_eq!(disconnected(&gateway, "/v1/users/nobody/disconnect"), 0);
    gateway.publish("user:a/b", "1");
    watcher.expect_text(r#"{"op":3,"channel":"user:a/b","message":1}"#);
}

#[test]
fn sessions_status_and_tokens_need_a_configured_key() {
    const KEY: &str = "the-key-of-the-admin-api";
    let gateway = TestGateway::with("admin.api_key", KEY).spawn();
    let id = "0".repeat(32);
    for (line, with_key) in [
        ("GET /v1/status", 200),
        ("GET /v1/sessions", 200),
        (&*format!("POST /v1/sessions/{id}/disconnect"), 404),
        ("POST /v1/users/42/disconnect", 200),
        ("POST /v1/token", 200),
    ] {
        let head = format!("{line} HTTP/1.1\nconnection: close");
        let body = if line.ends_with("token") { r#"{"user":"42"}"# } else { "" };
        assert_eq!(request(gateway.admin, &head, body).status, 401, "{line}");
        let head = format!("{head}\nauthorization: Bearer {KEY}");
        assert_eq!(request(gateway.admin, &head, body).status, with_key, "{line}");
    }
    assert_eq!(gateway.get("/console").status, 200, "the page contains no secret, so it needs no key");
}

#[test]
fn without_a_key_cross_origin_requests_are_refused() {
    let gateway = TestGateway::spawn();
    for line in ["GET /v1/sessions", "GET /v1/status", "POST /v1/publish", "POST /v1/token"] {
        let head = format!("{line} HTTP/1.1\nconnection: close\norigin: https://evil.test");
        let answer = request(gateway.admin, &head, "");
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (403, &json!("origin_not_allowed")),
            "{line}"
        );
    }
}

#[test]
fn a_minted_token_is_accepted_in_development() {
    let gateway =
        TestGateway::with("auth.kind", "jwt").with("auth.secret", "0123456789abcdef0123456789abcdef").spawn();
    let answer = gateway.post("/v1/token", r#"{"user":"42","channels":["room:*"]}"#).json();
    let mut client = gateway.connect_v2();
    client.identify(answer["token"].as_str().unwrap());
    let ready = client.expect_ready();
    assert_eq!(ready["user"], "42");
    // Includes auth.leeway of 5 s.
    assert!((3_500_000..=3_605_000).contains(&ready["expires_in"].as_u64().unwrap()), "{ready}");
    subscribe(&mut client, "room:7");
    let refused = gateway.post("/v1/token", r#"{"user":"4 2"}"#);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("token_not_minted")));
}

#[test]
fn production_mints_no_tokens_even_with_the_key() {
    const KEY: &str = "the-key-of-the-admin-api";
    let gateway = TestGateway::with("auth.kind", "jwt")
        .with("auth.secret", "0123456789abcdef0123456789abcdef")
        .with("server.allowed_origins", "https://app.example.com")
        .with("broker.url", "memory:")
        .with("admin.api_key", KEY)
        .variable("GATEWAY_PROFILE", "production")
        .spawn();
    let ask = |line: &str, body| {
        let head = format!("{line} HTTP/1.1\nconnection: close\nauthorization: Bearer {KEY}");
        request(gateway.admin, &head, body)
    };
    let answer = ask("POST /v1/token", r#"{"user":"42"}"#);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("token_minting_disabled")));
    let status = ask("GET /v1/status", "").json();
    assert_eq!((&status["minting"], &status["profile"]), (&json!(false), &json!("production")));
}

#[test]
fn the_status_contains_the_chart_values() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.ready_client("42");
    gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
    gateway.wait_metric("publications_delivered_total", 1);
    let status = gateway.get("/v1/status").json();
    for (field, value) in [
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("profile", json!("development")),
        ("auth", json!("insecure")),
        ("broker", json!("memory")),
        ("public_addr", json!(gateway.public.to_string())),
        ("socket_url", json!(format!("ws://{}/gateway", gateway.public))),
        ("minting", json!(true)),
        ("ready", json!(true)),
        ("draining", json!(false)),
        ("connections", json!(1)),
        ("sessions", json!(1)),
        ("subscriptions", json!(2)),
        ("publications_delivered", json!(1)),
        ("link", json!({"up": true, "history": true, "probe_ms": null})),
    ] {
        assert_eq!(status[field], value, "{field}");
    }
}

#[test]
fn the_console_is_served_under_a_strict_policy() {
    let gateway = TestGateway::spawn();
    let page = gateway.get("/console");
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ")
    );
    assert!(policy.contains(&format!("ws://{}; ", gateway.public)) && !policy.contains("unsafe"), "{policy}");
    for (path, kind) in [
        ("/console", "text/html; charset=utf-8"),
        ("/console/app.js", "text/javascript; charset=utf-8"),
        ("/console/app.css", "text/css; charset=utf-8"),
    ] {
        let answer = gateway.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
    let index = gateway.get("/");
    assert_eq!((index.status, index.header("location")), (303, Some("console")));
}
