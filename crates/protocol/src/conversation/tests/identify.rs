//! From Hello to Ready.

use super::*;

const UNVERIFIABLE: &str = "close 1013 tokens cannot be verified now, try again later";

#[test]
fn hello_for_version_1_has_only_the_interval() {
    let client = ScriptedClient::connect(Version::V1);
    assert_eq!(client.hello, [r#"{"op":0,"heartbeat_interval":45000}"#]);
}

#[test]
fn hello_for_version_2_has_session_and_limits() {
    let client = ScriptedClient::connect(Version::V2);
    assert_eq!(
        client.hello,
        [concat!(
            r#"{"op":0,"heartbeat_interval":45000,"v":2,"session":"00000000000000000000000000000abc","#,
            r#""limits":{"identify_timeout":10000,"message_bytes":65536,"messages_per_minute":120,"#,
            r#""subscriptions":3}}"#
        )]
    );
}

#[test]
fn a_version_1_client_identifies_and_goes_live() {
    let mut client = ScriptedClient::connect(Version::V1);
    assert_eq!(client.send(IDENTIFY), ["authenticate secret"]);
    assert_eq!(client.verified(token_for(60 * SECOND)), ["join user:42 all"]);
    assert!(!client.conversation.is_ready());
    assert_eq!(client.joined(), [READY_V1, "go live"]);
    assert!(client.conversation.is_ready());
}

#[test]
fn version_2_ready_lists_channels_and_token_expiry() {
    let mut client = ScriptedClient::connect(Version::V2);
    assert_eq!(client.send(IDENTIFY), ["authenticate secret"]);
    assert_eq!(client.verified(token_for(60 * SECOND)), ["join user:42 all"]);
    client.advance(SECOND);
    assert_eq!(
        client.joined(),
        [
            concat!(
                r#"{"op":2,"user":"42","session":"00000000000000000000000000000abc","expires_in":59000,"#,
                r#""channels":[{"channel":"user:42","position":"9-1"},{"channel":"all","position":"9-2"}]}"#
            ),
            "go live"
        ]
    );
}

#[test]
fn a_token_without_expiry_omits_expires_in() {
    assert!(!ScriptedClient::joining().joined()[0].contains("expires_in"));
}

#[test]
fn over_limit_closes_an_unverified_session_only() {
    assert_eq!(ScriptedClient::verifying().handle(Input::OverLimit), ["close 4007"]);
    assert_eq!(ScriptedClient::joining().handle(Input::OverLimit), no_actions());
}

#[test]
fn a_bad_token_closes_with_4003() {
    assert_eq!(ScriptedClient::verifying().not_verified(), ["close 4003"]);
}

#[test]
fn no_identify_in_time_closes_with_4004() {
    for version in [Version::V1, Version::V2] {
        let mut client = ScriptedClient::connect(version);
        assert_eq!(client.advance(10 * SECOND - MS), no_actions());
        assert_eq!(client.advance(MS), ["close 4004"]);
    }
}

#[test]
fn frames_do_not_postpone_the_identify_timeout() {
    let mut client = ScriptedClient::connect(Version::V1);
    client.advance(9 * SECOND);
    client.send(r#"{"op":10}"#);
    assert_eq!(client.advance(SECOND), ["close 4004"]);
}

#[test]
fn verification_past_the_identify_timeout_closes_with_1013() {
    let mut client = ScriptedClient::connect(Version::V1);
    client.advance(6 * SECOND);
    client.send(IDENTIFY);
    assert_eq!(client.advance(4 * SECOND - MS), no_actions());
    assert_eq!(client.advance(MS), [UNVERIFIABLE]);
}

#[test]
fn a_token_that_cannot_be_verified_closes_with_1013() {
    assert_eq!(ScriptedClient::verifying().handle(Input::Unverifiable), [UNVERIFIABLE]);
    assert_eq!(ScriptedClient::joining().handle(Input::Unverifiable), no_actions());
}

#[test]
fn frames_during_verification_wait_for_ready() {
    let mut client = ScriptedClient::verifying();
    assert_eq!(client.send(r#"{"op":4,"channel":"room:1"}"#), no_actions());
    assert_eq!(client.send(r#"{"op":10,"time":1}"#).len(), 1);
    client.verified(token_of("42"));
    assert_eq!(client.send(r#"{"op":5,"channel":"news:1"}"#), no_actions());
    let lines = client.joined();
    assert_eq!(lines[1..3], ["go live", "subscribe room:1 with request id 2"]);
    assert!(lines[3].contains("news:1"), "{lines:?}");
}

#[test]
fn a_session_may_end_during_verification() {
    let mut client = ScriptedClient::verifying();
    assert_eq!(client.handle(Input::Disconnected(None)), ["close 4010"]);
    assert_eq!(client.verified(token_of("42")), no_actions());
}

#[test]
fn a_verified_token_ends_the_identify_timeout() {
    let mut client = ScriptedClient::joining();
    assert_eq!(client.advance(20 * SECOND), no_actions());
    assert_eq!(client.joined().len(), 2);
}

#[test]
fn a_second_identify_closes_with_4005_in_every_state() {
    for mut client in [ScriptedClient::verifying(), ScriptedClient::joining(), ScriptedClient::ready()] {
        assert_eq!(client.send(IDENTIFY), ["close 4005"]);
    }
    let mut client = ScriptedClient::ready_as(Version::V1, token_of("42"));
    assert_eq!(client.send(IDENTIFY), ["close 4005"]);
}

#[test]
fn ops_that_need_an_identity_close_with_4006_before_it() {
    for text in [
        r#"{"op":4,"channel":"room:7"}"#,
        r#"{"op":5,"channel":"room:7"}"#,
        r#"{"op":12,"token":"newer"}"#,
        r#"{"op":4,"channel":"not a channel"}"#,
    ] {
        assert_eq!(ScriptedClient::connect(Version::V2).send(text), ["close 4006"], "{text}");
    }
}

#[test]
fn unsolicited_answers_change_nothing() {
    let mut client = ScriptedClient::connect(Version::V2);
    assert_eq!(client.verified(token_of("42")), no_actions());
    assert_eq!(client.not_verified(), no_actions());
    assert_eq!(client.joined(), no_actions());
    assert_eq!(client.subscribed(0), no_actions());
    assert_eq!(client.subscribed(2), no_actions());
    client.send(IDENTIFY);
    assert_eq!(client.joined(), no_actions());
    client.verified(token_of("42"));
    assert_eq!(client.verified(token_of("43")), no_actions());
    assert_eq!(client.not_verified(), no_actions());
    assert_eq!(client.subscribed(0), no_actions());
    assert_eq!(client.subscribed(2), no_actions());
    assert_eq!(client.joined().len(), 2);
    assert_eq!(client.joined(), no_actions());
    assert_eq!(client.subscribed(0), no_actions());
    assert_eq!(client.subscribed(2), no_actions());
}

#[test]
fn debug_output_never_shows_a_token() {
    let mut actions = Vec::new();
    let mut client = ScriptedClient::connect(Version::V2);
    client.conversation.handle(client.now, Input::Text(IDENTIFY), &mut actions);
    assert_eq!(format!("{actions:?}"), "[Authenticate(Token(***))]");
    client.verified(token_of("42"));
    client.send(r#"{"op":12,"token":"newer"}"#);
    assert!(!format!("{:?}", client.conversation).contains("newer"));
}
