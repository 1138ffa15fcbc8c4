//! Checks the frames of both versions in both directions against the contract.

use std::collections::BTreeSet;

use jsonschema::Draft;
use serde_json::Value;

use crate::support::client::{Client, Version};
use crate::support::contract::{Contract, document, validator};
use crate::support::gateway::TestGateway;
use crate::support::redis_server::RedisServer;

/// A client that checks every frame against the contract and records the matching messages.
struct CheckedClient {
    client: Client,
    version: Version,
    seen: BTreeSet<(&'static str, &'static str)>,
}

impl CheckedClient {
    fn connect(gateway: &TestGateway, version: Version) -> Self {
        let path = if version == Version::V1 { "/gateway" } else { "/gateway?v=2" };
        let client = Client::try_connect(gateway.public, path, version).unwrap();
        let mut checked = Self { client, version, seen: BTreeSet::new() };
        assert_eq!(checked.next_message()["op"], 0);
        checked
    }

    #[track_caller]
    fn check(&mut self, v1: &'static str, v2: &'static str, frame: &str) -> Value {
        let operation = if self.version == Version::V1 { v1 } else { v2 };
        let frame: Value = serde_json::from_str(frame).unwrap();
        let found = Contract::get().matching(operation, &frame);
        assert_eq!(found.len(), 1, "{operation}: {frame}: {found:?}");
        self.seen.insert((operation, found[0]));
        frame
    }

    #[track_caller]
    fn send_text(&mut self, frame: &str) {
        self.check("receiveV1", "receiveV2", frame);
        self.client.send_text(frame);
    }

    #[track_caller]
    fn next_message(&mut self) -> Value {
        let frame = self.client.next_frame();
        self.check("sendV1", "sendV2", &frame)
    }

    #[track_caller]
    fn expect_op(&mut self, op: u64) -> Value {
        let frame = self.next_message();
        assert_eq!(frame["op"], op, "{frame}");
        frame
    }

    /// Exchanges heartbeats in both directions.
    #[track_caller]
    fn exchange_heartbeats(&mut self) {
        let time = self.client.expect_heartbeat();
        self.check("sendV1", "sendV2", &format!(r#"{{"op":10,"time":{time}}}"#));
        self.send_text(&format!(r#"{{"op":11,"time":{time}}}"#));
        for heartbeat in [r#"{"op":10,"time":1579276740336}"#, r#"{"op":10}"#] {
            self.send_text(heartbeat);
            self.expect_op(11);
        }
    }

    /// Asserts that every message of these operations was exchanged.
    #[track_caller]
    fn assert_complete(&self, operations: [&'static str; 2]) {
        let all = operations.into_iter().flat_map(|operation| {
            Contract::get().messages(operation).into_iter().map(move |name| (operation, name))
        });
        assert_eq!(self.seen, all.collect::<BTreeSet<_>>());
    }
}

#[test]
fn the_contract_and_version_1_have_the_same_frames() {
    let gateway = TestGateway::with("session.heartbeat_interval", "300ms").spawn();
    let mut client = CheckedClient::connect(&gateway, Version::V1);
    client.exchange_heartbeats();
    client.send_text(r#"{"op":1,"token":"42","device":{"name":"passed over"}}"#);
    client.expect_op(2);
    gateway.publish("user:42", r#"{"content":[1,null,"x"]}"#);
    client.expect_op(3);
    gateway.publish_durably("all", "null");
    client.expect_op(3);
    client.assert_complete(["sendV1", "receiveV1"]);
}

#[test]
fn the_contract_and_version_2_have_the_same_frames() {
    let redis = RedisServer::start();
    let mut gateway = TestGateway::redis(&redis)
        .with("session.heartbeat_interval", "300ms")
        .with("limits.subscriptions_per_session", "2")
        .with("drain.delay", "0s")
        .with("presence.enabled", "true")
        .with("channels.public_namespaces", "public,team")
        .with("namespaces.team.presence", "members")
        .with("namespaces.public.send", "true")
        .with("namespaces.public.signals", "true")
        .with("namespaces.public.max_last", "10")
        .spawn();
    gateway.wait_ready();
    let first = gateway.publish_durably("public:news", "1");
    gateway.publish_durably("public:news", "2");
    let mut client = CheckedClient::connect(&gateway, Version::V2);
    client.exchange_heartbeats();
    client.send_text(&format!(
        r#"{{"op":1,"token":"42","channels":[{{"channel":"public:news","since":"{first}"}},{{"channel":"room:7"}}]}}"#
    ));
    let ready = client.expect_op(2);
    assert_eq!(ready["channels"][2]["recovered"], true);
    // The missed message, and the refusal of room:7.
    let ops: BTreeSet<_> =
        [client.next_message(), client.next_message()].iter().map(|frame| frame["op"].as_u64()).collect();
    assert_eq!(ops, BTreeSet::from([Some(3), Some(6)]));
    gateway.publish("user:42", "{}");
    assert_eq!(client.expect_op(3).get("position"), None);
    for frame in [
        r#"{"op":4,"channel":"public:a"}"#,
        r#"{"op":5,"channel":"public:a"}"#,
        r#"{"op":4,"channel":"public:a","since":"1-1"}"#,
        r#"{"op":4,"channel":"a b"}"#,
        r#"{"op":4,"channel":"public:b"}"#,
    ] {
        client.send_text(frame);
        client.expect_op(6);
    }
    for frame in [r#"{"op":4,"channel":"all"}"#, r#"{"op":5,"channel":"all"}"#, r#"{"op":12,"token":"43"}"#] {
        client.send_text(frame);
        client.expect_op(9);
    }
    client.send_text(r#"{"op":12,"token":"42"}"#);
    client.expect_op(13);
    client.send_text(r#"{"op":16,"id":"c1","channel":"public:news","message":{"text":"hello"}}"#);
    assert_eq!(client.expect_op(17)["id"], "c1");
    client.send_text(r#"{"op":18,"channel":"public:news","signal":{"typing":true}}"#);
    client.send_text(r#"{"op":18,"channel":"all","signal":1}"#);
    assert_eq!(client.expect_op(9)["channel"], "all");
    let mut other = Client::connect(gateway.public, Version::V2);
    other.send_text(r#"{"op":1,"token":"43","channels":[{"channel":"public:news"}]}"#);
    other.expect_ready();
    other.send_text(r#"{"op":18,"channel":"public:news","signal":7}"#);
    assert_eq!(client.expect_op(18)["user"], "43");
    drop(other);
    client.send_text(r#"{"op":19,"id":"h1","channel":"public:news","limit":1}"#);
    assert_eq!(client.expect_op(20)["more"], true);
    client.send_text(r#"{"op":5,"channels":["public:a","all"]}"#);
    client.expect_op(6);
    client.send_text(
        r#"{"op":4,"channels":[{"channel":"public:a","last":5},{"channel":"public:b"},{"channel":"all"}]}"#,
    );
    assert_eq!(client.expect_op(6)["channels"][0]["last"], 0);
    for frame in [r#"{"op":5,"channel":"public:a"}"#, r#"{"op":4,"channel":"team:1"}"#] {
        client.send_text(frame);
        client.expect_op(6);
    }
    assert_eq!(client.expect_op(14)["count"], 1);
    client.send_text(r#"{"op":15,"id":"m1","channel":"team:1"}"#);
    assert_eq!(client.expect_op(15)["members"], serde_json::json!(["42"]));
    client.send_text(r#"{"op":15,"id":"m2","channel":"public:news","after":"42"}"#);
    assert_eq!(client.expect_op(9)["id"], "m2");
    client.send_text(r#"{"op":5,"channel":"team:1"}"#);
    client.expect_op(6);
    ::redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").exec(&mut redis.client()).unwrap();
    assert_eq!(client.expect_op(8)["reason"], "link_lost");
    gateway.terminate();
    while client.next_message()["op"] != 7 {}
    client.client.expect_close(1012);
    client.assert_complete(["sendV2", "receiveV2"]);
    assert_eq!(gateway.wait_exit().code, Some(0));
}

#[test]
fn an_expiring_token_is_announced_as_the_contract_says() {
    let gateway =
        TestGateway::with("auth.kind", "jwt").with("auth.secret", "0123456789abcdef0123456789abcdef").spawn();
    let mut client = CheckedClient::connect(&gateway, Version::V2);
    client.send_text(&format!(
        r#"{{"op":1,"token":"{}"}}"#,
        gateway.token(&["--user", "42", "--channel", "room:7"])
    ));
    assert!(client.expect_op(2)["expires_in"].is_u64());
    client.send_text(r#"{"op":4,"channel":"room:7"}"#);
    assert_eq!(client.expect_op(6)["state"], "subscribed");
    client.send_text(&format!(r#"{{"op":12,"token":"{}"}}"#, gateway.token(&["--user", "42"])));
    let frames = [client.next_message(), client.next_message()];
    assert!(frames.iter().any(|frame| frame["op"] == 13 && frame["expires_in"].is_u64()), "{frames:?}");
    assert!(frames.iter().any(|frame| frame["reason"] == "not_allowed"), "{frames:?}");
}

/// The gateway rejects exactly the client frames that the contract does not contain.
#[test]
fn the_contract_and_the_gateway_agree_on_malformed_frames() {
    let gateway = TestGateway::spawn();
    let mut verdicts = BTreeSet::new();
    for text in [
        r#"{"op":1,"token":"42"}"#,
        r#"{"op":1,"token":"42","channels":[]}"#,
        r#"{"op":1,"token":"42","channels":[{"channel":"public:x","since":"anything","more":1}]}"#,
        r#"{"op":1,"token":"42","channels":[{"since":"1-1"}]}"#,
        r#"{"op":1,"token":"42","channels":["public:x"]}"#,
        r#"{"op":1,"token":"42","channels":null}"#,
        r#"{"op":1,"token":42}"#,
        r#"{"op":1}"#,
        r#"{"token":"42"}"#,
        r#"{"op":"1","token":"42"}"#,
        r#"{"op":null}"#,
        r#"{"op":0,"heartbeat_interval":45000}"#,
        r#"{"op":2,"user":"42"}"#,
        r#"{"op":3,"message":{}}"#,
        r#"{"op":4,"channel":"public:x"}"#,
        r#"{"op":4,"channel":"public:x","since":"1-1"}"#,
        r#"{"op":4,"channel":"public:x","since":null}"#,
        r#"{"op":4,"channel":7}"#,
        r#"{"op":4,"channel":"public:x","last":50}"#,
        r#"{"op":4,"channel":"public:x","last":-1}"#,
        r#"{"op":4,"channel":"public:x","last":null}"#,
        r#"{"op":4,"channels":[{"channel":"public:x","since":"1-1"},{"channel":"public:y","last":50}]}"#,
        r#"{"op":4,"channels":[]}"#,
        r#"{"op":4,"channels":["public:x"]}"#,
        r#"{"op":4,"channel":"public:x","channels":[{"channel":"public:y"}]}"#,
        r#"{"op":4}"#,
        r#"{"op":5,"channel":"public:x"}"#,
        r#"{"op":5}"#,
        r#"{"op":5,"channels":["public:x","public:y"]}"#,
        r#"{"op":5,"channels":[]}"#,
        r#"{"op":5,"channels":[{"channel":"public:x"}]}"#,
        r#"{"op":5,"channel":"public:x","channels":["public:y"]}"#,
        r#"{"op":6,"channel":"public:x","state":"subscribed"}"#,
        r#"{"op":9,"code":"own_channel","detail":""}"#,
        r#"{"op":10,"time":1579276740336}"#,
        r#"{"op":10,"time":1.5}"#,
        r#"{"op":10}"#,
        r#"{"op":10,"time":"1"}"#,
        r#"{"op":10,"time":null}"#,
        r#"{"op":11,"time":"passed over"}"#,
        r#"{"op":11}"#,
        r#"{"op":12,"token":"42"}"#,
        r#"{"op":12}"#,
        r#"{"op":13}"#,
        r#"{"op":14,"channel":"public:x","count":1}"#,
        r#"{"op":15,"id":"m1","channel":"public:x"}"#,
        r#"{"op":15,"id":"m1","channel":"public:x","after":"42"}"#,
        r#"{"op":15,"id":"m1","channel":"public:x","after":null}"#,
        r#"{"op":15,"id":"","channel":"public:x"}"#,
        r#"{"op":15,"id":1,"channel":"public:x"}"#,
        r#"{"op":15,"channel":"public:x"}"#,
        r#"{"op":15,"id":"m1","channel":"public:x","members":[]}"#,
        r#"{"op":16,"id":"c1","channel":"public:x","message":null}"#,
        r#"{"op":16,"id":"","channel":"public:x","message":1}"#,
        r#"{"op":16,"id":"c1","channel":"public:x"}"#,
        r#"{"op":17,"id":"c1"}"#,
        r#"{"op":18,"channel":"public:x","signal":{}}"#,
        r#"{"op":18,"channel":"public:x"}"#,
        r#"{"op":18,"signal":{}}"#,
        r#"{"op":19,"id":"h1","channel":"public:x"}"#,
        r#"{"op":19,"id":"h1","channel":"public:x","before":"1-1","limit":5}"#,
        r#"{"op":19,"id":"h1","channel":"public:x","before":5}"#,
        r#"{"op":19,"id":"h1","channel":"public:x","limit":"5"}"#,
        r#"{"op":19,"channel":"public:x"}"#,
        r#"{"op":20,"id":"h1","channel":"public:x","messages":[],"more":false}"#,
        r#"{"op":99}"#,
        r#"[]"#,
        r#"null"#,
        r#""text""#,
        "7",
    ] {
        for (version, operation) in [(Version::V1, "receiveV1"), (Version::V2, "receiveV2")] {
            let known = !Contract::get().matching(operation, &serde_json::from_str(text).unwrap()).is_empty();
            let mut client = Client::connect(gateway.public, version);
            client.send_text(text);
            // An ACK has no answer, so this heartbeat provides one.
            client.send_text(r#"{"op":10}"#);
            let is_malformed = client.next_or_code() == Err(Some(4001));
            assert_eq!(known, !is_malformed, "{operation}: {text}");
            verdicts.insert((operation, known));
        }
    }
    assert_eq!(verdicts.len(), 4);
}

/// Frames that clients/js exchanges in its tests, and malformed ones.
#[test]
fn the_contract_has_the_frames_of_presence() {
    let document = document("asyncapi.yaml");
    let is = |schema: &str, frame: &str| {
        let validator = validator(&document, &document["components"]["schemas"][schema], Draft::Draft7);
        validator.is_valid(&serde_json::from_str(frame).unwrap())
    };
    for (schema, frame) in [
        ("Room", r#"{"op":14,"channel":"room:7","count":812}"#),
        ("Room", r#"{"op":14,"channel":"room:7","count":3,"joined":["42"],"left":["43"]}"#),
        ("Members", r#"{"op":15,"id":"m1","channel":"room:7","members":["43","44"],"next":"44"}"#),
        ("Members", r#"{"op":15,"id":"m1","channel":"room:7","members":[]}"#),
        ("MembersRequest", r#"{"op":15,"id":"m1","channel":"room:7"}"#),
        ("MembersRequest", r#"{"op":15,"id":"m1","channel":"room:7","after":"42"}"#),
        (
            "Subscription",
            r#"{"op":6,"channel":"online:42","state":"subscribed","position":"5-0","presence":{"online":true,"at":1764423000000}}"#,
        ),
        ("Error", r#"{"op":9,"code":"own_channel","detail":"","id":"m1"}"#),
    ] {
        assert!(is(schema, frame), "{schema}: {frame}");
    }
    for (schema, frame) in [
        ("Room", r#"{"op":14,"channel":"room:7"}"#),
        ("Room", r#"{"op":14,"channel":"room:7","count":-1}"#),
        ("Room", r#"{"op":14,"channel":"room:7","count":3,"joined":[]}"#),
        ("Members", r#"{"op":15,"channel":"room:7","members":[]}"#),
        ("Members", r#"{"op":15,"id":"m1","channel":"room:7","members":[],"next":null}"#),
        ("MembersRequest", r#"{"op":15,"channel":"room:7"}"#),
        (
            "Subscription",
            r#"{"op":6,"channel":"online:42","state":"subscribed","position":"5-0","presence":{"online":true}}"#,
        ),
        (
            "Subscription",
            r#"{"op":6,"channel":"online:42","state":"refused","reason":"not_allowed","presence":{"online":true,"at":1}}"#,
        ),
    ] {
        assert!(!is(schema, frame), "{schema}: {frame}");
    }
}
