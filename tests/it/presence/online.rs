//! The state in the answer to a subscription to `online:<user>`, and the edges that follow it.

use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::over_both::{Over, over_both};
use super::*;
use crate::support::client::Client;
use crate::support::process::SOON;
use crate::support::redis_line::run_line;

over_both! {
    a_subscription_begins_with_the_state_and_edges_follow
    ready_has_the_state_of_each_watched_user
    a_user_within_the_grace_is_online
    while_presence_is_off_no_answer_has_a_state
    state_and_edges_lead_to_the_truth
}

/// A gateway whose clients may watch users.
fn start(over: Over, is_enabled: &str, grace: &str) -> (TestGateway, Option<RedisServer>) {
    let redis = matches!(over, Over::Redis).then(RedisServer::start);
    let plan = TestGateway::with("presence.enabled", is_enabled)
        .with("presence.grace", grace)
        .with("channels.public_namespaces", "online");
    let plan = match &redis {
        Some(redis) => plan.redis(redis),
        None => plan,
    };
    let gateway = plan.spawn();
    gateway.wait_ready();
    (gateway, redis)
}

/// A client of version 2 that watches these users from its Identify on. Returns its Ready as well.
fn watch(gateway: &TestGateway, users: &[&str]) -> (Client, Value) {
    let mut client = gateway.connect_v2().answering_heartbeats();
    let channels: Vec<_> = users.iter().map(|user| json!({"channel": format!("online:{user}")})).collect();
    client.send_text(&json!({"op": 1, "token": "7", "channels": channels}).to_string());
    let ready = client.expect_ready();
    (client, ready)
}

/// Subscribes to a user. Returns the presence in the answer.
#[track_caller]
fn subscribe(client: &mut Client, user: &str) -> Value {
    client.send_text(&format!(r#"{{"op":4,"channel":"online:{user}"}}"#));
    let answer = client.next_json();
    assert_eq!((&answer["op"], &answer["state"]), (&6.into(), &"subscribed".into()), "{answer}");
    answer["presence"].clone()
}

#[track_caller]
fn assert_state(presence: &Value, is_online: bool) -> u64 {
    let at = presence["at"].as_u64().unwrap_or_else(|| panic!("no time: {presence}"));
    assert_eq!(*presence, json!({"online": is_online, "at": at}));
    assert!(at > 1_700_000_000_000, "Unix time in milliseconds");
    at
}

/// Reads messages on `online:<user>` until one says `is_online`, if the state was another one.
#[track_caller]
fn follow(client: &mut Client, user: &str, state: &Value, is_online: bool) -> Value {
    let mut state = state.clone();
    while state["online"] != is_online {
        let frame = client.next_json();
        assert_eq!(
            (&frame["op"], &frame["channel"]),
            (&3.into(), &format!("online:{user}").into()),
            "{frame}"
        );
        state = frame["message"].clone();
    }
    state
}

fn a_subscription_begins_with_the_state_and_edges_follow(over: Over) {
    let (gateway, _redis) = start(over, "true", "0s");
    let (mut watcher, _) = watch(&gateway, &[]);
    let away = subscribe(&mut watcher, "42");
    let read = assert_state(&away, false);
    let client = gateway.ready_client("42");
    let came = follow(&mut watcher, "42", &away, true);
    assert!(assert_state(&came, true) >= read, "an edge after the state is not earlier");
    let (mut second, _) = watch(&gateway, &[]);
    let online = subscribe(&mut second, "42");
    assert_state(&online, true);
    drop(client);
    assert_state(&follow(&mut second, "42", &online, false), false);
}

fn ready_has_the_state_of_each_watched_user(over: Over) {
    let (gateway, _redis) = start(over, "true", "0s");
    let _client = gateway.ready_client("42");
    let (mut watcher, _) = watch(&gateway, &["42"]);
    // Over Redis a session is reported a moment after its Ready.
    let online = subscribe_after_edge(&gateway, &mut watcher);
    assert_state(&online, true);
    let (_second, ready) = watch(&gateway, &["42", "43"]);
    let channels = ready["channels"].as_array().unwrap();
    let listed = |name: &str| channels.iter().find(|channel| channel["channel"] == name).unwrap();
    assert_state(&listed("online:42")["presence"], true);
    assert_state(&listed("online:43")["presence"], false);
    for own in ["user:7", "all"] {
        assert_eq!(listed(own).get("presence"), None, "{own}");
    }
}

/// Waits until user 42 is online, with a client that watches it.
fn subscribe_after_edge(gateway: &TestGateway, watcher: &mut Client) -> Value {
    let (mut other, _) = watch(gateway, &[]);
    let state = subscribe(&mut other, "42");
    let online = follow(&mut other, "42", &state, true);
    // The first watcher may have its edge as well.
    while watcher.next_within(Duration::from_millis(1)).is_some() {}
    online
}

fn a_user_within_the_grace_is_online(over: Over) {
    let (gateway, _redis) = start(over, "true", "1m");
    let (mut watcher, _) = watch(&gateway, &[]);
    let state = subscribe(&mut watcher, "42");
    let client = gateway.ready_client("42");
    follow(&mut watcher, "42", &state, true);
    drop(client);
    gateway.wait_metric("sessions", 1);
    let (mut second, _) = watch(&gateway, &[]);
    assert_state(&subscribe(&mut second, "42"), true);
}

fn while_presence_is_off_no_answer_has_a_state(over: Over) {
    let (gateway, _redis) = start(over, "false", "0s");
    let _client = gateway.ready_client("42");
    let (mut watcher, ready) = watch(&gateway, &["42"]);
    assert!(ready["channels"].as_array().unwrap().iter().all(|channel| channel.get("presence").is_none()));
    assert_eq!(subscribe(&mut watcher, "43"), Value::Null);
}

/// A user comes and leaves while others subscribe: a subscriber that applies each message in order ends right.
fn state_and_edges_lead_to_the_truth(over: Over) {
    let (gateway, _redis) = start(over, "true", "0s");
    let mut client = None;
    for round in 0..16 {
        let (mut watcher, _) = watch(&gateway, &[]);
        client = match client {
            // The session may have begun or ended when the presence is read, or not.
            None => {
                let mut client = gateway.connect();
                client.identify("42");
                Some(client)
            }
            Some(_) => None,
        };
        let state = subscribe(&mut watcher, "42");
        assert!(state["at"].is_u64(), "round {round}: {state}");
        follow(&mut watcher, "42", &state, client.is_some());
    }
}

fn watchable(redis: &RedisServer) -> Plan {
    plan(redis, "0s").with("channels.public_namespaces", "online")
}

#[test]
fn the_state_counts_sessions_on_other_replicas() {
    let redis = RedisServer::start();
    let gateways = [watchable(&redis).spawn(), watchable(&redis).spawn()];
    gateways.iter().for_each(TestGateway::wait_ready);
    let client = gateways[1].ready_client("42");
    wait_online(&mut redis.client(), "42", Some(1));
    let (mut watcher, ready) = watch(&gateways[0], &["42"]);
    assert_state(&ready["channels"][2]["presence"], true);
    drop(client);
    assert_state(&follow(&mut watcher, "42", &json!({"online": true}), false), false);
}

#[test]
fn a_gap_and_the_state_follow_a_downtime_of_redis() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let gateway = watchable(&redis).spawn();
    gateway.wait_ready();
    let _client = gateway.ready_client("42").answering_heartbeats();
    wait_online(&mut redis.client(), "42", Some(1));
    let (mut watcher, _) = watch(&gateway, &["42", "43"]);
    redis.kill();
    gateway.wait_not_ready("redis");
    // Nothing waits for Redis, and the answer follows.
    watcher.send_text(r#"{"op":4,"channel":"online:44"}"#);
    assert_eq!(watcher.next_json()["state"], "recovering");
    let (mut second, ready) = watch(&gateway, &["42"]);
    assert_eq!(ready["channels"][2], json!({"channel": "online:42", "state": "recovering"}));
    redis.restart();
    let (mut gaps, mut states, mut answered) = (Vec::new(), BTreeMap::new(), Value::Null);
    while states.len() < 2 || answered.is_null() {
        let frame = watcher.next_json();
        let channel = frame["channel"].as_str().unwrap().to_owned();
        match frame["op"].as_u64().unwrap() {
            8 => gaps.push(channel),
            3 => {
                assert!(gaps.contains(&channel), "the gap comes first: {frame}");
                states.insert(channel, frame["message"].clone());
            }
            _ => {
                assert_eq!((&*channel, &frame["state"]), ("online:44", &"subscribed".into()));
                answered = frame["presence"].clone();
            }
        }
    }
    assert_state(&states["online:42"], true);
    assert_state(&states["online:43"], false);
    assert_state(&answered, false);
    let answer = loop {
        let frame = second.next_json();
        if frame["op"] == 6 && frame["channel"] == "online:42" {
            break frame;
        }
    };
    assert_state(&answer["presence"], true);
}

#[test]
fn without_the_right_to_hmget_the_answer_has_no_state() {
    let redis = RedisServer::start();
    let rules = ["gateway", "on", ">secret", "~*", "&*", "+@all", "-hmget"];
    redis::cmd("ACL").arg("SETUSER").arg(&rules).exec(&mut redis.client()).unwrap();
    let plan = watchable(&redis).with("broker.username", "gateway").with("broker.password", "secret");
    let mut gateway = plan.spawn();
    gateway.wait_ready();
    let (mut watcher, _) = watch(&gateway, &[]);
    assert_eq!(subscribe(&mut watcher, "42"), Value::Null);
    gateway.wait_for_log("subscribers of online:<user> get no state of the user");
    let _client = gateway.ready_client("42");
    assert_eq!(watcher.next_within(SOON).map(|edge| edge.contains(r#""online":true"#)), Some(true));
}

#[test]
fn many_subscriptions_are_read_in_few_calls() {
    let redis = RedisServer::start();
    let gateway = watchable(&redis).with("limits.subscriptions_per_session", "1000").spawn();
    gateway.wait_ready();
    let users: Vec<String> = (100..700).map(|user| user.to_string()).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let (_watcher, ready) = watch(&gateway, &users);
    for channel in &ready["channels"].as_array().unwrap()[2..] {
        assert_state(&channel["presence"], false);
    }
    let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut redis.client()).unwrap();
    let line = stats.lines().find(|line| line.starts_with("cmdstat_hmget:calls=")).unwrap();
    let calls: u32 = line.split(['=', ',']).nth(1).unwrap().parse().unwrap();
    assert!(calls < 100, "{line}");
}

/// A user comes and leaves on one replica, and a client watches it on another one, whose connections to Redis are cut:
/// the subscriber's, so that edges are lost, and those for commands, so that reads of the state are.
fn run_cuts(seed: u64, time: Duration) {
    let redis = RedisServer::start();
    let gateways = [watchable(&redis).spawn(), watchable(&redis).spawn()];
    gateways.iter().for_each(TestGateway::wait_ready);
    let (mut watcher, ready) = watch(&gateways[0], &["42"]);
    let mut state = ready["channels"][2]["presence"].clone();
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut client, mut gaps) = (None, 0);
    let mut backend = redis.client();
    let end = Instant::now() + time;
    while Instant::now() < end {
        match random.random_range(0..12) {
            0 => run_line::<()>(&mut backend, "CLIENT KILL TYPE pubsub"),
            1 => run_line(&mut backend, "CLIENT KILL TYPE normal SKIPME yes"),
            _ => {
                client = match client {
                    None => Some(gateways[1].ready_client("42")),
                    Some(_) => None,
                }
            }
        }
        // Also the pace of the steps.
        let pause = Duration::from_millis(random.random_range(1..60));
        gaps += apply(&mut watcher, &mut state, pause);
    }
    let truth = client.is_some();
    wait_online(&mut backend, "42", truth.then_some(1));
    let deadline = Instant::now() + BURIAL;
    while state["online"] != truth && Instant::now() < deadline {
        gaps += apply(&mut watcher, &mut state, Duration::from_millis(100));
    }
    assert_eq!(state["online"], truth, "seed {seed}: {state} after {gaps} gaps");
    assert!(gaps > 0, "seed {seed}: no cut was noticed");
}

/// Applies each frame until none arrives for `pause`. Returns the number of gaps.
#[track_caller]
fn apply(watcher: &mut Client, state: &mut Value, pause: Duration) -> usize {
    let mut gaps = 0;
    while let Some(frame) = watcher.next_within(pause) {
        let frame: Value = serde_json::from_str(&frame).unwrap();
        if frame["channel"] != "online:42" {
            continue;
        }
        match frame["op"].as_u64().unwrap() {
            3 => *state = frame["message"].clone(),
            8 => gaps += 1,
            _ => panic!("{frame}"),
        }
    }
    gaps
}

#[test]
fn a_watcher_ends_at_the_truth_while_connections_are_cut() {
    let seeds = std::env::var("PRESENCE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    for seed in 1..=seeds {
        run_cuts(seed, Duration::from_secs(6));
    }
}

#[test]
fn an_edge_lost_with_the_link_is_in_the_state() {
    let redis = RedisServer::start();
    let slow = watchable(&redis)
        .with("broker.max_reconnect_delay", "2s")
        .with("broker.min_reconnect_delay", "2s")
        .spawn();
    slow.wait_ready();
    let (mut watcher, ready) = watch(&slow, &["42"]);
    assert_state(&ready["channels"][2]["presence"], false);
    let mut backend = redis.client();
    // Only this replica has a subscriber's connection yet.
    run_line::<()>(&mut backend, "CLIENT KILL TYPE pubsub");
    slow.wait_not_ready("redis");
    let gateway = watchable(&redis).spawn();
    gateway.wait_ready();
    let _client = gateway.ready_client("42");
    wait_online(&mut backend, "42", Some(1));
    assert_eq!(slow.readyz().0, 503, "the edge was published while the link was down");
    let mut frames = std::iter::repeat_with(|| watcher.next_json());
    let gap = frames.find(|frame| frame["channel"] == "online:42").unwrap();
    assert_eq!(gap["op"], 8, "{gap}");
    let state = frames.find(|frame| frame["channel"] == "online:42").unwrap();
    assert_state(&state["message"], true);
}
