//! A server that dies, is demoted or loses its functions may have lost the end of a history. The function does not
//! reuse these positions, and a reader can detect the loss.

use super::*;
use crate::support::deadline::eventually;

/// Asserts that `position` begins a new epoch that continues `last`.
#[track_caller]
fn assert_continues(redis: &mut Prepared, position: Position, last: Position) {
    assert!(position.epoch > last.epoch && position.offset == 1, "{position} after {last}");
    let (entry, fields) = redis.history("room:1").pop().unwrap();
    assert_eq!(entry, position.to_string());
    assert_eq!(fields[1], ("a".to_owned(), last.to_string()));
}

fn persistent() -> Prepared {
    Prepared::over(RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]))
}

#[test]
fn after_a_restart_the_history_continues_in_a_new_epoch() {
    let mut redis = persistent();
    redis.publish("room:1", "1");
    let last = redis.publish("room:1", "2");
    redis.server.restart();
    redis.backend = redis.server.client();
    // The function is part of the data set and does not have to be loaded again.
    let position = redis.publish("room:1", "3");
    assert_continues(&mut redis, position, last);
    assert_eq!(redis.publish("room:1", "4"), next(position));
    assert_eq!(redis.history("room:1").len(), 4);
}

#[test]
fn after_data_loss_histories_restart_and_the_function_is_reloaded() {
    let mut redis = Prepared::start();
    let last = redis.publish("room:1", "1");
    redis.server.restart();
    redis.backend = redis.server.client();
    let position = eventually(SOON, || fcall::<String>(&mut redis.backend, &["room:1"], &["2"]).ok());
    let position = parse(&position);
    assert!(position.epoch > last.epoch && position.offset == 1);
    assert_eq!(redis.history("room:1").len(), 1);
}

#[test]
fn flushed_functions_are_reloaded_by_the_next_publication() {
    let mut redis = Prepared::start();
    let last = redis.broker_publishes("room:1", "1").unwrap();
    redis.run::<()>("FUNCTION FLUSH");
    let position = redis.broker_publishes("room:1", "2").unwrap();
    assert_continues(&mut redis, position, last);
    assert_eq!(redis.metrics.history_available.get(), 1);
}

#[test]
fn a_replica_refuses_and_begins_an_epoch_when_promoted() {
    let mut master = Prepared::start();
    let last = master.publish("room:1", "1");
    let port = master.server.url().rsplit_once(':').unwrap().1.to_owned();
    let replica = RedisServer::start_with(&["--replicaof", &format!("127.0.0.1 {port}")]);
    let mut client = replica.client();
    eventually(SOON, || {
        query_line::<u64>(&mut client, "XLEN gateway:room:1").ok().filter(|length| *length == 1)
    });
    let error = fcall::<redis::Value>(&mut client, &["room:1"], &["2"]).unwrap_err();
    assert_eq!(error.code(), Some("READONLY"), "{error}");
    run_line::<()>(&mut client, "REPLICAOF NO ONE");
    let position = parse(&fcall::<String>(&mut client, &["room:1"], &["2"]).unwrap());
    assert!(position.epoch > last.epoch && position.offset == 1);
}

#[test]
fn a_server_demoted_in_between_begins_a_new_epoch() {
    let mut redis = Prepared::start();
    let last = redis.publish("room:1", "1");
    // As in a failover and back: the process keeps its functions, but its data may come from another server.
    redis.run::<()>("REPLICAOF 127.0.0.1 1");
    redis.run::<()>("REPLICAOF NO ONE");
    // The gateway checks once a second.
    let (position, last) = eventually(SOON, || {
        let before = parse(&redis.history("room:1").pop().unwrap().0);
        let position = redis.publish("room:1", "2");
        (position.epoch > last.epoch).then_some((position, before))
    });
    assert_continues(&mut redis, position, last);
}
