//! What hubs and the broker say to each other.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::MAX_IDEMPOTENCY_KEY_BYTES;
use super::recovery::{NotRecovered, Recovered, RecoveryLimits};
use protocol::channel::ChannelName;
use protocol::event::GapReason;
use protocol::position::Position;
use protocol::publication::Publication;

/// Where a hub receives.
pub trait Inbox: Send + Sync + 'static {
    /// Takes an event or, only if it is a publication, refuses it; a hub that refuses one tells the channel's sessions of
    /// a gap in its place.
    ///
    /// It is called under the broker's lock, from any thread, or from within [`Broker::subscribe`](super::Broker::subscribe).
    /// It must not block and must not call the broker.
    ///
    /// # Errors
    /// The inbox is full.
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull>;
}

/// What a hub is told. All of it comes in one order.
#[derive(Debug, Clone)]
pub enum HubEvent {
    /// A publication on a channel that this hub has asked for.
    Publication(Arc<Publication>),
    /// Answers to calls of [`Broker::subscribe`](super::Broker::subscribe).
    Subscribed(Vec<SubscribeAck>),
    /// Publications of a channel may be missing here.
    Gap {
        /// The channel.
        channel: ChannelName,
        /// What happened.
        reason: GapReason,
        /// Everything published behind this position comes after this event; `None` where the position is not known
        /// before the next durable publication.
        position: Option<Position>,
    },
    /// Whether there is a link over which subscriptions are answered soon. A hub is told when it is attached, and at each
    /// change.
    Link {
        /// It is there.
        is_up: bool,
    },
    /// The answer to a call of [`Broker::read`](super::Broker::read), once for each call that was not cancelled.
    HistoryRead {
        /// The read.
        read: ReadId,
        /// What the history shows.
        outcome: Result<Recovered, NotRecovered>,
    },
}

/// One channel of one call of `subscribe` is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeAck {
    /// The channel.
    pub channel: ChannelName,
    /// The request that was given with the call.
    pub request: RequestId,
    /// Where the subscription begins.
    pub cut: Cut,
}

/// The position at which a subscription is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Everything behind this position comes after the answer, or a gap does. Everything up to it is immutable history.
    At(Position),
    /// The channel's history cannot be read: what comes is delivered, and nothing is known of what came before.
    Untracked,
}

/// Names one call of `subscribe`; a hub gives its own numbers.
pub type RequestId = u64;

/// Names one read of a history; a hub gives its own numbers.
pub type ReadId = u64;

/// What is to be read for one subscription: everything behind `since` up to `cut`, which is immutable. It is read for as
/// long as it takes, unless it is cancelled.
#[derive(Debug, Clone)]
pub struct HistoryRequest {
    /// Comes back with the answer.
    pub read: ReadId,
    /// The user for whom it is read: users take turns.
    pub user: ChannelName,
    /// The channel.
    pub channel: ChannelName,
    /// Where the client left the channel.
    pub since: Position,
    /// Where its subscription begins.
    pub cut: Position,
    /// How much the client may be given.
    pub limits: RecoveryLimits,
}

/// The inbox holds as much as it may: the publication is dropped and counted, and a gap follows in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub's inbox is full")]
pub struct InboxFull;

/// The name of an attached hub.
// A hub is a worker thread, of which there are fewer than 65536; small, because each channel lists its hubs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// Why something was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The link to Redis is down, or the broker has stopped. Nothing was published.
    #[error("the broker cannot be reached")]
    Unavailable,
    /// Redis did not answer in time. The message may have been published, or may be later.
    #[error("the broker did not answer in time; the message may have been published")]
    Timeout,
    /// The connection broke before Redis answered. The message may have been published.
    #[error("the connection to the broker broke; the message may have been published")]
    Interrupted,
    /// As many publications as may wait are already waiting. Nothing was published.
    #[error("too many publications are waiting for the broker")]
    Busy,
    /// Longer than the bound. Nothing was published.
    #[error("the message has {bytes} bytes, more than the {max_bytes} that a payload may have")]
    TooBig {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max_bytes: usize,
    },
    /// Redis answered with this error. Nothing was published.
    #[error("the broker refused: {0}")]
    Refused(String),
    /// Redis cannot keep a history, for this reason; publishing without one may work. Nothing was published.
    #[error("durable publishing is not available: {0}")]
    HistoryUnavailable(String),
    /// The idempotency key is empty or too long. Nothing was published.
    #[error("an idempotency key has 1 to {MAX_IDEMPOTENCY_KEY_BYTES} bytes")]
    BadIdempotencyKey,
}

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerSetupError {
    /// The URL is not one of Redis. (It is not repeated: it may hold a password.)
    #[error("the broker's URL is not valid: {0}")]
    BadUrl(String),
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
    /// Delivery is proven: what is published now arrives.
    pub ready: bool,
    /// One word of a closed set: `ready`, `connecting`, `proving`, `down`, `stopped`.
    pub state: &'static str,
    /// What is wrong, in plain English and without secrets; empty when `ready`.
    pub reasons: Vec<String>,
}

/// Refuses what every replica would drop.
pub(super) fn check_size(message: &RawValue, max_bytes: usize) -> Result<(), PublishError> {
    match message.get().len() {
        bytes if bytes > max_bytes => Err(PublishError::TooBig { bytes, max_bytes }),
        _ => Ok(()),
    }
}

pub(super) fn check_idempotency_key(key: Option<&str>) -> Result<(), PublishError> {
    match key {
        Some(key) if !(1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()) => {
            Err(PublishError::BadIdempotencyKey)
        }
        _ => Ok(()),
    }
}
