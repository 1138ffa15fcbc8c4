//! Delivers publications between replicas.
//!
//! [`Broker`] is a closed enum with two implementations: [`memory`] inside one process, [`redis`] between any number of
//! processes. Hubs subscribe to channels and receive their publications; any caller may publish. Every publication goes
//! through the broker, also one from this process, so all subscribers see one order.
//!
//! The broker knows no sockets, sessions or actors.
//!
//! # Layout, lowest first
//!
//! - `types`: the messages between hubs and the broker.
//! - `history`: the limits of histories.
//! - `control`: commands to every replica, and their answers. `revocations`: the revoked tokens.
//! - `presence`: the reports of users, channels and rooms, and the events of rooms.
//! - `page_size`: how many entries of a history to read at once.
//! - `recovery`: collects the messages that one client missed.
//! - `collection`: collects the messages of any read of a history. `newest`: of a page, or the last ones.
//! - `link`: the decisions of a link, without IO: which hub wants which channel, how far each channel has been
//!   followed, and which histories to read.
//! - [`memory`]: the broker inside one process.
//! - [`redis`]: the broker over Redis.

mod collection;
mod control;
mod history;
mod inbox;
pub(crate) mod link;
pub mod memory;
pub(crate) mod newest;
mod page_size;
mod presence;
mod recovery;
pub mod redis;
mod revocations;
mod signals;
mod types;

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::payload_limits::PayloadLimits;
use protocol::position::Position;

pub use control::{
    ChannelChange, ControlAnswer, ControlCommand, ControlError, ControlHandler, ControlOutcome,
    Disconnection, MAX_COMMAND_BYTES, MAX_LISTED, Revocation, SessionQuery,
};
pub use history::{HistoryOptions, MAX_IDEMPOTENCY_KEY_BYTES};
pub use inbox::{EntryId, InboxEntry, InboxError, InboxMessage, InboxOptions, InboxPage, InboxSendError};
use memory::MemoryBroker;
pub use presence::{ChannelInUse, ChannelsPage, LocalReport, PresenceError, PresenceOptions, RoomMembers};
pub use recovery::{FrameSizes, NotRecovered, Recovered, RecoveryLimits};
use redis::{LinkThread, RedisBroker, RedisOptions};
pub use revocations::{MAX_REVOCATIONS, Revocations};
pub use types::{
    BrokerCallId, BrokerSetupError, Cut, Health, HistoryPageRequest, HistoryRange, HistoryReadError,
    HistoryRequest, HubEvent, HubId, Inbox, InboxFull, PageRange, PublishError, PublishOutcome,
    PublishRequest, Published, ReadId, Retry, SubscribeAck,
};

/// A handle to the broker; clones share it. The broker stops when the last handle is dropped.
#[derive(Clone)]
pub enum Broker {
    /// Inside this process.
    Memory(MemoryBroker),
    /// Between all replicas that share a Redis.
    Redis(RedisBroker),
}

impl Broker {
    /// A broker inside this process. It refuses messages beyond `limits`. With `presence`, the caller must run
    /// [`MemoryBroker::settle_presence`] when it is due. `revocation_ttl`: how long a revocation is kept if its command
    /// does not say it.
    pub fn memory(
        limits: impl Into<PayloadLimits>,
        history: HistoryOptions,
        presence: Option<PresenceOptions>,
        revocation_ttl: Duration,
        metrics: &Metrics,
    ) -> Self {
        Self::Memory(MemoryBroker::new(limits.into(), history, presence, revocation_ttl, metrics))
    }

    /// A broker over Redis whose links have a thread of their own. Returns at once, so Redis may be down.
    pub fn redis(options: RedisOptions, metrics: &Metrics) -> Result<Self, BrokerSetupError> {
        RedisBroker::start(options, metrics, LinkThread::Own).map(Self::Redis)
    }

    /// Adds a hub. Hubs are never removed: a hub that panics ends the process.
    pub fn attach(&self, inbox: Arc<dyn Inbox>) -> HubId {
        match self {
            Self::Memory(broker) => broker.attach(inbox),
            Self::Redis(broker) => broker.attach(inbox),
        }
    }

    /// Subscribes a hub to channels. Never blocks. Each channel is answered by one [`SubscribeAck`] with this `call`,
    /// possibly before the call returns, unless the hub unsubscribes first. [`Cut::Refused`] is not that answer: it
    /// reports a failed attempt, and the answer follows once an attempt succeeds. A channel whose position is not known
    /// is answered once the link is up. With `verify`, the answer waits until the channel has been compared with its
    /// history.
    pub fn subscribe(&self, hub: HubId, call: BrokerCallId, channels: Vec<ChannelName>, verify: bool) {
        match self {
            Self::Memory(broker) => broker.subscribe(hub, call, channels),
            Self::Redis(broker) => broker.router().subscribe(hub, call, channels, verify),
        }
    }

    /// Unsubscribes a hub from channels. Channels that the hub is not subscribed to are ignored.
    pub fn unsubscribe(&self, hub: HubId, channels: &[ChannelName]) {
        match self {
            Self::Memory(broker) => broker.unsubscribe(hub, channels),
            Self::Redis(broker) => broker.router().unsubscribe(hub, channels),
        }
    }

    /// A hub reports what has changed among its sessions. Never blocks. Does nothing while presence is off.
    pub fn report(&self, hub: HubId, report: LocalReport) {
        match self {
            Self::Memory(broker) => broker.report(hub, report),
            Self::Redis(broker) => broker.report(hub, report),
        }
    }

    /// On how many replicas each user has a session, in the order of `users`. 0: the user is within the grace, `None`:
    /// the user is away.
    ///
    /// # Errors
    /// Presence is off, or Redis did not answer.
    pub async fn online(&self, users: &[ChannelName]) -> Result<Vec<Option<u32>>, PresenceError> {
        match self {
            Self::Memory(broker) => broker.online(users),
            Self::Redis(broker) => broker.online(users).await,
        }
    }

    /// A page of the members of a channel on all replicas: at most `limit` users, whose ids come after `after`.
    ///
    /// # Errors
    /// Presence is off, the namespace of the channel has no members, or Redis did not answer.
    pub async fn members(
        &self,
        channel: &ChannelName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RoomMembers, PresenceError> {
        match self {
            Self::Memory(broker) => broker.members(channel, after, limit),
            Self::Redis(broker) => broker.members(channel, after, limit).await,
        }
    }

    /// A page of the channels in use on all replicas, of one namespace or of all: at most `limit` channels, whose names
    /// come after `after`.
    ///
    /// # Errors
    /// Presence is off, the namespace has no occupancy, or Redis did not answer.
    pub async fn channels(
        &self,
        namespace: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ChannelsPage, PresenceError> {
        match self {
            Self::Memory(broker) => broker.channels(namespace, after, limit),
            Self::Redis(broker) => broker.channels(namespace, after, limit).await,
        }
    }

    /// Whether a channel is in use on any replica; `None`: it is not.
    ///
    /// # Errors
    /// Presence is off, the namespace has no occupancy, or Redis did not answer.
    pub async fn channel(&self, channel: &ChannelName) -> Result<Option<ChannelInUse>, PresenceError> {
        match self {
            Self::Memory(broker) => broker.channel(channel),
            Self::Redis(broker) => broker.channel(channel).await,
        }
    }

    /// Sets the handler that applies commands to the sessions of this process. Until then, no session is affected.
    pub fn set_control_handler(&self, handler: Arc<dyn ControlHandler>) {
        match self {
            Self::Memory(broker) => broker.control().applier.set(handler),
            Self::Redis(broker) => broker.control().applier.set(handler),
        }
    }

    /// Issues a command to every replica, and waits for their answers until `deadline`.
    ///
    /// # Errors
    /// The command was not issued, or it is not known whether it was.
    pub async fn control(
        &self,
        command: &ControlCommand,
        deadline: Duration,
    ) -> Result<ControlOutcome, ControlError> {
        match self {
            Self::Memory(broker) => broker.issue(command, deadline).await,
            Self::Redis(broker) => broker.issue(command, deadline).await,
        }
    }

    /// Has this replica alone apply a command, because it cannot be issued. No other replica learns of it.
    pub async fn apply_here(&self, command: &ControlCommand, limit: Duration) -> ControlOutcome {
        let applier = match self {
            Self::Memory(broker) => &broker.control().applier,
            Self::Redis(broker) => &broker.control().applier,
        };
        let answer = applier.apply_now(command.clone(), limit).await;
        let mut outcome = ControlOutcome::of_one(self.replica(), answer);
        // How many others there are is not known.
        outcome.missing.push(control::UNNAMED.to_owned());
        outcome
    }

    /// The revoked tokens.
    pub fn revocations(&self) -> &Revocations {
        match self {
            Self::Memory(broker) => &broker.control().revocations,
            Self::Redis(broker) => &broker.control().revocations,
        }
    }

    /// The name of this replica: that of its host, and eight random digits.
    pub fn replica(&self) -> &str {
        match self {
            Self::Memory(broker) => &broker.control().replica,
            Self::Redis(broker) => &broker.control().replica,
        }
    }

    /// How long this replica has been without Redis, so that it may have missed commands and revocations; `None` while
    /// the link is healthy.
    pub fn stale_for(&self) -> Option<Duration> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(broker) => broker.stale_for(),
        }
    }

    /// Reads a page of a channel's history. The messages are in the order of the history, also if the page is read from
    /// its end.
    ///
    /// # Errors
    /// Redis did not answer within `broker.response_timeout`, or the history cannot be read.
    pub async fn history(&self, request: HistoryPageRequest) -> Result<Recovered, HistoryReadError> {
        match self {
            Self::Memory(broker) => broker.history(request),
            Self::Redis(broker) => broker.history(request).await,
        }
    }

    /// Reads messages for one subscription. Answered once by [`HubEvent::HistoryRead`], without a timeout.
    pub fn read(&self, hub: HubId, request: HistoryRequest) {
        match self {
            Self::Memory(broker) => broker.read(hub, request),
            Self::Redis(broker) => broker.router().read(hub, request),
        }
    }

    /// Cancels a read; it is not answered any more.
    pub fn cancel_read(&self, hub: HubId, read: ReadId) {
        match self {
            // The memory broker answers every read at once.
            Self::Memory(_) => {}
            Self::Redis(broker) => broker.router().cancel(hub, read),
        }
    }

    /// Reads whether the user of a channel `online:<user>` is online, after all messages that the hub has received on it.
    /// Answered once by [`HubEvent::PresenceRead`], without a timeout: a hub has at most one such read for each
    /// of its channels.
    pub fn read_presence(&self, hub: HubId, read: ReadId, channel: &ChannelName) {
        match self {
            Self::Memory(broker) => broker.read_presence(hub, read, channel),
            Self::Redis(broker) => broker.router().read_presence(hub, read, channel),
        }
    }

    /// Cancels a read of a user's presence; it is not answered any more.
    pub fn cancel_presence(&self, hub: HubId, read: ReadId) {
        match self {
            // The memory broker answers every read at once.
            Self::Memory(_) => {}
            Self::Redis(broker) => broker.router().cancel_presence(hub, read),
        }
    }

    /// Publishes `message`, byte for byte, to all subscribers of `channel` on every replica, at most once.
    /// Returns the number of replicas with a subscriber.
    pub async fn publish(&self, channel: &ChannelName, message: &RawValue) -> Result<u64, PublishError> {
        match self.publish_one(PublishRequest { channel, message, durable: None, push: false }).await? {
            Published::Plainly { replicas } => Ok(replicas),
            Published::Durably(_) | Published::WithPush { .. } => {
                Err(PublishError::InvalidAnswer("a position was returned for a plain message".into()))
            }
        }
    }

    /// Appends `message`, byte for byte, to the history of `channel` and publishes it there, in one atomic step;
    /// returns its position. Within `broker.idempotency_window`, another call for the channel with the same idempotency
    /// key publishes nothing and returns the same position.
    pub async fn publish_durable(
        &self,
        channel: &ChannelName,
        message: &RawValue,
        idempotency_key: Option<&str>,
    ) -> Result<Position, PublishError> {
        let request = PublishRequest { channel, message, durable: Some(idempotency_key), push: false };
        match self.publish_one(request).await? {
            Published::Durably(position) => Ok(position),
            Published::Plainly { .. } | Published::WithPush { .. } => {
                Err(PublishError::InvalidAnswer("no position was returned for a durable message".into()))
            }
        }
    }

    async fn publish_one(&self, request: PublishRequest<'_>) -> PublishOutcome {
        let outcome = self.publish_all(&[request], Retry::Allowed).await.pop();
        outcome.unwrap_or(Err(PublishError::Unavailable))
    }

    /// Publishes all requests and returns an outcome for each. Requests of one channel are published in their order.
    pub async fn publish_all(&self, requests: &[PublishRequest<'_>], retry: Retry) -> Vec<PublishOutcome> {
        match self {
            Self::Memory(broker) => requests.iter().map(|request| broker.publish(request)).collect(),
            Self::Redis(broker) => broker.publish_all(requests, retry).await,
        }
    }

    /// Whether publications reach this process.
    pub fn health(&self) -> Health {
        match self {
            Self::Memory(broker) => broker.health(),
            Self::Redis(broker) => broker.health(),
        }
    }

    /// Whether the link's thread, which receives publications, responds within `deadline`. It does so while Redis is
    /// down, too.
    pub async fn link_thread_responds(&self, deadline: Duration) -> bool {
        match self {
            // The memory broker has no thread of its own.
            Self::Memory(_) => true,
            Self::Redis(broker) => broker.link_thread_responds(deadline).await,
        }
    }

    /// Warnings for the operator that do not affect delivery: plain English, no secrets.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Self::Memory(broker) => broker.notes(),
            Self::Redis(broker) => broker.notes(),
        }
    }

    /// Returns when the broker has found, before it was ever ready, that the settings must be changed. It does not
    /// connect again then. Returns one sentence for the operator, without secrets.
    pub async fn setup_failed(&self) -> String {
        match self {
            Self::Memory(_) => std::future::pending().await,
            Self::Redis(broker) => broker.setup_failed().await,
        }
    }

    /// Gives up this replica's presence lease, so that no command waits for its answer. Takes a second at most.
    pub async fn end_lease(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Redis(broker) => broker.end_lease().await,
        }
    }

    /// Stops the broker: it delivers and publishes nothing from then on.
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
mod tests;
