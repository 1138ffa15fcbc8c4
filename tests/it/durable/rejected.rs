//! Rejected payloads are recorded for inspection.

use super::*;
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;

type Fields = Vec<(String, String)>;

fn rejected(client: &mut Connection) -> Vec<(String, Fields)> {
    run_line(client, "XRANGE gateway:rejected - +")
}

fn count(gateway: &TestGateway, outcome: &str) -> i64 {
    gateway.metric(&format!("rejected_total{{result=\"{outcome}\"}}"))
}

#[test]
fn rejected_payloads_are_recorded_shortened_with_their_reason() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).with("broker.max_payload_bytes", "2048").spawn();
    gateway.wait_ready();
    let _client = gateway.ready_client("42");
    let mut backend = redis.client();
    let huge = "x".repeat(5000);
    for (channel, payload) in [("user:42", "{broken"), ("user:42", &huge), ("users", "[]")] {
        cmd("PUBLISH").arg(format!("gateway:{channel}")).arg(payload).exec(&mut backend).unwrap();
    }
    gateway.wait_metric("rejected_total{result=\"recorded\"}", 3);
    let found: Vec<Vec<String>> = rejected(&mut backend)
        .into_iter()
        .map(|(_, fields)| fields.into_iter().map(|(_, value)| value).collect())
        .collect();
    assert_eq!(found[0], ["user:42", "not_json", "7", "{broken"]);
    assert_eq!(found[1], ["user:42", "too_big", "5000", &huge[..256]]);
    assert_eq!(found[2], ["users", "bad_users", "2", "[]"]);
    assert_eq!(count(&gateway, "not_recorded"), 0);
}

#[test]
fn a_flood_of_garbage_is_counted_and_delays_nothing() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let mut client = gateway.ready_client("42");
    let mut backend = redis.client();
    let mut flood = redis::pipe();
    for _ in 0..500 {
        flood.cmd("PUBLISH").arg("gateway:user:42").arg("{broken").ignore();
    }
    flood.cmd("PUBLISH").arg("gateway:user:42").arg("1").ignore();
    flood.exec(&mut backend).unwrap();
    client.expect_text(r#"{"op":3,"message":1}"#);
    eventually(SOON, || (count(&gateway, "recorded") + count(&gateway, "not_recorded") == 500).then_some(()));
    assert!(count(&gateway, "recorded") >= 10);
    assert!(count(&gateway, "not_recorded") > 0);
    assert_eq!(rejected(&mut backend).len() as i64, count(&gateway, "recorded"));
    assert_eq!(gateway.dropped("not_json"), 500);
}

#[test]
fn a_missing_right_to_record_is_counted_and_logged_once() {
    let redis = RedisServer::start();
    let mut gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let mut client = gateway.ready_client("42");
    let mut backend = redis.client();
    run_line::<()>(&mut backend, "ACL SETUSER default -xadd");
    for _ in 0..3 {
        run_line::<()>(&mut backend, "PUBLISH gateway:user:42 {broken");
    }
    gateway.wait_metric("rejected_total{result=\"not_recorded\"}", 3);
    gateway.wait_for_log("rejected payloads are not recorded: NOPERM");
    assert_eq!(gateway.log().matches("rejected payloads are not recorded").count(), 1);
    gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
}
