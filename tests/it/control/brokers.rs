//! What both brokers guarantee, and several replicas on one Redis.

use super::*;
use crate::support::gateway::TestGateway;
use crate::support::redis_server::RedisServer;

/// Runs a test with both brokers.
fn over_both(test: impl Fn(&Replica)) {
    test(&Replica::memory());
    let redis = RedisServer::start();
    test(&Replica::redis(&redis.url(), false));
}

#[test]
fn a_command_is_applied_once_and_answered() {
    over_both(|replica| {
        replica.open_session();
        let outcome = replica.control(r#"{"disconnect":{"user":"42"}}"#, DEADLINE).unwrap();
        replica.open_session();
        let second = replica.control(r#"{"sessions":{"limit":5}}"#, DEADLINE).unwrap();
        assert_eq!(affected(&outcome), [(replica.name(), 1)]);
        assert_eq!(affected(&second), [(replica.name(), 2)]);
        assert_eq!(second.replicas[&replica.name()].detail.as_ref().unwrap().get(), "[1]");
        assert!(outcome.missing.is_empty() && outcome.id < second.id && outcome.id.contains('-'));
        replica.wait_applied(&[(r#"{"disconnect":{"user":"42"}}"#, 1), (r#"{"sessions":{"limit":5}}"#, 2)]);
    });
}

#[test]
fn an_invalid_command_is_refused_and_not_applied() {
    over_both(|replica| {
        for text in [r#"{"disconnect":{}}"#, r#"{"subscribe":{"user":"42","channel":"x"}}"#] {
            let refused = replica.control(text, DEADLINE).unwrap_err();
            assert!(matches!(refused, ControlError::BadCommand(_)), "{refused:?}");
        }
        replica.control(r#"{"sessions":{}}"#, DEADLINE).unwrap();
        assert_eq!(replica.applied().len(), 1);
    });
}

#[test]
fn a_handler_that_panics_stops_no_later_command() {
    over_both(|replica| {
        let outcome =
            replica.control(r#"{"disconnect":{"user":"panic"}}"#, Duration::from_millis(300)).unwrap();
        assert_eq!((outcome.replicas.len(), outcome.missing.len()), (0, 1));
        let outcome = replica.control(r#"{"sessions":{}}"#, DEADLINE).unwrap();
        assert_eq!(affected(&outcome), [(replica.name(), 0)]);
    });
}

#[test]
fn a_thousand_commands_keep_their_order() {
    let redis = RedisServer::start();
    let replicas = [(); 2].map(|()| Replica::redis(&redis.url(), false));
    let mut backend = redis.client();
    for number in 0..1_000 {
        fcall(&mut backend, &format!(r#"{{"disconnect":{{"user":"{number}"}}}}"#)).unwrap();
    }
    for replica in &replicas {
        eventually_eq(SOON, &1_000, || replica.applied().len());
        let expected = (0..1_000).map(|number| format!(r#"{{"disconnect":{{"user":"{number}"}}}}"#));
        assert!(replica.applied().into_iter().map(|(text, _)| text).eq(expected));
        assert_eq!(replica.counted(ControlResult::Applied), 1_000);
        assert_eq!(replica.counted(ControlResult::Lost), 0);
    }
}

#[test]
fn three_replicas_answer_with_and_without_presence() {
    for has_presence in [true, false] {
        let redis = RedisServer::start();
        let replicas = [(); 3].map(|()| Replica::redis(&redis.url(), has_presence));
        replicas[1].open_session();
        for asker in &replicas {
            let started = Instant::now();
            let outcome = asker.control(r#"{"disconnect":{"user":"42"}}"#, DEADLINE).unwrap();
            let mut expected =
                [(replicas[0].name(), 0), (replicas[1].name(), 1), (replicas[2].name(), 0)].to_vec();
            expected.sort();
            assert_eq!((affected(&outcome), outcome.missing), (expected, vec![]), "{has_presence}");
            assert!(started.elapsed() < DEADLINE);
        }
        let applied: Vec<_> = replicas.iter().map(|replica| replica.applied().len()).collect();
        assert_eq!(applied, [3, 3, 3]);
    }
}

#[test]
fn a_replica_that_ended_is_not_missed() {
    let redis = RedisServer::start();
    let [asker, ending] = [(); 2].map(|()| Replica::redis(&redis.url(), true));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ending.broker.end_lease());
    let leases: Vec<String> = run_line(&mut redis.client(), "ZRANGE gateway:{presence}:replicas 0 -1");
    assert_eq!(leases.len(), 1, "its lease is buried: {leases:?}");
    ending.broker.shutdown();
    let outcome = asker.control(r#"{"sessions":{}}"#, DEADLINE).unwrap();
    assert_eq!((affected(&outcome), outcome.missing), (vec![(asker.name(), 0)], vec![]));
}

#[test]
fn a_gateway_that_drains_gives_up_its_lease() {
    let redis = RedisServer::start();
    let plan = TestGateway::redis(&redis).with("presence.enabled", "true");
    let (staying, mut ending) = (plan.spawn(), plan.spawn());
    let mut backend = redis.client();
    let count = |backend: &mut Connection, name: &str| -> usize {
        run_line(backend, &format!("ZCARD gateway:{{presence}}:{name}"))
    };
    for gateway in [&staying, &ending] {
        gateway.wait_ready();
        gateway.wait_metric("presence_lease", 1);
    }
    assert_eq!(count(&mut backend, "processes"), 2);
    ending.terminate();
    ending.wait_exit();
    assert_eq!([count(&mut backend, "processes"), count(&mut backend, "replicas")], [1, 1]);
    drop(staying);
}

#[test]
fn nothing_is_written_before_the_first_command() {
    let redis = RedisServer::start();
    let replica = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    let keys: Vec<String> = run_line(&mut backend, "KEYS *control*");
    assert_eq!(keys, Vec::<String>::new());
    assert_eq!(replica.broker.stale_for(), None);
    replica.control(r#"{"disconnect":{"user":"42"}}"#, DEADLINE).unwrap();
    let mut keys: Vec<String> = run_line(&mut backend, "KEYS *control*");
    keys.sort_unstable_by_key(String::len);
    let ttl: i64 = run_line(&mut backend, &format!("PTTL {}", keys[1]));
    assert_eq!((keys.len(), keys[0].as_str()), (2, "gateway:{control}:commands"));
    assert!((1..=60_000).contains(&ttl), "answers expire: {ttl}");
}
