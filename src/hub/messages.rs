//! What is said to a hub, and what it says to sessions.

use std::time::{Duration, Instant};

use actix::{Message, Recipient};
use bytes::Bytes;

use crate::broker::HubEvent;
use crate::socket::addresses::AddressBlock;
use crate::socket::outboxes::OutboxKey;
use protocol::channel::ChannelName;
use protocol::conversation::Wanted;
use protocol::event::SubscriptionState;
use protocol::{SessionId, Variant, Version};

/// A socket has been opened. Its session can be reached by control messages from now on; publications reach
/// it only after [`HubInput::Join`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Connect {
    /// The session, named by itself.
    pub session: SessionId,
    /// How it takes its messages.
    pub variant: Variant,
    /// Its way out, on this thread.
    pub outbox: OutboxKey,
    /// When it was opened.
    pub opened: Instant,
    /// Where its control messages go.
    pub recipient: Recipient<SessionEvent>,
}

/// What a hub is told: by sessions, by the broker, and by itself.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum HubInput {
    /// A session has been identified. Answered by [`SessionEvent::Joined`].
    Join {
        /// Which session.
        session: SessionId,
        /// The channels it is on from now on, not live yet.
        channels: Vec<Wanted>,
    },
    /// A session wants one more channel, not live yet. Answered by [`SessionEvent::Subscribed`].
    Subscribe {
        /// Which session.
        session: SessionId,
        /// The channel.
        wanted: Wanted,
    },
    /// A session wants a channel no more.
    Unsubscribe {
        /// Which session.
        session: SessionId,
        /// The channel.
        channel: ChannelName,
        /// The frame that tells the client so, to be sent behind the channel's last message.
        answer: Bytes,
    },
    /// The client has been told of its subscription: what is held may follow.
    GoLive {
        /// Which session.
        session: SessionId,
        /// Which channel; `None` for all of Join that are not recovering.
        channel: Option<ChannelName>,
    },
    /// A session is gone.
    Leave {
        /// Which session.
        session: SessionId,
    },
    /// What the broker has for this hub.
    Broker(HubEvent),
    /// The next part of a fan-out that takes long is to be written.
    FanoutTurn,
    /// [`HubCore::next_deadline`](super::core::HubCore::next_deadline) has come.
    DeadlinePassed,
}

/// Send everybody away, evenly spread over `window`.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// The time until the last one is sent away.
    pub window: Duration,
}

/// Who is here? For operators, not for deliveries.
#[derive(Debug, Clone, Message)]
#[rtype(result = "SessionList")]
pub struct ListSessions {
    /// Only the sessions of the user with this channel.
    pub user: Option<ChannelName>,
    /// How many are described at most.
    pub limit: usize,
    /// What time it is, for their ages.
    pub now: Instant,
}

/// Some of the sessions that were asked for.
#[derive(Debug, Default)]
pub struct SessionList {
    /// How many there are.
    pub total: usize,
    /// As many as were wanted, in no order.
    pub sessions: Vec<SessionSummary>,
}

/// One session, for an operator.
#[derive(Debug)]
pub struct SessionSummary {
    /// Its name.
    pub session: SessionId,
    /// The channel of its user; `None` until it is identified.
    pub user: Option<ChannelName>,
    /// The protocol version that it speaks.
    pub version: Version,
    /// What it is on, its own two first; no more than [`MAX_CHANNELS_LISTED`].
    pub channels: Vec<ChannelName>,
    /// How many channels it is on.
    pub subscriptions: usize,
    /// For how long it has been open, to a tenth of a second.
    pub age: Duration,
    /// The bytes that wait for its socket to take them.
    pub queued_bytes: usize,
    /// Its client's address, an IPv6 one by its network.
    pub address: Option<AddressBlock>,
}

/// How many of a session's channels are named.
pub const MAX_CHANNELS_LISTED: usize = 50;

/// End sessions with 4010. Answered with how many were here.
#[derive(Debug, Clone, Message)]
#[rtype(result = "usize")]
pub enum Disconnect {
    /// This one.
    Session(SessionId),
    /// All of the user with this channel.
    User(ChannelName),
}

/// What a session is told.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum SessionEvent {
    /// The answer to [`HubInput::Join`]: the state of each channel, in the order asked.
    Joined(Vec<SubscriptionState>),
    /// The answer to [`HubInput::Subscribe`], and what became of a channel that was recovering.
    Subscribed {
        /// The channel.
        channel: ChannelName,
        /// As asked.
        ticket: u32,
        /// Its state.
        state: SubscriptionState,
    },
    /// The replica is going away.
    Drain {
        /// When the client should come back, in milliseconds.
        after_ms: u64,
    },
    /// The backend or an operator ends the session.
    Disconnect,
}
