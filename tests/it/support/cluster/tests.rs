//! Tests of the cluster itself.

use redis::{Value, cmd};

use crate::support::certificates::Authority;

use super::{SLOTS, TestCluster, slot_of};

#[test]
fn a_test_cluster_survives_every_change() {
    let mut cluster = TestCluster::start(3, 1);
    let mut client = cluster.client();
    let key = "gateway:user:7";
    let slot = slot_of(key);
    assert_eq!(
        cmd("CLUSTER").arg("KEYSLOT").arg(key).query::<u16>(&mut cluster.connection(0)).unwrap(),
        slot
    );
    let mut number = 0;
    let mut write = |cluster: &TestCluster| {
        number += 1;
        client.call::<()>(key, cmd("SET").arg(key).arg(number));
        let mut owner = cluster.connection(cluster.owner(slot));
        assert_eq!(cmd("GET").arg(key).query::<u64>(&mut owner).unwrap(), number);
    };
    write(&cluster);
    let before = cluster.owner(slot);
    assert_eq!(cluster.failover(before), cluster.owner(slot));
    write(&cluster);
    let killed = cluster.kill_owner(slot);
    cluster.wait_replaced(killed);
    write(&cluster);
    cluster.restart(killed);
    let other = cluster.masters().into_iter().find(|node| *node != cluster.owner(slot)).unwrap();
    cluster.move_slot(slot, other);
    assert_eq!(cluster.owner(slot), other);
    write(&cluster);
    cluster.forget(other);
    cluster.meet(other);
    write(&cluster);
    cluster.take_down(SLOTS - 1);
    let mut connection = cluster.connection(other);
    assert_eq!(cmd("GET").arg(key).exec(&mut connection).unwrap_err().code(), Some("CLUSTERDOWN"));
    cluster.bring_up();
    write(&cluster);
    let added = cluster.add_master(&[slot, slot + 1]);
    assert_eq!(cluster.owner(slot), added);
    write(&cluster);
    cluster.remove_master(added);
    write(&cluster);
}

#[test]
fn a_test_cluster_also_speaks_tls_with_host_names() {
    let authority = Authority::new();
    let cluster = TestCluster::plan(1, 1)
        .with("--requirepass", "correct-horse")
        .with("--masterauth", "correct-horse")
        .with_host_names()
        .with_tls(authority)
        .start();
    let shards: Value = cmd("CLUSTER").arg("SHARDS").query(&mut cluster.connection(1)).unwrap();
    let shards = format!("{shards:?}");
    assert!(shards.contains("tls-port") && shards.contains("localhost"), "{shards}");
    assert_eq!(cluster.tls_url().matches(',').count(), 1);
    assert_eq!(cluster.failover(0), cluster.owner_of_key("a"));
}
