//! Replicas that are cut off, die or lose Redis.

use super::*;
use crate::support::fault_proxy::{Direction, Fault, FaultProxy, hold, plan};
use crate::support::redis_server::RedisServer;

/// Longer than a lease.
const LEASE_LAPSES: Duration = Duration::from_secs(20);
const ONE: &str = r#"{"disconnect":{"user":"1"}}"#;
const TWO: &str = r#"{"disconnect":{"user":"2"}}"#;

/// A replica that reaches Redis through a proxy.
fn proxied(redis: &RedisServer, has_presence: bool) -> (FaultProxy, Replica) {
    let proxy = FaultProxy::start(redis.address());
    let replica = Replica::redis(&format!("redis://{}", proxy.address), has_presence);
    (proxy, replica)
}

#[test]
fn a_replica_cut_off_is_missing_and_applies_commands_later() {
    let redis = RedisServer::start();
    let asker = Replica::redis(&redis.url(), true);
    let (proxy, cut) = proxied(&redis, true);
    cut.open_session();
    proxy.set_both(Fault::BlackHole);
    let outcome = asker.control(ONE, Duration::from_millis(300)).unwrap();
    assert_eq!((affected(&outcome), outcome.missing), (vec![(asker.name(), 0)], vec![cut.name()]));
    assert_eq!(asker.metrics.control_answers_missing.get(), 1);

    // Once its lease has lapsed, it is missing at once.
    let mut backend = redis.client();
    eventually_eq(LEASE_LAPSES, &1, || {
        let leases: Vec<String> = run_line(&mut backend, "ZRANGE gateway:{presence}:replicas 0 -1");
        leases.len()
    });
    let started = Instant::now();
    let outcome = asker.control(TWO, LEASE_LAPSES).unwrap();
    assert_eq!(outcome.missing, [cut.name()]);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(cut.broker.stale_for().unwrap() > Duration::from_secs(1));

    cut.open_session();
    proxy.heal();
    cut.wait_applied(&[(ONE, 1), (TWO, 1)]);
    cut.wait_ready();
    assert_eq!(cut.counted(ControlResult::Replayed), 2);
    assert_eq!(cut.broker.stale_for(), None);
    // It answers late, and again counts among the replicas that must answer.
    let key = format!("gateway:{{control}}:answers:{}", outcome.id);
    eventually_eq(SOON, &2, || run_line::<usize>(&mut backend, &format!("XLEN {key}")));
    eventually_eq(SOON, &1, || cut.metrics.presence_lease.get());
    let outcome = asker.control(ONE, DEADLINE).unwrap();
    assert!(outcome.missing.is_empty(), "{:?}", outcome.missing);
    cut.wait_applied(&[(ONE, 1), (TWO, 1), (ONE, 2)]);
}

#[test]
fn every_command_is_applied_once_under_random_faults() {
    for seed in 0..3 {
        let redis = RedisServer::start();
        let replicas = [(); 2].map(|()| proxied(&redis, false));
        let plans = [seed, seed + 100].map(|seed| plan::random(seed, 8, Duration::from_millis(400)));
        let mut backend = redis.client();
        let mut sent = Vec::new();
        std::thread::scope(|scope| {
            let faults =
                replicas.iter().zip(&plans).map(|((proxy, _), plan)| scope.spawn(|| proxy.run(plan)));
            let faults: Vec<_> = faults.collect();
            while faults.iter().any(|fault| !fault.is_finished()) {
                sent.push(format!(r#"{{"disconnect":{{"user":"{}"}}}}"#, sent.len()));
                fcall(&mut backend, sent.last().unwrap()).unwrap();
                hold(Duration::from_millis(2));
            }
        });
        for (_, replica) in &replicas {
            eventually_eq(LEASE_LAPSES, &sent.len(), || replica.applied().len());
            let applied: Vec<_> = replica.applied().into_iter().map(|(text, _)| text).collect();
            assert_eq!(applied, sent, "seed {seed}");
            assert_eq!(replica.counted(ControlResult::Lost), 0);
        }
    }
}

#[test]
fn without_presence_a_silent_replica_is_missing_without_a_name() {
    let redis = RedisServer::start();
    let asker = Replica::redis(&redis.url(), false);
    let (proxy, _cut) = proxied(&redis, false);
    proxy.set(Direction::ToClient, Fault::BlackHole);
    let outcome = asker.control(ONE, Duration::from_millis(300)).unwrap();
    assert_eq!((affected(&outcome), outcome.missing), (vec![(asker.name(), 0)], vec!["unnamed".to_owned()]));
}

#[test]
fn a_command_affects_only_older_sessions_over_a_slow_link() {
    let redis = RedisServer::start();
    let (proxy, replica) = proxied(&redis, false);
    let mut backend = redis.client();
    for slow in [Direction::ToServer, Direction::ToClient] {
        proxy.heal();
        proxy.set(slow, Fault::Delay(Duration::from_millis(200)));
        let before = replica.applied().len();
        replica.stub.opened.lock().unwrap().clear();
        replica.open_session();
        // The estimate of Redis' clock is accurate to a few milliseconds.
        hold(Duration::from_millis(25));
        fcall(&mut backend, ONE).unwrap();
        hold(Duration::from_millis(25));
        replica.open_session();
        eventually_eq(SOON, &(before + 1), || replica.applied().len());
        assert_eq!(replica.applied()[before].1, 1, "{slow:?}");
    }
}

#[test]
fn commands_from_before_the_start_are_not_applied() {
    let redis = RedisServer::start();
    let old = Replica::redis(&redis.url(), false);
    old.control(ONE, DEADLINE).unwrap();
    hold(Duration::from_millis(5));
    let new = Replica::redis(&redis.url(), false);
    old.control(TWO, DEADLINE).unwrap();
    new.wait_applied(&[(TWO, 0)]);
}

#[test]
fn commands_from_before_the_first_connection_are_applied() {
    let redis = RedisServer::start();
    let old = Replica::redis(&redis.url(), false);
    let proxy = FaultProxy::start(redis.address());
    proxy.refuse(true);
    let late = Replica::started(options(&format!("redis://{}", proxy.address), false));
    late.open_session();
    hold(Duration::from_millis(25));
    old.control(ONE, DEADLINE).unwrap();
    proxy.heal();
    late.wait_applied(&[(ONE, 1)]);
}

#[test]
fn trimmed_and_lost_commands_are_noticed() {
    let redis = RedisServer::start();
    let (proxy, replica) = proxied(&redis, false);
    let mut backend = redis.client();
    fcall(&mut backend, ONE).unwrap();
    replica.wait_applied(&[(ONE, 0)]);
    proxy.set_both(Fault::BlackHole);
    fcall(&mut backend, ONE).unwrap();
    fcall(&mut backend, TWO).unwrap();
    run_line::<usize>(&mut backend, "XTRIM gateway:{control}:commands MAXLEN 1");
    proxy.heal();
    replica.wait_applied(&[(ONE, 0), (TWO, 0)]);
    assert_eq!(replica.counted(ControlResult::Lost), 1);
    // The stream is gone while the link is up.
    run_line::<()>(&mut backend, "FLUSHALL");
    fcall(&mut backend, ONE).unwrap();
    replica.wait_applied(&[(ONE, 0), (TWO, 0), (ONE, 0)]);
    assert_eq!(replica.counted(ControlResult::Lost), 2);
}

#[test]
fn a_foreign_entry_stops_no_command() {
    let redis = RedisServer::start();
    let replica = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    cmd("XADD")
        .arg("gateway:{control}:commands")
        .arg("*")
        .arg("command")
        .arg(b"\xff")
        .exec(&mut backend)
        .unwrap();
    replica.control(ONE, DEADLINE).unwrap();
    replica.wait_applied(&[(ONE, 0)]);
    assert_eq!(replica.counted(ControlResult::Invalid), 1);
}

#[test]
fn a_restarted_redis_is_followed_again() {
    let mut redis = RedisServer::start();
    let replicas = [(); 2].map(|()| Replica::redis(&redis.url(), false));
    replicas[0].control(ONE, DEADLINE).unwrap();
    redis.kill();
    eventually_eq(SOON, &true, || replicas[0].control(ONE, DEADLINE).is_err());
    redis.restart();
    replicas.iter().for_each(Replica::wait_ready);
    let outcome = replicas[1].control(TWO, DEADLINE).unwrap();
    assert_eq!((outcome.replicas.len(), outcome.missing), (2, vec![]));
    for replica in &replicas {
        replica.wait_applied(&[(ONE, 0), (TWO, 0)]);
    }
}

#[test]
fn a_replica_without_the_right_to_listen_polls() {
    let redis = RedisServer::start();
    let mut backend = redis.client();
    run_line::<()>(
        &mut backend,
        "ACL SETUSER gateway on >secret allkeys allcommands &gateway:users &gateway:probe/*",
    );
    let url = redis.url().replace("redis://", "redis://gateway:secret@");
    let replica = Replica::started(options(&url, false));
    replica.wait_ready();
    fcall(&mut backend, ONE).unwrap();
    replica.wait_applied(&[(ONE, 0)]);
    fcall(&mut backend, r#"{"sessions":{}}"#).unwrap();
    replica.wait_applied(&[(ONE, 0), (r#"{"sessions":{}}"#, 0)]);
}

#[test]
fn without_the_rights_only_control_fails() {
    let redis = RedisServer::start();
    let mut backend = redis.client();
    run_line::<()>(
        &mut backend,
        "ACL SETUSER gateway on >secret allkeys allcommands allchannels -zrangebyscore -xadd",
    );
    let url = redis.url().replace("redis://", "redis://gateway:secret@");
    let replica = Replica::started(options(&url, false));
    replica.wait_ready();
    let note = || replica.broker.notes().iter().any(|note| note.starts_with("control: "));
    eventually_eq(SOON, &true, note);
    let refused = replica.control(ONE, DEADLINE).unwrap_err();
    assert!(matches!(&refused, ControlError::Refused(reason) if reason.contains("XADD")), "{refused:?}");
    run_line::<()>(&mut backend, "ACL SETUSER gateway +zrangebyscore +xadd");
    eventually_eq(SOON, &false, note);
    replica.control(ONE, DEADLINE).unwrap();
    replica.wait_applied(&[(ONE, 0)]);
}
