//! Another Redis server becomes the master, by hand or through sentinels, with or without the last publications.
//!
//! Replication is asynchronous: writes that are acknowledged but not replicated are lost with the master. Therefore
//! the publisher counts a number as acknowledged only after WAIT has found it on the Redis replica.

use redis::{Connection, cmd};
use serde_json::{Value, json};

use super::*;
use crate::support::client::Client;
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

/// How long a gateway may take until it delivers from a master that the sentinels name. Without asking them, it takes
/// ten seconds. It takes half a second on two idle cores.
const FOLLOW_DEADLINE: Duration = Duration::from_secs(5);

/// The port that a sentinel names.
fn named_port(sentinel: &mut Connection) -> Option<u16> {
    let (_, port): (String, u16) =
        cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(MASTER).query(sentinel).ok()?;
    Some(port)
}

#[allow(clippy::print_stderr, reason = "docs/operations/redis.md has this figure")]
fn print_report(followed: Duration) {
    eprintln!("delivering from the new master {} ms after the sentinels named it", followed.as_millis());
}

/// What a version 2 client received on `user:43`.
#[derive(Default)]
struct Received {
    durable: Vec<u64>,
    plain: Vec<u64>,
    /// The last plain number before each gap.
    gaps: Vec<u64>,
}

impl Received {
    fn note(&mut self, frame: &Value) {
        if frame["channel"] == "all" {
            return;
        }
        let message = &frame["message"];
        match (frame["op"].as_u64(), message["durable"].as_u64(), message["plain"].as_u64()) {
            (Some(3), Some(number), _) => self.durable.push(number),
            (Some(3), _, Some(number)) => self.plain.push(number),
            (Some(8), ..) => self.gaps.push(self.plain.last().copied().unwrap_or(0)),
            _ => {}
        }
    }

    /// Publishes both numbers, and receives for some milliseconds.
    fn publish(&mut self, master: &mut Connection, client: &mut Client, number: u64) {
        const CHANNEL: &str = "gateway:user:43";
        let [durable, plain] = ["durable", "plain"].map(|kind| json!({kind: number}).to_string());
        cmd("FCALL").arg("gateway_publish").arg(1).arg(CHANNEL).arg(durable).exec(master).unwrap();
        cmd("PUBLISH").arg(CHANNEL).arg(plain).exec(master).unwrap();
        while let Some(frame) = client.next_within(Duration::from_millis(10)) {
            self.note(&serde_json::from_str(&frame).unwrap());
        }
    }
}

/// After `SENTINEL FAILOVER` the old master answers as a master for about ten seconds.
#[test]
fn a_planned_failover_is_followed_while_the_old_master_answers() {
    const FIRST: u64 = 5;
    let watched = Watched::start(3, "");
    let url = format!("redis+sentinel://{}", watched.hosts());
    let gateway = TestGateway::with("broker.url", &url).with("broker.min_reconnect_delay", "20ms").spawn();
    gateway.wait_ready();
    let mut client = gateway.connect_v2();
    client.identify("43");
    client.expect_ready();
    let (mut received, mut old) = (Received::default(), watched.servers[0].client());
    for number in 1..=FIRST {
        received.publish(&mut old, &mut client, number);
    }
    cmd("WAIT").arg(1).arg(0).exec(&mut old).unwrap();
    let mut sentinels: Vec<_> = watched.sentinels.iter().map(RedisServer::client).collect();
    // The sentinel may need a moment until it accepts its replica for a failover.
    eventually(FAILOVER_TIMEOUT, || cmd("SENTINEL").arg("FAILOVER").arg(MASTER).exec(&mut sentinels[0]).ok());
    eventually(FAILOVER_TIMEOUT, || {
        let named = sentinels.iter_mut().filter_map(named_port);
        (named.filter(|port| *port == watched.servers[1].port()).count() >= 2).then_some(())
    });
    let (named, mut new, mut number) = (Instant::now(), watched.servers[1].client(), FIRST);
    while received.plain.last().is_none_or(|last| *last <= FIRST) {
        number += 1;
        received.publish(&mut new, &mut client, number);
        assert!(named.elapsed() < FOLLOW_DEADLINE, "no message of the new master");
    }
    print_report(named.elapsed());
    while received.durable.last() != Some(&number) {
        received.note(&client.next_json());
    }
    assert_eq!(received.durable, (1..=number).collect::<Vec<_>>(), "each durable number once");
    assert_eq!(received.gaps, [FIRST], "the plain numbers that are missing are announced once");
    assert_eq!(gateway.metric(r#"redis_link_losses_total{reason="master_moved"}"#), 1);
}
