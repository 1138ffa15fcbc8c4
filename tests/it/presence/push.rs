//! Messages that are handed to push because their user is away.

use std::collections::HashMap;

use redis::RedisResult;
use serde_json::{Value, json};

use super::*;
use crate::support::client::Client;
use crate::support::process::SOON;
use crate::support::redis_line::{query_line, run_line};

const STREAM: &str = "gateway:{presence}:offline";

/// Publishes to the channel `user:<user>` with push, as a backend does.
fn push(backend: &mut Connection, user: &str, message: &str, key: &str) -> RedisResult<String> {
    let mut call = redis::cmd("FCALL");
    call.arg("gateway_publish").arg(1).arg(format!("gateway:user:{user}"));
    call.arg(message).arg(key).arg("push").query(backend)
}

/// The fields of the entries for push.
fn pushed(backend: &mut Connection) -> Vec<HashMap<String, String>> {
    let entries: Vec<(String, HashMap<String, String>)> = run_line(backend, &format!("XRANGE {STREAM} - +"));
    entries.into_iter().map(|(_, fields)| fields).collect()
}

fn length(backend: &mut Connection, stream: &str) -> usize {
    run_line(backend, &format!("XLEN {stream}"))
}

/// A gateway with presence on which user 42 is online. In the reverse of the order in which they are to be dropped.
fn with_user(grace: &str) -> (RedisServer, Connection, TestGateway, Client) {
    let redis = RedisServer::start();
    let gateway = plan(&redis, grace).spawn();
    gateway.wait_ready();
    let client = gateway.ready_client("42");
    let mut backend = redis.client();
    wait_online(&mut backend, "42", Some(1));
    (redis, backend, gateway, client)
}

#[test]
fn only_messages_for_away_users_are_handed_to_push() {
    let (_redis, mut backend, _gateway, mut client) = with_user("0s");
    let message = r#"{"b": 1,  "a":[1.0]}"#;
    push(&mut backend, "42", message, "").unwrap();
    client.expect_text(&format!(r#"{{"op":3,"message":{message}}}"#));
    assert_eq!(pushed(&mut backend), []);
    let position = push(&mut backend, "43", message, "").unwrap();
    let entries = pushed(&mut backend);
    assert_eq!(entries.len(), 1);
    assert!(entries[0]["at"].parse::<u64>().unwrap() > 1_700_000_000_000);
    let expected =
        [("user", "43"), ("position", &*position), ("message", message), ("at", &*entries[0]["at"])];
    assert_eq!(entries[0], expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let stored: Vec<(String, HashMap<String, String>)> = run_line(&mut backend, "XRANGE gateway:user:43 - +");
    assert_eq!((&*stored[0].0, &*stored[0].1["m"]), (&*position, message), "the message is durable");
}

#[test]
fn within_the_grace_a_message_is_handed_to_push() {
    let (_redis, mut backend, _gateway, client) = with_user("1m");
    drop(client);
    wait_online(&mut backend, "42", Some(0));
    push(&mut backend, "42", "1", "").unwrap();
    assert_eq!(pushed(&mut backend)[0]["user"], "42");
}

#[test]
fn without_a_lease_every_user_is_away() {
    let (_redis, mut backend, mut gateway, client) = with_user("0s");
    gateway.signal("KILL");
    gateway.wait_exit();
    drop(client);
    eventually_eq(BURIAL, &true, || {
        push(&mut backend, "42", "1", "").unwrap();
        !pushed(&mut backend).is_empty()
    });
    assert_eq!(online(&mut backend, &["42"]), [Some(1)], "no replica has buried the killed one");
}

#[test]
fn a_repeated_idempotency_key_is_handed_to_push_once() {
    let (_redis, mut backend, gateway, _client) = with_user("0s");
    let first = push(&mut backend, "43", "1", "order-7").unwrap();
    assert_eq!(push(&mut backend, "43", "1", "order-7").unwrap(), first);
    assert_eq!(pushed(&mut backend).len(), 1);
    let body = |user: &str, key: &str| {
        let channel = format!("user:{user}");
        json!({"channel": channel, "message": 1, "durable": true, "push": true, "idempotency_key": key})
    };
    let repeated = gateway.post("/v1/publish", &body("43", "order-7").to_string()).json();
    assert_eq!(repeated, json!({"position": first, "pushed": true}), "as the first call");
    for _ in 0..2 {
        let answer = gateway.post("/v1/publish", &body("42", "order-8").to_string()).json();
        assert_eq!(answer["pushed"], false, "{answer}");
    }
    assert_eq!(pushed(&mut backend).len(), 1);
    // A backend that does not ask for push gets the position.
    let position: String = run_line(&mut backend, "FCALL gateway_publish 1 gateway:user:43 1 order-7");
    assert_eq!(position, first);
}

#[test]
fn a_call_that_cannot_be_pushed_publishes_nothing() {
    let (redis, mut backend, _gateway, _client) = with_user("0s");
    for (arguments, text) in [
        ("1 gateway:room:7 1 key push", "push is only for one channel of a user"),
        ("2 gateway:user:43 gateway:user:44 1 key push", "push is only for one channel of a user"),
        (
            "1 gateway:user:43 1 key other",
            "expected a message, an optional idempotency key, and an optional push",
        ),
        ("1 gateway:user:43 1 key push other", "expected a message"),
        ("1 gateway:user:43 1 key push report 5", "expected a message"),
        ("1 other:user:43 1 key push", "push needs presence: set presence.enabled"),
    ] {
        let error =
            query_line::<String>(&mut backend, &format!("FCALL gateway_publish {arguments}")).unwrap_err();
        assert!(error.to_string().contains(text), "{arguments}: {error}");
    }
    run_line::<()>(&mut backend, &format!("SET {STREAM} 1"));
    let error = push(&mut backend, "43", "1", "key").unwrap_err().to_string();
    assert!(error.contains("push cannot write gateway:{presence}:offline: WRONGTYPE"), "{error}");
    let keys: Vec<String> = run_line(&mut redis.client(), "KEYS *:user:4*");
    assert_eq!(keys, [""; 0]);
}

#[test]
fn a_backend_without_a_right_is_refused_before_any_write() {
    let (redis, mut backend, _gateway, _client) = with_user("0s");
    let all =
        "~gateway:* &gateway:* +fcall +time +exists +xinfo|stream +xadd +pexpire +publish +get +set +info";
    let mut attempt = |rules: &str| {
        run_line::<()>(&mut backend, &format!("ACL SETUSER backend reset on >secret {rules}"));
        let mut caller = redis.client();
        run_line::<()>(&mut caller, "AUTH backend secret");
        push(&mut caller, "43", "1", "")
    };
    for (rules, text) in [
        (format!("{all} +zrangebyscore"), "may not run HMGET on gateway:{presence}:online"),
        (format!("{all} +hmget"), "may not run ZRANGEBYSCORE on gateway:{presence}:replicas"),
        (
            format!(
                "{} %R~gateway:{{presence}}:* +hmget +zrangebyscore",
                all.replace("~gateway:*", "~gateway:user:* %R~gateway:settings")
            ),
            "may not run XADD on gateway:{presence}:offline",
        ),
    ] {
        let error = attempt(&rules).unwrap_err().to_string();
        assert!(error.contains(text), "{rules}: {error}");
    }
    let documented = include_str!("../../../docs/presence.md");
    assert!(documented.contains("`+hmget +zrangebyscore`"));
    attempt(&format!("{all} +hmget +zrangebyscore")).unwrap();
    assert_eq!((length(&mut backend, "gateway:user:43"), length(&mut backend, STREAM)), (1, 1));
}

#[test]
fn the_stream_for_push_is_bounded() {
    let redis = RedisServer::start();
    let gateway = plan(&redis, "0s").with("presence.max_edges", "1000").spawn();
    gateway.wait_ready();
    let mut backend = redis.client();
    for number in 0..2_000 {
        push(&mut backend, "43", &number.to_string(), "").unwrap();
    }
    let kept = length(&mut backend, STREAM);
    assert!((1_000..1_200).contains(&kept), "{kept}");
}

/// Presence is off again: the settings in force say so.
#[test]
fn push_is_refused_after_presence_was_turned_off() {
    let (redis, mut backend, _gateway, _client) = with_user("0s");
    push(&mut backend, "43", "1", "").unwrap();
    let off = TestGateway::redis(&redis).spawn();
    off.wait_ready();
    let error = push(&mut backend, "43", "1", "").unwrap_err().to_string();
    assert!(error.contains("push needs presence"), "{error}");
    let answer = off.post("/v1/publish", r#"{"channel":"user:43","message":1,"durable":true,"push":true}"#);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (409, &"presence_disabled".into()));
}

#[test]
fn http_says_whether_a_message_was_handed_to_push() {
    let (_redis, mut backend, gateway, _client) = with_user("0s");
    let publication = |channel: &str, durable: bool| json!({"channel": channel, "message": {"a": 1}, "durable": durable, "push": true});
    let batch = [
        publication("user:42", true),
        publication("user:43", true),
        json!({"channel": "user:43", "message": 1, "durable": true}),
        publication("user:43", false),
        publication("room:7", true),
    ];
    let answer = gateway.post("/v1/publish/batch", &json!({"messages": batch}).to_string()).json();
    let results: Vec<Value> = answer["results"].as_array().unwrap().clone();
    let pushed_flags: Vec<&Value> = results.iter().map(|result| &result["pushed"]).collect();
    assert_eq!(
        pushed_flags,
        [&json!(false), &json!(true), &Value::Null, &Value::Null, &Value::Null],
        "{answer}"
    );
    for refused in &results[3..] {
        assert_eq!(refused["error"]["code"], "bad_push", "{answer}");
    }
    let refused = gateway.post("/v1/publish", &publication("room:7", true).to_string());
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &"bad_push".into()));
    let entries = pushed(&mut backend);
    assert_eq!(entries.len(), 1);
    assert_eq!(results[1]["position"], *entries[0]["position"]);
}

/// Only HTTP publishes in memory, so its answer is what hands the message to push.
#[test]
fn in_memory_the_answer_says_whether_to_push() {
    let gateway = TestGateway::with("presence.enabled", "true").with("presence.grace", "1m").spawn();
    gateway.wait_ready();
    let publish = |user: &str, key: &str| {
        let channel = format!("user:{user}");
        let body =
            json!({"channel": channel, "message": 1, "durable": true, "push": true, "idempotency_key": key});
        gateway.post("/v1/publish", &body.to_string()).json()
    };
    let first = publish("42", "order-1");
    assert_eq!(first["pushed"], true, "{first}");
    let client = gateway.ready_client("42");
    assert_eq!(publish("42", "order-1"), first, "a repeated key has the first answer");
    assert_eq!(publish("42", "order-2")["pushed"], false);
    drop(client);
    let mut number = 2;
    eventually_eq(SOON, &json!(true), || {
        number += 1;
        publish("42", &format!("order-{number}"))["pushed"].clone()
    });
}

#[test]
fn the_command_line_publishes_with_push() {
    let (_redis, mut backend, gateway, _client) = with_user("0s");
    for (user, text) in [("42", "not handed to push"), ("43", "handed to push: the user is away")] {
        let ended = gateway.command(&["publish", &format!("user:{user}"), "1", "--durable", "--push"]);
        assert_eq!((ended.code, ended.err.contains(text)), (Some(0), true), "{}", ended.err);
        assert!(ended.out.trim_end().ends_with("-1"), "the position: {}", ended.out);
    }
    assert_eq!(pushed(&mut backend).len(), 1);
}

/// The keys of presence and the channel of a user are in different slots.
#[test]
fn in_a_sharded_cluster_push_is_refused_with_the_reason() {
    let (_redis, mut backend, _gateway, _client) = with_user("0s");
    let libraries: Vec<HashMap<String, redis::Value>> = run_line(&mut backend, "FUNCTION LIST WITHCODE");
    let code: String = redis::from_redis_value(libraries[0]["library_code"].clone()).unwrap();
    let settings: String = run_line(&mut backend, "GET gateway:settings");
    let cluster = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let mut node = cluster.client();
    run_line::<()>(&mut node, "CLUSTER ADDSLOTSRANGE 0 16383");
    eventually_eq(SOON, &true, || {
        let info: String = run_line(&mut node, "CLUSTER INFO");
        info.contains("cluster_state:ok")
    });
    redis::cmd("FUNCTION").arg("LOAD").arg(code).exec(&mut node).unwrap();
    redis::cmd("SET").arg("gateway:settings").arg(settings).exec(&mut node).unwrap();
    let error = push(&mut node, "43", "1", "").unwrap_err().to_string();
    assert!(error.contains("slot"), "{error}");
    assert_eq!(length(&mut node, "gateway:user:43"), 0);
}
