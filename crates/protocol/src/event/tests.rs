use super::*;
use crate::Version;

fn both(event: &Event) -> (String, String) {
    (event.to_json(Version::V1), event.to_json(Version::V2))
}

fn live(offset: u64, recovered: Option<bool>) -> SubscriptionState {
    SubscriptionState::Live { position: Position { epoch: 7, offset }, recovered, presence: None, last: None }
}

fn room() -> ChannelName {
    ChannelName::parse("room:7").unwrap()
}

fn members(members: &[&str], next: Option<&str>) -> Event {
    let members = members.iter().map(|member| (*member).into()).collect();
    let page = MembersPage { members, next: next.map(Into::into) };
    Event::Members { id: "m1".into(), channel: room(), page }
}

fn hello() -> Event {
    let limits = HelloLimits {
        identify_timeout_ms: 10_000,
        message_bytes: 65_536,
        messages_per_minute: 120,
        subscriptions: 100,
    };
    Event::Hello { heartbeat_interval_ms: 45_000, session: SessionId(0xABC), limits }
}

#[test]
fn version_1_gets_exactly_its_fields() {
    let ready = Event::Ready {
        user: "42".into(),
        session: SessionId(1),
        expires_in_ms: Some(5),
        channels: vec![
            ChannelState { channel: ChannelName::all(), state: live(0, None) },
            ChannelState { channel: room(), state: SubscriptionState::Recovering { since: None } },
        ],
    };
    for (event, expected) in [
        (hello(), r#"{"op":0,"heartbeat_interval":45000}"#),
        (ready, r#"{"op":2,"user":"42"}"#),
        (Event::Heartbeat { time_ms: 1_579_276_740_336 }, r#"{"op":10,"time":1579276740336}"#),
        (Event::HeartbeatAck { time: Some("1e3".into()) }, r#"{"op":11,"time":1e3}"#),
        (Event::HeartbeatAck { time: None }, r#"{"op":11}"#),
    ] {
        assert_eq!(event.to_json(Version::V1), expected);
    }
}

#[test]
fn a_gap_names_its_channel_and_its_reason() {
    let gap = |reason| Event::Gap { channel: ChannelName::all(), reason }.to_json(Version::V2);
    for (reason, label) in [
        (GapReason::LinkLost, "link_lost"),
        (GapReason::HistoryLost, "history_lost"),
        (GapReason::HistoryUnreadable, "history_unreadable"),
        (GapReason::Overflow, "overflow"),
    ] {
        assert_eq!(gap(reason), format!(r#"{{"op":8,"channel":"all","reason":"{label}"}}"#));
    }
}

#[test]
fn version_2_adds_its_fields_after_those_of_version_1() {
    let (old, new) = both(&hello());
    assert_eq!(
        new,
        format!(
            "{},{}",
            old.trim_end_matches('}'),
            concat!(
                r#""v":2,"session":"00000000000000000000000000000abc","limits":{"identify_timeout":10000,"#,
                r#""message_bytes":65536,"messages_per_minute":120,"subscriptions":100}}"#
            )
        )
    );
    let ready = Event::Ready {
        user: "4\"2".into(),
        session: SessionId(1),
        expires_in_ms: Some(5),
        channels: vec![
            ChannelState { channel: ChannelName::all(), state: live(0, None) },
            ChannelState { channel: room(), state: live(3, Some(false)) },
        ],
    };
    assert_eq!(
        ready.to_json(Version::V2),
        concat!(
            r#"{"op":2,"user":"4\"2","session":"00000000000000000000000000000001","expires_in":5,"#,
            r#""channels":[{"channel":"all","position":"7-0"},"#,
            r#"{"channel":"room:7","position":"7-3","recovered":false}]}"#
        )
    );
}

#[test]
fn version_2_events_have_exactly_their_fields() {
    let subscription = |outcome| Event::Subscription { channel: "room:7".into(), outcome };
    let subscribed = SubscriptionOutcome::Subscribed(live(3, Some(true)));
    for (event, expected) in [
        (
            subscription(subscribed),
            r#"{"op":6,"channel":"room:7","state":"subscribed","position":"7-3","recovered":true}"#,
        ),
        (
            subscription(SubscriptionOutcome::Unsubscribed { reason: None }),
            r#"{"op":6,"channel":"room:7","state":"unsubscribed"}"#,
        ),
        (
            subscription(SubscriptionOutcome::Refused(RefusalReason::NotAllowed)),
            r#"{"op":6,"channel":"room:7","state":"refused","reason":"not_allowed"}"#,
        ),
        (Event::Reconnect { after_ms: 1_800 }, r#"{"op":7,"after":1800,"reason":"draining"}"#),
        (
            Event::Error(SoftError::AlreadySubscribed),
            r#"{"op":9,"code":"already_subscribed","detail":"the session is on this channel"}"#,
        ),
        (
            Event::RequestError { id: "m\"1".into(), error: SoftError::NotAllowed },
            concat!(
                r#"{"op":9,"code":"not_allowed","detail":"the session may not ask this of the channel","#,
                r#""id":"m\"1"}"#
            ),
        ),
        (
            Event::RequestError { id: "m1".into(), error: SoftError::Unavailable },
            r#"{"op":9,"code":"unavailable","detail":"the request cannot be answered now","id":"m1"}"#,
        ),
        (
            Event::Room { channel: room(), count: 812, joined: [].into(), left: [].into() },
            r#"{"op":14,"channel":"room:7","count":812}"#,
        ),
        (
            Event::Room {
                channel: room(),
                count: 3,
                joined: ["42".into()].into(),
                left: ["4\"3".into()].into(),
            },
            r#"{"op":14,"channel":"room:7","count":3,"joined":["42"],"left":["4\"3"]}"#,
        ),
        (
            members(&["43", "44"], Some("44")),
            r#"{"op":15,"id":"m1","channel":"room:7","members":["43","44"],"next":"44"}"#,
        ),
        (members(&[], None), r#"{"op":15,"id":"m1","channel":"room:7","members":[]}"#),
        (Event::Refreshed { expires_in_ms: Some(60_000) }, r#"{"op":13,"expires_in":60000}"#),
        (Event::Refreshed { expires_in_ms: None }, r#"{"op":13}"#),
    ] {
        assert_eq!(event.to_json(Version::V2), expected);
    }
}

#[test]
fn a_recovering_channel_carries_the_position_of_its_client() {
    let since = Position { epoch: 7, offset: 3 };
    for (since, position) in [(None, ""), (Some(since), r#","position":"7-3""#)] {
        let state = SubscriptionState::Recovering { since };
        let ready = Event::Ready {
            user: "42".into(),
            session: SessionId(1),
            expires_in_ms: None,
            channels: vec![ChannelState { channel: room(), state }],
        };
        let listed = format!(r#""channels":[{{"channel":"room:7","state":"recovering"{position}}}]}}"#);
        assert!(ready.to_json(Version::V2).ends_with(&listed), "{ready:?}");
        let outcome = SubscriptionOutcome::Subscribed(state);
        let subscription = Event::Subscription { channel: "room:7".into(), outcome };
        assert_eq!(
            subscription.to_json(Version::V2),
            format!(r#"{{"op":6,"channel":"room:7","state":"recovering"{position}}}"#)
        );
    }
}

#[test]
fn a_live_channel_carries_the_presence_of_its_user() {
    let online = ChannelName::parse("online:42").unwrap();
    let presence = UserPresence::new(true, 1_764_423_000_000);
    let state = live(3, Some(false)).with_presence(Some(presence));
    let fields = r#""position":"7-3","recovered":false,"presence":{"online":true,"at":1764423000000}}"#;
    let ready = Event::Ready {
        user: "7".into(),
        session: SessionId(1),
        expires_in_ms: None,
        channels: vec![ChannelState { channel: online.clone(), state }],
    };
    let ready = ready.to_json(Version::V2);
    assert!(ready.ends_with(&format!(r#"[{{"channel":"online:42",{fields}]}}"#)), "{ready}");
    let outcome = SubscriptionOutcome::Subscribed(state);
    let subscription = Event::Subscription { channel: online.as_str().into(), outcome };
    assert_eq!(
        subscription.to_json(Version::V2),
        format!(r#"{{"op":6,"channel":"online:42","state":"subscribed",{fields}"#)
    );
    let recovering = SubscriptionState::Recovering { since: None };
    assert_eq!(recovering.with_presence(Some(presence)), recovering);
}

#[test]
fn a_batch_is_one_event_with_all_its_channels() {
    let outcome = |channel: &str, outcome| ChannelOutcome { channel: channel.into(), outcome };
    let event = Event::Subscriptions(vec![
        outcome("room:7", SubscriptionOutcome::Subscribed(live(3, None))),
        outcome("a\"b", SubscriptionOutcome::Refused(RefusalReason::BadChannel)),
        outcome("room:8", SubscriptionOutcome::Unsubscribed { reason: None }),
        outcome("all", SubscriptionOutcome::Refused(RefusalReason::OwnChannel)),
        outcome("room:9", SubscriptionOutcome::Refused(RefusalReason::AlreadySubscribed)),
    ]);
    assert_eq!(
        event.to_json(Version::V2),
        concat!(
            r#"{"op":6,"channels":[{"channel":"room:7","state":"subscribed","position":"7-3"},"#,
            r#"{"channel":"a\"b","state":"refused","reason":"bad_channel"},"#,
            r#"{"channel":"room:8","state":"unsubscribed"},"#,
            r#"{"channel":"all","state":"refused","reason":"own_channel"},"#,
            r#"{"channel":"room:9","state":"refused","reason":"already_subscribed"}]}"#
        )
    );
}

#[test]
fn ready_says_how_many_stored_messages_follow() {
    let position = Position { epoch: 7, offset: 3 };
    let state = SubscriptionState::Live { position, recovered: None, presence: None, last: Some(2) };
    let ready = Event::Ready {
        user: "42".into(),
        session: SessionId(1),
        expires_in_ms: None,
        channels: vec![ChannelState { channel: room(), state }],
    };
    let listed = r#""channels":[{"channel":"room:7","position":"7-3","last":2}]}"#;
    assert!(ready.to_json(Version::V2).ends_with(listed), "{ready:?}");
}

#[test]
fn an_error_names_its_request_its_channel_and_its_delay() {
    let busy = SoftError::Busy { after_ms: 500 };
    for (event, expected) in [
        (
            Event::RequestError { id: "c1".into(), error: busy },
            r#"{"op":9,"code":"busy","detail":"too many messages wait; send it again later","id":"c1","after":500}"#,
        ),
        (
            Event::ChannelError { channel: "a\"b".into(), error: SoftError::TooBig },
            r#"{"op":9,"code":"too_big","detail":"the message is too long","channel":"a\"b"}"#,
        ),
        (Event::Sent { id: "c\"1".into() }, r#"{"op":17,"id":"c\"1"}"#),
    ] {
        assert_eq!(event.to_json(Version::V2), expected);
    }
}
