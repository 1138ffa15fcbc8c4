//! Everything works with each channel in its own slot.

use redis::cmd;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::cluster::{TestCluster, slot_of};
use crate::support::deadline::{eventually, eventually_eq};
use crate::support::gateway::{Plan, TestGateway};
use crate::support::http;
use crate::support::process::SOON;

/// Enough that each master has the channels of some of them.
const USERS: [&str; 6] = ["1", "2", "3", "4", "5", "6"];

fn plan(cluster: &TestCluster) -> Plan {
    TestGateway::with("broker.url", &cluster.url())
        .with("broker.shards", "slots")
        .with("presence.enabled", "true")
        .with("presence.grace", "0s")
        .with("channels.public_namespaces", "room,online")
        .with("namespaces.room.presence", "members")
        .with("namespaces.room.occupancy", "true")
        .with("namespaces.room.send", "true")
        .with("session.messages_per_minute", "0")
        .with("limits.connections_per_address", "0")
}

/// Connects a client of version 2, with these entries of Identify. Returns it with its Ready.
#[track_caller]
fn identify(gateway: &TestGateway, token: &str, channels: &Value) -> (Client, Value) {
    let mut client = gateway.connect_v2().answering_heartbeats();
    client.send_text(&json!({"op": 1, "token": token, "channels": channels}).to_string());
    let ready = client.expect_ready();
    (client, ready)
}

/// The next message of a channel of the user.
#[track_caller]
fn next_message(client: &mut Client, channel: &str) -> Value {
    loop {
        let frame = client.next_json();
        if frame["op"] == 3 && frame["channel"] == channel {
            return frame["message"].clone();
        }
        assert_ne!(frame["op"], 7, "no gap: {frame}");
    }
}

fn user_channel(user: &str) -> String {
    format!("user:{user}")
}

/// A ready gateway with the functions on each master.
#[track_caller]
fn ready(plan: &Plan) -> TestGateway {
    let gateway = plan.spawn();
    gateway.wait_ready();
    eventually_eq(SOON, &1, || gateway.metric("history_available"));
    gateway
}

#[test]
fn messages_of_all_slots_arrive_from_every_publisher() {
    let cluster = TestCluster::start(3, 0);
    let (one, two) = (ready(&plan(&cluster)), ready(&plan(&cluster)));
    assert_eq!((one.metric("redis_links"), one.metric("redis_links_ready")), (3, 3));
    let mut clients: Vec<_> = USERS.iter().map(|user| identify(&one, user, &json!([])).0).collect();
    let mut backend = cluster.client();
    let batch: Vec<_> = USERS
        .iter()
        .map(|user| json!({"channel": user_channel(user), "message": "batch", "durable": true}))
        .collect();
    for user in USERS {
        two.publish(&user_channel(user), "\"http\"");
        two.publish_durably(&user_channel(user), "\"durable\"");
        backend.spublish(&format!("gateway:{}", user_channel(user)), "\"plain\"").unwrap();
        let mut call = cmd("FCALL");
        let key = format!("gateway:{}", user_channel(user));
        call.arg("gateway_publish").arg(1).arg(&key).arg("\"function\"");
        let _: String = backend.call(&key, &call);
    }
    let answer = two.post("/v1/publish/batch", &json!({"messages": batch}).to_string());
    assert!(answer.status == 200 && !answer.body.contains("error"), "{}", answer.body);
    let everyone = json!({"users": USERS, "message": "users"}).to_string();
    backend.spublish("gateway:users", &everyone).unwrap();
    backend.spublish("gateway:all", "\"all\"").unwrap();
    for (client, user) in clients.iter_mut().zip(USERS) {
        let channel = user_channel(user);
        let mut messages: Vec<_> = (0..6).map(|_| next_message(client, &channel)).collect();
        // The write to many users comes over another link than the others, so it may be before them.
        let to_users = messages.iter().position(|message| message == "users").expect("written to all users");
        messages.remove(to_users);
        assert_eq!(messages, ["http", "durable", "plain", "function", "batch"]);
    }
    // Resume and history, from a gateway that has not seen the messages.
    drop(clients.remove(0));
    let missed = two.publish_durably("user:1", "7");
    let channels = json!([{"channel": "user:1", "since": last_but_one(&two, "user:1")}]);
    let (mut client, ready) = identify(&two, "1", &channels);
    let resumed = ready["channels"].as_array().unwrap().iter().find(|entry| entry["channel"] == "user:1");
    assert_eq!(resumed.unwrap()["recovered"], true, "{ready}");
    assert_eq!(next_message(&mut client, "user:1"), 7);
    let page = two.get("/v1/channels/user:1/history").json();
    assert_eq!(page["messages"].as_array().unwrap().last().unwrap()["position"], missed, "{page}");
}

/// The position before the last message of a channel.
#[track_caller]
fn last_but_one(gateway: &TestGateway, channel: &str) -> Value {
    let page = gateway.get(&format!("/v1/channels/{channel}/history")).json();
    let messages = page["messages"].as_array().unwrap();
    messages[messages.len() - 2]["position"].clone()
}

#[test]
fn presence_rooms_control_inbox_and_tokens_work_in_slots() {
    let cluster = TestCluster::start(3, 0);
    let plan = plan(&cluster).with("auth.kind", "redis");
    let mut backend = cluster.client();
    for user in USERS {
        let claims = json!({"sub": user, "channels": ["room:*", "online:*"]}).to_string();
        let key = token_key(&format!("secret-{user}"));
        backend.call::<()>(&key, cmd("SET").arg(&key).arg(claims));
    }
    let (one, two) = (ready(&plan), ready(&plan));
    let mut clients: Vec<_> =
        USERS.iter().map(|user| identify(&one, &format!("secret-{user}"), &json!([])).0).collect();
    let (mut watcher, _) = identify(&two, "secret-1", &json!([{"channel": "online:2"}]));
    eventually_eq(SOON, &json!(true), || presence_of(&two, "2"));
    // A room with members, which a session of each gateway is in.
    let is_subscribed = |client: &mut Client| {
        client.send_text(r#"{"op":4,"channel":"room:7"}"#);
        loop {
            let frame = client.next_json();
            if frame["op"] == 6 && frame["channel"] == "room:7" {
                return;
            }
        }
    };
    is_subscribed(&mut clients[2]);
    is_subscribed(&mut watcher);
    eventually_eq(SOON, &json!(["1", "3"]), || {
        one.get("/v1/channels/room:7/members").json()["members"].clone()
    });
    // The inbox.
    clients[2].send_text(r#"{"op":16,"id":"a","channel":"room:7","message":{"n":1}}"#);
    eventually(SOON, || (clients[2].next_json()["op"] == 17).then_some(()));
    let inbox = two.get("/v1/inbox").json();
    assert_eq!(inbox["messages"][0]["message"], json!({"n": 1}), "{inbox}");
    let through = inbox["messages"][0]["entry"].as_str().unwrap().to_owned();
    let head = format!("DELETE /v1/inbox?through={through} HTTP/1.1\nconnection: close");
    assert_eq!(http::request(one.admin, &head, "").status, 200);
    // A command to the other replica, which both answer.
    let answer = two.post("/v1/control", &json!({"disconnect": {"user": "2"}}).to_string());
    let outcome = answer.json();
    assert_eq!((answer.status, &outcome["missing"]), (200, &json!([])), "{outcome}");
    assert_eq!(outcome["replicas"].as_object().unwrap().len(), 2, "{outcome}");
    eventually(SOON, || clients[1].next_or_code().is_err().then_some(()));
    eventually_eq(SOON, &json!(false), || presence_of(&one, "2"));
}

#[test]
fn a_moved_slot_takes_its_channel_along() {
    let cluster = TestCluster::start(3, 0);
    let gateway = ready(&plan(&cluster));
    let (mut client, _) = identify(&gateway, "1", &json!([]));
    gateway.publish_durably("user:1", "1");
    assert_eq!(next_message(&mut client, "user:1"), 1);
    let slot = slot_of("gateway:user:1");
    let owner = cluster.owner(slot);
    let target = cluster.masters().into_iter().find(|node| *node != owner).unwrap();
    cluster.move_slot(slot, target);
    for number in 2..5 {
        gateway.publish_durably("user:1", &number.to_string());
        assert_eq!(next_message(&mut client, "user:1"), number);
    }
    assert_eq!(gateway.metric("redis_links"), 3);
    // Presence and control move as well.
    for key in ["{presence}", "{control}", "gateway:inbox", "gateway:users"] {
        let owner = cluster.owner_of_key(key);
        let target = cluster.masters().into_iter().find(|node| *node != owner).unwrap();
        cluster.move_slot(slot_of(key), target);
    }
    gateway.wait_ready();
    eventually_eq(SOON, &json!(true), || presence_of(&gateway, "1"));
    let answer = gateway.post("/v1/control", &json!({"disconnect": {"user": "1"}}).to_string());
    assert_eq!((answer.status, &answer.json()["missing"]), (200, &json!([])), "{}", answer.body);
}

#[test]
fn ready_with_any_master_notes_the_missing_ones() {
    let mut cluster = TestCluster::plan(3, 0).with("--cluster-require-full-coverage", "no").start();
    let mut any = ready(&plan(&cluster).with("broker.ready_with_shards", "any"));
    let all = ready(&plan(&cluster));
    let lost = cluster.kill_owner(slot_of("gateway:user:1"));
    let alive = USERS.iter().find(|user| {
        let slot = slot_of(&format!("gateway:user:{user}"));
        cluster.slots_of((lost + 1) % 3).contains(&slot)
    });
    let alive = user_channel(alive.unwrap());
    all.wait_not_ready("redis");
    let port = cluster.server(lost).port().to_string();
    eventually(SOON, || {
        let answer = any.get("/readyz");
        let notes = answer.json()["notes"].to_string();
        let names_it = notes.contains(&port) || notes.contains("slots of the cluster have no master");
        (answer.status == 200 && names_it).then_some(())
    });
    any.wait_for_log("slots of the cluster have no master");
    let (mut client, _) = identify(&any, alive.trim_start_matches("user:"), &json!([]));
    any.publish_durably(&alive, "1");
    assert_eq!(next_message(&mut client, &alive), 1);
    cluster.restart(lost);
    all.wait_ready();
    any.wait_for_log("every slot of the cluster has a master");
    any.publish_durably("user:1", "1");
}

#[test]
fn a_gateway_leaves_a_master_that_most_nodes_have_forgotten() {
    let cluster = TestCluster::start(3, 0);
    let one = TestGateway::with("broker.url", &cluster.url());
    // The next history check is in an hour, so it tells nothing.
    let both = [one, plan(&cluster)].map(|plan| ready(&plan.with("broker.history_check_interval", "1h")));
    let forgotten = cluster.owner_of_key("{gateway}:user:1");
    cluster.forget(forgotten);
    // Redis 8 does not let a forgotten node come back for a minute, so `exact_counts` shows that gateways come back.
    both.iter().for_each(|gateway| gateway.wait_not_ready("redis"));
}

fn token_key(token: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let hash: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("gateway:token:{hash}")
}

/// Whether a user is online.
#[track_caller]
fn presence_of(gateway: &TestGateway, user: &str) -> Value {
    let answer = gateway.post("/v1/presence", &json!({"users": [user]}).to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["users"][user]["online"].clone()
}
