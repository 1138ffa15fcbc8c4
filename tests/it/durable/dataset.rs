//! The settings and the dataset marker of one prefix: which settings apply, and when recovery may be claimed.

use super::*;
use crate::support::client::Client;
use crate::support::deadline::eventually;
use crate::support::gateway::{Plan, TestGateway};

/// A gateway whose link checks the marker every second.
fn plan(server: &RedisServer) -> Plan {
    TestGateway::redis(server).with("broker.history_check_interval", "1s")
}

fn start(plan: Plan) -> TestGateway {
    let gateway = plan.spawn();
    gateway.wait_ready();
    gateway
}

/// Identifies as user 42 and resumes `all` from `since`. Returns the channel's position and whether it was recovered.
#[track_caller]
fn resume(gateway: &TestGateway, since: Option<&str>) -> (String, Option<bool>) {
    let mut client: Client = gateway.connect_v2();
    let since = since.map_or_else(String::new, |since| format!(r#","since":"{since}""#));
    client.send_text(&format!(r#"{{"op":1,"token":"42","channels":[{{"channel":"all"{since}}}]}}"#));
    let ready = client.expect_ready();
    let mut channels = ready["channels"].as_array().unwrap().iter();
    let all = channels.find(|channel| channel["channel"] == "all").unwrap();
    (all["position"].as_str().unwrap().to_owned(), all["recovered"].as_bool())
}

/// Waits until the gateway knows that `all` has no history; returns a position that can be resumed from.
#[track_caller]
fn start_position(gateway: &TestGateway) -> String {
    eventually(SOON, || {
        let (position, _) = resume(gateway, None);
        let is_beginning = position.ends_with("-0");
        (is_beginning && resume(gateway, Some(&position)).1 == Some(true)).then_some(position)
    })
}

/// Waits for a note of `/readyz` that contains `text`.
#[track_caller]
fn wait_for_notice(gateway: &TestGateway, text: &str) {
    eventually(SOON, || gateway.get("/readyz").json()["notes"].to_string().contains(text).then_some(()));
}

fn marker(client: &mut Connection) -> String {
    run_line(client, "GET gateway:dataset")
}

#[test]
fn the_process_started_last_puts_its_settings_into_force() {
    let mut redis = Prepared::start();
    let mut other = options(&redis.server.url());
    (other.history, other.max_payload_bytes) = (HistoryOptions::of_size(7), 10);
    let metrics = Metrics::default();
    let broker = Broker::redis(other, &metrics).unwrap();
    eventually(SOON, || broker.health().is_ready.then_some(()));
    let settings: String = redis.run("GET gateway:settings");
    assert!(settings.contains(r#""history_size":7,"#), "{settings}");
    let error = refused(&mut redis.backend, &["room:1"], &["12345678901"]);
    assert!(error.contains("the message is 11 bytes; the maximum is 10"), "{error}");
    // After its reconnect, the older process reads the settings and does not replace them.
    redis.run::<()>("CLIENT KILL TYPE pubsub");
    let note = "history: broker.history_size is 7 in force, 100 here; broker.max_payload_bytes is 10 in force, 1000 here";
    eventually_eq(SOON, &vec![note.to_owned()], || redis.broker.notes());
    assert_eq!(redis.run::<String>("GET gateway:settings"), settings);
    assert_eq!(broker.notes(), Vec::<String>::new());
    assert!(matches!(redis.broker_publishes("room:1", "12345678901"), Err(PublishError::TooBig { .. })));
}

#[test]
fn another_prefix_on_the_same_redis_changes_nothing() {
    let mut redis = Prepared::start();
    let before: (String, String) = (redis.run("GET gateway:settings"), redis.run("GET gateway:dataset"));
    let mut other = options(&redis.server.url());
    (other.prefix, other.history) = ("staging".into(), HistoryOptions::of_size(1));
    other.history.ttl = Duration::from_secs(1);
    let metrics = Metrics::default();
    let broker = Broker::redis(other, &metrics).unwrap();
    eventually(SOON, || broker.health().is_ready.then_some(()));
    assert_eq!((redis.run("GET gateway:settings"), redis.run("GET gateway:dataset")), before);
    redis.publish("room:1", "1");
    assert!(redis.run::<u64>("PTTL gateway:room:1") > 60_000);
    // One call may name channels of both prefixes.
    let mut call = cmd("FCALL");
    call.arg("gateway_publish").arg(2).arg("staging:room:1").arg("gateway:room:2").arg("1");
    call.exec(&mut redis.backend).unwrap();
    assert!(redis.run::<u64>("PTTL staging:room:1") <= 1000);
    assert!(redis.run::<u64>("PTTL gateway:room:2") > 60_000);
}

#[test]
fn without_settings_the_defaults_are_in_force() {
    let mut redis = Prepared::start();
    redis.run::<()>("DEL gateway:settings");
    redis.publish("room:1", &format!("\"{}\"", "x".repeat(2000)));
    redis.run::<()>("SET gateway:settings {}");
    let error = refused(&mut redis.backend, &["room:1"], &["1"]);
    assert!(error.contains("gateway: the settings at gateway:settings cannot be read"), "{error}");
    redis.run::<()>("CLIENT KILL TYPE pubsub");
    eventually(SOON, || fcall::<String>(&mut redis.backend, &["room:1"], &["1"]).ok());
}

/// A history may have been written and expired under the shorter TTL.
#[test]
fn recovery_is_not_claimed_across_a_ttl_change_and_back() {
    let server = RedisServer::start();
    let gateway = start(plan(&server));
    let since = start_position(&gateway);
    let short = start(plan(&server).with("broker.history_ttl", "1s"));
    let mut client = server.client();
    fcall::<String>(&mut client, &["all"], &["1"]).unwrap();
    eventually(SOON, || (!run_line::<bool>(&mut client, "EXISTS gateway:all")).then_some(()));
    drop(short);
    wait_for_notice(&gateway, "history: broker.history_ttl is 1s in force, 1d here");
    assert_eq!(gateway.log().matches("broker.history_ttl is 1s in force").count(), 1);
    assert_eq!(resume(&gateway, Some(&since)).1, Some(false), "recovery is certain for one second only");
    let again = start(plan(&server));
    for gateway in [&gateway, &again] {
        assert_eq!(resume(gateway, Some(&since)).1, Some(false));
        start_position(gateway);
    }
    eventually(SOON, || {
        let notes = gateway.get("/readyz").json()["notes"].to_string();
        (!notes.contains("history_ttl")).then_some(())
    });
}

/// Regression: the library contained the settings of the gateway started last, regardless of its prefix.
#[test]
fn another_deployment_cannot_expire_histories_unnoticed() {
    let server = RedisServer::start();
    let gateway = start(plan(&server));
    let since = start_position(&gateway);
    let _other = start(plan(&server).with("broker.prefix", "staging").with("broker.history_ttl", "1s"));
    let mut client = server.client();
    fcall::<String>(&mut client, &["all"], &["1"]).unwrap();
    assert!(run_line::<i64>(&mut client, "PTTL gateway:all") > 60_000);
    assert_eq!(resume(&gateway, Some(&since)).1, Some(true));
}

#[test]
fn recovery_is_not_claimed_while_redis_may_evict() {
    let server = RedisServer::start_with(&["--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"]);
    let mut gateway = start(plan(&server));
    wait_for_notice(&gateway, "redis may evict keys (maxmemory_policy allkeys-lru)");
    gateway.wait_for_log("redis may evict keys (maxmemory_policy allkeys-lru)");
    assert_eq!(gateway.metric("redis_may_evict"), 1);
    let mut client = server.client();
    let (since, _) = resume(&gateway, None);
    // While the link is subscribed to the channel, it knows that nothing was published.
    let carried = |client: &mut Connection| run_line::<Vec<String>>(client, "PUBSUB CHANNELS gateway:all");
    eventually(SOON, || carried(&mut client).is_empty().then_some(()));
    assert_eq!(resume(&gateway, Some(&since)).1, Some(false));
    // Positions of one epoch show what was missed, so no marker is needed.
    let position: String = fcall(&mut client, &["all"], &["1"]).unwrap();
    assert_eq!(resume(&gateway, Some(&position)).1, Some(true));
    run_line::<()>(&mut client, "CONFIG SET maxmemory-policy noeviction");
    run_line::<()>(&mut client, "DEL gateway:all");
    start_position(&gateway);
    gateway.wait_metric("redis_may_evict", 0);
}

#[test]
fn recovery_is_not_claimed_across_an_eviction() {
    let server = RedisServer::start();
    let mut gateway = start(plan(&server));
    let since = start_position(&gateway);
    let mut client = server.client();
    let before = marker(&mut client);
    fcall::<String>(&mut client, &["all"], &["1"]).unwrap();
    // Most of the time this happens between two checks of the gateway.
    run_line::<()>(&mut client, "CONFIG SET maxmemory-policy volatile-ttl maxmemory 1");
    query_line::<()>(&mut client, "SET key 1").unwrap_err();
    run_line::<()>(&mut client, "CONFIG SET maxmemory-policy noeviction maxmemory 0");
    assert!(!run_line::<bool>(&mut client, "EXISTS gateway:all"), "it was evicted");
    eventually(SOON, || (marker(&mut client) != before).then_some(()));
    wait_for_notice(&gateway, "keys since this replica was started, so histories may be missing");
    gateway.wait_for_log("redis: history: redis has evicted ");
    assert!(gateway.metric("redis_evicted_keys") > 0);
    assert_eq!(resume(&gateway, Some(&since)).1, Some(false));
    start_position(&gateway);
}
