//! Channels in Identify, and frames that arrive before the hub answers Join.

use super::*;

/// A client that sent Identify with this `channels` field, and the resulting Join.
fn identifying(channels: &str) -> (ScriptedClient, Vec<String>) {
    let mut client = ScriptedClient::connect(Version::V2);
    client.send(&format!(r#"{{"op":1,"token":"secret","channels":{channels}}}"#));
    let join = client.verified(token_of("42"));
    (client, join)
}

fn ready_with(channels: &str) -> String {
    format!(r#"{{"op":2,"user":"42","session":"00000000000000000000000000000abc","channels":[{channels}]}}"#)
}

#[test]
fn allowed_channels_of_identify_are_joined() {
    let (mut client, join) = identifying(r#"[{"channel":"room:7"},{"channel":"news:sport"}]"#);
    assert_eq!(join, ["join user:42 all room:7 news:sport"]);
    let ready = ready_with(concat!(
        r#"{"channel":"user:42","position":"9-1"},{"channel":"all","position":"9-2"},"#,
        r#"{"channel":"room:7","position":"9-3"},{"channel":"news:sport","position":"9-4"}"#
    ));
    assert_eq!(client.joined(), [ready.as_str(), "go live"]);
    assert!(client.send(r#"{"op":4,"channel":"room:7"}"#)[0].contains("already_subscribed"));
    assert_eq!(
        client.send(r#"{"op":5,"channel":"room:7"}"#),
        [r#"unsubscribe room:7, then {"op":6,"channel":"room:7","state":"unsubscribed"}"#]
    );
}

#[test]
fn refused_channels_follow_ready_and_do_not_affect_others() {
    let (mut client, join) = identifying(
        r#"[{"channel":"bank:1"},{"channel":"a b"},{"channel":"user:43"},{"channel":"room:1"},
            {"channel":"room:2"},{"channel":"room:3"},{"channel":"room:4"}]"#,
    );
    assert_eq!(join, ["join user:42 all room:1 room:2 room:3"]);
    let lines = client.joined();
    assert!(lines[0].starts_with(r#"{"op":2,"#));
    assert_eq!(
        lines[1..],
        [
            "go live",
            r#"{"op":6,"channel":"bank:1","state":"refused","reason":"not_allowed"}"#,
            r#"{"op":6,"channel":"a b","state":"refused","reason":"bad_channel"}"#,
            r#"{"op":6,"channel":"user:43","state":"refused","reason":"not_allowed"}"#,
            r#"{"op":6,"channel":"room:4","state":"refused","reason":"too_many_subscriptions"}"#,
        ]
    );
}

#[test]
fn a_channel_named_twice_is_joined_once() {
    let (mut client, join) =
        identifying(r#"[{"channel":"room:7"},{"channel":"room:7","since":"9-1"},{"channel":"room:7"}]"#);
    assert_eq!(join, ["join user:42 all room:7@9-1"]);
    let lines = client.joined();
    assert!(lines[0].contains(r#"{"channel":"room:7","position":"9-3","recovered":false}"#), "{lines:?}");
    assert_eq!(lines.len(), 2);
}

#[test]
fn own_channels_can_be_resumed_from_a_position() {
    let (mut client, join) = identifying(
        r#"[{"channel":"user:42","since":"9-1"},{"channel":"all"},{"channel":"room:7","since":"x"}]"#,
    );
    assert_eq!(join, ["join user:42@9-1 all room:7@?"]);
    let ready = ready_with(concat!(
        r#"{"channel":"user:42","position":"9-1","recovered":false},{"channel":"all","position":"9-2"},"#,
        r#"{"channel":"room:7","position":"9-3","recovered":false}"#
    ));
    assert_eq!(client.joined(), [ready.as_str(), "go live"]);
}

#[test]
fn ready_reports_a_recovered_channel_with_its_position() {
    let (mut client, _) = identifying(r#"[{"channel":"room:7","since":"9-1"}]"#);
    let lines =
        client.handle(Input::Joined(vec![live_at(5, None), live_at(6, None), live_at(1, Some(true))]));
    assert!(lines[0].contains(r#"{"channel":"room:7","position":"9-1","recovered":true}"#), "{lines:?}");
}

#[test]
fn the_join_answer_covers_every_channel_of_identify() {
    let (mut client, _) = identifying(r#"[{"channel":"room:7"},{"channel":"room:8"}]"#);
    client.joined();
    for request_id in 0..4 {
        assert_eq!(client.subscribed(request_id), no_actions());
    }
}

#[test]
fn own_channels_do_not_count_against_the_limit() {
    let (_, join) = identifying(
        r#"[{"channel":"user:42"},{"channel":"all"},{"channel":"room:1"},{"channel":"room:2"},{"channel":"room:3"}]"#,
    );
    assert_eq!(join, ["join user:42 all room:1 room:2 room:3"]);
}

#[test]
fn frames_that_need_ready_wait_and_keep_their_order() {
    let mut client = ScriptedClient::joining();
    for text in [
        r#"{"op":4,"channel":"room:1"}"#,
        r#"{"op":5,"channel":"room:1"}"#,
        r#"{"op":12,"token":"newer"}"#,
        r#"{"op":4,"channel":"bank:1"}"#,
    ] {
        assert_eq!(client.send(text), no_actions(), "{text}");
    }
    let lines = client.joined();
    assert_eq!(lines[1], "go live");
    assert_eq!(
        lines[2..],
        [
            "subscribe room:1 with request id 2",
            r#"unsubscribe room:1, then {"op":6,"channel":"room:1","state":"unsubscribed"}"#,
            "authenticate newer",
            r#"{"op":6,"channel":"bank:1","state":"refused","reason":"not_allowed"}"#,
        ]
    );
}

#[test]
fn heartbeats_are_handled_while_joining() {
    let mut client = ScriptedClient::joining();
    client.send(r#"{"op":4,"channel":"room:1"}"#);
    assert_eq!(client.send(r#"{"op":10,"time":5}"#), [r#"{"op":11,"time":5}"#]);
    assert_eq!(client.send(r#"{"op":11}"#), no_actions());
    assert_eq!(client.send("nonsense"), ["close 4001"]);
}

#[test]
fn sixteen_frames_may_wait_for_ready_and_not_more() {
    let waiting = || {
        let mut client = ScriptedClient::joining();
        for _ in 0..16 {
            assert_eq!(client.send(r#"{"op":5,"channel":"room:1"}"#), no_actions());
        }
        client
    };
    assert_eq!(waiting().joined().len(), 2 + 16);
    assert_eq!(waiting().send(r#"{"op":5,"channel":"room:1"}"#), ["close 4007"]);
    let mut client = ScriptedClient::verifying();
    for _ in 0..16 {
        assert_eq!(client.send(r#"{"op":5,"channel":"room:1"}"#), no_actions());
    }
    assert_eq!(client.send(r#"{"op":5,"channel":"room:1"}"#), ["close 4007"]);
}
