//! A URL of one server that leads to a Redis Cluster.

use redis::cmd;

use super::{assert_delivers, lines, plan};
use crate::support::deadline::eventually;
use crate::support::process::{SOON, run};
use crate::support::redis_server::RedisServer;

const CLUSTER: [&str; 2] = ["--cluster-enabled", "yes"];

/// Starts a server whose port allows it to be a node of a cluster.
fn start(arguments: &[&str]) -> RedisServer {
    let (mut node, _) = RedisServer::reserve_node(arguments, None);
    node.restart();
    node
}

/// Gives a node all slots, and waits until it serves them.
fn assign_slots(node: &RedisServer) {
    let mut client = node.client();
    cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16383).exec(&mut client).unwrap();
    eventually(SOON, || cmd("EXISTS").arg("a").exec(&mut client).ok());
}

/// The sentence that names the right URL.
fn sentence(node: &RedisServer) -> String {
    format!(
        r#"broker.url leads to a Redis Cluster; use "redis+cluster://127.0.0.1:{}" (and choose broker.shards)"#,
        node.port()
    )
}

#[test]
fn a_plain_url_of_a_cluster_ends_the_process_at_its_start() {
    let node = start(&[&CLUSTER[..], &["--requirepass", "hunter2"]].concat());
    assign_slots(&node);
    let url = format!("broker.url={}", node.url_with("hunter2"));
    let ports = ["--set", "server.public_addr=127.0.0.1:0", "--set", "server.admin_addr=127.0.0.1:0"];
    let ended = run(&[&["run", "--set", &url][..], &ports].concat());
    assert_eq!(ended.code, Some(78), "{}", ended.err);
    assert_eq!(ended.err.lines().filter(|line| line.contains(&sentence(&node))).count(), 1, "{}", ended.err);
    assert!(!ended.err.contains("hunter2") && !ended.err.contains("next attempt"), "{}", ended.err);
}

#[test]
fn a_cluster_that_replaces_the_server_later_is_a_link_error() {
    let mut redis = start(&[]);
    let mut gateway = plan(&redis.url()).spawn();
    gateway.wait_ready();
    redis.set_arguments(&CLUSTER);
    redis.restart();
    assign_slots(&redis);
    gateway.wait_not_ready(&sentence(&redis));
    gateway.wait_for_log(&sentence(&redis));
    assert_eq!(lines(&gateway, "ERROR"), 1, "{}", gateway.log());
    redis.set_arguments(&[]);
    redis.restart();
    gateway.wait_ready();
    assert_delivers(&gateway, &mut redis.client());
}

#[test]
fn a_cluster_node_without_slots_is_waited_for() {
    let node = start(&CLUSTER);
    let mut gateway = plan(&node.url()).spawn();
    gateway.wait_not_ready("the Redis Cluster does not serve this slot (CLUSTERDOWN)");
    // Only now do the keys show that they are in several slots.
    assign_slots(&node);
    let ended = gateway.wait_exit();
    assert_eq!(ended.code, Some(78), "{}", ended.err);
    assert!(ended.err.contains(&sentence(&node)), "{}", ended.err);
}
