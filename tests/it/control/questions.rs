//! The command `sessions` changes nothing: it is not kept, and commands do not wait for it.

use std::collections::BTreeSet;

use super::*;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::redis_server::RedisServer;

const ONE: &str = r#"{"disconnect":{"user":"1"}}"#;
const ALL: &str = r#"{"sessions":{}}"#;

fn numbered(number: usize) -> String {
    format!(r#"{{"sessions":{{"limit":{number}}}}}"#)
}

#[test]
fn questions_push_no_command_out_of_its_stream() {
    let redis = RedisServer::start();
    let _replica = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    let command = fcall(&mut backend, ONE).unwrap();
    let ids: BTreeSet<_> = (0..500).map(|_| fcall(&mut backend, ALL).unwrap()).collect();
    assert_eq!(ids.len(), 500);
    // Answers to a question are never those to a command.
    assert!(ids.iter().all(|id| id.split_once('-').unwrap().1.len() >= 10), "{ids:?}");
    let kept: Vec<(String, redis::Value)> = run_line(&mut backend, "XRANGE gateway:{control}:commands - +");
    assert_eq!((kept.len(), &kept[0].0), (1, &command));
    assert_eq!(run_line::<usize>(&mut backend, "XLEN gateway:{control}:questions"), 64);
}

#[test]
fn a_replica_cut_off_replays_no_old_question() {
    let redis = RedisServer::start();
    let asker = Replica::redis(&redis.url(), true);
    let proxy = FaultProxy::start(redis.address());
    let cut = Replica::redis(&format!("redis://{}", proxy.address), true);
    proxy.set_both(Fault::BlackHole);
    fcall(&mut redis.client(), ONE).unwrap();
    let outcome = asker.control(ALL, DEADLINE + Duration::from_millis(100)).unwrap();
    assert_eq!(outcome.missing, [cut.name()]);
    proxy.heal();
    cut.wait_applied(&[(ONE, 0)]);
    cut.wait_ready();
    fcall(&mut redis.client(), &numbered(7)).unwrap();
    cut.wait_applied(&[(ONE, 0), (&numbered(7), 0)]);
    assert_eq!(cut.counted(ControlResult::Lost), 0);
}

#[test]
fn a_command_passes_waiting_questions_and_the_oldest_are_dropped() {
    let redis = RedisServer::start();
    let replica = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    let held = r#"{"sessions":{"user":"held"}}"#;
    replica.stub.is_holding.send_replace(true);
    fcall(&mut backend, held).unwrap();
    replica.wait_applied(&[(held, 0)]);
    let first = fcall(&mut backend, &numbered(1)).unwrap();
    fcall(&mut backend, ONE).unwrap();
    for number in 2..=20 {
        fcall(&mut backend, &numbered(number)).unwrap();
    }
    eventually_eq(SOON, &4, || replica.counted(ControlResult::Dropped));
    replica.stub.is_holding.send_replace(false);
    let questions: Vec<_> = (5..=20).map(numbered).collect();
    let mut expected = vec![(held, 0), (ONE, 0)];
    expected.extend(questions.iter().map(|text| (text.as_str(), 0)));
    replica.wait_applied(&expected);
    let answers: usize = run_line(&mut backend, &format!("XLEN gateway:{{control}}:answers:{first}"));
    assert_eq!(answers, 0);
}

#[test]
fn a_question_is_answered_after_the_commands_before_it() {
    let redis = RedisServer::start();
    let replica = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    let command = |number| format!(r#"{{"disconnect":{{"user":"{number}"}}}}"#);
    for number in 1..=100 {
        fcall(&mut backend, &command(number)).unwrap();
        fcall(&mut backend, &numbered(number)).unwrap();
        eventually_eq(SOON, &(2 * number), || replica.applied().len());
    }
    let expected = (1..=100).flat_map(|number| [command(number), numbered(number)]);
    assert!(replica.applied().into_iter().map(|(text, _)| text).eq(expected));
}

#[test]
fn a_question_of_a_memory_broker_delays_no_command() {
    let replica = Replica::memory();
    let limit = Duration::from_millis(50);
    replica.stub.is_holding.send_replace(true);
    let outcome = replica.control(r#"{"sessions":{"user":"held"}}"#, limit).unwrap();
    assert_eq!(outcome.missing, [replica.name()]);
    assert!(replica.control(ONE, DEADLINE).unwrap().missing.is_empty());
}

#[test]
fn no_payload_on_the_channel_is_applied() {
    let redis = RedisServer::start();
    let replica = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    let question = format!("1764423000000-1000000000 {ALL}");
    for payload in
        [b"question".as_slice(), b"\xff\0", b"", question.as_bytes(), ONE.as_bytes(), &[b'x'; 2_000_000]]
    {
        cmd("PUBLISH").arg("gateway:{control}:commands").arg(payload).exec(&mut backend).unwrap();
    }
    fcall(&mut backend, ONE).unwrap();
    replica.wait_applied(&[(ONE, 0)]);
    // Only questions are read from their stream.
    cmd("XADD")
        .arg("gateway:{control}:questions")
        .arg("*")
        .arg("command")
        .arg(ONE)
        .exec(&mut backend)
        .unwrap();
    fcall(&mut backend, ALL).unwrap();
    replica.wait_applied(&[(ONE, 0), (ALL, 0)]);
    assert_eq!(replica.counted(ControlResult::Invalid), 1);
}

#[test]
fn a_wrong_key_of_questions_stops_no_command() {
    let redis = RedisServer::start();
    let mut backend = redis.client();
    run_line::<()>(&mut backend, "SET gateway:{control}:questions x");
    let replica = Replica::redis(&redis.url(), false);
    fcall(&mut backend, ALL).unwrap_err();
    run_line::<usize>(&mut backend, "PUBLISH gateway:{control}:commands question");
    fcall(&mut backend, ONE).unwrap();
    replica.wait_applied(&[(ONE, 0)]);
    run_line::<usize>(&mut backend, "DEL gateway:{control}:questions");
    fcall(&mut backend, ALL).unwrap();
    replica.wait_applied(&[(ONE, 0), (ALL, 0)]);
}
