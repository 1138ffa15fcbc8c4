//! Subscribe, Unsubscribe and their answers.

use super::*;

fn subscribe(channel: &str) -> String {
    format!(r#"{{"op":4,"channel":"{channel}"}}"#)
}

fn unsubscribe(channel: &str) -> String {
    format!(r#"{{"op":5,"channel":"{channel}"}}"#)
}

fn refused(channel: &str, reason: &str) -> String {
    format!(r#"{{"op":6,"channel":"{channel}","state":"refused","reason":"{reason}"}}"#)
}

const ALREADY: &str = r#"{"op":9,"code":"already_subscribed","detail":"the session is on this channel"}"#;

#[test]
fn a_subscription_is_answered_before_it_goes_live() {
    let mut client = ScriptedClient::ready();
    assert_eq!(client.send(&subscribe("room:7")), ["subscribe room:7 with request id 2"]);
    assert_eq!(
        client.subscribed(2),
        [r#"{"op":6,"channel":"room:7","state":"subscribed","position":"9-7"}"#, "go live on room:7"]
    );
    assert_eq!(client.subscribed(2), no_actions(), "answered once");
}

#[test]
fn an_unknown_position_is_answered_with_recovered_false() {
    for (since, position) in [("9-1", "9-1"), ("", "?"), ("nonsense", "?")] {
        let mut client = ScriptedClient::ready();
        assert_eq!(
            client.send(&format!(r#"{{"op":4,"channel":"room:7","since":"{since}"}}"#)),
            [format!("subscribe room:7@{position} with request id 2")]
        );
        assert_eq!(
            client.subscribed(2)[0],
            r#"{"op":6,"channel":"room:7","state":"subscribed","position":"9-7","recovered":false}"#
        );
    }
}

#[test]
fn answers_match_their_channels_in_any_order() {
    let mut client = ScriptedClient::ready();
    client.send(&subscribe("room:1"));
    client.send(&subscribe("room:2"));
    assert_eq!(client.subscribed(3)[1], "go live on room:2");
    assert_eq!(client.subscribed(2)[1], "go live on room:1");
}

#[test]
fn a_bad_or_disallowed_channel_is_refused_without_closing() {
    let mut client = ScriptedClient::ready();
    for (channel, reason) in [
        ("", "bad_channel"),
        ("room", "bad_channel"),
        ("room:", "bad_channel"),
        ("room:a b", "bad_channel"),
        ("room:{7}", "bad_channel"),
        ("bank:1", "not_allowed"),
        ("user:43", "not_allowed"),
        ("newspaper:1", "not_allowed"),
    ] {
        assert_eq!(client.send(&subscribe(channel)), [refused(channel, reason)]);
    }
    assert_eq!(client.send(&subscribe("news:sport")), ["subscribe news:sport with request id 2"]);
}

#[test]
fn a_refused_channel_name_is_returned_verbatim_as_json() {
    let mut client = ScriptedClient::ready();
    assert_eq!(client.send(r#"{"op":4,"channel":"a\"\u000ab"}"#), [refused(r#"a\"\nb"#, "bad_channel")]);
}

#[test]
fn a_second_subscribe_to_a_channel_is_a_soft_error() {
    let mut client = ScriptedClient::ready();
    client.send(&subscribe("room:7"));
    assert_eq!(client.send(&subscribe("room:7")), [ALREADY], "requested");
    client.subscribed(2);
    assert_eq!(client.send(&subscribe("room:7")), [ALREADY], "subscribed");
    assert_eq!(client.send(&subscribe("user:42")), [ALREADY], "own");
    assert_eq!(client.send(&subscribe("all")), [ALREADY], "own");
}

#[test]
fn a_session_cannot_exceed_its_subscription_limit() {
    let mut client = ScriptedClient::ready();
    for channel in ["room:1", "room:2", "room:3"] {
        assert!(client.send(&subscribe(channel))[0].starts_with("subscribe"));
    }
    assert_eq!(client.send(&subscribe("room:4")), [refused("room:4", "too_many_subscriptions")]);
    assert_eq!(client.send(&subscribe("room:3")), [ALREADY]);
    client.send(&unsubscribe("room:2"));
    assert_eq!(client.send(&subscribe("room:4")), ["subscribe room:4 with request id 5"]);
}

#[test]
fn a_subscription_limit_of_zero_means_no_limit() {
    let unlimited = Rules { max_subscriptions: 0, messages_per_minute: 0, ..rules() };
    let mut client = ScriptedClient::connect_with(unlimited, Version::V2, 0.5);
    client.identify_as(token_of("42"));
    for number in 0..1_000 {
        assert!(client.send(&subscribe(&format!("room:{number}")))[0].starts_with("subscribe"));
    }
}

#[test]
fn unsubscribe_takes_effect_at_once() {
    let mut client = ScriptedClient::ready();
    client.send(&subscribe("room:7"));
    client.subscribed(2);
    assert_eq!(
        client.send(&unsubscribe("room:7")),
        [r#"unsubscribe room:7, then {"op":6,"channel":"room:7","state":"unsubscribed"}"#]
    );
}

#[test]
fn unsubscribe_without_a_subscription_succeeds() {
    let mut client = ScriptedClient::ready();
    for channel in ["room:7", "bank:1"] {
        assert_eq!(
            client.send(&unsubscribe(channel)),
            [format!(r#"{{"op":6,"channel":"{channel}","state":"unsubscribed"}}"#)]
        );
    }
    assert_eq!(client.send(&unsubscribe("no channel")), [refused("no channel", "bad_channel")]);
}

#[test]
fn own_channels_cannot_be_left() {
    let mut client = ScriptedClient::ready();
    for channel in ["user:42", "all"] {
        assert_eq!(
            client.send(&unsubscribe(channel)),
            [r#"{"op":9,"code":"own_channel","detail":"cannot unsubscribe from user:<id> or all"}"#]
        );
    }
}

#[test]
fn a_late_answer_does_not_answer_a_newer_subscribe() {
    let mut client = ScriptedClient::ready();
    client.send(&subscribe("room:7"));
    client.send(&unsubscribe("room:7"));
    assert_eq!(client.send(&subscribe("room:7")), ["subscribe room:7 with request id 3"]);
    assert_eq!(client.subscribed(2), no_actions());
    assert_eq!(client.subscribed(3)[1], "go live on room:7");
}

#[test]
fn an_answer_after_unsubscribe_is_ignored() {
    let mut client = ScriptedClient::ready();
    client.send(&subscribe("room:7"));
    client.send(&unsubscribe("room:7"));
    assert_eq!(client.subscribed(2), no_actions());
}
