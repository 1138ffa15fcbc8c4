//! Requests for pages of a channel's history.

use std::sync::Arc;

use super::*;
use crate::publication::Publication;

fn history(fields: &str) -> String {
    format!(r#"{{"op":19,"id":"h1","channel":"room:7"{fields}}}"#)
}

const NOT_ALLOWED: &str =
    r#"{"op":9,"code":"not_allowed","detail":"the session may not ask this of the channel","id":"h1"}"#;
const UNAVAILABLE: &str =
    r#"{"op":9,"code":"unavailable","detail":"the request cannot be answered now","id":"h1"}"#;

fn in_the_room() -> ScriptedClient {
    let mut client = ScriptedClient::ready();
    client.send(r#"{"op":4,"channel":"room:7"}"#);
    client.subscribed(2);
    client
}

fn read(client: &mut ScriptedClient, outcome: Result<HistoryPage, PageError>) -> Vec<String> {
    client.handle(Input::History { id: "h1".into(), channel: room(), outcome })
}

fn page() -> HistoryPage {
    let message = |offset: u64| {
        let payload = format!("@9-{offset} {{\"n\": {offset}}}");
        Arc::new(Publication::decode(room(), payload.as_bytes(), 100).unwrap())
    };
    HistoryPage { messages: vec![message(3), message(4)], has_more: true }
}

#[test]
fn a_page_has_its_messages_and_positions() {
    let mut client = in_the_room();
    assert_eq!(client.send(&history(r#","before":"9-5","limit":2"#)), ["read 2 of room:7 before 9-5 for h1"]);
    assert_eq!(
        read(&mut client, Ok(page())),
        [concat!(
            r#"{"op":20,"id":"h1","channel":"room:7","messages":[{"position":"9-3","message":{"n": 3}},"#,
            r#"{"position":"9-4","message":{"n": 4}}],"more":true}"#
        )]
    );
    client.send(&history(""));
    assert_eq!(
        read(&mut client, Ok(HistoryPage::default())),
        [r#"{"op":20,"id":"h1","channel":"room:7","messages":[],"more":false}"#]
    );
}

#[test]
fn a_page_has_at_most_what_the_namespace_allows() {
    let mut client = in_the_room();
    for (limit, expected) in
        [("", 30), (r#","limit":1000"#, 30), (r#","limit":0"#, 1), (r#","limit":29"#, 29)]
    {
        assert_eq!(client.send(&history(limit)), [format!("read {expected} of room:7 for h1")], "{limit}");
        read(&mut client, Err(PageError::Unavailable));
    }
}

#[test]
fn only_a_subscriber_where_histories_are_open_may_read_one() {
    let mut client = ScriptedClient::ready();
    assert_eq!(client.send(&history("")), [NOT_ALLOWED], "not subscribed");
    let mut client = in_the_room();
    assert_eq!(client.send(&history(r#","before":"nonsense""#)), [NOT_ALLOWED]);
    client.send(r#"{"op":4,"channel":"news:1"}"#);
    for channel in ["news:1", "all", "user:42", "no channel"] {
        let request = format!(r#"{{"op":19,"id":"h1","channel":"{channel}"}}"#);
        assert_eq!(client.send(&request), [NOT_ALLOWED], "{channel}");
    }
}

#[test]
fn a_page_for_an_ended_subscription_is_not_sent() {
    let mut client = in_the_room();
    client.send(&history(""));
    client.send(r#"{"op":5,"channel":"room:7"}"#);
    assert_eq!(read(&mut client, Ok(page())), [NOT_ALLOWED]);
}

#[test]
fn pages_and_members_share_the_bound_of_open_requests() {
    let mut client = in_the_room();
    for _ in 0..MAX_OPEN_REQUESTS / 2 {
        client.send(&history(""));
        client.send(r#"{"op":15,"id":"m1","channel":"room:7"}"#);
    }
    assert_eq!(client.send(&history("")), [UNAVAILABLE]);
    assert_eq!(read(&mut client, Err(PageError::Unavailable)), [UNAVAILABLE]);
    assert!(client.send(&history(""))[0].starts_with("read"));
    for _ in 0..MAX_OPEN_REQUESTS {
        assert_eq!(read(&mut client, Ok(page())).len(), 1);
    }
    assert_eq!(read(&mut client, Ok(page())), no_actions(), "nothing was asked");
}
