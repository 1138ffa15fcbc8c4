//! The messages between hubs and the broker.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::MAX_IDEMPOTENCY_KEY_BYTES;
use super::recovery::{NotRecovered, Recovered, RecoveryLimits};
use protocol::channel::ChannelName;
use protocol::event::GapReason;
use protocol::payload_limits::PayloadLimits;
use protocol::position::Position;
use protocol::presence::UserPresence;
use protocol::publication::{PayloadError, Publication};
use protocol::signal::Signal;

/// Receives the events of one hub.
pub trait Inbox: Send + Sync + 'static {
    /// Accepts an event, or refuses it. Only a publication or a signal may be refused. For a publication, the hub then
    /// sends a gap to the channel's sessions.
    ///
    /// Called under the broker's lock from any thread, also from within
    /// [`Broker::subscribe`](super::Broker::subscribe). It must not block and must not call the broker.
    ///
    /// # Errors
    /// The inbox is full.
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull>;
}

/// An event for a hub. A hub receives its events in one order.
#[derive(Debug, Clone)]
pub enum HubEvent {
    /// A publication on a channel that this hub is subscribed to.
    Publication(Arc<Publication>),
    /// A signal on a channel that this hub is subscribed to. It has no position and no part in any order.
    Signal(Arc<Signal>),
    /// Answers to calls of [`Broker::subscribe`](super::Broker::subscribe).
    Subscribed(Vec<SubscribeAck>),
    /// Publications on a channel may be missing at this point.
    Gap {
        /// The channel of the missing publications.
        channel: ChannelName,
        /// Why they may be missing.
        reason: GapReason,
        /// Every publication after this position follows the event; `None`: the position is not known before the next
        /// durable publication.
        position: Option<Position>,
    },
    /// The state of the link. Sent when the hub is attached, and at each change.
    Link {
        /// Whether the link is up, so that subscriptions are answered soon.
        is_up: bool,
    },
    /// The answer to a call of [`Broker::read`](super::Broker::read), once for each call that was not cancelled.
    HistoryRead {
        /// The number that the hub gave the read.
        read: ReadId,
        /// The missed messages, or why they are not recovered.
        outcome: Result<Recovered, NotRecovered>,
    },
    /// The answer to a call of [`Broker::read_presence`](super::Broker::read_presence), once for each call that was not
    /// cancelled.
    PresenceRead {
        /// The number that the hub gave the read.
        read: ReadId,
        /// The channel `online:<user>`.
        channel: ChannelName,
        /// `None`: Redis refuses the read, or presence is off.
        presence: Option<UserPresence>,
    },
    /// The state of a room of which this hub has reported a [`Count`](super::LocalReport::Count) or a
    /// [`Member`](super::LocalReport::Member). The first one follows the hub's first report of the room as soon as the
    /// state is known; then one follows each change, at most once a second for each room.
    Room {
        /// The channel.
        channel: ChannelName,
        /// How many sessions are subscribed on all replicas; where members are reported, how many users.
        count: u64,
        /// The ids of the users that have come since the event before. Both lists are empty in the first event, when
        /// changes may have been missed, and while the room has more than `presence.max_members`.
        joined: Arc<[Box<str>]>,
        /// The ids of the users that have left since the event before.
        left: Arc<[Box<str>]>,
    },
}

/// Confirms one channel of one call of `subscribe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeAck {
    /// The confirmed channel.
    pub channel: ChannelName,
    /// The id of the call.
    pub call: BrokerCallId,
    /// Where the subscription begins.
    pub cut: Cut,
}

/// The position at which a subscription is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Every publication after this position follows the answer, or a gap does. The history up to it is immutable.
    At(Position),
    /// The channel's history cannot be read: publications are delivered, but those before them are not known.
    Untracked,
    /// Redis does not let the broker subscribe to the channel. The broker retries, so another answer to the same
    /// call may follow.
    Refused,
}

/// Identifies one call of `subscribe`; each hub numbers its own calls.
pub type BrokerCallId = u64;

/// Identifies one read of a history; each hub numbers its own reads.
pub type ReadId = u64;

/// A read of a history. It has no timeout, but can be cancelled.
#[derive(Debug, Clone)]
pub struct HistoryRequest {
    /// Returned with the answer.
    pub read: ReadId,
    /// The channel of the user for whom the history is read: reads alternate between users.
    pub user: ChannelName,
    /// The channel to read.
    pub channel: ChannelName,
    /// The messages to read.
    pub range: HistoryRange,
    /// How much the client may receive.
    pub limits: RecoveryLimits,
}

/// The messages that a read of a history returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HistoryRange {
    /// All messages that one subscription missed. They are immutable.
    Since {
        /// The last position that the client has.
        since: Position,
        /// The position at which the subscription begins.
        cut: Position,
    },
    /// The newest messages before a subscription begins, at most `limits.messages`. They are immutable.
    Last {
        /// The position at which the subscription begins.
        cut: Position,
    },
    /// One page: at most `limits.messages`, and as many as fit into `limits.bytes`, at least one.
    Page(PageRange),
}

impl HistoryRange {
    /// Whether two reads of this range return the same messages at any time.
    pub(super) const fn is_immutable(self) -> bool {
        !matches!(self, Self::Page(_))
    }
}

/// The messages from which a page is taken. A position need not be one of a stored message: positions are ordered, so a
/// position from before the history's current beginning or from beyond its end is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PageRange {
    /// The oldest messages after a position; `None`: from the beginning.
    After(Option<Position>),
    /// The newest messages before a position; `None`: up to the end.
    Before(Option<Position>),
}

/// A request for one page of a channel's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPageRequest {
    /// The channel to read.
    pub channel: ChannelName,
    /// The messages from which the page is taken.
    pub range: PageRange,
    /// The most messages of the page.
    pub limit: usize,
    /// The most bytes of the page. A page has at least one message if there is one.
    pub max_bytes: usize,
}

/// Why a page of a history was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HistoryReadError {
    /// The link to Redis is down, or the broker has stopped.
    #[error("there is no connection to Redis")]
    Unavailable,
    /// Redis did not answer in time.
    #[error("Redis did not answer within broker.response_timeout")]
    Timeout,
    /// The history's data cannot be read.
    #[error(
        "the history cannot be read: its key has another type, or the gateway's Redis user lacks a right"
    )]
    Unreadable,
}

/// The inbox is full: the event is dropped and counted. A gap replaces a publication, and nothing replaces a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub's inbox is full")]
pub struct InboxFull;

/// Identifies an attached hub.
// A hub is a worker thread, of which there are fewer than 65536. The type is small, because each channel lists its
// hubs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubId(u16);

impl HubId {
    pub(super) const fn of_index(index: usize) -> Self {
        assert!(index <= u16::MAX as usize, "a process has one hub for each worker thread");
        Self(index as u16)
    }

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Why a publication failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The link to Redis is down, or the broker has stopped. Nothing was published.
    #[error("the broker cannot be reached")]
    Unavailable,
    /// Redis did not answer in time. The message may have been published, or may still be.
    #[error("the broker did not answer in time; the message may have been published")]
    Timeout,
    /// The connection broke before Redis answered. The message may have been published.
    #[error("the connection to the broker broke; the message may have been published")]
    Interrupted,
    /// Redis answered with something that is not a result of the publication. The message may have been published.
    #[error("the broker's answer is invalid: {0}; the message may have been published")]
    InvalidAnswer(String),
    /// Too many publications are waiting for Redis. Nothing was published.
    #[error("too many publications are waiting for the broker")]
    Busy,
    /// The message is too long. Nothing was published.
    #[error("the message is {bytes} bytes; the maximum is {max_bytes}")]
    TooBig {
        /// The length of the message, in bytes.
        bytes: usize,
        /// The longest payload allowed, in bytes.
        max_bytes: usize,
    },
    /// Every replica would drop the message. Nothing was published.
    #[error("{0}")]
    BadMessage(PayloadError),
    /// The idempotency key was used with another message. Nothing was published.
    #[error("this idempotency key was used with another message")]
    KeyReused,
    /// Redis answered with this error. Nothing was published.
    #[error("the broker refused: {0}")]
    Refused(String),
    /// Redis cannot keep a history, for this reason; plain publishing may work. Nothing was published.
    #[error("durable publishing is not available: {0}")]
    HistoryUnavailable(String),
    /// The idempotency key is empty, too long, or `push` without a push. Nothing was published.
    #[error("an idempotency key has 1 to {MAX_IDEMPOTENCY_KEY_BYTES} bytes, and is not the word push")]
    BadIdempotencyKey,
    /// Push was asked for, but the message is plain or not for a user. Nothing was published.
    #[error("push needs a durable message for user:<id>")]
    BadPush,
    /// Push was asked for, but presence is off in the settings. Nothing was published.
    #[error("push needs presence: set presence.enabled")]
    PresenceDisabled,
}

/// Why the broker was not started.
#[derive(Debug, thiserror::Error)]
pub enum BrokerSetupError {
    /// The URL is not a valid Redis URL. The text does not repeat the URL, because it may hold a password.
    #[error("broker.url cannot be used: {0}")]
    BadUrl(String),
    /// A file that the link needs cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// The waits between attempts are not valid.
    #[error(transparent)]
    BadBackoff(#[from] crate::backoff::BadBounds),
    /// The link's thread or its runtime did not start.
    #[error("the thread of the broker's link did not start: {0}")]
    Thread(#[from] std::io::Error),
}

/// Whether publications reach this process, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether publications arrive: a probe returned after all wanted channels had been subscribed and repaired. The
    /// memory broker is ready until it stops.
    pub is_ready: bool,
    /// One word of a closed set: `ready`, `connecting`, `proving`, `stalled`, `down`, `stopped`.
    pub state: &'static str,
    /// Why the broker is not ready, in plain English and without secrets; empty when `is_ready`.
    pub reasons: Vec<String>,
}

/// One publication.
#[derive(Debug, Clone, Copy)]
pub struct PublishRequest<'a> {
    /// The channel to publish on.
    pub channel: &'a ChannelName,
    /// The message, published byte for byte.
    pub message: &'a RawValue,
    /// `None`: the message is published and not stored. `Some`: it is also appended to the channel's history; the inner
    /// value is the idempotency key, if there is one.
    pub durable: Option<Option<&'a str>>,
    /// Whether to hand the message to push if the user is away. It must be durable and for a user's own channel.
    pub push: bool,
}

/// The result of a publication, or why it failed.
pub type PublishOutcome = Result<Published, PublishError>;

/// The result of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The message has this position in the history.
    Durably(Position),
    /// The message was not stored.
    Plainly {
        /// How many replicas have subscribers to its channel.
        replicas: u64,
    },
    /// The message has this position in the history, and push was asked for.
    WithPush {
        /// The position in the history.
        position: Position,
        /// Whether the user was away. Then the message is on the stream for push; in memory, this answer is all.
        is_pushed: bool,
    },
}

/// Whether a publication may wait for a connection to Redis that is being replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The publication is retried until `broker.response_timeout` after the call, if that cannot publish it twice.
    Allowed,
    /// The publication fails at once.
    Never,
}

/// Refuses messages that every replica would drop.
pub(super) fn check_request(request: &PublishRequest<'_>, limits: PayloadLimits) -> Result<(), PublishError> {
    check_idempotency_key(request.durable.flatten(), request.push)?;
    if request.push && (request.durable.is_none() || request.channel.user_id().is_none()) {
        return Err(PublishError::BadPush);
    }
    let (message, max_bytes) = (request.message.get(), limits.max_bytes);
    if message.len() > max_bytes {
        return Err(PublishError::TooBig { bytes: message.len(), max_bytes });
    }
    limits.check_text(message).map_err(PublishError::BadMessage)
}

/// The function of Redis takes a last argument `push` for a call without its idempotency key, and refuses it.
fn check_idempotency_key(key: Option<&str>, push: bool) -> Result<(), PublishError> {
    match key {
        Some("push") if !push => Err(PublishError::BadIdempotencyKey),
        Some(key) if !(1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()) => {
            Err(PublishError::BadIdempotencyKey)
        }
        _ => Ok(()),
    }
}
