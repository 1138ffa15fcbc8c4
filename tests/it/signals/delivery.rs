//! Who receives a signal, and what it does not change.

use super::*;
use crate::support::deadline::{eventually, eventually_eq};
use crate::support::fault_proxy::FaultProxy;
use crate::support::process::SOON;
use crate::support::raw_socket::{RawSocket, UPGRADE};

const TYPING: &str = r#"{"typing":true}"#;

#[test]
fn a_signal_reaches_the_other_sessions_on_every_replica() {
    let redis = RedisServer::start();
    let replicas = start_two(&redis);
    let mut sender = enter(&replicas[0], "42", ROOM);
    let mut others =
        [enter(&replicas[0], "42", ROOM), enter(&replicas[0], "43", ROOM), enter(&replicas[1], "44", ROOM)];
    let mut stranger = enter(&replicas[1], "45", "room:8");
    send(&mut sender, ROOM, TYPING);
    others.iter_mut().for_each(|client| client.expect_text(&frame("42", TYPING)));
    replicas[1].publish(ROOM, "1");
    replicas[1].publish("all", "2");
    sender.expect_text(r#"{"op":3,"channel":"room:7","message":1}"#);
    stranger.expect_text(r#"{"op":3,"channel":"all","message":2}"#);
}

#[test]
fn signals_work_without_redis() {
    let gateway = with_signals(TestGateway::plan()).spawn();
    gateway.wait_ready();
    let mut sender = enter(&gateway, "42", ROOM);
    let mut others = ["42", "43"].map(|user| enter(&gateway, user, ROOM));
    send(&mut sender, ROOM, TYPING);
    others.iter_mut().for_each(|client| client.expect_text(&frame("42", TYPING)));
    gateway.publish(ROOM, "1");
    sender.expect_text(r#"{"op":3,"channel":"room:7","message":1}"#);
}

#[test]
fn a_signal_is_in_no_history() {
    let redis = RedisServer::start();
    let gateway = with_signals(TestGateway::redis(&redis)).spawn();
    gateway.wait_ready();
    let (mut sender, mut other) = (enter(&gateway, "42", ROOM), enter(&gateway, "43", ROOM));
    let first = gateway.publish_durably(ROOM, "1");
    for client in [&mut sender, &mut other] {
        assert_eq!(client.next_json()["position"], Value::from(first.as_str()));
    }
    send(&mut sender, ROOM, TYPING);
    other.expect_text(&frame("42", TYPING));
    let second = gateway.publish_durably(ROOM, "2");
    assert_eq!(other.next_json()["position"], Value::from(second.as_str()));
    let mut resumed = gateway.connect_v2();
    resumed.send_text(&format!(
        r#"{{"op":1,"token":"44","channels":[{{"channel":"room:7","since":"{first}"}}]}}"#
    ));
    resumed.expect_ready();
    assert_eq!(resumed.next_json()["message"], 2);
    let stored: u64 = redis::cmd("XLEN").arg("gateway:room:7").query(&mut redis.client()).unwrap();
    assert_eq!(stored, 2);
}

#[test]
fn a_message_that_looks_like_a_signal_is_a_message() {
    let redis = RedisServer::start();
    let gateway = with_signals(TestGateway::redis(&redis)).spawn();
    gateway.wait_ready();
    let mut client = enter(&gateway, "42", ROOM);
    for message in [frame("43", "1"), format!("\"~{:032x} 43 1\"", 7)] {
        publish(&redis, ROOM, &message);
        client.expect_text(&format!(r#"{{"op":3,"channel":"room:7","message":{message}}}"#));
    }
    assert_eq!(signals(&gateway, "arrived"), 0);
}

#[test]
fn no_signal_causes_a_gap_after_a_lost_link() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address());
    let plan = with_signals(TestGateway::plan())
        .with("broker.url", &format!("redis://{}/", proxy.address))
        .with("broker.min_reconnect_delay", "300ms");
    let gateway = plan.spawn();
    gateway.wait_ready();
    let (mut sender, mut other) = (enter(&gateway, "42", ROOM), enter(&gateway, "43", ROOM));
    let position = gateway.publish_durably(ROOM, "1");
    other.expect_text(&format!(r#"{{"op":3,"channel":"room:7","position":"{position}","message":1}}"#));
    proxy.refuse(true);
    proxy.reset_open();
    gateway.wait_metric("redis_link_up", 0);
    send(&mut sender, ROOM, "1");
    wait_signals(&gateway, "link_down", 1);
    proxy.refuse(false);
    gateway.wait_ready();
    send(&mut sender, ROOM, "2");
    let received = std::iter::from_fn(|| {
        let next = other.next_json();
        (next["signal"] != 2).then_some(next)
    });
    // Only the loss of the link itself is reported: plain messages may be missing.
    let ops: Vec<_> = received.map(|frame| (frame["op"].clone(), frame["reason"].clone())).collect();
    let link_lost = (Value::from(8), Value::from("link_lost"));
    assert!(ops.iter().all(|op| *op == link_lost), "{ops:?}");
}

#[test]
fn a_client_cannot_fill_the_list_of_rejected_payloads() {
    let redis = RedisServer::start();
    for plan in [TestGateway::plan(), TestGateway::redis(&redis)] {
        let gateway = with_signals(plan).with("broker.max_payload_depth", "2").spawn();
        gateway.wait_ready();
        eventually_eq(SOON, &1, || gateway.metric("history_available"));
        let (mut sender, mut other) = (enter(&gateway, "42", ROOM), enter(&gateway, "43", ROOM));
        send(&mut sender, ROOM, "[[[1]]]");
        wait_signals(&gateway, "too_deep", 1);
        send(&mut sender, ROOM, "[[1]]");
        other.expect_text(&frame("42", "[[1]]"));
        assert_eq!(gateway.dropped("bad_signal"), 0);
    }
}

#[test]
fn a_slow_reader_gets_no_signals_and_stays_connected() {
    let gateway = with_signals(TestGateway::plan())
        .with("session.max_outbound_bytes", "100000000")
        .with("session.write_timeout", "5m")
        .spawn();
    gateway.wait_ready();
    let (mut sender, mut healthy) = (enter(&gateway, "42", ROOM), enter(&gateway, "43", ROOM));
    let mut slow =
        RawSocket::connect_by(gateway.public, &UPGRADE.replace("GET / ", "GET /gateway?v=2 "), b"");
    slow.frame();
    slow.send_text(r#"{"op":1,"token":"44","channels":[{"channel":"room:7"}]}"#);
    slow.frame();
    let text = "x".repeat(50_000);
    let mut count = 0;
    eventually(SOON, || {
        gateway.publish("user:44", &format!("\"{text}\""));
        count += 1;
        (gateway.metric("outbound_queued_bytes") > 1_000_000).then_some(())
    });
    send(&mut sender, ROOM, TYPING);
    healthy.expect_text(&frame("42", TYPING));
    gateway.wait_metric(r#"signal_deliveries_total{result="slow_reader"}"#, 1);
    gateway.wait_metric(r#"signal_deliveries_total{result="delivered"}"#, 1);
    for _ in 0..count {
        assert!(slow.frame().1.starts_with(br#"{"op":3,"channel":"user:44""#));
    }
    send(&mut sender, ROOM, "2");
    assert_eq!(slow.frame().1, frame("42", "2").as_bytes());
}
