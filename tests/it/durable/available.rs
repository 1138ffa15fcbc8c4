//! The gateway loads the function into Redis. If it cannot, it reports the reason, and live delivery still works.

use super::*;
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;

/// Waits until the broker reports that durable publishing is not available because of `text`.
#[track_caller]
fn assert_unavailable(redis: &Prepared, text: &str) {
    eventually(SOON, || {
        let notes = redis.broker.notes();
        notes
            .iter()
            .any(|note| note.starts_with("durable publishing is not available: ") && note.contains(text))
            .then_some(())
    });
    assert_eq!(redis.metrics.history_available.get(), 0);
    assert!(redis.broker.health().is_ready, "live delivery still works");
}

fn code(redis: &mut Prepared) -> String {
    let libraries: Vec<std::collections::HashMap<String, redis::Value>> =
        redis.run("FUNCTION LIST LIBRARYNAME gateway WITHCODE");
    redis::from_redis_value(libraries[0]["library_code"].clone()).unwrap()
}

fn load(server: &RedisServer, code: &str) {
    cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(code).exec(&mut server.client()).unwrap();
}

/// Builds a library of this name with one function, and with a version if it is one of ours.
fn library(version: Option<u32>) -> String {
    let version = version.map_or_else(String::new, |version| format!("local VERSION = {version}\n"));
    let function = "redis.register_function('gateway_publish', function() return '1-1' end)";
    format!("#!lua name=gateway\n{version}{function}\n")
}

#[test]
fn a_server_without_functions_still_delivers() {
    for missing in ["FUNCTION", "FCALL"] {
        let server = RedisServer::start_with(&["--rename-command", missing, ""]);
        let mut redis = Prepared::over(server);
        if missing == "FUNCTION" {
            assert_unavailable(&redis, "Redis 7 or Valkey is needed");
        }
        let error = redis.broker_publishes("room:1", "1").unwrap_err();
        assert!(matches!(error, PublishError::HistoryUnavailable(_)), "{error}");
        redis.run::<()>("PUBLISH gateway:room:1 1");
        assert!(redis.broker.health().is_ready);
    }
}

#[test]
fn a_missing_right_to_load_is_reported_and_retried() {
    let server = RedisServer::start();
    run_line::<()>(&mut server.client(), "ACL SETUSER default -function");
    let mut redis = Prepared::over(server);
    assert_unavailable(&redis, "NOPERM");
    let error = redis.broker_publishes("room:1", "1").unwrap_err();
    assert!(matches!(error, PublishError::HistoryUnavailable(_)), "{error}");
    redis.run::<()>("ACL SETUSER default +function");
    redis.broker_publishes("room:1", "1").unwrap();
    assert_eq!((redis.broker.notes(), redis.metrics.history_available.get()), (vec![], 1));
}

#[test]
fn an_answer_without_a_position_leaves_the_result_open() {
    let server = RedisServer::start();
    load(&server, &library(Some(1_000_000)).replace("'1-1'", "'done'"));
    let redis = Prepared::over(server);
    let error = redis.broker_publishes("room:1", "1").unwrap_err();
    assert!(matches!(error, PublishError::InvalidAnswer(_)), "{error}");
    assert!(error.to_string().ends_with("the message may have been published"), "{error}");
}

#[test]
fn older_functions_are_replaced_and_newer_ones_kept() {
    let server = RedisServer::start();
    load(&server, &library(Some(1)));
    let mut redis = Prepared::over(server);
    assert!(code(&mut redis).contains("XADD"));
    // The settings are still those of this gateway.
    assert!(redis.run::<String>("GET gateway:settings").contains(r#""history_size":100,"#));
    let server = RedisServer::start();
    load(&server, &library(Some(1_000_000)));
    let mut redis = Prepared::over(server);
    assert!(!code(&mut redis).contains("XADD"));
    assert_eq!(redis.broker_publishes("room:1", "1").unwrap().to_string(), "1-1");
}

#[test]
fn a_foreign_library_of_that_name_is_not_replaced() {
    let server = RedisServer::start();
    load(&server, &library(None));
    let mut redis = Prepared::over(server);
    assert_unavailable(&redis, "another library in Redis has the name gateway");
    assert!(!code(&mut redis).contains("XADD"));
}

#[test]
fn gateways_that_start_together_load_one_function() {
    let server = RedisServer::start();
    let all: Vec<_> = (0..8)
        .map(|_| {
            let metrics = Metrics::default();
            (Broker::redis(options(&server.url()), &metrics).unwrap(), metrics)
        })
        .collect();
    for (broker, metrics) in &all {
        eventually(SOON, || broker.health().is_ready.then_some(()));
        assert_eq!((broker.notes(), metrics.history_available.get()), (vec![], 1));
    }
}

#[test]
fn readyz_reports_missing_functions_and_stays_200() {
    let server = RedisServer::start_with(&["--rename-command", "FUNCTION", ""]);
    let mut gateway = TestGateway::redis(&server).spawn();
    gateway.wait_ready();
    let note =
        "durable publishing is not available: this server has no functions: Redis 7 or Valkey is needed";
    assert_eq!(gateway.get("/readyz").json()["notes"][0], note);
    assert_eq!(gateway.metric("history_available"), 0);
    gateway.wait_for_log(note);
    let answer = gateway.post("/v1/publish", r#"{"channel":"user:42","message":1,"durable":true}"#);
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (503, Some("history_unavailable")));
    let mut client = gateway.ready_client("42");
    gateway.publish("user:42", "2");
    client.expect_text(r#"{"op":3,"message":2}"#);
}
