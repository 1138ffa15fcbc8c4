//! All features with all keys in one slot.

use std::collections::HashMap;

use redis::{FromRedisValue, cmd};
use serde_json::{Value, json};

use crate::deployments::acl::{set_user, user_of_page};
use crate::support::certificates::Authority;
use crate::support::client::Client;
use crate::support::cluster::{ClusterClient, TestCluster};
use crate::support::deadline::eventually_eq;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::process::SOON;

const PAGE: &str = include_str!("../../../docs/cluster.md");

/// Plans a gateway with every feature, as the documented user.
fn plan(url: &str) -> Plan {
    TestGateway::with("broker.url", url)
        .with("broker.username", "gateway")
        .with("broker.password", "change-this-password")
        .with("auth.kind", "redis")
        .with("channels.public_namespaces", "room")
        .with("presence.enabled", "true")
        .with("presence.grace", "0s")
        .with("namespaces.room.presence", "members")
        .with("namespaces.room.occupancy", "true")
        .with("namespaces.room.send", "true")
        .with("namespaces.room.signals", "true")
}

/// A cluster in which every node has the documented user.
fn cluster_with_user() -> TestCluster {
    let cluster = TestCluster::start(3, 0);
    for node in cluster.members() {
        set_user(&mut cluster.connection(node), &user_of_page(PAGE, "gateway"));
    }
    cluster
}

/// Runs a command of a backend. Its words are separated by spaces; the key is `{gateway}:<key>`.
#[track_caller]
fn run<T: FromRedisValue>(backend: &mut ClusterClient, key: &str, words: &str) -> T {
    let key = format!("{{gateway}}:{key}");
    let line = words.replace("KEY", &key);
    let mut words = line.split(' ');
    let mut command = cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    backend.try_call(&key, &command).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Logs a user in with the command that `token` prints.
fn log_in(gateway: &TestGateway, backend: &mut ClusterClient, user: &str) -> String {
    let printed = gateway.command(&["token", "--user", user, "--channel", "room:*"]);
    let (_, words) = printed.err.trim().split_once("redis-cli -c ").unwrap();
    let words = words.replace('\'', "");
    let key = words.split(' ').nth(1).unwrap();
    let key = key.strip_prefix("{gateway}:").expect("the prefix in braces").to_owned();
    run::<()>(backend, &key, &words);
    printed.out.trim().to_owned()
}

/// A client in `room:7`.
fn client_of(gateway: &TestGateway, token: &str) -> Client {
    let mut client = gateway.connect_v2();
    client.send_text(&json!({"op": 1, "token": token, "channels": [{"channel": "room:7"}]}).to_string());
    client.expect_ready();
    client
}

/// The next frame with this op.
#[track_caller]
fn next_of(client: &mut Client, op: u64) -> Value {
    loop {
        let frame = client.next_json();
        if frame["op"] == op {
            return frame;
        }
    }
}

#[track_caller]
fn expect_message(client: &mut Client, message: u64) -> Value {
    let frame = next_of(client, 3);
    assert_eq!(frame["message"], message, "{frame}");
    frame
}

#[test]
fn everything_works_in_one_slot_with_the_documented_rights() {
    let cluster = cluster_with_user();
    // The first host of the URL is down.
    let url = cluster.url().replace("://", "://127.0.0.1:1,");
    let gateway = plan(&url).spawn();
    gateway.wait_ready();
    gateway.wait_metric("history_available", 1);
    let mut backend = cluster.client();
    let token = log_in(&gateway, &mut backend, "42");
    let mut client = client_of(&gateway, &token);

    // Publishing, over Redis and over HTTP.
    for node in cluster.members() {
        let mut publish = cmd("PUBLISH");
        publish.arg("{gateway}:room:7").arg(node).exec(&mut cluster.connection(node)).unwrap();
        expect_message(&mut client, node as u64);
    }
    run::<()>(&mut backend, "users", r#"PUBLISH KEY {"users":["42"],"message":10}"#);
    expect_message(&mut client, 10);
    gateway.publish("all", "11");
    expect_message(&mut client, 11);
    let position: String = run(&mut backend, "room:7", "FCALL gateway_publish 1 KEY 12 key");
    assert_eq!(expect_message(&mut client, 12)["position"], *position);
    gateway.publish_durably("user:42", "13");
    expect_message(&mut client, 13);
    let positions: Vec<String> =
        run(&mut backend, "room:7", "FCALL gateway_publish 2 KEY {gateway}:user:43 14");
    assert_eq!(positions.len(), 2);
    expect_message(&mut client, 14);
    let messages = [15, 16].map(|message| json!({"channel": "room:7", "durable": true, "message": message}));
    let batch = gateway.post("/v1/publish/batch", &json!({"messages": messages}).to_string());
    assert_eq!(batch.status, 200, "{}", batch.body);
    expect_message(&mut client, 15);
    expect_message(&mut client, 16);
    let page = gateway.get("/v1/channels/room:7/history").json();
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(4), "{page}");

    // Presence, rooms and push.
    eventually_eq(SOON, &Some(1), || run::<Option<u32>>(&mut backend, "{presence}:online", "HGET KEY 42"));
    eventually_eq(SOON, &json!(["42"]), || {
        gateway.get("/v1/channels/room:7/members").json()["members"].clone()
    });
    assert_eq!(gateway.get("/v1/channels").json()["channels"][0]["channel"], "room:7");
    let (_, pushed): (String, u8) =
        run(&mut backend, "user:43", "FCALL gateway_publish 1 KEY 17 once push report");
    let away: usize = run(&mut backend, "{presence}:offline", "XLEN KEY");
    assert_eq!((pushed, away), (1, 1));

    // Messages and signals of clients.
    client.send_text(r#"{"op":16,"id":"c1","channel":"room:7","message":18}"#);
    assert_eq!(next_of(&mut client, 17), json!({"op": 17, "id": "c1"}));
    assert_eq!(run::<usize>(&mut backend, "inbox", "XLEN KEY"), 1);
    assert_eq!(gateway.get("/v1/inbox").json()["messages"].as_array().map(Vec::len), Some(1));
    let other = log_in(&gateway, &mut backend, "43");
    let mut sender = client_of(&gateway, &other);
    sender.send_text(r#"{"op":18,"channel":"room:7","signal":19}"#);
    assert_eq!(next_of(&mut client, 18)["signal"], 19);

    // A payload that is no message.
    run::<()>(&mut backend, "room:7", "PUBLISH KEY nonsense");
    gateway.wait_metric("rejected_total{result=\"recorded\"}", 1);
    assert_eq!(run::<usize>(&mut backend, "rejected", "XLEN KEY"), 1);

    // Commands and revocations.
    let command = r#"FCALL gateway_control 1 KEY {"disconnect":{"user":"43"}}"#;
    run::<String>(&mut backend, "{control}:commands", command);
    while sender.next_or_code().is_ok() {}
    let answer = gateway.post("/v1/control", r#"{"revoke":{"user":"42"}}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    while client.next_or_code().is_ok() {}
    assert_eq!(run::<usize>(&mut backend, "{control}:revoked", "ZCARD KEY"), 1);

    assert_one_slot(&cluster);
}

/// Asserts that one node has all keys, and that no node refused a command.
fn assert_one_slot(cluster: &TestCluster) {
    let owner = cluster.owner_of_key("{gateway}:");
    for node in cluster.members() {
        let mut connection = cluster.connection(node);
        let keys: Vec<String> = cmd("KEYS").arg("*").query(&mut connection).unwrap();
        assert_eq!(keys.is_empty(), node != owner, "{keys:?}");
        assert!(keys.iter().all(|key| key.starts_with("{gateway}:")), "{keys:?}");
        let refused: Vec<HashMap<String, redis::Value>> =
            cmd("ACL").arg("LOG").query(&mut connection).unwrap();
        let refused = refused.iter().map(|entry| format!("{entry:?}").to_lowercase());
        assert_eq!(refused.filter(|entry| !entry.contains("setinfo")).collect::<Vec<_>>(), [""; 0]);
    }
}

#[test]
fn nodes_with_tls_are_reached_by_their_host_names() {
    let (authority, folder) = (Authority::new(), tempfile::TempDir::new().unwrap());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &authority.pem).unwrap();
    let cluster = TestCluster::plan(3, 0).with_tls(authority).with_host_names().start();
    let mut gateway = TestGateway::with("broker.url", &cluster.tls_url())
        .with("broker.tls_ca_file", file.to_str().unwrap())
        .spawn();
    gateway.wait_ready();
    gateway.wait_for_log("redis at localhost:");
    let mut client = gateway.ready_client("42");
    cluster.client().publish("{gateway}:user:42", "1").unwrap();
    client.expect_text(r#"{"op":3,"message":1}"#);
}

#[test]
fn a_user_that_may_not_read_the_map_is_refused() {
    let cluster = cluster_with_user();
    for node in cluster.members() {
        set_user(&mut cluster.connection(node), &["gateway".into(), "-cluster|shards".into()]);
    }
    let gateway = plan(&cluster.url()).spawn();
    gateway.wait_not_ready("redis: access refused: by a node of the cluster: NOPERM");
}
