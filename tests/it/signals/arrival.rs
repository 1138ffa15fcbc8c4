//! Signals as payloads of Redis.

use super::*;
use crate::support::deadline::eventually_eq;
use crate::support::process::SOON;

#[test]
fn a_backend_may_send_a_signal_to_every_session() {
    let redis = RedisServer::start();
    let replicas = start_two(&redis);
    let mut clients = [enter(&replicas[0], "42", ROOM), enter(&replicas[1], "43", ROOM)];
    publish(&redis, ROOM, format!("~{:032x} bot {{\"typing\": true}}", 0));
    clients.iter_mut().for_each(|client| client.expect_text(&frame("bot", r#"{"typing": true}"#)));
}

#[test]
fn an_invalid_signal_is_dropped_and_counted() {
    let redis = RedisServer::start();
    let gateway = with_signals(TestGateway::redis(&redis)).spawn();
    gateway.wait_ready();
    let mut client = enter(&gateway, "42", ROOM);
    let id = format!("{:032x}", 7);
    let bad = [
        b"~".to_vec(),
        format!("~{id} 43 {{").into_bytes(),
        format!("~{id} 43 \"{}\"", "x".repeat(1_024)).into_bytes(),
        format!("~{id}").into_bytes(),
        format!("~{} 43 1", &id[1..]).into_bytes(),
        b"~\xFF".to_vec(),
    ];
    for payload in &bad {
        publish(&redis, ROOM, payload);
    }
    publish(&redis, ROOM, "1");
    client.expect_text(r#"{"op":3,"channel":"room:7","message":1}"#);
    assert_eq!(gateway.dropped("bad_signal"), bad.len() as i64);
    assert_eq!(gateway.metric("publications_received_total"), 1);
}

#[test]
fn a_channel_without_signals_drops_them() {
    let redis = RedisServer::start();
    let gateway = with_signals(TestGateway::redis(&redis)).spawn();
    gateway.wait_ready();
    let mut client = enter(&gateway, "42", "public:1");
    publish(&redis, "public:1", format!("~{:032x} 43 1", 7));
    publish(&redis, "public:1", "1");
    client.expect_text(r#"{"op":3,"channel":"public:1","message":1}"#);
    send(&mut client, "public:1", "1");
    assert_eq!(client.next_json()["code"], "not_allowed");
    let counted = || (signals(&gateway, "not_enabled"), signals(&gateway, "received"));
    eventually_eq(SOON, &(1, 0), counted);
}

#[test]
fn version_1_receives_no_signals() {
    let redis = RedisServer::start();
    let plan = with_signals(TestGateway::redis(&redis)).with("namespaces.all.signals", "true");
    let gateway = plan.spawn();
    gateway.wait_ready();
    let (mut old, mut new) = (gateway.ready_client("42"), enter(&gateway, "43", ROOM));
    publish(&redis, "all", format!("~{:032x} 44 1", 7));
    // A message may overtake a signal.
    new.expect_text(r#"{"op":18,"channel":"all","user":"44","signal":1}"#);
    publish(&redis, "all", "2");
    old.expect_text(r#"{"op":3,"message":2}"#);
}
