//! Requests for the members of a channel.

use super::*;

const NOT_ALLOWED: &str =
    r#"{"op":9,"code":"not_allowed","detail":"the session may not ask this of the channel","id":"m1"}"#;
const UNAVAILABLE: &str =
    r#"{"op":9,"code":"unavailable","detail":"the request cannot be answered now","id":"m1"}"#;

/// A client that is subscribed to room:7.
fn subscribed_client() -> ScriptedClient {
    let mut client = ScriptedClient::ready();
    client.send(r#"{"op":4,"channel":"room:7"}"#);
    client.subscribed(2);
    client
}

fn ask(channel: &str) -> String {
    format!(r#"{{"op":15,"id":"m1","channel":"{channel}"}}"#)
}

fn answer(client: &mut ScriptedClient, outcome: Result<MembersPage, PageError>) -> Vec<String> {
    client.handle(Input::Members { id: "m1".into(), channel: room(), outcome })
}

fn page() -> MembersPage {
    MembersPage { members: vec!["42".into()], next: None }
}

#[test]
fn a_subscriber_reads_the_members_page_by_page() {
    let mut client = subscribed_client();
    assert_eq!(client.send(&ask("room:7")), ["read members of room:7 for m1"]);
    let first = MembersPage { next: Some("42".into()), ..page() };
    assert_eq!(
        answer(&mut client, Ok(first)),
        [r#"{"op":15,"id":"m1","channel":"room:7","members":["42"],"next":"42"}"#]
    );
    let next = r#"{"op":15,"id":"m2","channel":"room:7","after":"42"}"#;
    assert_eq!(client.send(next), ["read members of room:7 after 42 for m2"]);
}

#[test]
fn only_subscribers_may_ask_for_members() {
    let mut client = ScriptedClient::ready();
    for channel in ["room:7", "bank:1", "room:", ""] {
        assert_eq!(client.send(&ask(channel)), [NOT_ALLOWED], "{channel}");
    }
    // Every session is subscribed to its own channels.
    for channel in ["all", "user:42"] {
        assert_eq!(client.send(&ask(channel)), [format!("read members of {channel} for m1")]);
    }
}

#[test]
fn a_subscription_that_ended_gets_no_members() {
    let mut client = subscribed_client();
    client.send(&ask("room:7"));
    client.send(r#"{"op":5,"channel":"room:7"}"#);
    assert_eq!(answer(&mut client, Ok(page())), [NOT_ALLOWED]);
}

#[test]
fn members_that_cannot_be_read_are_refused() {
    let mut client = subscribed_client();
    for (error, text) in [(PageError::NotAllowed, NOT_ALLOWED), (PageError::Unavailable, UNAVAILABLE)] {
        client.send(&ask("room:7"));
        assert_eq!(answer(&mut client, Err(error)), [text]);
    }
}

#[test]
fn the_open_requests_for_members_are_bounded() {
    let mut client = subscribed_client();
    for _ in 0..MAX_OPEN_REQUESTS {
        assert_eq!(client.send(&ask("room:7")), ["read members of room:7 for m1"]);
    }
    assert_eq!(client.send(&ask("room:7")), [UNAVAILABLE]);
    answer(&mut client, Ok(page()));
    assert_eq!(client.send(&ask("room:7")), ["read members of room:7 for m1"]);
}

#[test]
fn members_without_a_request_are_ignored() {
    for mut client in [subscribed_client(), ScriptedClient::joining(), ScriptedClient::connect(Version::V1)] {
        assert_eq!(answer(&mut client, Ok(page())), no_actions());
    }
}

#[test]
fn a_request_for_members_waits_for_ready() {
    let mut client = ScriptedClient::joining();
    assert_eq!(client.send(&ask("all")), no_actions());
    assert_eq!(client.joined().last().unwrap(), "read members of all for m1");
}
