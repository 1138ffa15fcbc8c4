//! Redis' primary moves: by order, by sentinels, with its data and without their end.
//!
//! Replication is asynchronous: what a primary acknowledges and has not copied dies with it. So the publisher asks with
//! WAIT for a copy before it counts a number as acknowledged, as any publisher must to whom it matters.

use redis::cmd;

use super::*;
use crate::support::sentinel::{FAILOVER, MASTER, Watched};

/// A primary with a copy, and a delivery over it that asks for the copy.
#[track_caller]
fn with_copy() -> (Delivery, RedisServer) {
    let primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let port = primary.port().to_string();
    let copy = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    let run = Plan::new().replicas(2).publishing(|publishing| publishing.copies = 1).start_over(primary);
    (run, copy)
}

/// Publishes there from now on, where no further copy is.
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
fn the_primary_dies_and_its_replica_is_promoted() {
    let (mut run, copy) = with_copy();
    run.publisher.pause();
    run.redis.kill();
    promote(&copy);
    run.replicas.iter().for_each(|replica| replica.link.redirect(copy.address()));
    publish_to(&run, &copy);
    run.finish().assert_exact();
}

#[test]
fn the_promoted_replica_lacks_the_last_publications() {
    let (mut run, copy) = with_copy();
    run.publisher.change(|publishing| publishing.copies = 0);
    promote(&copy);
    // The clients hear these, and they are gone for ever.
    run.publish(5);
    run.publisher.pause();
    run.redis.kill();
    run.replicas.iter().for_each(|replica| replica.link.redirect(copy.address()));
    publish_to(&run, &copy);
    run.finish().assert_reported();
}

/// A delivery over a primary that sentinels watch.
#[track_caller]
fn watched() -> (Delivery, RedisServer, Vec<RedisServer>) {
    let watched = Watched::start(1, "");
    let url = format!("redis+sentinel://{}", watched.hosts());
    let Watched { servers: [primary, copy], sentinels } = watched;
    let plan = Plan::new().with("broker.url", &url).publishing(|publishing| publishing.copies = 1);
    (plan.start_over(primary), copy, sentinels)
}

#[track_caller]
fn wait_promoted(server: &RedisServer) {
    eventually(FAILOVER, || {
        // A sentinel closes all connections to the server whose role it changes.
        let role: redis::Value = cmd("ROLE").query(&mut server.try_client().ok()?).ok()?;
        format!("{role:?}").contains("master").then_some(())
    });
}

#[test]
fn sentinels_replace_a_dead_primary() {
    let (mut run, copy, _sentinels) = watched();
    run.publisher.pause();
    run.redis.kill();
    wait_promoted(&copy);
    publish_to(&run, &copy);
    run.finish().assert_exact();
}

#[test]
fn sentinels_replace_a_primary_on_request() {
    let (run, copy, sentinels) = watched();
    run.publisher.pause();
    let mut sentinel = sentinels[0].client();
    // It may need a moment to know the copy well enough.
    eventually(FAILOVER, || cmd("SENTINEL").arg("FAILOVER").arg(MASTER).exec(&mut sentinel).ok());
    wait_promoted(&copy);
    publish_to(&run, &copy);
    run.finish().assert_exact();
}
