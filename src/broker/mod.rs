//! Carries publications between replicas.
//!
//! One contract, two carriers behind a closed enum: [`memory`] inside one process, [`redis`] between any
//! number of them. Hubs say which channels they want and receive what is published there; anybody may publish.
//! Every publication, also one from this process, takes the same way, so there is one order.
//!
//! Deliberately absent: sockets, sessions, actors.
//!
//! # Layout, lowest first
//!
//! - `audience`: who wants what, under the one lock of the delivery path.
//! - `recovery`: what one client has missed. `reader`: where that is read.
//! - `delivery`: from a publication to the inboxes of the hubs that want it.
//! - `history`: what is kept of durable messages.
//! - [`memory`], [`redis`]: the two carriers.

mod audience;
mod delivery;
mod history;
pub mod memory;
mod reader;
mod recovery;
pub mod redis;

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::event::GapReason;
use protocol::position::Position;
use protocol::publication::Publication;

pub use history::{HistoryOptions, MAX_IDEMPOTENCY_KEY_BYTES};
use memory::MemoryBroker;
pub use reader::HistoryReader;
pub use recovery::{Interrupted, NotRecovered, Recovered, RecoveryLimits};
use redis::{RedisBroker, RedisOptions};

/// A handle of the broker; cloning shares it. When the last one is dropped the broker stops.
#[derive(Clone)]
pub enum Broker {
    /// Inside this process.
    Memory(MemoryBroker),
    /// Between all replicas on one Redis.
    Redis(RedisBroker),
}

/// Where a hub receives.
pub trait Inbox: Send + Sync + 'static {
    /// Takes an event or, only if it is a publication, refuses it; whoever refuses one takes care that the
    /// channel's sessions are told of a gap in its place.
    ///
    /// It is called from the broker's thread, from a publisher's, or from within
    /// [`Broker::subscribe`]. It must not block and must not call the broker.
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull>;
}

/// What a hub is told.
#[derive(Debug, Clone)]
pub enum HubEvent {
    /// A publication on a channel that this hub has asked for. It may come before the channel's
    /// [`Subscribed`](Self::Subscribed) and shortly after an unsubscription.
    Publication(Arc<Publication>),
    /// The answer to one call of [`Broker::subscribe`], with its channels: whatever is published on them behind
    /// these places will come after this event. When the link to Redis is down or gets lost, the answer comes at
    /// once, and live delivery begins, with a gap, when the link is back.
    Subscribed(Vec<(ChannelName, Position)>),
    /// Publications of a channel may be missing here.
    Gap {
        /// The channel.
        channel: ChannelName,
        /// What happened.
        reason: GapReason,
        /// Whatever is published behind this place will come after this event; `None` where that is not known
        /// before the next durable publication.
        place: Option<Position>,
    },
}

/// The inbox holds as much as it may: the publication is dropped and counted, and a gap follows in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub's inbox is full")]
pub struct InboxFull;

/// The name of an attached hub.
// A hub is a worker thread, of which there are fewer than 65536; small, because each channel lists its hubs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubId(u16);

impl HubId {
    const fn of_index(index: usize) -> Self {
        assert!(index <= u16::MAX as usize, "a process has one hub for each worker thread");
        Self(index as u16)
    }

    const fn index(self) -> usize {
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
fn check_size(message: &RawValue, max_bytes: usize) -> Result<(), PublishError> {
    match message.get().len() {
        bytes if bytes > max_bytes => Err(PublishError::TooBig { bytes, max_bytes }),
        _ => Ok(()),
    }
}

fn check_idempotency_key(key: Option<&str>) -> Result<(), PublishError> {
    match key {
        Some(key) if !(1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()) => {
            Err(PublishError::BadIdempotencyKey)
        }
        _ => Ok(()),
    }
}

impl Broker {
    /// A broker inside this process; messages longer than `max_payload_bytes` are refused.
    pub fn memory(max_payload_bytes: usize, history: HistoryOptions, metrics: &Metrics) -> Self {
        Self::Memory(MemoryBroker::new(max_payload_bytes, history, metrics))
    }

    /// A broker over Redis. Starts the link's thread and returns at once: Redis may be down.
    pub fn redis(options: RedisOptions, metrics: &Metrics) -> Result<Self, BrokerSetupError> {
        RedisBroker::start(options, metrics).map(Self::Redis)
    }

    /// Adds a hub. It stays for as long as the broker: a hub that dies ends the process.
    pub fn attach(&self, inbox: Arc<dyn Inbox>) -> HubId {
        match self {
            Self::Memory(broker) => broker.delivery().attach(inbox),
            Self::Redis(broker) => broker.delivery().attach(inbox),
        }
    }

    /// Asks for channels. Never blocks; each call is answered exactly once by [`HubEvent::Subscribed`] with the
    /// same channels, possibly before it returns. Asking twice for a channel changes nothing.
    pub fn subscribe(&self, hub: HubId, channels: Vec<ChannelName>) {
        match self {
            Self::Memory(broker) => broker.subscribe(hub, channels),
            Self::Redis(broker) => broker.subscribe(hub, channels),
        }
    }

    /// Wants channels no more. Those that the hub has not asked for are passed over.
    pub fn unsubscribe(&self, hub: HubId, channels: Vec<ChannelName>) {
        match self {
            Self::Memory(broker) => broker.delivery().unsubscribe(hub, &channels),
            Self::Redis(broker) => broker.delivery().unsubscribe(hub, &channels),
        }
    }

    /// Publishes `message`, byte for byte, to all who want `channel`, on every replica. At most once.
    pub async fn publish(&self, channel: &ChannelName, message: &RawValue) -> Result<(), PublishError> {
        match self {
            Self::Memory(broker) => broker.publish(channel, message),
            Self::Redis(broker) => broker.publish(channel, message).await,
        }
    }

    /// Appends `message`, byte for byte, to the history of `channel` and publishes it there, in one atomic step;
    /// returns its place. A second call for the channel with the same idempotency key publishes nothing and
    /// returns the same place, for as long as `broker.idempotency_window` says.
    pub async fn publish_durable(
        &self,
        channel: &ChannelName,
        message: &RawValue,
        idempotency_key: Option<&str>,
    ) -> Result<Position, PublishError> {
        match self {
            Self::Memory(broker) => broker.publish_durable(channel, message, idempotency_key),
            Self::Redis(broker) => broker.publish_durable(channel, message, idempotency_key).await,
        }
    }

    /// How long whoever is to read a history waits for a link that is proven.
    pub fn patience(&self) -> Duration {
        match self {
            Self::Memory(_) => Duration::ZERO,
            Self::Redis(broker) => broker.patience(),
        }
    }

    /// Waits until `deadline` for a link that is proven, to read histories over.
    ///
    /// # Errors
    /// [`NotRecovered::Unavailable`]: there was none.
    pub async fn reader(&self, deadline: Instant) -> Result<HistoryReader, NotRecovered> {
        HistoryReader::of(self, deadline).await.ok_or(NotRecovered::Unavailable)
    }

    /// The place before any history that begins from now on, by the clock of whoever keeps the history; never
    /// later than that clock. As long as Redis' clock has never been read it is the place before everything.
    pub fn position_now(&self) -> Position {
        match self {
            Self::Memory(broker) => broker.position_now(),
            Self::Redis(broker) => broker.position_now(),
        }
    }

    /// Whether delivery is proven.
    pub fn health(&self) -> Health {
        match self {
            Self::Memory(broker) => broker.health(),
            Self::Redis(broker) => broker.health(),
        }
    }

    /// What an operator should know though it keeps nothing from being delivered: plain English, no secrets.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Redis(broker) => broker.notes(),
        }
    }

    /// Stops: nothing is delivered or published any more, subscriptions are answered at once.
    pub fn shutdown(&self) {
        match self {
            Self::Memory(broker) => broker.shutdown(),
            Self::Redis(broker) => broker.shutdown(),
        }
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory(_) => "Broker::Memory",
            Self::Redis(_) => "Broker::Redis",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_and_a_publish_in_progress_may_cross_threads() {
        fn crosses<T: Send>(value: T) -> T {
            value
        }
        fn shared<T: Clone + Send + Sync>(_: &T) {}
        let broker = Broker::memory(100, HistoryOptions::of_size(10), &Metrics::default());
        shared(&broker);
        let message = RawValue::from_string("1".into()).unwrap();
        drop(crosses(broker.publish(&ChannelName::all(), &message)));
        drop(crosses(broker.publish_durable(&ChannelName::all(), &message, None)));
    }
}
