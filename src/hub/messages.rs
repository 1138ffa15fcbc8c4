//! The messages that a hub receives, and those it sends to sessions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Message;
use bytes::Bytes;

use crate::broker::HubEvent;
use crate::socket::client_prefix::ClientPrefix;
use crate::socket::outbox_registry::OutboxRef;
use protocol::channel::ChannelName;
use protocol::conversation::{ChannelAnswer, SubscribeRequest};
use protocol::event::SubscriptionState;
use protocol::signal::ClientSignal;
use protocol::{SessionId, Variant, Version};

/// A socket is open. The hub can now send control messages to its session; publications follow only after
/// [`HubInput::Join`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Connect {
    /// The id that the session keeps until its Leave.
    pub session: SessionId,
    /// The variant of frames that the session receives.
    pub variant: Variant,
    /// The socket's outbox in the registry of this thread.
    pub outbox: OutboxRef,
    /// The time at which the socket was opened.
    pub opened: Instant,
}

/// An input of a hub: from a session, from the broker, or from the hub itself.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum HubInput {
    /// A session is identified. Answered by [`SessionEvent::Joined`].
    Join {
        /// The identified session.
        session: SessionId,
        /// The channels to subscribe to. They go live on [`HubInput::GoLive`].
        channels: Vec<SubscribeRequest>,
    },
    /// A session subscribes to more channels. One [`SessionEvent::Subscribed`] answers for all of them.
    Subscribe {
        /// An identified session.
        session: SessionId,
        /// The channels to subscribe to. Each goes live on its own [`HubInput::GoLive`].
        channels: Vec<SubscribeRequest>,
    },
    /// A session unsubscribes from channels.
    Unsubscribe {
        /// The unsubscribing session.
        session: SessionId,
        /// The channels to leave.
        channels: Vec<ChannelName>,
        /// The frame for the client, sent after the last message of the channels; `None` if the client does not know of
        /// subscriptions.
        answer: Option<Bytes>,
    },
    /// The session has queued its answer to the client. Makes the answered subscriptions live: held publications
    /// follow.
    GoLive {
        /// The session whose client is answered.
        session: SessionId,
        /// The answered channel; `None`: all channels of the session's Join, except recovering channels.
        channel: Option<ChannelName>,
    },
    /// A session sends a signal to the other sessions of a channel.
    Signal {
        /// The session that sent the signal.
        session: SessionId,
        /// The signal and its channel.
        signal: ClientSignal,
    },
    /// A session has ended.
    Leave {
        /// The ended session.
        session: SessionId,
    },
    /// An event of the broker.
    Broker(HubEvent),
    /// Write the next part of a long fan-out, or signals.
    WriteTurn,
    /// [`HubCore::next_deadline`](super::core::HubCore::next_deadline) has passed.
    DeadlinePassed,
}

/// Drains all sessions, spread evenly over `window`.
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
    /// Lists only the sessions of the user with this channel; `None` lists all.
    pub user: Option<ChannelName>,
    /// Lists only the sessions that are subscribed to this channel; `None` lists all.
    pub channel: Option<ChannelName>,
    /// Lists only sessions with a greater id; `None` lists all.
    pub after: Option<SessionId>,
    /// The maximum number of sessions to describe.
    pub limit: usize,
    /// The time at which the sessions' ages are measured.
    pub now: Instant,
}

/// The sessions that match a query.
#[derive(Debug, Default)]
pub struct SessionList {
    /// The number of sessions of the user and channel, whatever their ids.
    pub total: usize,
    /// The number of those with an id after the one of the query, which may exceed the limit.
    pub later: usize,
    /// The described sessions: those with the smallest ids, at most as many as the limit, in the order of their ids.
    pub sessions: Vec<SessionSummary>,
}

/// One session, for an operator.
#[derive(Debug)]
pub struct SessionSummary {
    /// The id that a session receives on connect.
    pub session: SessionId,
    /// The channel of the session's user; `None` until the session is identified.
    pub user: Option<ChannelName>,
    /// The protocol version of the session.
    pub version: Version,
    /// The session's channels, its own two first; at most [`MAX_CHANNELS_LISTED`].
    pub channels: Vec<ChannelName>,
    /// The number of subscriptions, including those that `channels` omits.
    pub subscriptions: usize,
    /// The time since the socket was opened.
    pub age: Duration,
    /// The number of bytes in the session's outbox.
    pub queued_bytes: usize,
    /// The client's address; an IPv6 address is shortened to its network. `None` if it is unknown.
    pub address: Option<ClientPrefix>,
}

/// The maximum number of channels listed for one session.
pub const MAX_CHANNELS_LISTED: usize = 50;

/// An event for a session.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    /// The answer to [`HubInput::Join`]: the state of each channel, in the order of the request.
    Joined(Vec<SubscriptionState>),
    /// The answer to [`HubInput::Subscribe`], for all its channels; also sent when a recovering channel goes live, for
    /// that channel alone.
    Subscribed(Vec<ChannelAnswer>),
    /// The replica is draining.
    Drain {
        /// The delay before the client should reconnect, in milliseconds.
        after_ms: u64,
    },
    /// The backend or an operator ends the session, with this reason for the client.
    Disconnect(Option<Arc<str>>),
    /// The token that the session used is revoked.
    TokenRevoked,
    /// The backend or an operator subscribes the session to a channel, or ends its subscription.
    SetSubscription {
        /// The channel.
        channel: ChannelName,
        /// Whether the session is subscribed from now on.
        is_subscribed: bool,
    },
}
