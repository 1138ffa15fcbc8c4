//! What each edge stands for.

use super::*;
use crate::support::process::SOON;

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
fn a_subscriber_of_online_hears_both_edges() {
    let redis = RedisServer::start();
    let gateway = plan(&redis, "0s").with("channels.public_namespaces", "online").spawn();
    gateway.wait_ready();
    let mut watcher = gateway.connect_v2();
    watcher.identify("7");
    watcher.expect_ready();
    watcher.send_text(r#"{"op":4,"channel":"online:42"}"#);
    assert_eq!(watcher.next_json()["state"], "subscribed");
    let client = gateway.ready_client("42");
    let edge = watcher.next_json();
    assert_eq!((&edge["channel"], &edge["message"]["online"]), (&"online:42".into(), &true.into()));
    drop(client);
    assert_eq!(watcher.next_json()["message"]["online"], false);
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
fn thousands_of_users_are_reported_in_few_calls() {
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
