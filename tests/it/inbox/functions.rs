//! gateway_send, called as a gateway calls it.

use std::collections::HashMap;

use super::*;

/// The code of the error that the function returns.
fn refusal(redis: &mut Connection, user: &str, id: &str, message: &str) -> String {
    fcall::<String>(redis, user, id, message).unwrap_err().code().unwrap_or_default().to_owned()
}

#[test]
fn a_message_is_stored_once_for_each_user_and_id() {
    let (redis, _gateway) = redis_with_functions();
    let mut backend = redis.client();
    let first: String = fcall(&mut backend, "42", "c1", r#"{"a": 1}"#).unwrap();
    assert_eq!(fcall::<String>(&mut backend, "42", "c1", r#"{"a": 1}"#).unwrap(), first);
    assert_eq!(refusal(&mut backend, "42", "c1", r#"{"a": 2}"#), "IDREUSED");
    // A user id may contain colons.
    for (user, id) in [("43", "c1"), ("a:b", "c"), ("a", "b:c")] {
        fcall::<String>(&mut backend, user, id, "1").unwrap();
    }
    let entries: Vec<(String, HashMap<String, String>)> = run_line(&mut backend, "XRANGE gateway:inbox - +");
    assert_eq!(entries.len(), 4);
    let (entry, fields) = &entries[0];
    assert_eq!(*entry, first);
    assert_eq!(fields.len(), 6);
    for (name, value) in [
        ("user", "42"),
        ("session", SESSION),
        ("channel", "room:7"),
        ("id", "c1"),
        ("message", r#"{"a": 1}"#),
    ] {
        assert_eq!(fields[name], value);
    }
    assert!(entry.starts_with(&fields["at"][..10]), "{entry} {}", fields["at"]);
    // Also after the backend has deleted it.
    run_line::<()>(&mut backend, &format!("XDEL {STREAM} {first}"));
    assert_eq!(fcall::<String>(&mut backend, "42", "c1", r#"{"a": 1}"#).unwrap(), first);
    assert_eq!(len(&mut backend), 3);
    let window: u64 = run_line(&mut backend, "PTTL gateway:inbox:once:{gateway:inbox}:42:c1");
    assert!((500_000..=600_000).contains(&window), "{window}");
}

#[test]
fn a_full_inbox_refuses_and_trims_nothing() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).with("inbox.max_entries", "3").spawn();
    gateway.wait_ready();
    eventually_eq(SOON, &1, || gateway.metric("history_available"));
    let mut backend = redis.client();
    let entries = ["a", "b", "c"].map(|id| fcall::<String>(&mut backend, "42", id, "1").unwrap());
    assert_eq!(refusal(&mut backend, "42", "d", "1"), "INBOXFULL");
    assert_eq!(fcall::<String>(&mut backend, "42", "b", "1").unwrap(), entries[1], "it is stored");
    assert_eq!(len(&mut backend), 3);
    run_line::<()>(&mut backend, &format!("XDEL {STREAM} {}", entries[0]));
    fcall::<String>(&mut backend, "42", "d", "1").unwrap();
    assert_eq!(refusal(&mut backend, "42", "e", "1"), "INBOXFULL");
}

#[test]
fn a_refused_call_writes_nothing() {
    let (redis, _gateway) = redis_with_functions();
    let mut backend = redis.client();
    for missing in ["xlen", "xadd", "get", "set"] {
        run_line::<()>(&mut backend, &format!("ACL SETUSER limited reset on >p ~* +@all -{missing}"));
        let mut limited = redis.client();
        run_line::<()>(&mut limited, "AUTH limited p");
        assert_eq!(refusal(&mut limited, "42", "c1", "1"), "NOPERM", "{missing}");
    }
    for (key, command) in [
        ("gateway:inbox:once:{gateway:inbox}:42:c1", "LPUSH gateway:inbox:once:{gateway:inbox}:42:c1 1"),
        (STREAM, "SET gateway:inbox 1"),
    ] {
        run_line::<()>(&mut backend, command);
        assert_eq!(refusal(&mut backend, "42", "c1", "1"), "WRONGTYPE", "{key}");
        run_line::<()>(&mut backend, &format!("DEL {key}"));
    }
    let long = "x".repeat(65);
    for (user, id) in [("", "c1"), ("4 2", "c1"), ("42", ""), ("42", long.as_str())] {
        assert_eq!(refusal(&mut backend, user, id, "1"), "ERR", "{user:?} {id:?}");
    }
    let keys: Vec<String> = run_line(&mut backend, "KEYS gateway:inbox*");
    assert_eq!(keys, Vec::<String>::new());
}
