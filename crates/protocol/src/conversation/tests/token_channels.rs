//! The channels that the claim `subscribe` of a token names.

use super::*;

fn token_with(channels: &[&str]) -> Identity {
    let subscribe = channels.iter().map(|name| ChannelName::parse(name).unwrap()).collect();
    Identity { subscribe, grants: vec![], ..token_of("42") }
}

fn subscribe(channel: &str) -> String {
    format!(r#"{{"op":4,"channel":"{channel}"}}"#)
}

#[test]
fn identify_subscribes_to_the_channels_of_the_token() {
    for version in [Version::V1, Version::V2] {
        let mut client = ScriptedClient::connect(version);
        client.send(IDENTIFY);
        let token = token_with(&["bank:1", "room:7", "bank:1", "all", "user:42"]);
        assert_eq!(client.verified(token), ["join user:42 all bank:1 room:7"]);
        let lines = client.joined();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0].contains("bank:1"), version == Version::V2);
    }
}

#[test]
fn a_channel_of_the_token_keeps_what_the_client_asks_for() {
    let mut client = ScriptedClient::connect(Version::V2);
    client.send(concat!(
        r#"{"op":1,"token":"t","channels":[{"channel":"bank:1","since":"9-1"},"#,
        r#"{"channel":"room:7","last":5},{"channel":"room:8"}]}"#
    ));
    assert_eq!(
        client.verified(token_with(&["bank:1", "room:7"])),
        ["join user:42 all bank:1@9-1 the last 5 of room:7"]
    );
    assert!(client.joined()[2].contains(r#""room:8","state":"refused""#), "the token grants no other");
}

#[test]
fn the_channels_of_the_token_do_not_count_against_the_limit() {
    let token = token_with(&["room:7", "bank:1", "bank:2", "bank:3"]);
    let mut client = ScriptedClient::ready_as(
        Version::V2,
        Identity { grants: vec![ChannelPattern::new("room:*")], ..token },
    );
    for channel in ["room:1", "room:2", "room:3"] {
        assert!(client.send(&subscribe(channel))[0].starts_with("subscribe"), "{channel}");
    }
    assert!(client.send(&subscribe("room:4"))[0].contains("too_many_subscriptions"));
    client.send(r#"{"op":5,"channel":"bank:1"}"#);
    assert!(client.send(&subscribe("bank:1"))[0].starts_with("subscribe"), "the token still grants it");
}

#[test]
fn a_refresh_ends_the_channels_that_its_token_lacks() {
    let mut client = ScriptedClient::ready_as(Version::V2, token_with(&["bank:1", "bank:2", "room:7"]));
    client.send(r#"{"op":12,"token":"t"}"#);
    let grants = vec![ChannelPattern::new("room:*")];
    let lines = client.verified(Identity { grants, ..token_with(&["bank:2", "bank:3"]) });
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with("unsubscribe bank:1, then "), "{lines:?}");
    for channel in ["bank:2", "room:7"] {
        assert!(client.send(&subscribe(channel))[0].contains("already_subscribed"), "{channel}");
    }
    assert!(client.send(&subscribe("bank:3"))[0].starts_with("subscribe"), "the new token grants it");
    client.send(r#"{"op":12,"token":"t"}"#);
    let lines = client.verified(token_with(&[]));
    assert_eq!(lines.len(), 4, "a token without the claim ends the rest: {lines:?}");
}

#[test]
fn version_1_is_not_told_of_a_refused_channel() {
    let mut client = ScriptedClient::connect(Version::V1);
    client.send(IDENTIFY);
    client.verified(token_with(&["bank:1"]));
    let states = vec![live_at(1, None), live_at(2, None), SubscriptionState::Refused];
    assert_eq!(client.handle(Input::Joined(states)), [READY_V1, "go live"]);
}

#[test]
fn a_recovering_channel_goes_live_in_version_1_without_an_event() {
    let mut client = ScriptedClient::connect(Version::V1);
    client.send(IDENTIFY);
    client.verified(token_with(&["bank:1"]));
    let recovering = SubscriptionState::Recovering { since: None };
    client.handle(Input::Joined(vec![live_at(1, None), live_at(2, None), recovering]));
    assert_eq!(client.answer(2, live_at(3, None)), ["go live on bank:1"]);
}
