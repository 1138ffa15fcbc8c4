//! The JSON of events, and the frames of messages and signals.
//!
//! Each variant of [`OpFields`] lists the fields of one op in the order of the wire. The order and the absence of
//! fields are part of the contract with version 1.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    ChannelOutcome, ChannelState, Event, HelloLimits, RefusalReason, SoftError, SubscriptionOutcome,
    SubscriptionState,
};
use crate::command::op;
use crate::frame::{self, FrameKind};
use crate::position::Position;
use crate::presence::UserPresence;
use crate::publication::Publication;
use crate::signal::Signal;
use crate::{Encoding, SessionId, Variant, Version, event_stream};

/// The length of op 3 without its channel and message, in bytes, rounded up.
const MAX_MESSAGE_OVERHEAD: usize = 96;

#[derive(Serialize)]
struct OpFrame<T> {
    op: u64,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OpFields<'a> {
    Hello {
        heartbeat_interval: u64,
        #[serde(flatten)]
        v2: Option<HelloV2>,
    },
    Ready {
        user: &'a str,
        #[serde(flatten)]
        v2: Option<ReadyV2<'a>>,
    },
    Subscription {
        channel: &'a str,
        #[serde(flatten)]
        state: StateFields,
    },
    Subscriptions {
        channels: Vec<ListedChannel<'a>>,
    },
    Reconnect {
        after: u64,
        reason: &'static str,
    },
    Gap {
        channel: &'a str,
        reason: &'static str,
    },
    Error {
        code: &'static str,
        detail: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    HeartbeatAck {
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<&'a RawValue>,
    },
    Refreshed {
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in: Option<u64>,
    },
    Room {
        channel: &'a str,
        count: u64,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        joined: &'a [Box<str>],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        left: &'a [Box<str>],
    },
    Members {
        id: &'a str,
        channel: &'a str,
        members: &'a [Box<str>],
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<&'a str>,
    },
    Sent {
        id: &'a str,
    },
    History {
        id: &'a str,
        channel: &'a str,
        messages: Vec<HistoryMessage<'a>>,
        more: bool,
    },
}

#[derive(Serialize)]
struct HistoryMessage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    message: &'a RawValue,
}

#[derive(Serialize)]
struct SignalFields<'a> {
    op: u64,
    channel: &'a str,
    user: &'a str,
    signal: &'a RawValue,
}

/// The most frequent event of an idle client: without the map that a flattened field takes.
#[derive(Serialize)]
struct HeartbeatFields {
    op: u64,
    time: u64,
}

#[derive(Serialize)]
struct HelloV2 {
    v: u64,
    session: SessionId,
    limits: HelloLimits,
}

#[derive(Serialize)]
struct ReadyV2<'a> {
    session: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    channels: Vec<ListedChannel<'a>>,
}

#[derive(Serialize)]
struct ListedChannel<'a> {
    channel: &'a str,
    #[serde(flatten)]
    state: StateFields,
}

#[derive(Default, Serialize)]
struct StateFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence: Option<UserPresence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct MessageFields<'a> {
    op: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    message: &'a RawValue,
}

impl Event {
    /// The JSON text of this event for a client of `version`.
    pub fn to_json(&self, version: Version) -> String {
        let is_v2 = version == Version::V2;
        // Serializing fails only for maps whose keys are not strings, and there are none.
        let (op, fields) = match self {
            Self::Hello { heartbeat_interval_ms, session, limits } => {
                let v2 = is_v2.then_some(HelloV2 { v: 2, session: *session, limits: *limits });
                (op::HELLO, OpFields::Hello { heartbeat_interval: *heartbeat_interval_ms, v2 })
            }
            Self::Ready { user, session, expires_in_ms, channels } => {
                let v2 = is_v2.then(|| ReadyV2 {
                    session: *session,
                    expires_in: *expires_in_ms,
                    channels: channels.iter().map(ListedChannel::from).collect(),
                });
                (op::READY, OpFields::Ready { user, v2 })
            }
            Self::Subscription { channel, outcome } => {
                (op::SUBSCRIPTION, OpFields::Subscription { channel, state: outcome.into() })
            }
            Self::Subscriptions(channels) => {
                let channels = channels.iter().map(ListedChannel::from).collect();
                (op::SUBSCRIPTION, OpFields::Subscriptions { channels })
            }
            Self::Reconnect { after_ms } => {
                (op::RECONNECT, OpFields::Reconnect { after: *after_ms, reason: "draining" })
            }
            Self::Gap { channel, reason } => {
                (op::GAP, OpFields::Gap { channel: channel.as_str(), reason: reason.label() })
            }
            Self::Error(error) => (op::ERROR, OpFields::error(*error, None, None)),
            Self::RequestError { id, error } => (op::ERROR, OpFields::error(*error, Some(id), None)),
            Self::ChannelError { channel, error } => {
                (op::ERROR, OpFields::error(*error, None, Some(channel)))
            }
            Self::Heartbeat { time_ms } => {
                let fields = HeartbeatFields { op: op::HEARTBEAT, time: *time_ms };
                return serde_json::to_string(&fields).unwrap_or_default();
            }
            Self::HeartbeatAck { time } => {
                // The command's parser has checked that the time is JSON.
                let time = time.as_deref().and_then(|time| serde_json::from_str(time).ok());
                (op::HEARTBEAT_ACK, OpFields::HeartbeatAck { time })
            }
            Self::Refreshed { expires_in_ms } => {
                (op::REFRESHED, OpFields::Refreshed { expires_in: *expires_in_ms })
            }
            Self::Room { channel, count, joined, left } => {
                (op::ROOM, OpFields::Room { channel: channel.as_str(), count: *count, joined, left })
            }
            Self::Members { id, channel, page } => {
                let (channel, members) = (channel.as_str(), &page.members);
                (op::MEMBERS, OpFields::Members { id, channel, members, next: page.next.as_deref() })
            }
            Self::Sent { id } => (op::SENT, OpFields::Sent { id }),
            Self::History { id, channel, page } => {
                let (channel, more) = (channel.as_str(), page.has_more);
                let messages = page.messages.iter().map(|message| HistoryMessage {
                    position: message.position(),
                    message: message.message(),
                });
                let messages = messages.collect();
                (op::HISTORY_PAGE, OpFields::History { id, channel, messages, more })
            }
        };
        serde_json::to_string(&OpFrame { op, fields }).unwrap_or_default()
    }
}

/// The frame of op 3 for receivers of `variant`.
pub(crate) fn encode_message(variant: Variant, publication: &Publication) -> Bytes {
    let (channel, message) = (publication.channel().as_str(), publication.message());
    let is_v2 = variant.version == Version::V2;
    let fields = MessageFields {
        op: op::MESSAGE,
        channel: is_v2.then_some(channel),
        position: publication.position().filter(|_| is_v2),
        message,
    };
    let mut json = Vec::with_capacity(message.get().len() + channel.len() + MAX_MESSAGE_OVERHEAD);
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(&mut json, &fields);
    match variant.encoding {
        Encoding::Plain => frame::encode(FrameKind::Text, &json),
        Encoding::Deflated => frame::encode_shorter(FrameKind::Text, &json),
        Encoding::EventStream => {
            let moved = publication.position().map(|at| event_stream::entry(publication.channel(), Some(at)));
            event_stream::encode("message", moved.as_deref(), &json)
        }
    }
}

/// The frame of op 18 for receivers of version 2.
pub(crate) fn encode_signal(encoding: Encoding, signal: &Signal) -> Bytes {
    let (channel, user) = (signal.channel().as_str(), signal.user());
    let fields = SignalFields { op: op::SIGNAL, channel, user, signal: signal.signal() };
    // Serializing fails only for maps whose keys are not strings, and there are none.
    let json = serde_json::to_vec(&fields).unwrap_or_default();
    match encoding {
        Encoding::Plain => frame::encode(FrameKind::Text, &json),
        Encoding::Deflated => frame::encode_shorter(FrameKind::Text, &json),
        Encoding::EventStream => event_stream::encode("signal", None, &json),
    }
}

impl<'a> OpFields<'a> {
    fn error(error: SoftError, id: Option<&'a str>, channel: Option<&'a str>) -> Self {
        let (code, detail) = error.code_and_detail();
        Self::Error { code, detail, id, channel, after: error.after_ms() }
    }
}

impl<'a> From<&'a ChannelOutcome> for ListedChannel<'a> {
    fn from(ChannelOutcome { channel, outcome }: &'a ChannelOutcome) -> Self {
        Self { channel, state: outcome.into() }
    }
}

impl<'a> From<&'a ChannelState> for ListedChannel<'a> {
    /// A live channel is listed without its state.
    fn from(ChannelState { channel, state }: &'a ChannelState) -> Self {
        let mut fields = StateFields::from(*state);
        fields.state = fields.state.filter(|_| !state.is_live());
        Self { channel: channel.as_str(), state: fields }
    }
}

impl From<SubscriptionState> for StateFields {
    fn from(state: SubscriptionState) -> Self {
        match state {
            SubscriptionState::Live { position, recovered, presence, last } => {
                let position = Some(position);
                Self { state: Some("subscribed"), position, recovered, presence, last, reason: None }
            }
            SubscriptionState::Recovering { since } => {
                Self { state: Some("recovering"), position: since, ..Self::default() }
            }
            SubscriptionState::Refused => Self::refused(RefusalReason::Unavailable),
        }
    }
}

impl From<&SubscriptionOutcome> for StateFields {
    fn from(outcome: &SubscriptionOutcome) -> Self {
        match *outcome {
            SubscriptionOutcome::Subscribed(state) => state.into(),
            SubscriptionOutcome::Unsubscribed { reason } => {
                Self { state: Some("unsubscribed"), reason, ..Self::default() }
            }
            SubscriptionOutcome::Refused(reason) => Self::refused(reason),
        }
    }
}

impl StateFields {
    fn refused(reason: RefusalReason) -> Self {
        Self { state: Some("refused"), reason: Some(reason.label()), ..Self::default() }
    }
}
