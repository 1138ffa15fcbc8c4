//! Another Redis server becomes the master, by hand or through sentinels, with or without the last publications.
//!
//! Replication is asynchronous: writes that are acknowledged but not replicated are lost with the master. Therefore
//! the publisher counts a number as acknowledged only after WAIT has found it on the Redis replica.

use redis::cmd;

use super::*;
use crate::support::sentinel::{FAILOVER_TIMEOUT, MASTER, Watched};

/// Starts a master with a Redis replica, and a test whose publisher waits for replication.
#[track_caller]
fn start_replicated() -> (Delivery, RedisServer) {
    let master = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let port = master.port().to_string();
    let redis_replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    let run = Plan::new().replicas(2).publishing(|publishing| publishing.copies = 1).start_over(master);
    (run, redis_replica)
}

/// Publishes to this server from now on, without waiting for replication.
fn publish_to(run: &Delivery, server: &RedisServer) {
    run.publisher.change(|publishing| {
        publishing.url = server.url();
        publishing.copies = 0;
    });
    run.publisher.resume();
}

fn promote(server: &RedisServer) {
    cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut server.client()).unwrap();
}

#[test]
fn the_master_dies_and_its_replica_is_promoted() {
    let (mut run, redis_replica) = start_replicated();
    run.publisher.pause();
    run.redis.kill();
    promote(&redis_replica);
    run.replicas.iter().for_each(|replica| replica.link.redirect(redis_replica.address()));
    publish_to(&run, &redis_replica);
    run.finish().assert_exact();
}

#[test]
fn the_promoted_replica_lacks_the_last_publications() {
    let (mut run, redis_replica) = start_replicated();
    run.publisher.change(|publishing| publishing.copies = 0);
    promote(&redis_replica);
    // The clients receive these numbers; the promoted replica does not have them.
    run.publish(5);
    run.publisher.pause();
    run.redis.kill();
    run.replicas.iter().for_each(|replica| replica.link.redirect(redis_replica.address()));
    publish_to(&run, &redis_replica);
    run.finish().assert_reported();
}

/// Starts a master with a Redis replica and sentinels, and a test that connects through the sentinels.
#[track_caller]
fn start_with_sentinels() -> (Delivery, RedisServer, Vec<RedisServer>) {
    let watched = Watched::start(1, "");
    let url = format!("redis+sentinel://{}", watched.hosts());
    let Watched { servers: [master, redis_replica], sentinels } = watched;
    let plan = Plan::new().with("broker.url", &url).publishing(|publishing| publishing.copies = 1);
    (plan.start_over(master), redis_replica, sentinels)
}

#[track_caller]
fn wait_promoted(server: &RedisServer) {
    eventually(FAILOVER_TIMEOUT, || {
        // A sentinel closes all connections to the server whose role it changes.
        let role: redis::Value = cmd("ROLE").query(&mut server.try_client().ok()?).ok()?;
        format!("{role:?}").contains("master").then_some(())
    });
}

#[test]
fn sentinels_replace_a_dead_master() {
    let (mut run, redis_replica, _sentinels) = start_with_sentinels();
    run.publisher.pause();
    run.redis.kill();
    wait_promoted(&redis_replica);
    publish_to(&run, &redis_replica);
    run.finish().assert_exact();
}

#[test]
fn sentinels_replace_a_master_on_request() {
    let (run, redis_replica, sentinels) = start_with_sentinels();
    run.publisher.pause();
    let mut sentinel = sentinels[0].client();
    // A sentinel refuses until it knows the state of the Redis replica.
    eventually(FAILOVER_TIMEOUT, || cmd("SENTINEL").arg("FAILOVER").arg(MASTER).exec(&mut sentinel).ok());
    wait_promoted(&redis_replica);
    publish_to(&run, &redis_replica);
    run.finish().assert_exact();
}
