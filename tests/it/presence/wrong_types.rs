//! A key of presence that has another type: somebody else has written it.

use redis::cmd;

use super::*;
use crate::support::process::SOON;

/// All prefixes share one Redis, so that the replicas are refused at the same time.
#[test]
fn a_key_of_a_wrong_type_is_named_and_nothing_is_written() {
    let redis = RedisServer::start();
    let mut backend = redis.client();
    let known = "replicas processes in-use online edges occupied channels joined";
    let keys: Vec<_> =
        known.split(' ').chain(["leaving:users", "leaving:channels", "leaving:members"]).collect();
    let key_of = |prefix: usize, key: &str| format!("p{prefix}:{{presence}}:{key}");
    let started = keys.iter().enumerate().map(|(prefix, key)| {
        cmd("SET").arg(key_of(prefix, key)).arg("x").exec(&mut redis.client()).unwrap();
        let gateway = plan(&redis, "0s").with("broker.prefix", &format!("p{prefix}")).spawn();
        gateway.wait_ready();
        let client = gateway.ready_client("42");
        (client, gateway)
    });
    let mut started: Vec<_> = started.collect();
    for (prefix, (_, gateway)) in started.iter_mut().enumerate() {
        gateway.wait_for_log(&format!("{} is not a ", key_of(prefix, keys[prefix])));
        assert_eq!(gateway.metric("presence_lease"), 0);
        let found: Vec<String> = cmd("KEYS").arg(key_of(prefix, "*")).query(&mut backend).unwrap();
        assert_eq!(found, [key_of(prefix, keys[prefix])]);
        cmd("DEL").arg(key_of(prefix, keys[prefix])).exec(&mut backend).unwrap();
    }
    for (prefix, (_, gateway)) in started.iter().enumerate() {
        eventually_eq(SOON, &Some(1), || -> Option<i64> {
            cmd("HGET").arg(key_of(prefix, "online")).arg("42").query(&mut backend).unwrap()
        });
        assert_eq!(gateway.metric("presence_lease"), 1);
        let edges: usize = cmd("XLEN").arg(key_of(prefix, "edges")).query(&mut backend).unwrap();
        assert_eq!(edges, 1);
    }
}

#[test]
fn counts_are_right_after_the_stream_was_replaced() {
    let redis = RedisServer::start();
    let gateway = plan(&redis, "0s").spawn();
    gateway.wait_ready();
    let mut backend = redis.client();
    let (stays, leaves) = (gateway.ready_client("1"), gateway.ready_client("2"));
    wait_online(&mut backend, "1", Some(1));
    wait_online(&mut backend, "2", Some(1));
    cmd("SET").arg("gateway:{presence}:edges").arg("x").exec(&mut backend).unwrap();
    gateway.wait_metric("presence_lease", 0);
    drop(leaves);
    let _comes = gateway.ready_client("3");
    cmd("DEL").arg("gateway:{presence}:edges").exec(&mut backend).unwrap();
    wait_online(&mut backend, "3", Some(1));
    wait_online(&mut backend, "2", None);
    wait_online(&mut backend, "1", Some(1));
    assert_edges(&mut backend, "2", &["offline"]);
    assert_edges(&mut backend, "3", &["online"]);
    drop(stays);
    assert_edges(&mut backend, "1", &["offline"]);
}
