//! Events: the frames that the gateway sends to one client. `wire.rs` has their JSON, `frames.rs` their frames.

mod frames;
mod wire;

use std::sync::Arc;

use serde::Serialize;

use super::SessionId;
use super::channel::ChannelName;
use super::client_message::SendError;
use super::history_page::HistoryPage;
use super::members::MembersPage;
use super::position::Position;
use super::presence::UserPresence;
pub use frames::EventFrames;
pub(crate) use wire::{encode_message, encode_signal};

/// One frame for one client. Op 3 is not an event: a message is encoded once for all receivers, by
/// [`Publication::frame`](crate::publication::Publication::frame).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Op 0, the first frame after the upgrade.
    Hello {
        /// How often the gateway sends op 10, in milliseconds.
        heartbeat_interval_ms: u64,
        /// The session's id; only version 2 has it.
        session: SessionId,
        /// The limits of the client; only version 2 has them.
        limits: HelloLimits,
    },
    /// Op 2: the session is identified, and subscribed to the listed channels.
    Ready {
        /// The id of the user in the token.
        user: Box<str>,
        /// The session's id; only version 2 has it.
        session: SessionId,
        /// The time until the token expires, in milliseconds; `None` if it never expires.
        expires_in_ms: Option<u64>,
        /// The channels of the session, except refused ones; only version 2 has them.
        channels: Vec<ChannelState>,
    },
    /// Op 6, the answer to Subscribe and Unsubscribe.
    Subscription {
        /// The name as the client sent it; it may be invalid.
        channel: Box<str>,
        /// The result of the request.
        outcome: SubscriptionOutcome,
    },
    /// Op 6, the answer to a batch: every channel of the request, in its order.
    Subscriptions(Vec<ChannelOutcome>),
    /// Op 7: the gateway drains; the client should reconnect.
    Reconnect {
        /// The time to wait before reconnecting, in milliseconds.
        after_ms: u64,
    },
    /// Op 8: messages of the channel may be missing at this point; the client should reload its data.
    Gap {
        /// The channel; the session is subscribed to it.
        channel: ChannelName,
        /// Why messages may be missing.
        reason: GapReason,
    },
    /// Op 9: a request failed; the socket stays open.
    Error(SoftError),
    /// Op 9 with the id of the request that failed.
    RequestError {
        /// The id in the request.
        id: Box<str>,
        /// Why it failed.
        error: SoftError,
    },
    /// Op 9 with the channel of the request that failed.
    ChannelError {
        /// The name as the client sent it; it may be invalid.
        channel: Box<str>,
        /// Why it failed.
        error: SoftError,
    },
    /// Op 10, sent at each heartbeat interval.
    Heartbeat {
        /// Unix time in milliseconds.
        time_ms: u64,
    },
    /// Op 11, the answer to the client's op 10.
    HeartbeatAck {
        /// The `time` of the client's op 10, byte for byte.
        time: Option<Box<str>>,
    },
    /// Op 13: the new token is accepted.
    Refreshed {
        /// The time until the new token expires, in milliseconds; `None` if it never expires.
        expires_in_ms: Option<u64>,
    },
    /// Op 14: the number of subscribers of a channel.
    Room {
        /// The channel; the session is subscribed to it.
        channel: ChannelName,
        /// The number of sessions, or of users where the namespace has members.
        count: u64,
        /// The users that have joined since the last op 14.
        joined: Arc<[Box<str>]>,
        /// The users that have left since the last op 14.
        left: Arc<[Box<str>]>,
    },
    /// Op 15: a page of the members of a channel.
    Members {
        /// The id in the request.
        id: Box<str>,
        /// The channel in the request.
        channel: ChannelName,
        /// The members.
        page: MembersPage,
    },
    /// Op 17: the inbox of the backend has the client's message.
    Sent {
        /// The id in the request.
        id: Box<str>,
    },
    /// Op 20: a page of the history of a channel.
    History {
        /// The id in the request.
        id: Box<str>,
        /// The channel in the request.
        channel: ChannelName,
        /// The messages.
        page: HistoryPage,
    },
}

/// The result of a batch for one of its channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelOutcome {
    /// The name as the client sent it; it may be invalid.
    pub channel: Box<str>,
    /// The result of the request.
    pub outcome: SubscriptionOutcome,
}

/// The limits that Hello announces to version 2, in the order of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HelloLimits {
    /// The time within which the client must identify, in milliseconds.
    #[serde(rename = "identify_timeout")]
    pub identify_timeout_ms: u64,
    /// The maximum length of a message from the client, in bytes.
    pub message_bytes: usize,
    /// The maximum number of messages from the client per minute; 0 means no limit.
    pub messages_per_minute: u32,
    /// The maximum number of subscriptions in addition to the session's own channels; 0 means no limit.
    pub subscriptions: u32,
}

/// A channel in Ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelState {
    /// The name of the channel.
    pub channel: ChannelName,
    /// Live or recovering; Ready does not list refused channels.
    pub state: SubscriptionState,
}

/// The state of a subscription in the events for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Every message after a position is delivered.
    Live {
        /// The last position before the delivered messages; a client can use it as `since`.
        position: Position,
        /// Whether no message is missing after the client's `since`; `None` if the client sent no `since`.
        recovered: Option<bool>,
        /// Whether the user of `online:<user>` was online when the subscription began; `None` on any other channel,
        /// and while presence is off.
        presence: Option<UserPresence>,
        /// The number of messages of the history that follow, if the client asked for the last ones and `since` did
        /// not decide.
        last: Option<u32>,
    },
    /// The channel's history cannot be read now. No message is delivered until another state follows.
    Recovering {
        /// The client's `since`, if it is a position.
        since: Option<Position>,
    },
    /// The broker does not allow the gateway to subscribe. Ready does not list the channel; an op 6 follows.
    Refused,
}

impl SubscriptionState {
    /// Whether messages of the channel are delivered.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Live { .. })
    }

    /// The same state of a channel `online:<user>`, whose user has this presence. Only a live state has room for it.
    pub const fn with_presence(self, presence: Option<UserPresence>) -> Self {
        match self {
            Self::Live { position, recovered, last, .. } => {
                Self::Live { position, recovered, presence, last }
            }
            Self::Recovering { .. } | Self::Refused => self,
        }
    }
}

/// The result of a Subscribe or Unsubscribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionOutcome {
    /// The session is subscribed, in this state.
    Subscribed(SubscriptionState),
    /// The session is not subscribed.
    Unsubscribed {
        /// Why the gateway ended the subscription; `None` if the client requested it.
        reason: Option<&'static str>,
    },
    /// The request is refused.
    Refused(RefusalReason),
}

/// Why a subscription is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// The text is not a valid channel name.
    BadChannel,
    /// Neither the token nor the settings allow the channel.
    NotAllowed,
    /// The session already has the maximum number of subscriptions.
    TooMany,
    /// The broker does not allow the gateway to subscribe. An operator can change the rights, so the client may retry.
    Unavailable,
    /// In a batch: the session is subscribed to the channel, or has already requested it.
    AlreadySubscribed,
    /// In a batch: a session cannot leave its own channels.
    OwnChannel,
}

impl RefusalReason {
    /// The text on the wire.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadChannel => "bad_channel",
            Self::NotAllowed => "not_allowed",
            Self::TooMany => "too_many_subscriptions",
            Self::Unavailable => "unavailable",
            Self::AlreadySubscribed => "already_subscribed",
            Self::OwnChannel => "own_channel",
        }
    }
}

/// Why messages of a channel may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// Redis was unreachable: messages that were not published durably in this time are lost.
    LinkLost,
    /// The channel's history does not continue after the last delivered position: it was lost, trimmed, or expired.
    HistoryLost,
    /// The channel's history could not be read.
    HistoryUnreadable,
    /// This replica received more messages than it could process.
    Overflow,
}

impl GapReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::LinkLost, Self::HistoryLost, Self::HistoryUnreadable, Self::Overflow];

    /// The text on the wire, and in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::LinkLost => "link_lost",
            Self::HistoryLost => "history_lost",
            Self::HistoryUnreadable => "history_unreadable",
            Self::Overflow => "overflow",
        }
    }
}

/// The error in op 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoftError {
    /// Subscribe to a channel that the session is subscribed to, or has already requested.
    AlreadySubscribed,
    /// Unsubscribe from one of the session's own channels.
    OwnChannel,
    /// The new token is invalid or belongs to another user; the old token stays in use.
    RefreshFailed,
    /// The session may not ask this of the channel.
    NotAllowed,
    /// The user has sent another message with this id. The code on the wire is that of `NotAllowed`.
    IdReused,
    /// The request cannot be answered now.
    Unavailable,
    /// The message or signal is too long.
    TooBig,
    /// The session has used up its messages of a minute.
    RateLimited,
    /// The backend's inbox is full, or the session has too many messages without an answer.
    Busy {
        /// The time after which the client may send the message again, in milliseconds.
        after_ms: u64,
    },
}

impl SoftError {
    const fn code_and_detail(self) -> (&'static str, &'static str) {
        match self {
            Self::AlreadySubscribed => ("already_subscribed", "the session is on this channel"),
            Self::OwnChannel => ("own_channel", "cannot unsubscribe from user:<id> or all"),
            Self::RefreshFailed => ("refresh_failed", "the token is not valid for this user"),
            Self::NotAllowed => ("not_allowed", "the session may not ask this of the channel"),
            Self::IdReused => ("not_allowed", "this id was used with another message"),
            Self::Unavailable => ("unavailable", "the request cannot be answered now"),
            Self::TooBig => ("too_big", "the message is too long"),
            Self::RateLimited => ("rate_limited", "too many messages in a minute"),
            Self::Busy { .. } => ("busy", "too many messages wait; send it again later"),
        }
    }

    const fn after_ms(self) -> Option<u64> {
        match self {
            Self::Busy { after_ms } => Some(after_ms),
            _ => None,
        }
    }
}

impl From<SendError> for SoftError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotAllowed => Self::NotAllowed,
            SendError::IdReused => Self::IdReused,
            SendError::Busy { after_ms } => Self::Busy { after_ms },
            SendError::Unavailable => Self::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests;
