//! Rooms: counts and members over replicas, by what hubs report.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use emagine_gateway::broker::PresenceError;

use super::replica::{Replica, block_on, name};
use super::*;
use crate::support::deadline::eventually;

const NO_GRACE: Duration = Duration::ZERO;

/// Two replicas of one Redis.
fn pair(redis: &RedisServer) -> [Replica; 2] {
    [Replica::start(redis, NO_GRACE), Replica::start(redis, NO_GRACE)]
}

/// Ends the connections of all replicas. They connect again, and take a new lease.
fn cut_links(redis: &RedisServer) {
    let mut client = redis.client();
    for kind in ["pubsub", "normal"] {
        redis::cmd("CLIENT").arg(&["KILL", "TYPE", kind, "SKIPME", "yes"]).exec(&mut client).unwrap();
    }
}

fn leases(redis: &RedisServer) -> Vec<String> {
    redis::cmd("ZRANGE").arg("gateway:{presence}:replicas").arg(0).arg(-1).query(&mut redis.client()).unwrap()
}

#[test]
fn a_count_is_the_sum_of_all_hubs_and_replicas() {
    let redis = RedisServer::start();
    let replicas = pair(&redis);
    let hubs = [replicas[0].hub(), replicas[0].hub(), replicas[1].hub()];
    hubs[0].count("count:1", 5);
    assert_eq!(hubs[0].next(), "count:1 5", "at once");
    hubs[1].count("count:1", 2);
    assert_eq!(hubs[1].next(), "count:1 5", "what its process knows");
    hubs[2].count("count:1", 1);
    hubs.iter().for_each(|hub| hub.wait_latest("count:1 8"));
    hubs[0].count("count:1", 0);
    hubs[1].wait_latest("count:1 3");
    hubs[2].wait_latest("count:1 3");
    assert_eq!(hubs[0].rest(), [""; 0], "it has no session there");
}

#[test]
fn a_count_is_offered_at_most_once_a_second() {
    let redis = RedisServer::start();
    for replica in [Replica::in_memory(NO_GRACE), Replica::start(&redis, NO_GRACE)] {
        let hub = replica.hub();
        hub.count("count:1", 1);
        assert_eq!(hub.next(), "count:1 1");
        let start = Instant::now();
        (2..=100).for_each(|sessions| hub.count("count:1", sessions));
        assert_eq!(hub.next(), "count:1 100");
        assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    }
}

#[test]
fn a_member_on_two_replicas_counts_once() {
    let redis = RedisServer::start();
    let replicas = pair(&redis);
    let hubs = replicas.each_ref().map(Replica::hub);
    hubs[0].member("members:1", "42", true);
    assert_eq!(hubs[0].next(), "members:1 1", "only the count");
    hubs[1].member("members:1", "42", true);
    assert_eq!(hubs[1].next(), "members:1 1");
    hubs[1].member("members:1", "43", true);
    hubs.iter().for_each(|hub| hub.wait_latest("members:1 2 +43"));
    assert_eq!(replicas[0].members("members:1", None, 10), (2, "42 43".into(), None));
    hubs[0].member("members:1", "42", false);
    hubs[1].member("members:1", "43", false);
    hubs[1].wait_latest("members:1 1 -43");
    assert_eq!(replicas[0].members("members:1", None, 10), (1, "42".into(), None));
}

#[test]
fn members_are_read_by_page_in_byte_order() {
    let redis = RedisServer::start();
    for replica in [Replica::in_memory(NO_GRACE), Replica::start(&redis, NO_GRACE)] {
        let hub = replica.hub();
        ["42", "100", "a", "B", "5"].iter().for_each(|user| hub.member("members:1", user, true));
        hub.member("members:2", "7", true);
        eventually_eq(BURIAL, &(5, "100 42 5 B a".into(), None), || replica.members("members:1", None, 5));
        assert_eq!(replica.members("members:1", None, 2), (5, "100 42".into(), Some("42".into())));
        assert_eq!(replica.members("members:1", Some("42"), 2), (5, "5 B".into(), Some("B".into())));
        assert_eq!(replica.members("members:1", Some("B"), 2), (5, "a".into(), None));
        assert_eq!(replica.members("members:3", None, 2), (0, String::new(), None));
        let refusal = |room| block_on(replica.broker.members(&name(room), None, 1)).unwrap_err();
        assert!(matches!(refusal("count:1"), PresenceError::NamespaceOff(_)));
        let refused = block_on(replica.broker.channels(Some("count"), None, 1));
        assert!(matches!(refused, Err(PresenceError::NamespaceOff(_))));
    }
}

#[test]
fn members_come_and_leave_with_their_names() {
    let redis = RedisServer::start();
    for replica in [Replica::in_memory(NO_GRACE), Replica::start(&redis, NO_GRACE)] {
        let hubs = [replica.hub(), replica.hub()];
        hubs[0].member("members:1", "1", true);
        assert_eq!(hubs[0].next(), "members:1 1");
        hubs[1].member("members:1", "2", true);
        hubs[0].wait_latest("members:1 2 +2");
        hubs[1].member("members:1", "2", false);
        hubs[0].wait_latest("members:1 1 -2");
    }
}

#[test]
fn a_member_that_returns_within_the_grace_did_not_leave() {
    let redis = RedisServer::start();
    let minute = Duration::from_secs(60);
    for replica in [Replica::in_memory(minute), Replica::start(&redis, minute)] {
        let hub = replica.hub();
        hub.member("members:1", "1", true);
        assert_eq!(hub.next(), "members:1 1");
        hub.member("members:1", "2", true);
        assert_eq!(hub.next(), "members:1 2 +2");
        hub.member("members:1", "2", false);
        assert_eq!(replica.members("members:1", None, 5), (2, "1 2".into(), None));
        hub.member("members:1", "2", true);
        hub.member("members:1", "3", true);
        assert_eq!(hub.next(), "members:1 3 +3");
    }
}

#[test]
fn above_the_maximum_only_counts_are_offered() {
    let redis = RedisServer::start();
    for replica in [Replica::in_memory(NO_GRACE), Replica::start(&redis, NO_GRACE)] {
        let hub = replica.hub();
        hub.member("members:1", "0", true);
        assert_eq!(hub.next(), "members:1 1");
        (1..10).for_each(|user| hub.member("members:1", &user.to_string(), true));
        hub.wait_latest("members:1 10");
        (3..10).for_each(|user| hub.member("members:1", &user.to_string(), false));
        hub.wait_latest("members:1 3");
        hub.member("members:1", "2", false);
        hub.wait_latest("members:1 2 -2");
    }
}

#[test]
fn a_killed_replica_is_not_counted_before_its_burial() {
    let redis = RedisServer::start();
    let replica = Replica::start(&redis, NO_GRACE);
    let hub = replica.hub();
    let dying = Replica::start(&redis, NO_GRACE);
    let other = dying.hub();
    hub.count("occupancy:1", 2);
    hub.occupied("occupancy:1", true);
    other.count("occupancy:1", 3);
    eventually_eq(BURIAL, &Some((1, Some(5))), || replica.channel("occupancy:1"));
    drop(dying);
    let mut backend = redis.client();
    let field = |backend: &mut Connection| -> Vec<String> {
        redis::cmd("HVALS").arg("gateway:{presence}:room:occupancy:1").query(backend).unwrap()
    };
    eventually_eq(BURIAL, &Some((1, Some(2))), || replica.channel("occupancy:1"));
    eventually_eq(BURIAL, &1, || field(&mut backend).len());
}

/// No replica cleans up here: the lease of a replica by hand lapses at once.
#[test]
fn a_count_is_right_without_cleaning() {
    let redis = RedisServer::start();
    let replica = Replica::start(&redis, NO_GRACE);
    let mut backend = redis.client();
    let mut call = |function: &str, arguments: &[&str]| {
        let mut call = redis::cmd("FCALL");
        call.arg(function).arg(1).arg("gateway:{presence}:replicas").arg(arguments);
        call.query::<redis::Value>(&mut backend).unwrap()
    };
    let count = || block_on(replica.broker.channel(&name("occupancy:1"))).unwrap().unwrap().count;
    replica.hub().occupied("occupancy:1", true);
    eventually_eq(BURIAL, &Some((1, Some(0))), || replica.channel("occupancy:1"));
    call("gateway_beat", &["dead-1", "600000", "enter"]);
    call("gateway_count", &["dead-1", "occupancy:1", "3", "0"]);
    assert_eq!(count(), Some(3));
    // A later lease of the same process replaces the count, and a late report of the lease before changes nothing.
    call("gateway_beat", &["dead-2", "600000", "enter"]);
    call("gateway_count", &["dead-2", "occupancy:1", "4", "0"]);
    call("gateway_count", &["dead-1", "occupancy:1", "3", "0"]);
    assert_eq!(count(), Some(4));
    call("gateway_beat", &["dead-1", "0", "retire"]);
    while call("gateway_bury", &["dead-1", "0"]) == redis::Value::Int(1) {}
    assert_eq!(count(), Some(4));
    call("gateway_beat", &["dead-2", "0", "retire"]);
    assert_eq!(count(), Some(0));
}

#[test]
fn subscribers_learn_that_a_replica_died() {
    let redis = RedisServer::start();
    let [replica, dying] = pair(&redis);
    let (hub, other) = (replica.hub(), dying.hub());
    hub.count("count:1", 1);
    hub.member("members:1", "1", true);
    hub.wait_for("members:1 1");
    other.count("count:1", 2);
    hub.wait_for("count:1 3");
    other.member("members:1", "2", true);
    hub.wait_for("members:1 2 +2");
    drop(dying);
    let mut events = Vec::new();
    eventually(BURIAL, || {
        events.extend(hub.rest());
        (events.len() == 2).then_some(())
    });
    events.sort();
    assert_eq!(events, ["count:1 1", "members:1 1 -2"]);
}

#[test]
fn a_new_lease_neither_doubles_a_count_nor_drops_it() {
    let redis = RedisServer::start();
    let replicas = pair(&redis);
    let hubs = replicas.each_ref().map(Replica::hub);
    for (hub, sessions) in hubs.iter().zip([2, 3]) {
        hub.count("count:1", sessions);
        hub.count("occupancy:1", sessions);
        hub.occupied("occupancy:1", true);
        hub.member("members:1", &sessions.to_string(), true);
    }
    eventually_eq(BURIAL, &Some((2, Some(5))), || replicas[0].channel("occupancy:1"));
    eventually_eq(BURIAL, &2, || replicas[0].members("members:1", None, 9).0);
    hubs.iter().for_each(|hub| hub.wait_settled(["count:1 5", "members:1 2"]));
    let before = leases(&redis);
    cut_links(&redis);
    let mut backend = redis.client();
    let mut call = redis::cmd("FCALL");
    call.arg("gateway_channels").arg(1).arg("gateway:{presence}:replicas").arg(&["occupancy", "", "1"]);
    eventually(BURIAL, || {
        let (_, found): (u8, Vec<(String, u8, u8, u8)>) = call.query(&mut backend).unwrap();
        let (_, replicas, sessions, _) = found[0];
        assert_eq!(sessions, 5);
        assert!((2..=4).contains(&replicas), "{replicas}: both leases report while one replaces the other");
        // The old leases are retired and buried.
        leases(&redis).iter().all(|lease| !before.contains(lease)).then_some(())
    });
    eventually_eq(BURIAL, &Some((2, Some(5))), || replicas[0].channel("occupancy:1"));
    // Its subscribers may have missed who came and who left, so they are to read the members again.
    for hub in &hubs {
        assert_eq!(hub.next(), "members:1 2");
        assert_eq!(hub.rest(), [""; 0], "no count has changed");
    }
}

#[test]
fn a_count_that_changed_while_the_link_was_down_is_read_again() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let replica = Replica::start(&redis, NO_GRACE);
    let hub = replica.hub();
    hub.count("count:1", 1);
    assert_eq!(hub.next(), "count:1 1");
    redis.kill();
    hub.count("count:1", 7);
    redis.restart();
    assert_eq!(hub.next(), "count:1 7");
}

#[test]
fn a_room_is_read_although_reports_never_pause() {
    let redis = RedisServer::start();
    let replicas = pair(&redis);
    let hubs = replicas.each_ref().map(Replica::hub);
    hubs[0].member("members:1", "42", true);
    assert_eq!(hubs[0].next(), "members:1 1");
    let (busy, is_over) = (replicas[1].hub(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in (0..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                (0..300).for_each(|user| busy.member("members:2", &user.to_string(), turn % 2 == 0));
            }
        });
        let reports = &replicas[1].metrics.presence_reports;
        eventually(BURIAL, || (reports.get() > 50).then_some(()));
        // A member of another replica, so that only a read tells the count.
        hubs[1].member("members:1", "42", true);
        let found = std::panic::catch_unwind(AssertUnwindSafe(|| hubs[1].next()));
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(found.unwrap(), "members:1 1");
    });
}
