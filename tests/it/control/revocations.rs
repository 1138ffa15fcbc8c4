//! How long revocations are kept, and which replicas know them.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::redis_server::RedisServer;

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn is_revoked(replica: &Replica, user: &str, jti: &str, issued: u64) -> bool {
    replica.broker.revocations().is_revoked(user, Some(jti), Some(issued), now_ms())
}

#[test]
fn a_revocation_is_in_force_when_it_is_answered() {
    let redis = RedisServer::start();
    for replica in [Replica::memory(), Replica::redis(&redis.url(), false)] {
        let long_ago = now_ms() - 60_000;
        replica.control(r#"{"revoke":{"jti":"a"}}"#, DEADLINE).unwrap();
        replica.control(r#"{"revoke":{"user":"42"}}"#, DEADLINE).unwrap();
        assert!(is_revoked(&replica, "7", "a", long_ago) && is_revoked(&replica, "42", "b", long_ago));
        assert!(
            !is_revoked(&replica, "42", "b", now_ms() + 60_000) && !is_revoked(&replica, "7", "b", long_ago)
        );
        let applied = replica.applied();
        assert!(applied[0].0.contains("until") && applied[1].0.contains("issued_before"), "{applied:?}");
    }
}

#[test]
fn a_revocation_with_a_wrong_time_is_refused() {
    let redis = RedisServer::start();
    for replica in [Replica::memory(), Replica::redis(&redis.url(), false)] {
        let now = now_ms();
        for (field, time, expected) in [
            ("until", now / 1_000, "until is too early; times are in Unix milliseconds"),
            ("until", now - 1_000, "until is in the past; times are in Unix milliseconds"),
            ("issued_before", now / 1_000, "issued_before is too early; times are in Unix milliseconds"),
            (
                "issued_before",
                now + 90_000,
                "issued_before is in the future; it would refuse tokens that are not minted yet",
            ),
        ] {
            let command = format!(r#"{{"revoke":{{"user":"42","{field}":{time}}}}}"#);
            let refused = replica.control(&command, DEADLINE).unwrap_err();
            let ControlError::BadCommand(reason) = &refused else { panic!("{refused:?}") };
            assert_eq!(reason, &format!("revoke: {expected}"));
        }
        // The clock of a backend may be a little ahead.
        let near = format!(r#"{{"revoke":{{"user":"42","issued_before":{}}}}}"#, now + 30_000);
        replica.control(&near, DEADLINE).unwrap();
        assert_eq!((replica.applied().len(), replica.broker.revocations().count()), (1, 1));
    }
}

#[test]
fn all_revocations_are_known_when_the_link_is_ready() {
    let redis = RedisServer::start();
    let first = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    let until = now_ms() + 3_600_000;
    // More than two pages, many of which end at the same time.
    let mut add = redis::pipe();
    for number in 0..2_500_u64 {
        let member = format!("jti:{number}");
        add.cmd("ZADD").arg("gateway:{control}:revoked").arg(until + number / 1_500).arg(member);
    }
    add.exec(&mut backend).unwrap();
    fcall(&mut backend, &format!(r#"{{"revoke":{{"user":"a:b","until":{until}}}}}"#)).unwrap();
    let new = Replica::redis(&redis.url(), false);
    assert_eq!((new.broker.revocations().count(), new.metrics.control_revocations.get()), (2_501, 2_501));
    assert!(is_revoked(&new, "a:b", "x", 1) && is_revoked(&new, "42", "2499", 1));
    first.wait_applied_revocation();
    assert!(is_revoked(&first, "a:b", "x", 1));
}

impl Replica {
    #[track_caller]
    fn wait_applied_revocation(&self) {
        eventually_eq(SOON, &1, || self.applied().len());
    }
}

#[test]
fn a_replica_cut_off_learns_revocations_before_it_is_ready() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address());
    let replica = Replica::redis(&format!("redis://{}", proxy.address), false);
    proxy.set_both(Fault::BlackHole);
    eventually_eq(SOON, &false, || replica.broker.health().is_ready);
    fcall(&mut redis.client(), r#"{"revoke":{"jti":"a"}}"#).unwrap();
    proxy.heal();
    replica.wait_ready();
    assert!(is_revoked(&replica, "42", "a", 1));
}

#[test]
fn revocations_are_pruned_and_bounded_in_redis() {
    let redis = RedisServer::start();
    let replica = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    let revoked = "gateway:{control}:revoked";
    run_line::<()>(&mut backend, &format!("ZADD {revoked} 1 jti:old"));
    replica.control(r#"{"revoke":{"jti":"a"}}"#, DEADLINE).unwrap();
    let members: Vec<(String, u64)> = run_line(&mut backend, &format!("ZRANGE {revoked} 0 -1 WITHSCORES"));
    assert_eq!((members.len(), members[0].0.as_str()), (1, "jti:a"));
    let ttl = members[0].1 - now_ms();
    assert!((3_500_000..=3_600_000).contains(&ttl), "the longest life of a token: {ttl}");
    assert!(!is_revoked(&replica, "42", "old", 1));

    let mut add = redis::pipe();
    for number in 1..100_000 {
        add.cmd("ZADD").arg(revoked).arg(members[0].1).arg(number).ignore();
    }
    add.exec(&mut backend).unwrap();
    let refused = replica.control(r#"{"revoke":{"jti":"b"}}"#, DEADLINE).unwrap_err();
    assert!(matches!(&refused, ControlError::Refused(reason) if reason.contains("100000")), "{refused:?}");
    replica.control(r#"{"sessions":{}}"#, DEADLINE).unwrap();
}
