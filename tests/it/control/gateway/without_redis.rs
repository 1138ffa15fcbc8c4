//! What operators can do on a replica while Redis is down.

use serde_json::json;

use super::ready;
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

#[test]
fn without_redis_a_replica_lists_and_ends_its_own_sessions() {
    let mut redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis)
        .with("broker.probe_interval", "100ms")
        .with("broker.max_reconnect_delay", "200ms")
        .spawn();
    gateway.wait_ready();
    let (mut first, session) = ready(&gateway, "42");
    let (mut second, _) = ready(&gateway, "42");
    let (_other, _) = ready(&gateway, "43");
    redis.kill();
    let list = eventually(SOON, || {
        let answer = gateway.get("/v1/sessions?user=42");
        (answer.status == 200 && answer.json()["missing"] == json!(["unnamed"])).then(|| answer.json())
    });
    let replica = gateway.get("/v1/status").json()["replica"].as_str().unwrap().to_owned();
    assert_eq!((&list["total"], &list["sessions"][0]["replica"]), (&json!(2), &json!(replica)));
    let disconnect = |path: &str| {
        let answer = gateway.post(&format!("/v1/{path}/disconnect"), "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let ended = |count| json!({"disconnected": count, "replicas": {&replica: count}, "missing": ["unnamed"], "issued": false});
    assert_eq!(disconnect(&format!("sessions/{session}")), ended(1));
    first.expect_close(4010);
    // Another replica may have it.
    assert_eq!(disconnect(&format!("sessions/{session}")), ended(0));
    assert_eq!(disconnect("users/42"), ended(1));
    second.expect_close(4010);
    // A command that cannot reach every replica is refused.
    assert_eq!(gateway.post("/v1/control", r#"{"disconnect":{"user":"43"}}"#).status, 503);

    redis.restart();
    gateway.wait_ready();
    let expected = json!({"disconnected": 1, "replicas": {&replica: 1}, "missing": []});
    assert_eq!(disconnect("users/43"), expected);
}
