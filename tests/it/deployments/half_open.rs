//! A server that stops answering, or that is no master any more, is detected soon with the default settings.

use std::time::Duration;

use redis::cmd;

use super::{assert_delivers, plan};
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::redis_server::RedisServer;

/// The default settings detect it within 2.5 s; the rest is for a busy machine.
const DETECTION_TIMEOUT: Duration = Duration::from_secs(5);

fn start_ready() -> (RedisServer, TestGateway) {
    let redis = RedisServer::start();
    let gateway = plan(&redis.url()).with("broker.probe_timeout", "1500ms").spawn();
    gateway.wait_ready();
    (redis, gateway)
}

/// Waits until the gateway is not ready for a reason that contains `text`.
#[track_caller]
fn wait_not_ready_within(gateway: &TestGateway, text: &str) {
    eventually(DETECTION_TIMEOUT, || {
        let (_, reasons) = gateway.readyz();
        reasons.iter().any(|reason| reason.contains(text)).then_some(())
    });
}

#[test]
fn a_demoted_master_is_detected_although_it_answers() {
    let (redis, gateway) = start_ready();
    let mut client = redis.client();
    // The new master does not have to exist.
    cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec(&mut client).unwrap();
    wait_not_ready_within(&gateway, "redis: it is a Redis replica, not a master");
    assert_eq!(gateway.metric(r#"redis_link_losses_total{reason="demoted"}"#), 1);
    cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut client).unwrap();
    gateway.wait_ready();
    assert_delivers(&gateway, &mut client);
}

#[test]
fn a_replica_is_never_used_as_a_master() {
    let redis = RedisServer::start_with(&["--replicaof", "127.0.0.1", "1"]);
    let gateway = plan(&redis.url()).spawn();
    gateway.wait_not_ready("redis: it is a Redis replica, not a master");
    let mut client = redis.client();
    let subscribed: Vec<String> = cmd("PUBSUB").arg("CHANNELS").query(&mut client).unwrap();
    assert_eq!(subscribed, Vec::<String>::new());
}

#[test]
fn a_frozen_server_is_detected() {
    let (redis, gateway) = start_ready();
    redis.stop();
    wait_not_ready_within(&gateway, "redis:");
    redis.cont();
    gateway.wait_ready();
    assert_delivers(&gateway, &mut redis.client());
}

#[test]
fn a_paused_server_is_detected() {
    let (redis, gateway) = start_ready();
    cmd("CLIENT").arg("PAUSE").arg(6000).exec(&mut redis.client()).unwrap();
    wait_not_ready_within(&gateway, "redis:");
    gateway.wait_ready();
    assert_delivers(&gateway, &mut redis.client());
}
