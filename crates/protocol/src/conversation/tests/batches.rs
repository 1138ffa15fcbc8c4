//! Subscribe and Unsubscribe of many channels.

use super::*;

fn batch(op: u64, channels: &str) -> String {
    format!(r#"{{"op":{op},"channels":[{channels}]}}"#)
}

const TWO_ROOMS: &str = r#"{"channel":"room:1"},{"channel":"room:2","since":"9-1"}"#;

#[test]
fn a_batch_is_answered_by_one_list_in_its_order() {
    let mut client = ScriptedClient::ready();
    let channels = [TWO_ROOMS, r#"{"channel":"bank:1"},{"channel":"no channel"}"#].join(",");
    assert_eq!(
        client.send(&batch(4, &channels)),
        ["subscribe room:1 with request id 2, room:2@9-1 with request id 3"]
    );
    let recovering = SubscriptionState::Recovering { since: Some(Position { epoch: 9, offset: 1 }) };
    assert_eq!(
        client.answer_all(&[(3, recovering), (2, live_at(7, None))]),
        [
            concat!(
                r#"{"op":6,"channels":[{"channel":"room:1","state":"subscribed","position":"9-7"},"#,
                r#"{"channel":"room:2","state":"recovering","position":"9-1"},"#,
                r#"{"channel":"bank:1","state":"refused","reason":"not_allowed"},"#,
                r#"{"channel":"no channel","state":"refused","reason":"bad_channel"}]}"#
            ),
            "go live on room:1"
        ]
    );
}

#[test]
fn a_recovering_channel_of_a_batch_has_its_own_answer_later() {
    let mut client = ScriptedClient::ready();
    client.send(&batch(4, TWO_ROOMS));
    client.answer_all(&[(2, live_at(7, None)), (3, SubscriptionState::Recovering { since: None })]);
    assert_eq!(
        client.answer(3, live_at(1, Some(true))),
        [
            r#"{"op":6,"channel":"room:2","state":"subscribed","position":"9-1","recovered":true}"#,
            "go live on room:2"
        ]
    );
}

#[test]
fn a_refused_batch_is_answered_at_once() {
    let mut client = ScriptedClient::ready();
    client.send(r#"{"op":4,"channel":"room:1"}"#);
    let channels = r#"{"channel":"room:1"},{"channel":"all"}"#;
    assert_eq!(
        client.send(&batch(4, channels)),
        [concat!(
            r#"{"op":6,"channels":[{"channel":"room:1","state":"refused","reason":"already_subscribed"},"#,
            r#"{"channel":"all","state":"refused","reason":"already_subscribed"}]}"#
        )]
    );
}

#[test]
fn the_subscription_limit_applies_within_a_batch() {
    let mut client = ScriptedClient::ready();
    let channels: Vec<_> = ["room:1", "room:1", "room:2", "room:3", "room:4"]
        .map(|name| format!(r#"{{"channel":"{name}"}}"#))
        .into();
    let lines = client.send(&batch(4, &channels.join(",")));
    let rooms = ["room:1 with request id 2", "room:2 with request id 3", "room:3 with request id 4"];
    assert_eq!(lines, [format!("subscribe {}", rooms.join(", "))]);
    let lines = client.answer_all(&[2, 3, 4].map(|id| (id, live_at(7, None))));
    assert!(lines[0].contains(r#"{"channel":"room:1","state":"refused","reason":"already_subscribed"}"#));
    assert!(lines[0].contains(r#"{"channel":"room:4","state":"refused","reason":"too_many_subscriptions"}"#));
    assert_eq!(lines.len(), 4, "{lines:?}");
}

#[test]
fn a_channel_left_before_the_answer_is_not_in_it() {
    let mut client = ScriptedClient::ready();
    client.send(&batch(4, TWO_ROOMS));
    client.send(r#"{"op":5,"channel":"room:1"}"#);
    assert_eq!(
        client.answer_all(&[(2, live_at(7, None)), (3, live_at(7, Some(false)))])[0],
        r#"{"op":6,"channels":[{"channel":"room:2","state":"subscribed","position":"9-7","recovered":false}]}"#
    );
}

#[test]
fn a_batch_whose_channels_are_all_left_is_answered_with_its_refusals() {
    let mut client = ScriptedClient::ready();
    client.send(&batch(4, r#"{"channel":"room:1"},{"channel":"bank:1"}"#));
    assert_eq!(
        client.send(r#"{"op":5,"channel":"room:1"}"#)[1..],
        [r#"{"op":6,"channels":[{"channel":"bank:1","state":"refused","reason":"not_allowed"}]}"#]
    );
    client.send(&batch(4, r#"{"channel":"room:1"}"#));
    assert_eq!(client.send(r#"{"op":5,"channel":"room:1"}"#).len(), 1, "nothing is left to answer");
}

#[test]
fn a_batch_of_one_channel_is_answered_by_a_list() {
    let mut client = ScriptedClient::ready();
    client.send(&batch(4, r#"{"channel":"room:1"}"#));
    assert_eq!(
        client.subscribed(2)[0],
        r#"{"op":6,"channels":[{"channel":"room:1","state":"subscribed","position":"9-7"}]}"#
    );
    assert_eq!(
        client.send(&batch(5, r#""room:1""#)),
        [r#"unsubscribe room:1, then {"op":6,"channels":[{"channel":"room:1","state":"unsubscribed"}]}"#]
    );
}

#[test]
fn a_refused_subscription_of_a_batch_can_be_requested_again() {
    let mut client = ScriptedClient::ready();
    client.send(&batch(4, TWO_ROOMS));
    let lines = client.answer_all(&[(2, SubscriptionState::Refused), (3, live_at(7, Some(false)))]);
    assert!(lines[0].contains(r#"{"channel":"room:1","state":"refused","reason":"unavailable"}"#));
    assert_eq!(client.send(r#"{"op":4,"channel":"room:1"}"#), ["subscribe room:1 with request id 4"]);
}

#[test]
fn unsubscribe_of_many_is_answered_by_one_list() {
    let mut client = ScriptedClient::ready();
    client.send(&batch(4, TWO_ROOMS));
    client.answer_all(&[(2, live_at(7, None)), (3, live_at(7, Some(false)))]);
    let states = [
        r#"{"channel":"room:1","state":"unsubscribed"}"#,
        r#"{"channel":"room:9","state":"unsubscribed"}"#,
        r#"{"channel":"all","state":"refused","reason":"own_channel"}"#,
        r#"{"channel":"","state":"refused","reason":"bad_channel"}"#,
        r#"{"channel":"room:2","state":"unsubscribed"}"#,
    ];
    assert_eq!(
        client.send(&batch(5, r#""room:1","room:9","all","","room:2""#)),
        [format!(r#"unsubscribe room:1 room:2, then {{"op":6,"channels":[{}]}}"#, states.join(","))]
    );
    assert_eq!(
        client.send(&batch(5, r#""room:1""#)),
        [r#"{"op":6,"channels":[{"channel":"room:1","state":"unsubscribed"}]}"#]
    );
}

#[test]
fn a_batch_counts_as_one_message() {
    let mut client =
        ScriptedClient::connect_with(Rules { messages_per_minute: 3, ..rules() }, Version::V2, 0.5);
    client.identify_as(token_of("42"));
    client.send(&batch(4, TWO_ROOMS));
    assert_eq!(client.send(&batch(5, r#""room:1","room:2""#)).len(), 1);
    assert_eq!(client.send(&batch(5, r#""room:1""#)), ["close 4007"]);
}

#[test]
fn an_open_batch_survives_a_refresh_without_its_lost_channels() {
    let mut client = ScriptedClient::ready();
    client.send(&batch(4, TWO_ROOMS));
    client.send(r#"{"op":12,"token":"t"}"#);
    let lines = client.verified(Identity { grants: vec![ChannelPattern::new("room:2")], ..token_of("42") });
    assert_eq!(lines.len(), 2, "{lines:?}");
    let lines = client.answer_all(&[(2, live_at(7, None)), (3, live_at(7, Some(false)))]);
    assert!(!lines[0].contains("room:1"), "{lines:?}");
    assert_eq!(lines[1..], ["go live on room:2"]);
}

#[test]
fn last_is_clamped_and_since_wins() {
    let mut client = ScriptedClient::ready();
    for (fields, expected) in [
        (r#""channel":"room:1","last":5"#, "the last 5 of room:1"),
        (r#""channel":"room:2","last":1000"#, "the last 30 of room:2"),
        (r#""channel":"news:1","last":5"#, "news:1"),
    ] {
        assert!(client.send(&format!(r#"{{"op":4,{fields}}}"#))[0].contains(expected), "{fields}");
        client.send(r#"{"op":5,"channels":["room:1","room:2","news:1"]}"#);
    }
    let both = r#"{"op":4,"channel":"room:1","last":5,"since":"9-1"}"#;
    assert!(client.send(both)[0].contains("room:1@9-1"));
}

#[test]
fn identify_passes_last_on_too() {
    let mut client = ScriptedClient::connect(Version::V2);
    client.send(concat!(
        r#"{"op":1,"token":"t","channels":[{"channel":"room:1","last":1000},"#,
        r#"{"channel":"room:1","last":5},{"channel":"room:2","last":5},{"channel":"room:2","since":"9-1"}]}"#
    ));
    assert_eq!(client.verified(token_of("42")), ["join user:42 all the last 30 of room:1 room:2@9-1"]);
}

#[test]
fn the_answer_says_how_many_stored_messages_follow() {
    let mut client = ScriptedClient::ready();
    client.send(r#"{"op":4,"channel":"room:7","last":5}"#);
    let state = SubscriptionState::Live {
        position: Position { epoch: 9, offset: 4 },
        recovered: None,
        presence: None,
        last: Some(3),
    };
    assert_eq!(
        client.answer(2, state)[0],
        r#"{"op":6,"channel":"room:7","state":"subscribed","position":"9-4","last":3}"#
    );
}

#[test]
fn at_most_sixteen_batches_wait_for_an_answer() {
    let rules = Rules { max_subscriptions: 0, ..rules() };
    let mut client = ScriptedClient::connect_with(rules, Version::V2, 0.5);
    client.identify_as(token_of("42"));
    let two = |number| {
        let other = number + 100;
        batch(4, &format!(r#"{{"channel":"room:{number}"}},{{"channel":"room:{other}"}}"#))
    };
    for number in 0..16 {
        assert!(client.send(&two(number))[0].starts_with("subscribe"));
    }
    client.answer(2, live_at(7, None));
    client.answer(3, live_at(7, None));
    assert!(client.send(&two(16))[0].starts_with("subscribe"));
    assert_eq!(client.send(&two(17)), ["close 4007"]);
}

#[test]
fn any_number_of_batches_of_one_channel_may_wait() {
    let rules = Rules { max_subscriptions: 0, ..rules() };
    let mut client = ScriptedClient::connect_with(rules, Version::V2, 0.5);
    client.identify_as(token_of("42"));
    for number in 0..40 {
        let one = batch(4, &format!(r#"{{"channel":"room:{number}"}}"#));
        assert!(client.send(&one)[0].starts_with("subscribe"));
    }
}
