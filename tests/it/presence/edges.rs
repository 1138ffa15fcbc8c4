//! What each edge stands for. Tests that need no Redis command run over both brokers.

use serde_json::Value;

use super::over_both::{Over, over_both};
use super::*;
use crate::support::client::Client;
use crate::support::process::SOON;

over_both! {
    a_subscriber_of_online_hears_both_edges
    sessions_between_the_first_and_the_last_write_no_edge
    a_return_within_the_grace_writes_no_edge_to_subscribers
    a_user_is_offline_only_after_the_grace
    no_edge_is_published_while_presence_is_off
}

/// A gateway and a client that watches `online:42` and `online:43`.
struct WatchedGateway {
    watcher: Client,
    gateway: TestGateway,
    /// Declared last, to be dropped last.
    _redis: Option<RedisServer>,
}

impl WatchedGateway {
    fn start(over: Over, is_enabled: &str, grace: &str) -> Self {
        let redis = matches!(over, Over::Redis).then(RedisServer::start);
        let plan = TestGateway::with("presence.enabled", is_enabled)
            .with("presence.grace", grace)
            .with("channels.public_namespaces", "online");
        let plan = match &redis {
            Some(redis) => plan.redis(redis),
            None => plan,
        };
        let gateway = plan.spawn();
        gateway.wait_ready();
        let mut watcher = gateway.connect_v2().answering_heartbeats();
        watcher.identify("7");
        watcher.expect_ready();
        for user in ["42", "43"] {
            watcher.send_text(&format!(r#"{{"op":4,"channel":"online:{user}"}}"#));
            assert_eq!(watcher.next_json()["state"], "subscribed");
        }
        Self { watcher, gateway, _redis: redis }
    }

    /// Waits until the gateway has ended the sessions of dropped clients. The watcher has one of `sessions`.
    fn wait_sessions(&self, sessions: i64) {
        self.gateway.wait_metric("sessions", sessions);
    }

    /// The next message must be this edge. Returns its time.
    #[track_caller]
    fn expect_edge(&mut self, user: &str, is_online: bool) -> u64 {
        let edge = self.watcher.next_json();
        let at = edge["message"]["at"].as_u64().unwrap();
        assert_eq!((&edge["op"], &edge["channel"]), (&3.into(), &format!("online:{user}").into()));
        assert_eq!(edge["message"], serde_json::json!({ "online": is_online, "at": at }));
        assert_eq!(edge.get("position"), None, "edges are plain messages");
        at
    }
}

fn a_subscriber_of_online_hears_both_edges(over: Over) {
    let mut test = WatchedGateway::start(over, "true", "0s");
    let client = test.gateway.ready_client("42");
    let came = test.expect_edge("42", true);
    drop(client);
    let left = test.expect_edge("42", false);
    assert!(1_700_000_000_000 < came && came <= left, "Unix time in milliseconds");
}

fn sessions_between_the_first_and_the_last_write_no_edge(over: Over) {
    let mut test = WatchedGateway::start(over, "true", "0s");
    // The workers share the connections, so both hubs have sessions of the user.
    let clients: Vec<_> = (0..4).map(|_| test.gateway.ready_client("42")).collect();
    test.expect_edge("42", true);
    for (dropped, client) in (1..).zip(clients) {
        drop(client);
        test.wait_sessions(5 - dropped);
    }
    test.expect_edge("42", false);
    let _other = test.gateway.ready_client("43");
    test.expect_edge("43", true);
}

fn a_return_within_the_grace_writes_no_edge_to_subscribers(over: Over) {
    let mut test = WatchedGateway::start(over, "true", "1m");
    let mut client = test.gateway.ready_client("42");
    // Over Redis, a session that ends before its report is sent has no edge.
    test.expect_edge("42", true);
    for _ in 0..3 {
        drop(client);
        test.wait_sessions(1);
        client = test.gateway.ready_client("42");
    }
    // Reports are made in order, so an edge of 42 would come before this one.
    let _other = test.gateway.ready_client("43");
    test.expect_edge("43", true);
}

fn a_user_is_offline_only_after_the_grace(over: Over) {
    let mut test = WatchedGateway::start(over, "true", "2s");
    let client = test.gateway.ready_client("42");
    let came = test.expect_edge("42", true);
    drop(client);
    let left = test.expect_edge("42", false);
    assert!(left - came >= 2_000, "after {} ms", left - came);
    let _returned = test.gateway.ready_client("42");
    test.expect_edge("42", true);
}

fn no_edge_is_published_while_presence_is_off(over: Over) {
    let mut test = WatchedGateway::start(over, "false", "0s");
    drop(test.gateway.ready_client("42"));
    test.wait_sessions(1);
    test.gateway.publish("online:42", r#""marker""#);
    assert_eq!(test.watcher.next_json()["message"], Value::from("marker"));
}

#[test]
fn the_first_session_is_online_and_the_last_is_offline() {
    let redis = RedisServer::start();
    let gateway = plan(&redis, "0s").spawn();
    gateway.wait_ready();
    let mut backend = redis.client();
    assert_eq!(online(&mut backend, &["42", "43"]), [None, None]);
    let (first, second) = (gateway.ready_client("42"), gateway.ready_client("42"));
    wait_online(&mut backend, "42", Some(1));
    drop(first);
    gateway.wait_metric("sessions", 1);
    drop(second);
    wait_online(&mut backend, "42", None);
    assert_eq!(edges(&mut backend)["42"], ["online", "offline"]);
    assert_eq!(edges(&mut backend).len(), 1);
}

#[test]
fn a_user_on_two_replicas_has_one_pair_of_edges() {
    let redis = RedisServer::start();
    let gateways = [plan(&redis, "0s").spawn(), plan(&redis, "0s").spawn()];
    let mut backend = redis.client();
    let clients = gateways.each_ref().map(|gateway| {
        gateway.wait_ready();
        gateway.ready_client("42")
    });
    wait_online(&mut backend, "42", Some(2));
    let [one, two] = clients;
    drop(one);
    wait_online(&mut backend, "42", Some(1));
    drop(two);
    wait_online(&mut backend, "42", None);
    assert_edges(&mut backend, "42", &["online", "offline"]);
}

#[test]
fn a_user_that_returns_within_the_grace_was_not_away() {
    let redis = RedisServer::start();
    let gateway = plan(&redis, "1m").spawn();
    gateway.wait_ready();
    let mut backend = redis.client();
    drop(gateway.ready_client("42"));
    wait_online(&mut backend, "42", Some(0));
    let client = gateway.ready_client("42");
    wait_online(&mut backend, "42", Some(1));
    drop(client);
    wait_online(&mut backend, "42", Some(0));
    assert_edges(&mut backend, "42", &["online"]);
}

#[test]
fn no_key_is_written_while_presence_is_off() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let mut client = gateway.ready_client("42");
    gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("gateway:{presence}:*").query(&mut redis.client()).unwrap();
    assert!(keys.is_empty(), "{keys:?}");
}

#[test]
fn hundreds_of_users_have_one_pair_of_edges_each() {
    let redis = RedisServer::start();
    let gateway = plan(&redis, "0s").with("limits.connections_per_address", "0").spawn();
    gateway.wait_ready();
    let clients: Vec<_> = (0..300).map(|user| gateway.ready_client(&user.to_string())).collect();
    let mut backend = redis.client();
    let count = |backend: &mut Connection| -> usize {
        redis::cmd("HLEN").arg("gateway:{presence}:online").query(backend).unwrap()
    };
    eventually_eq(SOON, &300, || count(&mut backend));
    drop(clients);
    eventually_eq(BURIAL, &0, || count(&mut backend));
    assert!(edges(&mut backend).values().all(|states| states == &["online", "offline"]));
}
