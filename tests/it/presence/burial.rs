//! Burials by real replicas, of leases that the test has written.

use super::functions::{REPLICAS, SLICE, beat, enter};
use super::*;

#[test]
fn a_large_burial_writes_each_edge_once_while_users_return() {
    const USERS: usize = 10_000;
    const ACTIVE: usize = 8;
    let redis = RedisServer::start();
    let gateways = [(); 2].map(|()| plan(&redis, "0s").spawn());
    gateways.iter().for_each(TestGateway::wait_ready);
    let mut backend = redis.client();
    beat(&mut backend, "dead", "enter");
    let users: Vec<String> = (0..USERS).map(|user| user.to_string()).collect();
    for slice in users.chunks(SLICE) {
        beat(&mut backend, "dead", "renew");
        enter(&mut backend, "dead", slice);
    }
    let _stays = gateways[0].ready_client("9999");
    let mut active: Vec<_> =
        users[..ACTIVE].iter().map(|user| Some(gateways[1].ready_client(user))).collect();
    let has_reports = |backend: &mut Connection| -> bool {
        redis::cmd("EXISTS").arg("gateway:{presence}:users:dead").query(backend).unwrap()
    };
    let mut next = (0..ACTIVE).cycle();
    eventually_eq(BURIAL, &false, || {
        let user = next.next().unwrap();
        active[user] = match active[user].take() {
            Some(_) => None,
            None => Some(gateways[user % 2].ready_client(&users[user])),
        };
        has_reports(&mut backend)
    });
    let present = 1 + active.iter().flatten().count();
    eventually_eq(BURIAL, &present, || {
        redis::cmd("HLEN").arg("gateway:{presence}:online").query(&mut backend).unwrap()
    });
    let edges = edges(&mut backend);
    assert_eq!(edges.len(), USERS);
    assert_eq!(edges["9999"], ["online"]);
    for (user, states) in edges.iter().filter(|(user, _)| *user != "9999") {
        let expected = ["online", "offline"].into_iter().cycle().take(states.len());
        assert!(states.iter().eq(expected), "user {user} has {states:?}");
        let user: usize = user.parse().unwrap();
        let is_online = active.get(user).is_some_and(Option::is_some);
        assert_eq!(states.len() % 2 == 1, is_online, "user {user} has {states:?}");
        assert!(user < ACTIVE || states.len() == 2, "user {user} has {states:?}");
    }
}

#[test]
fn one_burial_counts_once_over_all_replicas() {
    let redis = RedisServer::start();
    let gateways = [(); 2].map(|()| plan(&redis, "0s").spawn());
    gateways.iter().for_each(TestGateway::wait_ready);
    let mut backend = redis.client();
    beat(&mut backend, "dead", "enter");
    let users: Vec<String> = (0..3 * SLICE).map(|user| user.to_string()).collect();
    users.chunks(SLICE).for_each(|slice| enter(&mut backend, "dead", slice));
    eventually_eq(BURIAL, &1, || -> i64 {
        gateways.iter().map(|gateway| gateway.metric("presence_burials_total")).sum()
    });
    assert_eq!(online(&mut backend, &["0", "1499"]), [None, None]);
}

/// Redis' clock was set back by a day after the lease was written.
#[test]
fn a_lease_from_the_future_lapses_after_the_usual_time() {
    let redis = RedisServer::start();
    let gateway = plan(&redis, "0s").spawn();
    gateway.wait_ready();
    let mut backend = redis.client();
    beat(&mut backend, "dead", "enter");
    enter(&mut backend, "dead", &["3".into()]);
    move_to_the_future(&mut backend, REPLICAS, "dead");
    assert_edges(&mut backend, "3", &["online", "offline"]);
    wait_online(&mut backend, "3", None);
}

#[test]
fn a_due_time_from_the_future_comes_after_the_grace() {
    let redis = RedisServer::start();
    let gateway = plan(&redis, "2s").spawn();
    gateway.wait_ready();
    let mut backend = redis.client();
    drop(gateway.ready_client("3"));
    wait_online(&mut backend, "3", Some(0));
    move_to_the_future(&mut backend, "gateway:{presence}:leaving:users", "3");
    assert_edges(&mut backend, "3", &["online", "offline"]);
    wait_online(&mut backend, "3", None);
}

/// Adds a day to the score of a member.
#[track_caller]
fn move_to_the_future(backend: &mut Connection, key: &str, member: &str) {
    let score: f64 =
        redis::cmd("ZADD").arg(key).arg(&["XX", "INCR", "86400000"]).arg(member).query(backend).unwrap();
    assert!(score > 86_400_000.0);
}
