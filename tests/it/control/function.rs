//! What backends may call.

use std::collections::HashMap;

use super::*;
use crate::support::redis_server::RedisServer;

const COMMANDS: &str = include_str!("../../../src/broker/control/commands.txt");

#[test]
fn the_function_accepts_exactly_the_valid_commands() {
    let redis = RedisServer::start();
    let replica = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    let (mut valid, mut questions) = (0, 0);
    for line in COMMANDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (expected, text) = line.split_once(' ').unwrap();
        let text = text.replace("<200>", &"x".repeat(200)).replace("<300>", &"x".repeat(300));
        match fcall(&mut backend, &text) {
            Ok(_) => {
                assert_eq!(expected, "valid", "{line}");
                valid += 1;
                questions += usize::from(text.contains("sessions"));
            }
            Err(error) => {
                assert_eq!(expected, "bad", "{line}: {error}");
                assert!(error.to_string().contains("gateway: the command is not valid: "), "{line}: {error}");
            }
        }
    }
    // A replica understands what the function stores.
    eventually_eq(SOON, &valid, || replica.applied().len());
    let length: usize = run_line(&mut backend, "XLEN gateway:{control}:commands");
    assert_eq!((length, replica.counted(ControlResult::Invalid)), (valid - questions, 0));
}

#[test]
fn replicas_read_exactly_what_was_checked() {
    let redis = RedisServer::start();
    let replica = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    fcall(&mut backend, r#"{"disconnect":{"user":"1","user":"a\"/2","reason":"\u00e9\u0001"}}"#).unwrap();
    replica.wait_applied(&[(r#"{"disconnect":{"user":"a\"/2","reason":"é\u0001"}}"#, 0)]);
}

#[test]
fn the_function_needs_its_key_and_a_short_command() {
    let redis = RedisServer::start();
    let _replica = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    let call = |backend: &mut Connection, key: &str, arguments: &[&str]| {
        cmd("FCALL").arg("gateway_control").arg(1).arg(key).arg(arguments).query::<redis::Value>(backend)
    };
    let command = r#"{"disconnect":{"user":"42"}}"#;
    for (key, arguments) in [
        ("gateway:control:commands", &[command][..]),
        ("gateway:{control}:command", &[command]),
        ("{control}:commands", &[command]),
        ("gateway:{control}:commands", &[]),
        ("gateway:{control}:commands", &[command, "x"]),
        ("gateway:{control}:commands", &[&format!("{command}{}", " ".repeat(4_096))]),
    ] {
        let refused = call(&mut backend, key, arguments).unwrap_err();
        assert!(refused.to_string().contains("gateway: "), "{key} {arguments:?}: {refused}");
    }
    let keys: Vec<String> = run_line(&mut backend, "KEYS *control*");
    assert_eq!(keys, Vec::<String>::new());
    let (id, receivers): (String, usize) = cmd("FCALL")
        .arg(&["gateway_control", "1", "gateway:{control}:commands", command, "count"])
        .query(&mut backend)
        .unwrap();
    assert!(id.ends_with("-0") && receivers == 1, "{id} {receivers}");
}

#[test]
fn each_command_names_the_one_before_it() {
    let redis = RedisServer::start();
    let _replica = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    let ids = [(); 3].map(|()| {
        // A question is no link of the chain.
        fcall(&mut backend, r#"{"sessions":{}}"#).unwrap();
        fcall(&mut backend, r#"{"disconnect":{"user":"42"}}"#).unwrap()
    });
    let entries: Vec<(String, HashMap<String, String>)> =
        run_line(&mut backend, "XRANGE gateway:{control}:commands - +");
    let chain: Vec<_> =
        entries.into_iter().map(|(id, mut fields)| (fields.remove("after").unwrap(), id)).collect();
    let expected = [("0-0", &ids[0]), (&ids[0], &ids[1]), (&ids[1], &ids[2])];
    assert_eq!(chain, expected.map(|(after, id)| (after.to_owned(), id.clone())));
}

#[test]
fn a_command_is_possible_when_the_memory_is_full() {
    let redis = RedisServer::start();
    let replica = Replica::redis(&redis.url(), false);
    let mut backend = redis.client();
    run_line::<()>(&mut backend, "CONFIG SET maxmemory 1");
    let outcome = replica.control(r#"{"revoke":{"jti":"7f"}}"#, DEADLINE).unwrap();
    assert!(outcome.missing.is_empty());
}

#[test]
fn without_its_rights_the_function_writes_nothing() {
    let redis = RedisServer::start();
    let _replica = Replica::redis(&redis.url(), false);
    let mut admin = redis.client();
    run_line::<()>(&mut admin, "ACL SETUSER backend on >secret allkeys allcommands resetchannels -zadd");
    let mut backend = redis.client();
    run_line::<()>(&mut backend, "AUTH backend secret");
    for (command, right) in [(r#"{"sessions":{}}"#, "PUBLISH"), (r#"{"revoke":{"jti":"a"}}"#, "PUBLISH")] {
        let refused = fcall(&mut backend, command).unwrap_err();
        assert_eq!(refused.code(), Some("NOPERM"));
        assert!(refused.to_string().contains(right), "{refused}");
    }
    run_line::<()>(&mut admin, "ACL SETUSER backend allchannels");
    let refused = fcall(&mut backend, r#"{"revoke":{"jti":"a"}}"#).unwrap_err();
    assert!(refused.to_string().contains("ZADD"), "{refused}");
    let keys: Vec<String> = run_line(&mut admin, "KEYS *control*");
    assert_eq!(keys, Vec::<String>::new());
}
