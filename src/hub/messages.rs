//! The messages to a hub, and from it to sessions.

use std::time::{Duration, Instant};

use actix::{Message, Recipient};
use bytes::Bytes;

use crate::broker::HubEvent;
use crate::socket::client_prefix::ClientPrefix;
use crate::socket::outbox_registry::OutboxKey;
use protocol::channel::ChannelName;
use protocol::conversation::SubscribeRequest;
use protocol::event::SubscriptionState;
use protocol::{SessionId, Variant, Version};

/// A socket has been opened. Its session can be reached by control messages from now on; publications reach
/// it only after [`HubInput::Join`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Connect {
    /// The session's id.
    pub session: SessionId,
    /// The variant of frames that it receives.
    pub variant: Variant,
    /// The key of its outbox, on this thread.
    pub outbox: OutboxKey,
    /// When it was opened.
    pub opened: Instant,
    /// Where its control messages go.
    pub recipient: Recipient<SessionEvent>,
}

/// The inputs of a hub: from sessions, from the broker, and from itself.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum HubInput {
    /// A session has been identified. Answered by [`SessionEvent::Joined`].
    Join {
        /// Which session.
        session: SessionId,
        /// The channels to subscribe to, not live yet.
        channels: Vec<SubscribeRequest>,
    },
    /// A session wants one more channel, not live yet. Answered by [`SessionEvent::Subscribed`].
    Subscribe {
        /// Which session.
        session: SessionId,
        /// The channel.
        wanted: SubscribeRequest,
    },
    /// A session unsubscribes from a channel.
    Unsubscribe {
        /// Which session.
        session: SessionId,
        /// The channel.
        channel: ChannelName,
        /// The answer to the client, sent after the channel's last message.
        answer: Bytes,
    },
    /// The client has been told of its subscription: held publications may follow.
    GoLive {
        /// Which session.
        session: SessionId,
        /// Which channel; `None` for all of the Join that are not recovering.
        channel: Option<ChannelName>,
    },
    /// A session is gone.
    Leave {
        /// Which session.
        session: SessionId,
    },
    /// An event of the broker.
    Broker(HubEvent),
    /// Write the next part of a long fan-out.
    FanoutTurn,
    /// [`HubCore::next_deadline`](super::core::HubCore::next_deadline) has come.
    DeadlinePassed,
}

/// Drain all sessions, evenly spread over `window`.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// The time until the last session is drained.
    pub window: Duration,
}

/// Checks that a hub responds.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct HubCheck;

/// Lists the sessions of a hub, for operators.
#[derive(Debug, Clone, Message)]
#[rtype(result = "SessionList")]
pub struct ListSessions {
    /// Only the sessions of the user with this channel.
    pub user: Option<ChannelName>,
    /// The maximum number of sessions to describe.
    pub limit: usize,
    /// The present time, for the sessions' ages.
    pub now: Instant,
}

/// The sessions of a query, up to its limit.
#[derive(Debug, Default)]
pub struct SessionList {
    /// How many sessions match.
    pub total: usize,
    /// At most as many as the limit, in no order.
    pub sessions: Vec<SessionSummary>,
}

/// One session, for an operator.
#[derive(Debug)]
pub struct SessionSummary {
    /// Its id.
    pub session: SessionId,
    /// The channel of its user; `None` until it is identified.
    pub user: Option<ChannelName>,
    /// The protocol version that it speaks.
    pub version: Version,
    /// Its channels, its own two first; at most [`MAX_CHANNELS_LISTED`].
    pub channels: Vec<ChannelName>,
    /// The number of its channels.
    pub subscriptions: usize,
    /// How long it has been open, to a tenth of a second.
    pub age: Duration,
    /// The bytes that wait in its outbox.
    pub queued_bytes: usize,
    /// Its client's address, an IPv6 one by its network.
    pub address: Option<ClientPrefix>,
}

/// The most channels listed for one session.
pub const MAX_CHANNELS_LISTED: usize = 50;

/// End sessions with close code 4010. Answered with the number of sessions ended.
#[derive(Debug, Clone, Message)]
#[rtype(result = "usize")]
pub enum Disconnect {
    /// This one.
    Session(SessionId),
    /// All of the user with this channel.
    User(ChannelName),
}

/// An event for a session.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum SessionEvent {
    /// The answer to [`HubInput::Join`]: the state of each channel, in the order asked.
    Joined(Vec<SubscriptionState>),
    /// The answer to [`HubInput::Subscribe`]; also sent when a recovering channel goes live.
    Subscribed {
        /// The channel.
        channel: ChannelName,
        /// The request that this answers.
        request_id: u32,
        /// Its state.
        state: SubscriptionState,
    },
    /// The replica is draining.
    Drain {
        /// When the client should reconnect, in milliseconds.
        after_ms: u64,
    },
    /// The backend or an operator ends the session.
    Disconnect,
}
