//! Histories by namespace: each has the size and TTL of its own section, and replicas that differ say so.

use std::sync::Arc;

use emagine_gateway::settings::{NamespaceSettings, Namespaces};

use super::*;
use crate::support::client::Client;
use crate::support::deadline::eventually;
use crate::support::gateway::{Plan, TestGateway};

/// Histories of `room`: 150 messages for a minute; of every other namespace: 2 000 messages for an hour.
fn namespaces() -> Arc<Namespaces> {
    let entry = |name: &str, history_size, seconds| {
        let history_ttl = Duration::from_secs(seconds);
        (name.to_owned(), NamespaceSettings { history_size, history_ttl, ..Default::default() })
    };
    Arc::new(Namespaces::from_iter([entry("room", 150, 60), entry("default", 2000, 3600)]))
}

fn ttl_ms(redis: &mut Prepared, channel: &str) -> i64 {
    redis.run(&format!("PTTL gateway:{channel}"))
}

#[test]
fn each_namespace_has_its_own_history_size_and_ttl() {
    let server = RedisServer::start();
    let mut redis = Prepared::over(server);
    let mut other = options(&redis.server.url());
    other.history.namespaces = namespaces();
    let metrics = Metrics::default();
    let broker = Broker::redis(other, &metrics).unwrap();
    eventually(SOON, || broker.health().is_ready.then_some(()));

    // One call names channels of several namespaces, and some of them twice.
    let channels = ["room:1", "team:1", "all", "room:2", "room:1", "online:7"];
    for number in 0..700 {
        fcall::<Vec<String>>(&mut redis.backend, &channels, &[&number.to_string()]).unwrap();
    }
    redis.publish("user:42", "1");
    let length = |redis: &mut Prepared, channel: &str| redis.run::<u64>(&format!("XLEN gateway:{channel}"));
    for room in ["room:1", "room:2"] {
        let kept = length(&mut redis, room);
        assert!((150..300).contains(&kept), "{room} keeps {kept}; redis trims in blocks of 100");
        assert!((50_000..=60_000).contains(&ttl_ms(&mut redis, room)), "{room}");
    }
    for other in ["team:1", "all"] {
        assert_eq!(length(&mut redis, other), 700, "{other}");
    }
    for other in ["team:1", "all", "user:42"] {
        assert!((3_500_000..=3_600_000).contains(&ttl_ms(&mut redis, other)), "{other}");
    }
    assert!(ttl_ms(&mut redis, "online:7") > 3_600_000, "online takes nothing from the default");
    assert!(length(&mut redis, "online:7") < 300, "the size of [broker] is 100");

    // An older gateway writes no namespaces.
    let settings: String = redis.run("GET gateway:settings");
    let mut older: serde_json::Value = serde_json::from_str(&settings).unwrap();
    older.as_object_mut().unwrap().remove("namespaces").unwrap();
    redis.run::<()>(&format!("SET gateway:settings {older}"));
    redis.publish("room:1", "1");
    assert!(ttl_ms(&mut redis, "room:1") > 3_600_000, "the TTL of [broker]");
}

/// A gateway whose link checks the marker every second.
fn plan(server: &RedisServer) -> Plan {
    TestGateway::redis(server)
        .with("broker.history_check_interval", "1s")
        .with("channels.public_namespaces", "room,team")
}

fn start(plan: Plan) -> TestGateway {
    let gateway = plan.spawn();
    gateway.wait_ready();
    gateway
}

/// Identifies as user 42 and resumes a channel. Returns the channel's position and whether it was recovered.
#[track_caller]
fn resume(gateway: &TestGateway, channel: &str, since: Option<&str>) -> (String, Option<bool>) {
    let mut client: Client = gateway.connect_v2();
    let since = since.map_or_else(String::new, |since| format!(r#","since":"{since}""#));
    client.send_text(&format!(r#"{{"op":1,"token":"42","channels":[{{"channel":"{channel}"{since}}}]}}"#));
    let ready = client.expect_ready();
    let mut channels = ready["channels"].as_array().unwrap().iter();
    let found = channels.find(|found| found["channel"] == channel).unwrap();
    (found["position"].as_str().unwrap().to_owned(), found["recovered"].as_bool())
}

/// Waits until the gateway knows that a channel has no history; returns a position that can be resumed from.
#[track_caller]
fn start_position(gateway: &TestGateway, channel: &str) -> String {
    eventually(SOON, || {
        let (position, _) = resume(gateway, channel, None);
        (resume(gateway, channel, Some(&position)).1 == Some(true)).then_some(position)
    })
}

fn notes(gateway: &TestGateway) -> Vec<String> {
    serde_json::from_value(gateway.get("/readyz").json()["notes"].clone()).unwrap_or_default()
}

/// A history of `room` may have been written and expired under its shorter TTL.
#[test]
fn recovery_is_not_claimed_across_a_namespaces_ttl_change() {
    let server = RedisServer::start();
    let mut gateway = start(plan(&server).with("namespaces.room.history_size", "5"));
    let room = start_position(&gateway, "room:7");
    let short = start(
        plan(&server).with("namespaces.room.history_ttl", "1s").with("namespaces.room.history_size", "77"),
    );
    let mut client = server.client();
    fcall::<Vec<String>>(&mut client, &["room:7", "team:7"], &["1"]).unwrap();
    eventually(SOON, || (!run_line::<bool>(&mut client, "EXISTS gateway:room:7")).then_some(()));
    assert!(run_line::<bool>(&mut client, "EXISTS gateway:team:7"));
    let note = "history: namespaces.room.history_size is 77 in force, 5 here; \
                namespaces.room.history_ttl is 1s in force, 1d here";
    eventually(SOON, || (notes(&gateway) == [note]).then_some(()));
    gateway.wait_for_log(&format!("redis: {note}"));
    assert_eq!(notes(&short), Vec::<String>::new());
    for gateway in [&gateway, &short] {
        assert_eq!(resume(gateway, "room:7", Some(&room)).1, Some(false), "certain for one second only");
    }
    drop(short);
    // The longer TTL again: what happened before is still not known.
    let again = start(plan(&server).with("namespaces.room.history_size", "5"));
    for gateway in [&gateway, &again] {
        assert_eq!(resume(gateway, "room:7", Some(&room)).1, Some(false));
        start_position(gateway, "room:7");
    }
    eventually(SOON, || notes(&gateway).is_empty().then_some(()));
}

#[test]
fn another_namespaces_short_ttl_does_not_prevent_recovery() {
    let server = RedisServer::start();
    let gateway = start(plan(&server).with("namespaces.room.history_ttl", "1s"));
    let team = start_position(&gateway, "team:7");
    let mut client = server.client();
    fcall::<String>(&mut client, &["room:7"], &["1"]).unwrap();
    eventually(SOON, || (!run_line::<bool>(&mut client, "EXISTS gateway:room:7")).then_some(()));
    let carried = |client: &mut Connection| run_line::<Vec<String>>(client, "PUBSUB CHANNELS gateway:team:7");
    eventually(SOON, || carried(&mut client).is_empty().then_some(()));
    fcall::<String>(&mut client, &["team:7"], &["1"]).unwrap();
    assert_eq!(resume(&gateway, "team:7", Some(&team)).1, Some(true));
}
