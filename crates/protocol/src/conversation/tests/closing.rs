//! How a conversation ends, except by a deadline or at Identify.

use super::*;

#[test]
fn a_malformed_command_closes_with_4001_in_every_state() {
    for text in [
        "",
        "nonsense",
        "{",
        "[]",
        "42",
        "{}",
        r#"{"op":"1","token":"t"}"#,
        r#"{"op":1}"#,
        r#"{"op":1,"token":7}"#,
        r#"{"op":10,"time":"now"}"#,
        r#"{"op":0,"heartbeat_interval":1}"#,
        r#"{"op":2,"user":"42"}"#,
        r#"{"op":3,"message":{}}"#,
        r#"{"op":6,"channel":"room:7"}"#,
        r#"{"op":14,"channel":"room:7","count":1}"#,
        r#"{"op":15,"channel":"room:7"}"#,
        r#"{"op":99}"#,
        r#"{"op":-1}"#,
    ] {
        for mut client in [
            ScriptedClient::connect(Version::V1),
            ScriptedClient::connect(Version::V2),
            ScriptedClient::verifying(),
            ScriptedClient::joining(),
            ScriptedClient::ready(),
        ] {
            assert_eq!(client.send(text), ["close 4001"], "{text}");
        }
    }
}

#[test]
fn ops_of_version_2_close_version_1_with_4001() {
    for text in [
        r#"{"op":4,"channel":"room:7"}"#,
        r#"{"op":5,"channel":"room:7"}"#,
        r#"{"op":12,"token":"t"}"#,
        r#"{"op":15,"id":"m1","channel":"room:7"}"#,
        r#"{"op":1,"token":"t","channels":[]}"#,
    ] {
        assert_eq!(ScriptedClient::connect(Version::V1).send(text), ["close 4001"], "{text}");
        let mut client = ScriptedClient::ready_as(Version::V1, token_of("42"));
        assert_eq!(client.send(text), ["close 4001"], "{text}");
    }
}

#[test]
fn a_binary_message_closes_with_1003() {
    for mut client in
        [ScriptedClient::connect(Version::V1), ScriptedClient::joining(), ScriptedClient::ready()]
    {
        assert_eq!(client.handle(Input::Binary), ["close 1003"]);
    }
}

#[test]
fn a_drain_closes_version_1_with_1012_and_no_event() {
    for mut client in
        [ScriptedClient::connect(Version::V1), ScriptedClient::ready_as(Version::V1, token_of("42"))]
    {
        assert_eq!(client.handle(Input::Drain { after_ms: 1_800 }), ["close 1012"]);
    }
}

#[test]
fn a_drain_tells_version_2_when_to_reconnect() {
    for mut client in
        [ScriptedClient::connect(Version::V2), ScriptedClient::joining(), ScriptedClient::ready()]
    {
        assert_eq!(
            client.handle(Input::Drain { after_ms: 1_800 }),
            [r#"{"op":7,"after":1800,"reason":"draining"}"#, "close 1012"]
        );
    }
}

#[test]
fn a_backend_disconnect_closes_with_4010_in_every_state() {
    for mut client in [
        ScriptedClient::connect(Version::V1),
        ScriptedClient::connect(Version::V2),
        ScriptedClient::verifying(),
        ScriptedClient::joining(),
        ScriptedClient::ready_as(Version::V1, token_of("42")),
        ScriptedClient::ready(),
    ] {
        assert_eq!(client.handle(Input::Disconnected(None)), ["close 4010"]);
        assert_stays_silent(client);
    }
}

#[test]
fn every_frame_counts_and_one_too_many_closes_with_4007() {
    let rules = Rules { messages_per_minute: 4, ..rules() };
    for last in [Input::Text(r#"{"op":11}"#), Input::Text("nonsense"), Input::Binary, Input::ControlFrame] {
        let mut client = ScriptedClient::connect_with(rules.clone(), Version::V2, 0.5);
        client.identify_as(token_of("42"));
        client.send(r#"{"op":11}"#);
        client.handle(Input::ControlFrame);
        client.send(r#"{"op":10}"#);
        assert_eq!(client.handle(last.clone()), ["close 4007"]);
    }
}

#[test]
fn the_budget_fills_evenly() {
    let mut client =
        ScriptedClient::connect_with(Rules { messages_per_minute: 4, ..rules() }, Version::V1, 0.5);
    client.identify_as(token_of("42"));
    for _ in 0..3 {
        client.send(r#"{"op":11}"#);
    }
    for _ in 0..3 {
        client.advance(15_001 * MS);
        assert_eq!(client.send(r#"{"op":11}"#), no_actions());
    }
    assert_eq!(client.send(r#"{"op":11}"#), ["close 4007"]);
}

#[test]
fn a_budget_of_zero_means_no_limit() {
    let mut client =
        ScriptedClient::connect_with(Rules { messages_per_minute: 0, ..rules() }, Version::V1, 0.5);
    for _ in 0..10_000 {
        assert_eq!(client.send(r#"{"op":11}"#), no_actions());
    }
}

#[test]
fn no_action_follows_a_close_by_the_peer() {
    for mut client in [
        ScriptedClient::connect(Version::V1),
        ScriptedClient::verifying(),
        ScriptedClient::joining(),
        ScriptedClient::ready(),
    ] {
        assert_eq!(client.handle(Input::PeerClosed), no_actions());
        assert_stays_silent(client);
    }
}

#[test]
fn nothing_follows_close() {
    for mut client in [
        ScriptedClient::connect(Version::V1),
        ScriptedClient::verifying(),
        ScriptedClient::joining(),
        ScriptedClient::ready(),
    ] {
        assert_eq!(client.handle(Input::Binary), ["close 1003"]);
        assert_stays_silent(client);
    }
}

#[test]
fn waiting_frames_are_dropped_on_close() {
    for mut client in [ScriptedClient::verifying(), ScriptedClient::joining()] {
        client.send(r#"{"op":4,"channel":"room:1"}"#);
        assert_eq!(client.handle(Input::Binary), ["close 1003"]);
        assert_stays_silent(client);
    }
}

fn assert_stays_silent(mut client: ScriptedClient) {
    assert!(client.conversation.is_closed());
    assert!(!client.conversation.is_ready());
    assert_eq!(client.conversation.next_deadline(), None);
    let state = SubscriptionState::Live {
        position: Position::before(9),
        recovered: None,
        presence: None,
        last: None,
    };
    let inputs = [
        Input::Text(IDENTIFY),
        Input::Text(r#"{"op":10}"#),
        Input::Text("nonsense"),
        Input::Binary,
        Input::ControlFrame,
        Input::PeerClosed,
        Input::Verified(Ok(token_of("42"))),
        Input::Verified(Err(NotIdentified)),
        Input::Unverifiable,
        Input::OverLimit,
        Input::Joined(vec![state, state]),
        Input::Subscribed(vec![ChannelAnswer { channel: ChannelName::all(), request_id: 1, state }]),
        Input::Members { id: "m1".into(), channel: ChannelName::all(), outcome: Err(PageError::Unavailable) },
        Input::Drain { after_ms: 1 },
        Input::Disconnected(None),
        Input::TokenRevoked,
        Input::RevocationsUnknown,
        Input::SetSubscription { channel: room(), is_subscribed: true },
        Input::DeadlinePassed,
    ];
    for (number, input) in inputs.into_iter().enumerate() {
        client.stall(100 * SECOND);
        assert_eq!(client.handle(input), no_actions(), "input {number}");
    }
    assert_eq!(client.conversation.next_deadline(), None);
}
