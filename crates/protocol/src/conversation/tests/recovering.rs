//! Channels whose histories cannot be read when the hub answers.

use super::*;

const SINCE: Position = Position { epoch: 9, offset: 1 };
const RECOVERING: SubscriptionState = SubscriptionState::Recovering { since: None };

/// A client that requested room:7 since 9-1 in Identify. The hub has not answered.
fn resuming() -> ScriptedClient {
    let mut client = ScriptedClient::connect(Version::V2);
    client.send(r#"{"op":1,"token":"secret","channels":[{"channel":"room:7","since":"9-1"}]}"#);
    client.verified(token_of("42"));
    client
}

/// The same client after Ready, which lists room:7 as recovering.
fn recovering() -> (ScriptedClient, Vec<String>) {
    let mut client = resuming();
    let room = SubscriptionState::Recovering { since: Some(SINCE) };
    let lines = client.handle(Input::Joined(vec![live_at(5, None), live_at(6, None), room]));
    (client, lines)
}

#[test]
fn ready_lists_a_recovering_channel_and_op_6_follows() {
    let (mut client, lines) = recovering();
    let listed = r#"{"channel":"room:7","state":"recovering","position":"9-1"}]}"#;
    assert!(lines[0].ends_with(listed), "{lines:?}");
    assert_eq!(lines[1..], ["go live"]);
    assert_eq!(
        client.answer(2, live_at(1, Some(true))),
        [
            r#"{"op":6,"channel":"room:7","state":"subscribed","position":"9-1","recovered":true}"#,
            "go live on room:7"
        ]
    );
    assert_eq!(client.subscribed(2), no_actions(), "answered once");
}

#[test]
fn a_recovered_channel_of_version_1_goes_live_silently() {
    let mut client = ScriptedClient::connect(Version::V1);
    client.send(IDENTIFY);
    client.verified(token_of("42"));
    assert_eq!(client.handle(Input::Joined(vec![RECOVERING, live_at(6, None)])), [READY_V1, "go live"]);
    assert_eq!(client.recovering(0, None), no_actions());
    assert_eq!(client.subscribed(0), ["go live on user:42"]);
    assert_eq!(client.subscribed(0), no_actions(), "answered once");
}

#[test]
fn own_channels_may_recover_too() {
    let mut client = ScriptedClient::joining();
    let lines = client.handle(Input::Joined(vec![RECOVERING, RECOVERING]));
    let listed = r#"[{"channel":"user:42","state":"recovering"},{"channel":"all","state":"recovering"}]}"#;
    assert!(lines[0].ends_with(listed), "{lines:?}");
    for (request_id, channel) in [(1, "all"), (0, "user:42")] {
        assert_eq!(
            client.subscribed(request_id),
            [
                format!(r#"{{"op":6,"channel":"{channel}","state":"subscribed","position":"9-7"}}"#),
                format!("go live on {channel}")
            ]
        );
        assert_eq!(client.subscribed(request_id), no_actions(), "answered once");
    }
}

#[test]
fn own_channels_that_recover_cannot_be_left() {
    let mut client = ScriptedClient::joining();
    client.handle(Input::Joined(vec![live_at(5, None), RECOVERING]));
    assert!(client.send(r#"{"op":5,"channel":"all"}"#)[0].contains("own_channel"));
    assert!(client.send(r#"{"op":4,"channel":"all"}"#)[0].contains("already_subscribed"));
    assert_eq!(client.subscribed(1)[1], "go live on all");
}

#[test]
fn a_recovering_channel_can_be_left_before_its_answer() {
    let (mut client, _) = recovering();
    assert_eq!(
        client.send(r#"{"op":5,"channel":"room:7"}"#),
        [r#"unsubscribe room:7, then {"op":6,"channel":"room:7","state":"unsubscribed"}"#]
    );
    assert_eq!(client.subscribed(2), no_actions());
    assert_eq!(client.send(r#"{"op":4,"channel":"room:7"}"#), ["subscribe room:7 with request id 3"]);
    assert_eq!(client.subscribed(2), no_actions(), "the answer to the first request");
    assert_eq!(client.subscribed(3)[1], "go live on room:7");
}

#[test]
fn a_recovering_channel_counts_and_cannot_be_requested_again() {
    let (mut client, _) = recovering();
    assert!(client.send(r#"{"op":4,"channel":"room:7"}"#)[0].contains("already_subscribed"));
    for channel in ["room:1", "room:2"] {
        assert!(client.send(&format!(r#"{{"op":4,"channel":"{channel}"}}"#))[0].starts_with("subscribe"));
    }
    assert!(client.send(r#"{"op":4,"channel":"room:3"}"#)[0].contains("too_many_subscriptions"));
}

#[test]
fn subscribe_is_answered_by_recovering_and_then_subscribed() {
    let mut client = ScriptedClient::ready();
    client.send(r#"{"op":4,"channel":"room:7","since":"9-1"}"#);
    assert_eq!(
        client.recovering(2, Some(SINCE)),
        [r#"{"op":6,"channel":"room:7","state":"recovering","position":"9-1"}"#]
    );
    assert_eq!(
        client.subscribed(2),
        [
            r#"{"op":6,"channel":"room:7","state":"subscribed","position":"9-7","recovered":false}"#,
            "go live on room:7"
        ]
    );
}

#[test]
fn a_narrower_token_unsubscribes_a_recovering_channel() {
    let (mut client, _) = recovering();
    let lines = client.verified(Identity { grants: vec![], ..token_of("42") });
    assert!(lines[1].starts_with("unsubscribe room:7"), "{lines:?}");
    assert_eq!(client.subscribed(2), no_actions());
}

#[test]
fn no_recovery_result_follows_close() {
    let (mut client, _) = recovering();
    assert_eq!(client.handle(Input::Disconnected(None)), ["close 4010"]);
    assert_eq!(client.subscribed(2), no_actions());
}

#[test]
fn a_channel_refused_by_the_broker_can_be_requested_again() {
    let refused = r#"{"op":6,"channel":"room:7","state":"refused","reason":"unavailable"}"#;
    let mut client = resuming();
    let states = vec![live_at(5, None), live_at(6, None), SubscriptionState::Refused];
    let lines = client.handle(Input::Joined(states));
    assert!(!lines[0].contains("room:7"), "{lines:?}");
    assert_eq!(lines[1..], ["go live", refused]);
    for request_id in [3, 4] {
        let lines = client.send(r#"{"op":4,"channel":"room:7"}"#);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("subscribe"), "{lines:?}");
        assert_eq!(client.answer(request_id, SubscriptionState::Refused), [refused]);
        assert_eq!(client.answer(request_id, SubscriptionState::Refused), no_actions(), "answered once");
    }
}

#[test]
fn a_recovering_channel_can_be_refused() {
    let (mut client, _) = recovering();
    assert_eq!(
        client.answer(2, SubscriptionState::Refused),
        [r#"{"op":6,"channel":"room:7","state":"refused","reason":"unavailable"}"#]
    );
    assert_eq!(client.answer(2, live_at(1, Some(true))), no_actions());
}
