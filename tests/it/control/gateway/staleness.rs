//! A replica that has been without Redis for too long to know the revoked tokens.

use crate::support::deadline::eventually;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

fn plan(redis: &RedisServer, when_stale: &str) -> Plan {
    TestGateway::redis(redis)
        .with("broker.probe_interval", "100ms")
        .with("broker.max_reconnect_delay", "200ms")
        .with("control.max_stale", "1s")
        .with("control.when_stale", when_stale)
}

/// Waits until `/readyz` has a note about stale revocations that contains `text`.
#[track_caller]
fn wait_note(gateway: &TestGateway, text: &str) {
    eventually(SOON, || {
        let notes = gateway.get("/readyz").json()["notes"].to_string();
        (notes.contains("control.max_stale (1s)") && notes.contains(text)).then_some(())
    });
}

#[test]
fn a_stale_replica_refuses_new_sessions_if_set() {
    let redis = RedisServer::start();
    let gateway = plan(&redis, "refuse").spawn();
    gateway.wait_ready();
    let mut kept = gateway.ready_client("42");
    redis.stop();
    wait_note(&gateway, "refused");
    let mut refused = gateway.connect();
    refused.identify("42");
    assert_eq!(refused.expect_close_reason(1013), "revocations unknown, try again later");
    assert_eq!(gateway.metric(r#"identifies_total{result="revocations_unknown"}"#), 1);
    redis.cont();
    gateway.wait_ready();
    assert!(!gateway.get("/readyz").body.contains("control.max_stale"));
    gateway.ready_client("43");
    // The old session is still open.
    eventually(SOON, || {
        gateway.publish("user:42", "1");
        kept.next_within(std::time::Duration::from_millis(100))
    });
}

#[test]
fn a_stale_replica_accepts_new_sessions_by_default() {
    let redis = RedisServer::start();
    let gateway = plan(&redis, "accept").spawn();
    gateway.wait_ready();
    redis.stop();
    wait_note(&gateway, "accepted");
    gateway.ready_client("42");
}
