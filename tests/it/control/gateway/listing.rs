//! The command `sessions`, and `GET /v1/sessions`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{control, ready, subscribe};
use crate::support::client::Client;
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;

fn ids(page: &Value) -> Vec<String> {
    let sessions = page["sessions"].as_array().unwrap();
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sessions_are_listed_by_page_in_order_of_ids() {
    let gateway = TestGateway::spawn();
    let clients: Vec<(Client, String)> = (0..7).map(|user| ready(&gateway, &user.to_string())).collect();
    let expected: BTreeSet<_> = clients.iter().map(|(_, session)| session.clone()).collect();
    let mut found = Vec::new();
    let mut after = Value::Null;
    let sizes: Vec<_> = (0..3)
        .map(|_| {
            let page = control(&gateway, &json!({"sessions": {"after": after, "limit": 3}}));
            assert_eq!(page["total"], 7);
            let listed = ids(&page);
            after = page["next"].clone();
            assert_eq!(after.is_null(), listed.len() < 3, "{page}");
            found.extend(listed.clone());
            listed.len()
        })
        .collect();
    assert_eq!(sizes, [3, 3, 1]);
    assert!(found.iter().eq(&expected), "{found:?}");
    let rest = gateway.get(&format!("/v1/sessions?after={}&limit=1000", found[4])).json();
    assert_eq!(
        (ids(&rest), &rest["total"], &rest["truncated"]),
        (found[5..].to_vec(), &json!(7), &json!(false))
    );
    assert_eq!((&rest["next"], &rest["missing"]), (&Value::Null, &json!([])));
}

#[test]
fn sessions_are_listed_by_user_and_channel() {
    let gateway = TestGateway::spawn();
    let (mut first, first_id) = ready(&gateway, "42");
    let (_second, second_id) = ready(&gateway, "42");
    let (mut third, third_id) = ready(&gateway, "43");
    subscribe(&mut first, "public:7");
    subscribe(&mut third, "public:7");
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    for (query, expected) in [
        ("user=42", vec![first_id.clone(), second_id]),
        ("channel=public:7", vec![first_id.clone(), third_id.clone()]),
        ("channel=public:7&user=42", vec![first_id.clone()]),
        ("channel=user:43", vec![third_id]),
        ("channel=public:8", vec![]),
    ] {
        let page = gateway.get(&format!("/v1/sessions?{query}")).json();
        assert_eq!(ids(&page), sorted(expected.clone()), "{query}");
        assert_eq!(page["total"], expected.len(), "{query}");
    }
    let replica = gateway.get("/v1/status").json()["replica"].clone();
    let page = gateway.get("/v1/sessions?user=43").json();
    assert_eq!(page["sessions"][0]["replica"], replica);
    for query in ["after=1", "channel=room", "user=4%202"] {
        assert_eq!(gateway.get(&format!("/v1/sessions?{query}")).status, 400, "{query}");
    }
}

#[test]
fn a_page_is_bounded_in_bytes_and_names_the_next() {
    let gateway = TestGateway::spawn();
    // 49 channels of 240 bytes take about 12 kB in the list.
    let channels: Vec<_> =
        (0..48).map(|number| format!(r#"{{"channel":"public:{number:0>233}"}}"#)).collect();
    let identify = format!(r#"{{"op":1,"token":"42","channels":[{}]}}"#, channels.join(","));
    let clients: Vec<Client> = (0..60)
        .map(|_| {
            let mut client = gateway.connect_v2();
            client.send_text(&identify);
            client.expect_ready();
            client
        })
        .collect();
    let mut found = BTreeSet::new();
    let mut query = String::new();
    let pages = eventually(SOON, || {
        let page = gateway.get(&format!("/v1/sessions?limit=1000{query}")).json();
        let listed = ids(&page);
        assert!(listed.iter().all(|id| found.insert(id.clone())), "a session is listed twice");
        query = format!("&after={}", page["next"].as_str().unwrap_or_default());
        page["next"].is_null().then_some(found.len())
    });
    assert_eq!(pages, clients.len());
}
