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
//! - `types`: what hubs and the broker say to each other.
//! - `history`: what is kept of durable messages. `recovery`: what one client has missed of them.
//! - `link`: what a link decides, without IO: who wants what, how far it has been followed, what is to be read.
//! - [`memory`], [`redis`]: the two carriers.

mod history;
pub(crate) mod link;
pub mod memory;
mod recovery;
pub mod redis;
mod types;

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::position::Position;

pub use history::{HistoryOptions, MAX_IDEMPOTENCY_KEY_BYTES};
use memory::MemoryBroker;
pub use recovery::{NotRecovered, Recovered, RecoveryLimits};
use redis::{RedisBroker, RedisOptions};
pub use types::{
    BrokerSetupError, Cut, Health, HistoryRequest, HubEvent, HubId, Inbox, InboxFull, PublishError, ReadId,
    RequestId, SubscribeAck,
};
use types::{check_idempotency_key, check_size};

/// A handle of the broker; cloning shares it. When the last one is dropped the broker stops.
#[derive(Clone)]
pub enum Broker {
    /// Inside this process.
    Memory(MemoryBroker),
    /// Between all replicas on one Redis.
    Redis(RedisBroker),
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
            Self::Memory(broker) => broker.attach(inbox),
            Self::Redis(broker) => broker.link().attach(inbox),
        }
    }

    /// Asks for channels. Never blocks; each channel is answered once by a [`SubscribeAck`] with this `request`, possibly
    /// before the call returns, unless it is unsubscribed meanwhile. Where the channel's position is not known, it is
    /// answered when there is a link. With `verify` the answer waits until the channel was compared with its history.
    pub fn subscribe(&self, hub: HubId, request: RequestId, channels: Vec<ChannelName>, verify: bool) {
        match self {
            Self::Memory(broker) => broker.subscribe(hub, request, channels),
            Self::Redis(broker) => broker.link().subscribe(hub, request, channels, verify),
        }
    }

    /// Wants channels no more. Those that the hub has not asked for are passed over.
    pub fn unsubscribe(&self, hub: HubId, channels: &[ChannelName]) {
        match self {
            Self::Memory(broker) => broker.unsubscribe(hub, channels),
            Self::Redis(broker) => broker.link().unsubscribe(hub, channels),
        }
    }

    /// Reads what one subscription has missed; answered once by [`HubEvent::HistoryRead`], however long that takes.
    pub fn read(&self, hub: HubId, request: HistoryRequest) {
        match self {
            Self::Memory(broker) => broker.read(hub, request),
            Self::Redis(broker) => broker.link().read(hub, request),
        }
    }

    /// Nobody waits for this read any longer. `key` is its channel, its `since` and its cut.
    pub fn cancel_read(&self, hub: HubId, read: ReadId, key: (&ChannelName, Position, Position)) {
        match self {
            // It was answered at once.
            Self::Memory(_) => {}
            Self::Redis(broker) => broker.link().cancel(hub, read, key),
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
