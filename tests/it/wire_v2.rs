//! Version 2 of the protocol: channels, positions, errors that keep the socket open, and token refresh.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::gateway::{Plan, TestGateway};

/// Connects a client and identifies it as user 42 with an insecure token.
fn ready(gateway: &TestGateway) -> Client {
    let mut client = gateway.connect_v2();
    client.identify("42");
    client.expect_ready();
    client
}

fn jwt() -> Plan {
    TestGateway::with("auth.kind", "jwt").with("auth.secret", "0123456789abcdef0123456789abcdef")
}

/// Asserts that a position is that of a channel without history: `<now in ms>-0`.
#[track_caller]
fn assert_fresh(position: &Value) {
    let (epoch, offset) = position.as_str().unwrap().split_once('-').unwrap();
    assert_eq!(offset, "0");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(now.abs_diff(epoch.parse().unwrap()) < 60_000, "{position}");
}

/// Reads a confirmation, whose position must be fresh; returns it without the position.
#[track_caller]
fn subscribed(client: &mut Client) -> Value {
    let mut frame = client.next_json();
    let position = frame.as_object_mut().unwrap().remove("position");
    assert_fresh(&position.unwrap_or_else(|| panic!("no position: {frame}")));
    frame
}

#[test]
fn hello_names_the_session_and_its_limits() {
    let gateway = TestGateway::with("session.identify_timeout", "7s")
        .with("session.max_message_bytes", "2048")
        .with("session.messages_per_minute", "60")
        .with("limits.subscriptions_per_session", "3")
        .spawn();
    let mut sessions = Vec::new();
    for path in ["/?v=2", "/gateway?token=x&v=2"] {
        let mut client = gateway.try_connect(path).unwrap();
        let hello = client.next_frame();
        let parsed: Value = serde_json::from_str(&hello).unwrap();
        let session = parsed["session"].as_str().unwrap().to_owned();
        assert!(session.len() == 32 && session.bytes().all(|byte| byte.is_ascii_hexdigit()), "{session}");
        let limits =
            r#"{"identify_timeout":7000,"message_bytes":2048,"messages_per_minute":60,"subscriptions":3}"#;
        assert_eq!(
            hello,
            format!(r#"{{"op":0,"heartbeat_interval":45000,"v":2,"session":"{session}","limits":{limits}}}"#)
        );
        client.identify("42");
        assert_eq!(client.expect_ready()["session"], session.as_str());
        sessions.push(session);
    }
    assert_ne!(sessions[0], sessions[1]);
}

#[test]
fn ready_lists_every_channel_with_its_position() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.connect_v2();
    client.send_text(r#"{"op":1,"token":"42","channels":[{"channel":"public:news"},{"channel":"public:x","since":"1732390000000-41"}]}"#);
    let ready = client.expect_ready();
    assert_eq!(ready["user"], "42");
    assert_eq!(ready.get("expires_in"), None, "an insecure token never expires");
    let channels = ready["channels"].as_array().unwrap();
    let names: Vec<_> = channels.iter().map(|channel| channel["channel"].as_str().unwrap()).collect();
    assert_eq!(names, ["user:42", "all", "public:news", "public:x"]);
    channels.iter().for_each(|channel| assert_fresh(&channel["position"]));
    let recovered: Vec<_> = channels.iter().map(|channel| channel.get("recovered").cloned()).collect();
    assert_eq!(recovered, [None, None, None, Some(json!(false))], "there is no history to recover from");
    for channel in names {
        gateway.publish(channel, r#"{"a": 1}"#);
        client.expect_text(&format!(r#"{{"op":3,"channel":"{channel}","message":{{"a": 1}}}}"#));
    }
}

#[test]
fn forbidden_channels_of_identify_are_refused_after_ready() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.connect_v2();
    client.send_text(r#"{"op":1,"token":"42","channels":[{"channel":"room:7"},{"channel":"nonsense"},{"channel":"user:43"},{"channel":"public:a"}]}"#);
    let ready = client.expect_ready();
    assert_eq!(ready["channels"].as_array().unwrap().len(), 3);
    client.expect_text(r#"{"op":6,"channel":"room:7","state":"refused","reason":"not_allowed"}"#);
    client.expect_text(r#"{"op":6,"channel":"nonsense","state":"refused","reason":"bad_channel"}"#);
    client.expect_text(r#"{"op":6,"channel":"user:43","state":"refused","reason":"not_allowed"}"#);
    gateway.publish("user:43", "1");
    gateway.publish("public:a", "2");
    client.expect_text(r#"{"op":3,"channel":"public:a","message":2}"#);
}

#[test]
fn a_public_channel_is_delivered_from_subscribed_to_unsubscribed() {
    let gateway = TestGateway::spawn();
    let (mut client, mut other) = (ready(&gateway), ready(&gateway));
    gateway.publish("public:news", "0");
    client.send_text(r#"{"op":4,"channel":"public:news"}"#);
    let answer = subscribed(&mut client);
    assert_eq!(answer, json!({"op": 6, "channel": "public:news", "state": "subscribed"}));
    gateway.publish("public:news", "1");
    client.expect_text(r#"{"op":3,"channel":"public:news","message":1}"#);
    client.send_text(r#"{"op":5,"channel":"public:news"}"#);
    client.expect_text(r#"{"op":6,"channel":"public:news","state":"unsubscribed"}"#);
    gateway.publish("public:news", "2");
    gateway.publish("all", "3");
    for client in [&mut client, &mut other] {
        client.expect_text(r#"{"op":3,"channel":"all","message":3}"#);
    }
    client.send_text(r#"{"op":4,"channel":"public:news","since":"1732390000000-41"}"#);
    let again = subscribed(&mut client);
    assert_eq!(again, json!({"op": 6, "channel": "public:news", "state": "subscribed", "recovered": false}));
    gateway.publish("public:news", "4");
    client.expect_text(r#"{"op":3,"channel":"public:news","message":4}"#);
}

#[test]
fn a_refused_subscription_keeps_the_socket_open() {
    let gateway = TestGateway::with("limits.subscriptions_per_session", "1").spawn();
    let mut client = ready(&gateway);
    for (sent, expected) in [
        (
            r#"{"op":4,"channel":"room:7"}"#,
            r#"{"op":6,"channel":"room:7","state":"refused","reason":"not_allowed"}"#,
        ),
        (
            r#"{"op":4,"channel":"a b"}"#,
            r#"{"op":6,"channel":"a b","state":"refused","reason":"bad_channel"}"#,
        ),
        (
            r#"{"op":4,"channel":"all"}"#,
            r#"{"op":9,"code":"already_subscribed","detail":"the session is on this channel"}"#,
        ),
        (
            r#"{"op":5,"channel":"user:42"}"#,
            r#"{"op":9,"code":"own_channel","detail":"cannot unsubscribe from user:<id> or all"}"#,
        ),
        (
            r#"{"op":5,"channel":"public:never"}"#,
            r#"{"op":6,"channel":"public:never","state":"unsubscribed"}"#,
        ),
    ] {
        client.send_text(sent);
        client.expect_text(expected);
    }
    client.send_text(r#"{"op":4,"channel":"public:one"}"#);
    assert_eq!(subscribed(&mut client)["state"], "subscribed");
    client.send_text(r#"{"op":4,"channel":"public:two"}"#);
    client.expect_text(
        r#"{"op":6,"channel":"public:two","state":"refused","reason":"too_many_subscriptions"}"#,
    );
    client.send_text(r#"{"op":5,"channel":"public:one"}"#);
    client.expect_text(r#"{"op":6,"channel":"public:one","state":"unsubscribed"}"#);
    client.send_text(r#"{"op":4,"channel":"public:two"}"#);
    assert_eq!(subscribed(&mut client)["state"], "subscribed");
}

#[test]
fn a_token_grants_exactly_its_channels() {
    let gateway = jwt().spawn();
    let mut client = gateway.connect_v2();
    client.identify(&gateway.token(&["--user", "42", "--channel", "room:*", "--channel", "team:1"]));
    let ready = client.expect_ready();
    let expires_in = ready["expires_in"].as_u64().unwrap();
    assert!((3_000_000..=3_605_000).contains(&expires_in), "{expires_in}");
    for channel in ["room:7", "room:a:b", "team:1"] {
        client.send_text(&format!(r#"{{"op":4,"channel":"{channel}"}}"#));
        assert_eq!(subscribed(&mut client)["channel"], channel);
        gateway.publish(channel, "1");
        client.expect_text(&format!(r#"{{"op":3,"channel":"{channel}","message":1}}"#));
    }
    for channel in ["team:2", "team:11", "rooms:7", "user:43", "gateway:users"] {
        client.send_text(&format!(r#"{{"op":4,"channel":"{channel}"}}"#));
        client.expect_text(&format!(
            r#"{{"op":6,"channel":"{channel}","state":"refused","reason":"not_allowed"}}"#
        ));
    }
}

#[test]
fn a_namespace_decides_who_may_subscribe() {
    let plan = jwt()
        .with("namespaces.default.subscribe", "public")
        .with("namespaces.team.subscribe", "token")
        .with("namespaces.all.history_size", "5")
        .with("channels.public_namespaces", "room");
    let gateway = plan.spawn();
    let mut client = gateway.connect_v2();
    client.identify(&gateway.token(&["--user", "42"]));
    client.expect_ready();
    for channel in ["room:7", "other:1", "default:1"] {
        client.send_text(&format!(r#"{{"op":4,"channel":"{channel}"}}"#));
        assert_eq!(subscribed(&mut client)["state"], "subscribed", "{channel}");
    }
    for channel in ["team:1", "user:43", "online:43"] {
        client.send_text(&format!(r#"{{"op":4,"channel":"{channel}"}}"#));
        client.expect_text(&format!(
            r#"{{"op":6,"channel":"{channel}","state":"refused","reason":"not_allowed"}}"#
        ));
    }
}

#[test]
fn a_new_token_extends_the_session_and_replaces_its_channels() {
    let gateway = jwt().spawn();
    let mut client = gateway.connect_v2();
    client.identify(&gateway.token(&["--user", "42", "--channel", "room:*", "--ttl", "8s"]));
    client.expect_ready();
    client.send_text(r#"{"op":4,"channel":"room:7"}"#);
    subscribed(&mut client);
    let refresh = |client: &mut Client, arguments: &[&str]| {
        let token = gateway.token(arguments);
        client.send_text(&format!(r#"{{"op":12,"token":"{token}"}}"#));
    };
    refresh(&mut client, &["--user", "43"]);
    client.expect_text(r#"{"op":9,"code":"refresh_failed","detail":"the token is not valid for this user"}"#);
    client.send_text(r#"{"op":12,"token":"nonsense"}"#);
    client.expect_text(r#"{"op":9,"code":"refresh_failed","detail":"the token is not valid for this user"}"#);
    gateway.publish("room:7", "1");
    client.expect_text(r#"{"op":3,"channel":"room:7","message":1}"#);
    refresh(&mut client, &["--user", "42", "--ttl", "1h"]);
    let refreshed = client.next_json();
    assert_eq!(refreshed["op"], 13);
    assert!(refreshed["expires_in"].as_u64().unwrap() > 3_000_000, "{refreshed}");
    client.expect_text(r#"{"op":6,"channel":"room:7","state":"unsubscribed","reason":"not_allowed"}"#);
    gateway.publish("room:7", "2");
    gateway.publish("user:42", "3");
    client.expect_text(r#"{"op":3,"channel":"user:42","message":3}"#);
}

#[test]
fn commands_before_identify_are_closed_with_4006() {
    let gateway = TestGateway::spawn();
    for text in [
        r#"{"op":4,"channel":"public:x"}"#,
        r#"{"op":5,"channel":"public:x"}"#,
        r#"{"op":12,"token":"42"}"#,
        r#"{"op":15,"id":"m1","channel":"public:x"}"#,
    ] {
        let mut client = gateway.connect_v2();
        client.send_text(text);
        client.expect_close(4006);
    }
}

#[test]
fn commands_sent_with_identify_are_answered_after_ready() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.connect_v2();
    client.identify("42");
    client.send_text(r#"{"op":4,"channel":"public:news"}"#);
    client.send_text(r#"{"op":5,"channel":"public:news"}"#);
    client.send_text(r#"{"op":4,"channel":"room:1"}"#);
    client.expect_ready();
    // Each answer names its channel, and answers for one channel keep their order.
    let (mut news, mut room) = (Vec::new(), Vec::new());
    while news.last().is_none_or(|last| last != "unsubscribed") || room.is_empty() {
        let frame = client.next_json();
        let answers = if frame["channel"] == "room:1" { &mut room } else { &mut news };
        answers.push(frame["state"].as_str().unwrap().to_owned());
    }
    assert!(matches!(&*news.join(" "), "unsubscribed" | "subscribed unsubscribed"), "{news:?}");
    assert_eq!(room, ["refused"]);
}

#[test]
fn each_version_gets_the_message_in_its_own_form() {
    let gateway = TestGateway::spawn();
    let (mut old, mut new) = (gateway.ready_client("42"), ready(&gateway));
    gateway.publish("user:42", r#"{ "a":1 }"#);
    old.expect_text(r#"{"op":3,"message":{ "a":1 }}"#);
    new.expect_text(r#"{"op":3,"channel":"user:42","message":{ "a":1 }}"#);
}
