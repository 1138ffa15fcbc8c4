//! Events: the frames that the gateway sends to one client. `wire.rs` encodes them.

mod wire;

use serde::Serialize;

use super::SessionId;
use super::channel::ChannelName;
use super::position::Position;
pub(crate) use wire::encode_message;

/// One frame for one client. Messages are not among them: they are encoded once for all receivers, by
/// [`Publication::frame`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Op 0, at once after the upgrade.
    Hello {
        /// How often the gateway sends op 10, in milliseconds.
        heartbeat_interval_ms: u64,
        /// What version 2 is told besides.
        session: SessionId,
        /// The limits that a version 2 client must know.
        limits: HelloLimits,
    },
    /// Op 2: identified, and subscribed to everything listed.
    Ready {
        /// The user that the token named.
        user: Box<str>,
        /// The session's name.
        session: SessionId,
        /// How long the token is still good, in milliseconds.
        expires_in_ms: Option<u64>,
        /// Every channel of the session.
        channels: Vec<ChannelState>,
    },
    /// Op 6, the answer to Subscribe and Unsubscribe.
    Subscription {
        /// The channel as the client spelt it.
        channel: Box<str>,
        /// What came of it.
        outcome: SubscriptionOutcome,
    },
    /// Op 7: come back after so many milliseconds.
    Reconnect {
        /// When to come back.
        after_ms: u64,
    },
    /// Op 8: messages of the channel may be missing here; fetch what matters anew.
    Gap {
        /// The channel.
        channel: ChannelName,
        /// What happened.
        reason: GapReason,
    },
    /// Op 9: a soft error; the socket stays open.
    Error(SoftError),
    /// Op 10.
    Heartbeat {
        /// Unix time in milliseconds.
        time_ms: u64,
    },
    /// Op 11.
    HeartbeatAck {
        /// The `time` of the op 10 that it answers, as the client wrote it.
        time: Option<Box<str>>,
    },
    /// Op 13.
    Refreshed {
        /// How long the new token is good, in milliseconds.
        expires_in_ms: Option<u64>,
    },
}

/// The limits that Hello announces to version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HelloLimits {
    /// How long the client may take to identify, in milliseconds.
    #[serde(rename = "identify_timeout")]
    pub identify_timeout_ms: u64,
    /// The longest message that it may send, in bytes.
    pub message_bytes: usize,
    /// How many messages it may send in a minute; 0 means no limit.
    pub messages_per_minute: u32,
    /// How many channels it may subscribe to besides its own; 0 means no limit.
    pub subscriptions: u32,
}

/// One channel of a session, as Ready lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelState {
    /// Its name.
    pub channel: ChannelName,
    /// Its state.
    pub state: SubscriptionState,
}

/// The state of a subscription, as its client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Everything behind a position follows.
    Live {
        /// The position after which `since` continues.
        position: Position,
        /// Present when the client asked to continue: whether nothing is missing.
        recovered: Option<bool>,
    },
    /// The channel's history cannot be read at this moment. Nothing is delivered until another state follows.
    Recovering {
        /// The position that the client has named.
        since: Option<Position>,
    },
    /// The gateway itself may not subscribe to the channel. Ready does not list it; an op 6 says so.
    Refused,
}

impl SubscriptionState {
    /// Whether messages follow.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Live { .. })
    }
}

/// What came of a Subscribe or Unsubscribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionOutcome {
    /// On it, in this state.
    Subscribed(SubscriptionState),
    /// No longer on it.
    Unsubscribed {
        /// Why, when the client did not ask for it.
        reason: Option<&'static str>,
    },
    /// Not put on it.
    Refused(RefusalReason),
}

/// Why a subscription is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// It is not a channel name.
    BadChannel,
    /// Neither the token nor the settings allow it.
    NotAllowed,
    /// The session is on as many channels as it may be.
    TooMany,
    /// The broker does not let the gateway subscribe to it. An operator can change that, so the client may ask again later.
    Unavailable,
}

impl RefusalReason {
    /// The text on the wire.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadChannel => "bad_channel",
            Self::NotAllowed => "not_allowed",
            Self::TooMany => "too_many_subscriptions",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why messages of a channel may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// Redis was out of reach for a while: what was published plainly meanwhile is lost.
    LinkLost,
    /// The channel's history does not continue where it was left: it was lost, trimmed or has expired.
    HistoryLost,
    /// The history could not be read.
    HistoryUnreadable,
    /// More came than this replica could take.
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

/// What op 9 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoftError {
    /// Subscribe to a channel that the session is on, or is about to be.
    AlreadySubscribed,
    /// Unsubscribe from one of the session's own channels.
    OwnChannel,
    /// The new token is bad, or another user's; the old one still counts.
    RefreshFailed,
}

impl SoftError {
    const fn code_and_detail(self) -> (&'static str, &'static str) {
        match self {
            Self::AlreadySubscribed => ("already_subscribed", "the session is on this channel"),
            Self::OwnChannel => ("own_channel", "a session stays on its user's channel and on all"),
            Self::RefreshFailed => ("refresh_failed", "the token is not valid for this user"),
        }
    }
}

#[cfg(test)]
mod tests;
