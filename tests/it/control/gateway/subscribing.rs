//! The commands `subscribe` and `unsubscribe`.

use serde_json::json;

use super::{affected, jwt, ready, subscribe};
use crate::support::gateway::TestGateway;

#[test]
fn a_user_is_subscribed_without_a_grant() {
    let gateway = TestGateway::spawn();
    let (mut new, session) = ready(&gateway, "42");
    let mut old = gateway.ready_client("42");
    assert_eq!(affected(&gateway, &json!({"subscribe": {"user": "42", "channel": "room:7"}})), 2);
    let answer = new.next_json();
    assert_eq!((&answer["op"], &answer["state"]), (&json!(6), &json!("subscribed")));
    // The version 1 client has no frame that shows its subscription.
    gateway.wait_metric("subscriptions", 6);
    gateway.publish("room:7", "1");
    new.expect_text(r#"{"op":3,"channel":"room:7","message":1}"#);
    old.expect_text(r#"{"op":3,"message":1}"#);
    assert_eq!(affected(&gateway, &json!({"unsubscribe": {"session": session, "channel": "room:7"}})), 1);
    new.expect_text(r#"{"op":6,"channel":"room:7","state":"unsubscribed","reason":"by_server"}"#);
    gateway.publish("room:7", "2");
    old.expect_text(r#"{"op":3,"message":2}"#);
    assert_eq!(affected(&gateway, &json!({"unsubscribe": {"user": "42", "channel": "room:7"}})), 1);
    gateway.wait_metric("subscriptions", 4);
    gateway.publish("all", "3");
    new.expect_text(r#"{"op":3,"channel":"all","message":3}"#);
    old.expect_text(r#"{"op":3,"message":3}"#);
}

#[test]
fn a_refresh_without_the_grant_keeps_a_forced_subscription() {
    let gateway = jwt().spawn();
    let token = gateway.token(&["--user", "42", "--channel", "room:*"]);
    let (mut client, session) = ready(&gateway, &token);
    subscribe(&mut client, "room:1");
    assert_eq!(affected(&gateway, &json!({"subscribe": {"session": session, "channel": "bank:1"}})), 1);
    assert_eq!(client.next_json()["channel"], "bank:1");
    client.send_text(&format!(r#"{{"op":12,"token":"{}"}}"#, gateway.token(&["--user", "42"])));
    assert_eq!(client.next_json()["op"], 13);
    client.expect_text(r#"{"op":6,"channel":"room:1","state":"unsubscribed","reason":"not_allowed"}"#);
    gateway.publish("bank:1", "1");
    client.expect_text(r#"{"op":3,"channel":"bank:1","message":1}"#);
}

#[test]
fn the_limit_of_subscriptions_does_not_stop_the_backend() {
    let gateway = TestGateway::with("limits.subscriptions_per_session", "1").spawn();
    let (mut client, session) = ready(&gateway, "42");
    for channel in ["bank:1", "bank:2"] {
        assert_eq!(affected(&gateway, &json!({"subscribe": {"session": session, "channel": channel}})), 1);
        assert_eq!(client.next_json()["state"], "subscribed");
    }
    client.send_text(r#"{"op":4,"channel":"public:1"}"#);
    assert_eq!(client.next_json()["reason"], "too_many_subscriptions");
}

#[test]
fn a_session_never_leaves_its_own_channels() {
    let gateway = TestGateway::spawn();
    let (mut client, _) = ready(&gateway, "42");
    for channel in ["user:42", "all"] {
        let command = json!({"unsubscribe": {"user": "42", "channel": channel}});
        assert_eq!(affected(&gateway, &command), 0, "{channel}");
        gateway.publish(channel, "1");
        client.expect_text(&format!(r#"{{"op":3,"channel":"{channel}","message":1}}"#));
    }
}

#[test]
fn an_unidentified_session_is_not_subscribed() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.try_connect("/gateway?v=2").unwrap();
    let session = client.expect_hello()["session"].as_str().unwrap().to_owned();
    assert_eq!(affected(&gateway, &json!({"subscribe": {"session": session, "channel": "room:7"}})), 0);
    client.identify("42");
    assert_eq!(client.expect_ready()["channels"].as_array().unwrap().len(), 2);
}
