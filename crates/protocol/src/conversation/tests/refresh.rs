//! A newer token for the same session.

use super::*;

const REFRESH: &str = r#"{"op":12,"token":"newer"}"#;
const REFRESH_FAILED: &str =
    r#"{"op":9,"code":"refresh_failed","detail":"the token is not valid for this user"}"#;

#[test]
fn a_newer_token_extends_the_session() {
    let mut client = ScriptedClient::ready_as(Version::V2, token_for(20 * SECOND));
    client.advance(10 * SECOND);
    assert_eq!(client.send(REFRESH), ["authenticate newer"]);
    assert_eq!(client.verified(token_for(50 * SECOND)), [r#"{"op":13,"expires_in":40000}"#]);
    let lines = client.advance(40 * SECOND - MS);
    assert!(lines.iter().all(|line| line.starts_with(r#"{"op":10,"#)), "{lines:?}");
    assert_eq!(client.advance(MS), ["close 4009"]);
}

#[test]
fn a_newer_token_may_shorten_or_remove_the_expiry() {
    let mut client = ScriptedClient::ready_as(Version::V2, token_for(600 * SECOND));
    assert_eq!(client.verified(token_of("42")), [r#"{"op":13}"#]);
    assert_eq!(client.verified(token_for(5 * SECOND)), [r#"{"op":13,"expires_in":5000}"#]);
    assert_eq!(client.conversation.next_deadline(), Some(client.now.monotonic + 5 * SECOND));
    assert_eq!(client.advance(5 * SECOND), ["close 4009"]);
}

#[test]
fn a_failed_refresh_leaves_the_session_unchanged() {
    let mut client = ScriptedClient::ready_as(Version::V2, token_for(20 * SECOND));
    client.send(r#"{"op":4,"channel":"room:1"}"#);
    client.send(REFRESH);
    assert_eq!(client.not_verified(), [REFRESH_FAILED]);
    client.send(REFRESH);
    assert_eq!(client.verified(Identity { grants: vec![], ..token_of("43") }), [REFRESH_FAILED]);
    assert_eq!(client.subscribed(2)[1], "go live on room:1");
    assert_eq!(client.advance(20 * SECOND), ["close 4009"]);
}

#[test]
fn a_narrower_token_unsubscribes_channels_it_no_longer_allows() {
    let mut client = ScriptedClient::ready();
    for channel in ["room:1", "news:sport", "room:2"] {
        client.send(&format!(r#"{{"op":4,"channel":"{channel}"}}"#));
    }
    client.subscribed(2);
    client.send(REFRESH);
    let narrower = Identity { grants: vec![ChannelPattern::new("room:2")], ..token_of("42") };
    assert_eq!(
        client.verified(narrower),
        [
            r#"{"op":13}"#,
            r#"unsubscribe room:1, then {"op":6,"channel":"room:1","state":"unsubscribed","reason":"not_allowed"}"#,
        ]
    );
    // The other subscriptions stay, including one without an answer from the hub.
    assert_eq!(client.subscribed(4)[1], "go live on room:2");
    assert!(client.send(r#"{"op":4,"channel":"news:sport"}"#)[0].contains("already_subscribed"));
    // The ended subscription no longer counts against the limit.
    assert_eq!(client.send(r#"{"op":4,"channel":"news:art"}"#), ["subscribe news:art with request id 5"]);
}

#[test]
fn a_late_answer_for_a_disallowed_channel_is_ignored() {
    let mut client = ScriptedClient::ready();
    client.send(r#"{"op":4,"channel":"room:1"}"#);
    client.verified(Identity { grants: vec![], ..token_of("42") });
    assert_eq!(client.subscribed(2), no_actions());
}

#[test]
fn a_narrower_token_unsubscribes_identify_channels_but_never_own_ones() {
    let mut client = ScriptedClient::connect(Version::V2);
    client.send(r#"{"op":1,"token":"secret","channels":[{"channel":"room:1"},{"channel":"news:sport"}]}"#);
    client.verified(token_of("42"));
    client.joined();
    let lines = client.verified(Identity { grants: vec![], ..token_of("42") });
    let unsubscribed: Vec<_> =
        lines.iter().filter_map(|line| Some(line.strip_prefix("unsubscribe ")?.split_once(',')?.0)).collect();
    assert_eq!(unsubscribed, ["room:1"]);
}

#[test]
fn a_wider_token_allows_more_channels_at_once() {
    let mut client = ScriptedClient::ready();
    assert!(client.send(r#"{"op":4,"channel":"bank:1"}"#)[0].contains("not_allowed"));
    client.verified(Identity { grants: vec![ChannelPattern::new("bank:1")], ..token_of("42") });
    assert_eq!(client.send(r#"{"op":4,"channel":"bank:1"}"#), ["subscribe bank:1 with request id 2"]);
}

#[test]
fn a_refresh_over_the_limit_closes_with_4007() {
    let mut client = ScriptedClient::ready();
    client.send(REFRESH);
    assert_eq!(client.handle(Input::OverLimit), ["close 4007"]);
}

#[test]
fn one_token_is_verified_at_a_time_and_the_newest_waits() {
    let mut client = ScriptedClient::ready();
    assert_eq!(client.send(REFRESH), ["authenticate newer"]);
    assert_eq!(client.send(r#"{"op":12,"token":"second"}"#), no_actions());
    assert_eq!(client.send(r#"{"op":12,"token":"third"}"#), no_actions());
    assert_eq!(client.not_verified(), [REFRESH_FAILED, "authenticate third"]);
    assert_eq!(client.verified(token_of("42")), [r#"{"op":13}"#]);
    assert_eq!(client.send(REFRESH), ["authenticate newer"]);
}

#[test]
fn a_refresh_that_cannot_be_verified_leaves_the_session_unchanged() {
    let mut client = ScriptedClient::ready_as(Version::V2, token_for(20 * SECOND));
    client.send(REFRESH);
    client.send(r#"{"op":12,"token":"second"}"#);
    let unavailable = r#"{"op":9,"code":"unavailable","detail":"the request cannot be answered now"}"#;
    assert_eq!(client.handle(Input::Unverifiable), [unavailable, "authenticate second"]);
    assert_eq!(client.handle(Input::Unverifiable), [unavailable]);
    assert_eq!(client.advance(20 * SECOND), ["close 4009"]);
}
