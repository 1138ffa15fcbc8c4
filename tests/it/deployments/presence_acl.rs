//! The rights in Redis that presence needs.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::{Connection, cmd};

use super::acl::{as_documented, refusals, set_user, user_of_page};
use super::assert_delivers;
use crate::presence::replica::Replica;
use crate::support::deadline::eventually_eq;
use crate::support::gateway::TestGateway;
use crate::support::redis_server::RedisServer;

const PRESENCE_PAGE: &str = include_str!("../../../docs/presence.md");
const REDIS_PAGE: &str = include_str!("../../../docs/operations/redis.md");
const FUNCTIONS: &str = concat!(
    include_str!("../../../src/broker/redis/gateway_presence.lua"),
    include_str!("../../../src/broker/redis/gateway_push.lua"),
    include_str!("../../../src/broker/redis/gateway_rooms.lua")
);
/// A lease lapses after 5 s, and its burial follows within a second.
const BURIAL: Duration = Duration::from_secs(15);

/// On how many replicas the user 42 is, over HTTP.
fn replicas(gateway: &TestGateway) -> Option<u64> {
    let user = gateway.get("/v1/users/42").json();
    user["online"].as_bool()?.then(|| user["replicas"].as_u64()).flatten()
}

fn spawn_as_gateway(redis: &RedisServer) -> TestGateway {
    let gateway = as_documented(redis).with("presence.enabled", "true").with("presence.grace", "0s").spawn();
    gateway.wait_ready();
    gateway
}

#[test]
fn the_documented_acl_is_enough_for_presence() {
    let redis = RedisServer::start();
    let mut client = redis.client();
    set_user(&mut client, &user_of_page(PRESENCE_PAGE, "gateway"));
    cmd("ACL").arg("LOG").arg("RESET").exec(&mut client).unwrap();
    let (gateway, mut dying) = (spawn_as_gateway(&redis), spawn_as_gateway(&redis));
    let sessions = [gateway.ready_client("42"), dying.ready_client("42")];
    eventually_eq(BURIAL, &Some(2), || replicas(&gateway));
    dying.signal("KILL");
    dying.wait_exit();
    eventually_eq(BURIAL, &Some(1), || replicas(&gateway));
    drop(sessions);
    eventually_eq(BURIAL, &None, || replicas(&gateway));
    assert_delivers(&gateway, &mut client);
    assert_eq!(refusals(&mut client), Vec::<String>::new());
}

#[test]
fn the_documented_acl_is_enough_for_rooms_and_channels() {
    let redis = RedisServer::start();
    let mut client = redis.client();
    set_user(&mut client, &user_of_page(PRESENCE_PAGE, "gateway"));
    cmd("ACL").arg("LOG").arg("RESET").exec(&mut client).unwrap();
    let url = redis.url().replace("redis://", "redis://gateway:change-this-password@");
    let [replica, dying] = [(); 2].map(|()| Replica::over(&url, Duration::ZERO));
    let (hub, other) = (replica.hub(), dying.hub());
    for hub in [&hub, &other] {
        hub.count("count:1", 1);
        hub.count("occupancy:1", 1);
        hub.occupied("occupancy:1", true);
    }
    hub.member("members:1", "1", true);
    other.member("members:1", "2", true);
    eventually_eq(BURIAL, &Some((2, Some(2))), || replica.channel("occupancy:1"));
    eventually_eq(BURIAL, &(2, "1 2".into(), None), || replica.members("members:1", None, 9));
    drop(dying);
    eventually_eq(BURIAL, &(1, "1".into(), None), || replica.members("members:1", None, 9));
    eventually_eq(BURIAL, &(vec!["occupancy:1 1 1".into()], None), || replica.channels(None, None, 9));
    hub.wait_for("members:1 1 -2");
    assert_eq!(refusals(&mut client), Vec::<String>::new());
}

/// The commands that the ACL of a page grants to the gateway.
fn granted(page: &str) -> BTreeSet<String> {
    let user = user_of_page(page, "gateway");
    user.iter().filter_map(|rule| rule.strip_prefix('+')).map(str::to_owned).collect()
}

#[test]
fn presence_grants_only_what_its_functions_call() {
    let (base, all) = (granted(REDIS_PAGE), granted(PRESENCE_PAGE));
    assert!(all.is_superset(&base), "docs/presence.md lacks a right of docs/operations/redis.md");
    let calls = FUNCTIONS.replace("redis.pcall(", "redis.call(");
    let calls = calls.split("redis.call('").skip(1).map(|call| call.split('\'').next().unwrap());
    // The admin port reads with HMGET.
    let needed: BTreeSet<String> = calls.chain(["HMGET"]).map(str::to_lowercase).collect();
    let added: BTreeSet<String> = all.difference(&base).cloned().collect();
    assert_eq!(added, needed.difference(&base).cloned().collect());
}

/// Connects as the reader of docs/presence.md.
fn reader(redis: &RedisServer) -> Connection {
    let mut connection = redis.client();
    cmd("AUTH").arg("presence-reader").arg("change-this-password").exec(&mut connection).unwrap();
    connection
}

#[test]
fn the_documented_reader_can_ask_and_follow_but_not_write() {
    let redis = RedisServer::start();
    let mut admin = redis.client();
    set_user(&mut admin, &user_of_page(PRESENCE_PAGE, "presence-reader"));
    let mut reader = reader(&redis);
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for line in [
        "HMGET gateway:{presence}:online 42 43",
        "HGETALL gateway:{presence}:online",
        "XGROUP CREATE gateway:{presence}:edges backend $ MKSTREAM",
        "XREADGROUP GROUP backend worker-1 COUNT 100 STREAMS gateway:{presence}:edges >",
        "XACK gateway:{presence}:edges backend 0-1",
        "XAUTOCLAIM gateway:{presence}:edges backend worker-1 60000 0",
    ] {
        let words = words(line);
        cmd(&words[0]).arg(&words[1..]).exec(&mut reader).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    for line in [
        "HSET gateway:{presence}:online 42 1",
        "PUBLISH gateway:user:42 1",
        "XADD gateway:{presence}:edges * user 42",
    ] {
        let words = words(line);
        let error = cmd(&words[0]).arg(&words[1..]).exec(&mut reader).unwrap_err();
        assert_eq!(error.code(), Some("NOPERM"), "{line}");
    }
}

#[test]
fn without_the_rights_only_presence_fails() {
    let redis = RedisServer::start();
    let mut client = redis.client();
    set_user(&mut client, &user_of_page(REDIS_PAGE, "gateway"));
    let mut gateway = spawn_as_gateway(&redis);
    assert_delivers(&gateway, &mut client);
    gateway.wait_for_log("presence is not reported");
    assert_eq!(gateway.metric("presence_lease"), 0);
    let notes = || gateway.get("/readyz").json()["notes"].to_string();
    assert!(notes().contains("presence is not reported: "), "{}", notes());
    assert_eq!(gateway.get("/v1/users/42").json()["error"]["code"], "broker_refused");
    set_user(&mut client, &user_of_page(PRESENCE_PAGE, "gateway"));
    eventually_eq(BURIAL, &1, || gateway.metric("presence_lease"));
    eventually_eq(BURIAL, &"null".to_owned(), notes);
}
