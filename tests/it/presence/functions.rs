//! The functions of presence, called as a replica calls them.

use redis::FromRedisValue;

use super::*;
use crate::support::process::SOON;

pub(super) const REPLICAS: &str = "gateway:{presence}:replicas";
/// The most names in one report.
pub(super) const SLICE: usize = 500;

/// Calls a function of presence.
#[track_caller]
pub(super) fn call<T: FromRedisValue>(backend: &mut Connection, name: &str, arguments: &[String]) -> T {
    redis::cmd("FCALL").arg(name).arg(1).arg(REPLICAS).arg(arguments).query(backend).unwrap()
}

/// Begins the lease of a replica that does not exist, or renews it.
pub(super) fn beat(backend: &mut Connection, replica: &str, step: &str) {
    let arguments = [replica, "5000", step].map(str::to_owned);
    assert_eq!(call::<(u8, String)>(backend, "gateway_beat", &arguments).0, 1);
}

/// Reports users of a replica that does not exist.
pub(super) fn enter(backend: &mut Connection, replica: &str, users: &[String]) {
    assert_eq!(report(backend, "gateway_enter", replica, users), 1);
}

/// Calls `gateway_enter` or `gateway_leave` (without a grace).
fn report(backend: &mut Connection, name: &str, replica: &str, users: &[String]) -> u8 {
    let third = if name == "gateway_enter" { "1000000" } else { "0" };
    let arguments = [["users", replica, third].map(str::to_owned).to_vec(), users.to_vec()].concat();
    call(backend, name, &arguments)
}

fn bury(backend: &mut Connection, replica: &str) -> u8 {
    call(backend, "gateway_bury", &[replica.into(), "0".into()])
}

/// A Redis with the functions, and no replica that buries or settles.
fn redis_with_functions() -> RedisServer {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    eventually_eq(SOON, &1, || gateway.metric("history_available"));
    redis
}

#[test]
fn repeating_a_report_changes_nothing() {
    let redis = redis_with_functions();
    let mut backend = redis.client();
    for users in [vec!["1".to_owned()], vec!["2".to_owned(), "3".to_owned(), "2".to_owned()]] {
        beat(&mut backend, "a", "enter");
        for (name, count) in [("gateway_enter", 1), ("gateway_leave", 0)] {
            for _ in 0..3 {
                assert_eq!(report(&mut backend, name, "a", &users), 1);
                for user in &users {
                    assert_eq!(online(&mut backend, &[user]), [Some(count)]);
                }
            }
        }
        assert_eq!(call::<u8>(&mut backend, "gateway_settle", &["1000", "0", "200"].map(str::to_owned)), 0);
        users.iter().for_each(|user| assert_edges(&mut backend, user, &["online", "offline"]));
    }
}

#[test]
fn only_a_lapsed_lease_is_buried_and_only_once() {
    let redis = redis_with_functions();
    let mut backend = redis.client();
    beat(&mut backend, "a", "enter");
    let users: Vec<String> = (0..SLICE).map(|user| user.to_string()).collect();
    enter(&mut backend, "a", &users);
    assert_eq!(bury(&mut backend, "a"), 0);
    assert_eq!(online(&mut backend, &["0", "499"]), [Some(1), Some(1)]);
    beat(&mut backend, "a", "retire");
    assert_eq!([(); 3].map(|()| bury(&mut backend, "a")), [1, 2, 0]);
    assert_eq!(online(&mut backend, &["0", "499"]), [Some(0), Some(0)]);
}

#[test]
fn a_replica_reports_nothing_under_a_lapsed_lease() {
    let redis = redis_with_functions();
    let mut backend = redis.client();
    let users = ["1".to_owned()];
    assert_eq!(report(&mut backend, "gateway_enter", "a", &users), 0);
    beat(&mut backend, "a", "enter");
    enter(&mut backend, "a", &users);
    beat(&mut backend, "a", "retire");
    for name in ["gateway_enter", "gateway_leave"] {
        assert_eq!(report(&mut backend, name, "a", &users), 0);
    }
    assert_eq!(online(&mut backend, &["1"]), [Some(1)]);
}

#[test]
fn a_gateway_before_version_5_can_settle() {
    let redis = redis_with_functions();
    let mut backend = redis.client();
    beat(&mut backend, "a", "enter");
    let (leaves, waits) = (["1".to_owned()], ["members", "a", "60000", "room:1 2"].map(str::to_owned));
    enter(&mut backend, "a", &leaves);
    assert_eq!(report(&mut backend, "gateway_leave", "a", &leaves), 1);
    assert_eq!(call::<u8>(&mut backend, "gateway_enter", &waits), 1);
    assert_eq!(call::<u8>(&mut backend, "gateway_leave", &waits), 1);
    for _ in 0..2 {
        assert_eq!(call::<u8>(&mut backend, "gateway_settle", &["1000".to_owned()]), 0);
    }
    assert_edges(&mut backend, "1", &["online", "offline"]);
    let waiting: usize =
        redis::cmd("ZCARD").arg("gateway:{presence}:leaving:members").query(&mut backend).unwrap();
    assert_eq!(waiting, 1, "it is not brought forward without the grace");
}
