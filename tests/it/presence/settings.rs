//! Replicas whose settings of presence differ: each that differs from those in force says so.

use super::*;
use crate::support::deadline::eventually;
use crate::support::process::SOON;

/// A replica that compares its settings every second.
fn start(plan: Plan) -> TestGateway {
    let gateway = plan.with("broker.history_check_interval", "1s").spawn();
    gateway.wait_ready();
    gateway
}

/// Waits until the only note about settings is this one; empty: until there is none.
#[track_caller]
fn wait_for_note(gateway: &TestGateway, expected: &str) {
    let expected = [expected].into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>();
    eventually(SOON, || {
        let answer = gateway.get("/readyz").json();
        let notes: Vec<&str> =
            answer["notes"].as_array().into_iter().flatten().filter_map(|note| note.as_str()).collect();
        (notes == expected).then_some(())
    });
}

#[test]
fn replicas_with_other_settings_of_presence_have_a_note() {
    let redis = RedisServer::start();
    let mut backend = redis.client();
    let mut first = start(plan(&redis, "30s").with("namespaces.room.presence", "count"));
    let marker = |backend: &mut Connection| -> String {
        redis::cmd("GET").arg("gateway:dataset").query(backend).unwrap()
    };
    let before = marker(&mut backend);
    let second = start(plan(&redis, "5s").with("namespaces.room.presence", "members"));
    let note = "history: presence.grace is 5s in force, 30s here; \
                namespaces.room.presence is members in force, count here";
    wait_for_note(&first, note);
    wait_for_note(&second, "");
    first.wait_for_log(&format!("redis: {note}"));

    let off = start(TestGateway::redis(&redis));
    for gateway in [&first, &second] {
        wait_for_note(gateway, "history: presence.enabled is false in force, true here");
    }
    wait_for_note(&off, "");

    let last = start(plan(&redis, "5s").with("namespaces.room.presence", "members"));
    wait_for_note(&off, "history: presence.enabled is true in force, false here");
    wait_for_note(&first, note);
    wait_for_note(&second, "");
    wait_for_note(&last, "");
    assert_eq!(marker(&mut backend), before, "these settings say nothing about histories");
}
