//! Pages of a history: op 19 and the route of the admin port.

use serde_json::{Value, json};

use super::{Fixture, ROOM};
use crate::presence::over_both::{Over, over_both};
use crate::support::client::Client;

over_both! {
    a_client_pages_back_through_a_long_history
    an_operator_pages_through_a_history_both_ways
}

fn numbers(page: &Value) -> Vec<u64> {
    let messages = page["messages"].as_array().unwrap_or_else(|| panic!("{page}"));
    messages.iter().map(|message| message["message"].as_u64().unwrap()).collect()
}

#[track_caller]
fn ask(client: &mut Client, before: Option<&Value>, limit: u32) -> Value {
    let mut command = json!({"op": 19, "id": "h1", "channel": ROOM, "limit": limit});
    if let Some(before) = before {
        command["before"] = before.clone();
    }
    client.send_text(&command.to_string());
    client.next_json()
}

/// Reads a page before the oldest number that the client has, and puts it before them. Returns whether there are more.
#[track_caller]
fn read_back(client: &mut Client, had: &mut Vec<u64>, before: &mut Option<Value>) -> bool {
    let page = ask(client, before.as_ref(), 100);
    assert_eq!((&page["op"], &page["id"], &page["channel"]), (&json!(20), &json!("h1"), &json!(ROOM)));
    *before = Some(page["messages"][0]["position"].clone());
    had.splice(0..0, numbers(&page));
    page["more"].as_bool().unwrap()
}

fn a_client_pages_back_through_a_long_history(over: Over) {
    let fixture = Fixture::start(over, |plan| plan);
    fixture.publish(ROOM, 1..=1_000);
    let mut client = fixture.identify(&json!([{"channel": ROOM}]));
    client.expect_ready();
    let (mut had, mut before) = (Vec::new(), None);
    let mut pages = 1;
    while read_back(&mut client, &mut had, &mut before) {
        pages += 1;
    }
    assert_eq!((had, pages), ((1..=1_000).collect(), 10), "exactly at the beginning, there are no more");
    let page = ask(&mut client, before.as_ref(), 50);
    assert_eq!((numbers(&page), &page["more"]), (vec![], &json!(false)));
    for (position, expected) in [("1-1", vec![]), ("18446744073709551615-0", vec![999, 1_000])] {
        assert_eq!(numbers(&ask(&mut client, Some(&json!(position)), 2)), expected);
    }
    // A page is not part of the subscription.
    fixture.publish(ROOM, 1_001..=1_001);
    assert_eq!(client.next_json()["message"], 1_001);
}

fn an_operator_pages_through_a_history_both_ways(over: Over) {
    let fixture = Fixture::start(over, |plan| plan);
    fixture.publish(ROOM, 1..=1_000);
    let get = |query: &str| {
        let answer = fixture.gateway.get(&format!("/v1/channels/{ROOM}/history?{query}"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    for (query, expected) in [
        ("limit=300", (1..=1_000).collect::<Vec<_>>()),
        ("limit=300&reverse=true", (1..=1_000).rev().collect()),
    ] {
        let (mut all, mut page) = (Vec::new(), get(query));
        loop {
            all.extend(numbers(&page));
            assert_eq!(page["more"], json!(all.len() < 1_000));
            let Some(next) = page["next"].as_str() else { break };
            page = get(&format!("{query}&since={next}"));
        }
        assert_eq!(all, expected);
    }
    let all = get("limit=1000");
    assert_eq!((&all["more"], &all["next"]), (&json!(false), &json!(null)), "exactly the whole history");
    for (query, expected) in [
        ("limit=2&since=1-1", vec![1, 2]),
        ("limit=2&since=1-1&reverse=true", vec![]),
        ("limit=2&since=18446744073709551615-1", vec![]),
        ("limit=2&since=18446744073709551615-1&reverse=true", vec![1_000, 999]),
    ] {
        let page = get(query);
        assert_eq!(numbers(&page), expected, "{query}");
    }
}

#[test]
fn a_client_continues_to_page_after_redis_was_killed() {
    let mut fixture = Fixture::start(Over::Redis, |plan| plan.with("broker.max_reconnect_delay", "100ms"));
    fixture.publish(ROOM, 1..=300);
    let mut client = fixture.identify(&json!([{"channel": ROOM}]));
    client.expect_ready();
    let (mut had, mut before) = (Vec::new(), None);
    assert!(read_back(&mut client, &mut had, &mut before));
    fixture.redis.as_mut().unwrap().kill();
    let refused = ask(&mut client, before.as_ref(), 100);
    assert_eq!((&refused["op"], &refused["id"]), (&json!(9), &json!("h1")));
    assert_eq!(refused["code"], "unavailable", "{refused}");
    let answer = fixture.gateway.get(&format!("/v1/channels/{ROOM}/history"));
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("broker_unavailable")));
    fixture.redis.as_mut().unwrap().restart();
    fixture.gateway.wait_ready();
    // A gap of plain messages may be told meanwhile.
    client = fixture.identify(&json!([{"channel": ROOM}]));
    client.expect_ready();
    assert!(read_back(&mut client, &mut had, &mut before));
    assert!(!read_back(&mut client, &mut had, &mut before));
    assert_eq!(had, (1..=300).collect::<Vec<_>>());
}

#[test]
fn all_pages_on_their_way_leave_room_for_messages() {
    let fixture = Fixture::start(Over::Memory, |plan| plan.with("session.max_outbound_bytes", "1048576"));
    let text = format!("\"{}\"", "x".repeat(30_000));
    (0..20).for_each(|_| drop(fixture.gateway.publish_durably(ROOM, &text)));
    let mut client = fixture.identify(&json!([{"channel": ROOM}]));
    client.expect_ready();
    for id in 0..4 {
        client.send_text(&json!({"op": 19, "id": id.to_string(), "channel": ROOM, "limit": 100}).to_string());
    }
    let pages = [(); 4].map(|()| client.next_json());
    assert!(pages.iter().all(|page| page["op"] == 20 && page["more"] == true), "{pages:?}");
    let bytes: usize = pages.iter().map(|page| page.to_string().len()).sum();
    assert!((300_000..=1_048_576 / 2).contains(&bytes), "{bytes}");
}
