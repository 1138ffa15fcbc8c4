//! Generates the steps of a conversation.

use proptest::prelude::*;
use proptest::{collection::vec, option, sample::select};

use super::*;
use crate::command::MAX_LISTED_CHANNELS;

/// One event of a test. Unlike an input, it is generated before the conversation runs.
#[derive(Debug, Clone)]
pub(super) enum PropertyStep {
    Text(String),
    Binary,
    ControlFrame,
    PeerClosed,
    Verified(Result<Identity, NotIdentified>),
    Unverifiable,
    OverLimit,
    /// For each channel, whether it is live.
    Joined(Vec<bool>),
    Subscribed {
        channel: ChannelName,
        request_id: u32,
        is_live: bool,
    },
    /// An answer to a message for the backend, whether there is one or not.
    Sent {
        is_accepted: bool,
    },
    /// An answer to a request for a page of a history, whether there is one or not.
    History {
        channel: ChannelName,
        is_read: bool,
    },
    /// An answer to a request for members, whether there is one or not.
    Members {
        channel: ChannelName,
        is_read: bool,
    },
    Drain(u64),
    Disconnected,
    TokenRevoked,
    RevocationsUnknown,
    SetSubscription {
        channel: ChannelName,
        is_subscribed: bool,
    },
    /// The hub or the authenticator answers the last request correctly.
    Answered,
    /// The hub answers the last request: the channels are recovering. The authenticator answers correctly.
    AnsweredRecovering,
    /// The hub answers for all recovering channels: they are live.
    Recovered,
    /// The driver passes `DeadlinePassed`, whether a deadline has passed or not.
    DeadlineChecked,
    /// Time passes, and the driver passes `DeadlinePassed` at each deadline.
    Passed(Duration),
    /// Time passes without `DeadlinePassed`.
    Stalled(Duration),
    /// The wall clock is set to another time.
    WallClockSet(u64),
}

pub(super) fn rules() -> impl Strategy<Value = Rules> {
    let ms = |range| Strategy::prop_map(range, Duration::from_millis);
    (
        ms(50..60_000u64),
        ms(0..20_000u64),
        ms(0..15_000u64),
        select(vec![0, 2, 30, 600]),
        0..4u32,
        any::<bool>(),
        (select(vec![0, 2, 60]), select(vec![0, 2, 600]), ms(0..2_000u64)),
    )
        .prop_map(|(interval, grace, identify, messages_per_minute, max_subscriptions, public, own)| {
            Rules {
                heartbeat: HeartbeatRules { interval, grace },
                identify_timeout: identify,
                max_message_bytes: 65_536,
                messages_per_minute,
                max_subscriptions,
                max_listed_channels: MAX_LISTED_CHANNELS,
                sends_per_minute: own.0,
                signals_per_minute: own.1,
                signal_interval: own.2,
                max_send_bytes: 16,
                namespaces: NamespaceRules::new(
                    ChannelRules::default(),
                    [
                        (
                            "news".into(),
                            ChannelRules { is_public: public, send: true, ..ChannelRules::default() },
                        ),
                        (
                            "room".into(),
                            ChannelRules { is_public: false, send: true, signals: true, max_last: 30 },
                        ),
                    ],
                ),
            }
        })
}

fn identity() -> impl Strategy<Value = Identity> {
    let grants = vec(select(vec!["room:*", "room:1", "news:*", "bank:1", "*", ""]), 0..3);
    let expiry = option::of(prop_oneof![
        Just(0),
        Just(u64::MAX),
        UNIX_START_MS..UNIX_START_MS + 100_000,
        UNIX_START_MS..UNIX_START_MS + 3 * 86_400_000,
    ]);
    let named = vec(channel().prop_filter_map("no channel", |name| ChannelName::parse(name).ok()), 0..3);
    (prop_oneof![9 => Just("42"), 1 => Just("43")], expiry, grants, named).prop_map(
        |(user, expires_at_ms, grants, subscribe)| Identity {
            user: ChannelName::of_user(user).unwrap(),
            expires_at_ms,
            grants: grants.into_iter().map(ChannelPattern::new).collect(),
            subscribe,
        },
    )
}

fn channel() -> impl Strategy<Value = &'static str> {
    select(vec!["room:1", "room:2", "room:3", "news:1", "bank:1", "user:42", "user:43", "all", "room:", ""])
}

fn requested_channel() -> impl Strategy<Value = String> {
    let fields = select(vec!["", r#","since":"9-1""#, r#","last":50"#, r#","since":"9-1","last":50"#]);
    (channel(), fields).prop_map(|(channel, fields)| format!(r#"{{"channel":"{channel}"{fields}}}"#))
}

/// A message or a signal: within the limits, over that of messages, and over both.
fn message() -> impl Strategy<Value = String> {
    select(vec![2_usize, 100, 1_100]).prop_map(|length| format!(r#""{}""#, "x".repeat(length)))
}

fn identify() -> impl Strategy<Value = String> {
    option::of(vec(requested_channel(), 0..6)).prop_map(|channels| match channels {
        Some(channels) => format!(r#"{{"op":1,"token":"t","channels":[{}]}}"#, channels.join(",")),
        None => r#"{"op":1,"token":"t"}"#.to_owned(),
    })
}

fn command() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => identify(),
        8 => channel().prop_map(|channel| format!(r#"{{"op":4,"channel":"{channel}"}}"#)),
        2 => channel().prop_map(|channel| format!(r#"{{"op":4,"channel":"{channel}","since":"9-1"}}"#)),
        5 => channel().prop_map(|channel| format!(r#"{{"op":5,"channel":"{channel}"}}"#)),
        4 => vec(requested_channel(), 1..5).prop_map(|list| format!(r#"{{"op":4,"channels":[{}]}}"#, list.join(","))),
        2 => vec(channel(), 1..5).prop_map(|list| format!(r#"{{"op":5,"channels":{list:?}}}"#)),
        3 => Just(r#"{"op":12,"token":"t"}"#.to_owned()),
        4 => (channel(), message()).prop_map(|(channel, message)| {
            format!(r#"{{"op":16,"id":"c1","channel":"{channel}","message":{message}}}"#)
        }),
        6 => (channel(), message()).prop_map(|(channel, signal)| {
            format!(r#"{{"op":18,"channel":"{channel}","signal":{signal}}}"#)
        }),
        4 => (channel(), select(vec!["", r#","before":"9-3""#, r#","before":"?""#, r#","limit":7"#]))
            .prop_map(|(channel, fields)| format!(r#"{{"op":19,"id":"h1","channel":"{channel}"{fields}}}"#)),
        4 => channel().prop_map(|channel| format!(r#"{{"op":15,"id":"m1","channel":"{channel}"}}"#)),
        3 => Just(r#"{"op":11,"time":1}"#.to_owned()),
        2 => Just(r#"{"op":10,"time":1579276740336}"#.to_owned()),
        1 => Just(r#"{"op":10}"#.to_owned()),
    ]
}

/// A command with one character removed or replaced.
fn corrupted_command() -> impl Strategy<Value = String> {
    (command(), any::<prop::sample::Index>(), option::of(any::<char>())).prop_map(|(text, at, put)| {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        match put {
            Some(put) => chars[at] = put,
            None => drop(chars.remove(at)),
        }
        chars.into_iter().collect()
    })
}

fn subscribed() -> impl Strategy<Value = PropertyStep> {
    let channel = channel().prop_filter_map("no channel", |name| ChannelName::parse(name).ok());
    (channel, 0..8u32, any::<bool>()).prop_map(|(channel, request_id, is_live)| PropertyStep::Subscribed {
        channel,
        request_id,
        is_live,
    })
}

fn members() -> impl Strategy<Value = PropertyStep> {
    let channel = channel().prop_filter_map("no channel", |name| ChannelName::parse(name).ok());
    (channel, any::<bool>()).prop_map(|(channel, is_read)| PropertyStep::Members { channel, is_read })
}

fn history() -> impl Strategy<Value = PropertyStep> {
    let channel = channel().prop_filter_map("no channel", |name| ChannelName::parse(name).ok());
    (channel, any::<bool>()).prop_map(|(channel, is_read)| PropertyStep::History { channel, is_read })
}

fn set_subscription() -> impl Strategy<Value = PropertyStep> {
    let channel = channel().prop_filter_map("no channel", |name| ChannelName::parse(name).ok());
    (channel, any::<bool>())
        .prop_map(|(channel, is_subscribed)| PropertyStep::SetSubscription { channel, is_subscribed })
}

fn step() -> impl Strategy<Value = PropertyStep> {
    let ms = |range| Strategy::prop_map(range, Duration::from_millis);
    prop_oneof![
        24 => command().prop_map(PropertyStep::Text),
        1 => corrupted_command().prop_map(PropertyStep::Text),
        1 => any::<String>().prop_map(PropertyStep::Text),
        1 => Just(PropertyStep::Binary),
        2 => Just(PropertyStep::ControlFrame),
        1 => Just(PropertyStep::PeerClosed),
        4 => identity().prop_map(|identity| PropertyStep::Verified(Ok(identity))),
        1 => Just(PropertyStep::Verified(Err(NotIdentified))),
        1 => Just(PropertyStep::Unverifiable),
        1 => Just(PropertyStep::OverLimit),
        4 => vec(any::<bool>(), 0..12).prop_map(PropertyStep::Joined),
        8 => subscribed(),
        4 => members(),
        4 => history(),
        4 => any::<bool>().prop_map(|is_accepted| PropertyStep::Sent { is_accepted }),
        1 => any::<u64>().prop_map(PropertyStep::Drain),
        1 => Just(PropertyStep::Disconnected),
        1 => Just(PropertyStep::TokenRevoked),
        1 => Just(PropertyStep::RevocationsUnknown),
        4 => set_subscription(),
        12 => Just(PropertyStep::Answered),
        4 => Just(PropertyStep::AnsweredRecovering),
        4 => Just(PropertyStep::Recovered),
        4 => Just(PropertyStep::DeadlineChecked),
        8 => ms(0..20_000u64).prop_map(PropertyStep::Passed),
        1 => ms(0..2 * 86_400_000u64).prop_map(PropertyStep::Passed),
        2 => ms(0..100_000u64).prop_map(PropertyStep::Stalled),
        3 => prop_oneof![Just(0), Just(u64::MAX), UNIX_START_MS - 100_000..UNIX_START_MS + 100_000]
            .prop_map(PropertyStep::WallClockSet),
    ]
}

/// Half of the conversations start with a successful Identify, so that enough of them reach Ready.
pub(super) fn steps() -> impl Strategy<Value = Vec<PropertyStep>> {
    let joined = prop_oneof![3 => Just(PropertyStep::Answered), 1 => Just(PropertyStep::AnsweredRecovering)];
    let identified = (identify(), joined)
        .prop_map(|(text, joined)| vec![PropertyStep::Text(text), PropertyStep::Answered, joined]);
    (prop_oneof![Just(vec![]), identified], vec(step(), 0..=57))
        .prop_map(|(start, rest)| start.into_iter().chain(rest).collect())
}
