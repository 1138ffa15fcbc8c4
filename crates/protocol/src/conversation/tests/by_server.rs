//! Subscriptions, disconnects and revocations of the backend.

use super::*;

const NARROWER: &[ChannelPattern] = &[];

fn set(client: &mut ScriptedClient, channel: &str, is_subscribed: bool) -> Vec<String> {
    let channel = ChannelName::parse(channel).unwrap();
    client.handle(Input::SetSubscription { channel, is_subscribed })
}

fn refresh_without_grants(client: &mut ScriptedClient) -> Vec<String> {
    client.verified(Identity { grants: NARROWER.to_vec(), ..token_of("42") })
}

#[test]
fn the_reason_of_a_disconnect_is_in_the_close() {
    for mut client in [
        ScriptedClient::connect(Version::V1),
        ScriptedClient::verifying(),
        ScriptedClient::joining(),
        ScriptedClient::ready(),
    ] {
        let reason = Input::Disconnected(Some("banned".into()));
        assert_eq!(client.handle(reason), ["close 4010 banned"]);
        assert!(client.conversation.is_closed());
    }
}

#[test]
fn a_revoked_token_closes_like_an_expired_one() {
    for mut client in [ScriptedClient::joining(), ScriptedClient::ready()] {
        assert_eq!(client.handle(Input::TokenRevoked), ["close 4009 token revoked"]);
    }
}

#[test]
fn unknown_revocations_close_only_a_new_session() {
    assert_eq!(ScriptedClient::verifying().handle(Input::RevocationsUnknown), ["close 1013"]);
    assert_eq!(ScriptedClient::ready().handle(Input::RevocationsUnknown), no_actions());
}

#[test]
fn the_backend_subscribes_without_a_grant() {
    let mut client = ScriptedClient::ready();
    assert_eq!(set(&mut client, "bank:1", true), ["subscribe bank:1 with request id 2"]);
    assert_eq!(
        client.subscribed(2),
        [r#"{"op":6,"channel":"bank:1","state":"subscribed","position":"9-7"}"#, "go live on bank:1"]
    );
    assert_eq!(set(&mut client, "bank:1", true), no_actions(), "it is subscribed already");
    assert!(client.send(r#"{"op":4,"channel":"bank:1"}"#)[0].contains("already_subscribed"));
}

#[test]
fn a_refresh_keeps_the_subscriptions_of_the_backend() {
    let mut client = ScriptedClient::ready();
    client.send(r#"{"op":4,"channel":"room:1"}"#);
    client.send(r#"{"op":4,"channel":"room:2"}"#);
    // The backend adopts a subscription of the client, and adds one.
    set(&mut client, "room:2", true);
    set(&mut client, "bank:1", true);
    let lines = refresh_without_grants(&mut client);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with("unsubscribe room:1,"), "{lines:?}");
}

#[test]
fn the_limit_counts_but_does_not_refuse_the_backends_subscriptions() {
    let mut client = ScriptedClient::ready();
    for channel in ["bank:1", "bank:2", "bank:3", "bank:4"] {
        assert_eq!(set(&mut client, channel, true).len(), 1, "{channel}");
    }
    assert!(client.send(r#"{"op":4,"channel":"room:1"}"#)[0].contains("too_many_subscriptions"));
}

#[test]
fn the_backend_ends_a_subscription_with_a_reason() {
    let mut client = ScriptedClient::ready();
    client.send(r#"{"op":4,"channel":"room:1"}"#);
    assert_eq!(
        set(&mut client, "room:1", false),
        [
            r#"unsubscribe room:1, then {"op":6,"channel":"room:1","state":"unsubscribed","reason":"by_server"}"#
        ]
    );
    assert_eq!(set(&mut client, "room:1", false), no_actions());
    for own in ["user:42", "all"] {
        assert_eq!(set(&mut client, own, false), no_actions(), "{own}");
        assert_eq!(set(&mut client, own, true), no_actions(), "{own}");
    }
    // The client may subscribe again if its token allows it.
    assert_eq!(client.send(r#"{"op":4,"channel":"room:1"}"#), ["subscribe room:1 with request id 3"]);
}

#[test]
fn a_client_of_version_1_gets_no_frame_about_subscriptions() {
    let mut client = ScriptedClient::ready_as(Version::V1, token_of("42"));
    set(&mut client, "bank:1", true);
    assert_eq!(client.subscribed(2), ["go live on bank:1"]);
    assert_eq!(set(&mut client, "bank:1", false), ["unsubscribe bank:1, then nothing"]);
}

#[test]
fn a_change_before_ready_follows_ready() {
    let mut client = ScriptedClient::joining();
    assert_eq!(set(&mut client, "bank:1", true), no_actions());
    assert_eq!(set(&mut client, "bank:2", true), no_actions());
    assert_eq!(set(&mut client, "bank:2", false), no_actions());
    let lines = client.joined();
    assert_eq!(lines[1..], ["go live", "subscribe bank:1 with request id 2"]);
}

#[test]
fn a_client_may_leave_a_channel_of_the_backend() {
    let mut client = ScriptedClient::ready();
    set(&mut client, "bank:1", true);
    assert!(client.send(r#"{"op":5,"channel":"bank:1"}"#)[0].starts_with("unsubscribe bank:1"));
    assert!(client.send(r#"{"op":4,"channel":"bank:1"}"#)[0].contains("not_allowed"));
}
