//! The broker over Redis: one subscriber link for the whole process.
//!
//! # Layout, lowest first
//!
//! - `link_error`: why the link is down.
//! - `not_run`: the answers by which Redis did not run a command, but may soon.
//! - `access`: passwords and certificates.
//! - `address`: the parts of `broker.url`.
//! - `cluster/`: the slots of a Redis Cluster.
//! - `names`: the names of keys and channels.
//! - `options`: the options of the link.
//! - `commands`: the connection for commands, and whether it is closed.
//! - `downtime`: measures how long it takes to detect the loss of a link, and to repair it.
//! - `thread_check`: checks that the link's thread responds.
//! - `refused`: the channels that the Redis user may not subscribe to.
//! - `missing_commands`: the notes about commands that Redis does not run.
//! - `rejected`: records payloads that reach no subscriber on a stream.
//! - `signal_queue`: the signals that wait for Redis.
//! - `data_settings`: the settings that all replicas share.
//! - `known_dataset`: the last known state of the data.
//! - `presence`: the reports of this process, and its leases.
//! - `inbox_state`: what this process knows of the inbox.
//! - `link_gauges`: the gauges that describe all links together.
//! - `started_slots`: the slots with the settings of this process.
//! - `process`: what a process has once, however many links it has.
//! - `assignment`: what a link serves: its slots and its duties.
//! - `state`: the state of one link, shared by the link and its handles.
//! - `routes`: which link serves a channel or a key.
//! - `links`: the links of a process.
//! - `function`: loads the function library (`gateway*.lua`), and calls it.
//! - `dataset`: since when the data has been whole.
//! - `read_error`: why a read of a history failed.
//! - `history`: reads histories.
//! - `pages`: reads pages of histories for clients and operators.
//! - `resend`: sends again what Redis did not run.
//! - `publishing`: publishes, and retries where a retry is safe.
//! - `inbox`: sends the messages of clients to the inbox, and reads it.
//! - `signals`: publishes signals.
//! - `online`: reads which users are online, and sends the other queries about presence.
//! - `control`: commands to every replica, their answers, and the revoked tokens.
//! - `rooms`: receives the changes of rooms, and reads rooms and channels in use.
//! - `lease`: keeps a lease, and reports under it.
//! - `sentinel`: asks the sentinels for the master.
//! - `master_watch`: asks them, or the nodes of a cluster, again while links are up.
//! - `role`: checks that the server is a master.
//! - `subscriber`: subscribes, and receives messages, on a connection of its own.
//! - `server_check`: checks that the server serves the gateway's keys.
//! - `connect`: makes the connections of a link.
//! - `receive`: passes messages to the core of the link.
//! - `rights`: checks that Redis runs the commands that the gateway needs.
//! - `reads`: reads histories for repairs and for clients.
//! - `tokens`: reads the claims of opaque tokens, on the connection in `token_connection`.
//! - `probe`: checks that publications arrive.
//! - `connected`: runs all activities of a link while it is up.
//! - `link`: connects again after each loss.
//! - `shards/`: keeps a link for each master of a cluster, and publishes over all of them.
//! - `link_thread`: runs the links on their thread.
//!
//! With several workers the link has a thread and a runtime of its own, so a busy worker never delays it. With one worker
//! it runs on the worker's thread, so that no message crosses threads. It subscribes exactly to the channels that hubs
//! want and to a few of its own, never to a pattern. Its work is always the difference between the wanted and the
//! subscribed channels, so no queue of requests can grow.

mod access;
mod address;
mod assignment;
mod cluster;
mod commands;
mod connect;
mod connected;
mod control;
mod data_namespaces;
mod data_settings;
mod dataset;
mod downtime;
mod function;
mod history;
mod inbox;
mod inbox_state;
mod known_dataset;
mod lease;
mod link;
mod link_error;
mod link_gauges;
mod link_thread;
mod links;
mod master_watch;
mod missing_commands;
mod names;
mod not_run;
mod online;
mod options;
mod pages;
mod presence;
mod probe;
mod process;
mod publishing;
mod read_error;
mod reads;
mod receive;
mod refused;
mod rejected;
mod resend;
mod rights;
mod role;
mod rooms;
mod routes;
mod sentinel;
mod server_check;
#[cfg(test)]
mod sharded_tests;
mod shards;
mod signal_queue;
mod signals;
mod started_slots;
mod state;
mod subscriber;
mod thread_check;
mod token_connection;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use super::link::LinkRouter;
use super::types::{PublishOutcome, PublishRequest};
use super::{
    BrokerSetupError, ChannelInUse, ChannelsPage, ControlCommand, ControlError, ControlOutcome, Health,
    HistoryPageRequest, HistoryReadError, HubId, Inbox, LocalReport, PresenceError, Recovered, Retry,
    RoomMembers,
};
use crate::backoff::Backoff;
use crate::metrics::{HistoryReadKind, Metrics};
use protocol::channel::ChannelName;
use protocol::signal::Signal;

pub use access::{Credentials, TlsFiles};
use control::ControlState;
pub use link_gauges::ReadyWith;
pub use link_thread::LinkThread;
use link_thread::PendingLinks;
use links::RedisLinks;
pub use names::Layout;
use names::Names;
pub use options::RedisOptions;
use pages::PageReads;
pub use tokens::RedisTokens;

/// The channel, after the prefix, for one write to many users. Every replica subscribes to it. No session can, because
/// it has no namespace.
const USERS: &str = "users";

/// How long a process that ends waits until its lease is given up. Otherwise the lease lapses after a few seconds.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A handle to the Redis broker; clones share it.
#[derive(Clone)]
pub struct RedisBroker {
    handle: Arc<Handle>,
}

/// Stops the links when the last handle is dropped.
struct Handle {
    links: Arc<RedisLinks>,
    /// The pages of histories that are being read.
    pages: PageReads,
    pending: PendingLinks,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.links.stop();
    }
}

impl RedisBroker {
    /// Starts the links on a thread of their own, or prepares them for the first hub, and returns at once.
    ///
    /// # Errors
    /// The options are not valid, or the thread did not start.
    pub fn start(
        options: RedisOptions,
        metrics: &Metrics,
        thread: LinkThread,
    ) -> Result<Self, BrokerSetupError> {
        // rustls panics at the first `rediss://` connection if two providers are compiled in and neither is the
        // default. An error only means that this process has already installed a default.
        let _ = rustls::crypto::ring::default_provider().install_default();
        options.check()?;
        let address = options.address()?.to_string();
        let backoff = Backoff::new(options.min_reconnect_delay, options.max_reconnect_delay)?;
        let links = Arc::new(RedisLinks::new(options, metrics));
        let pages = PageReads::new(&links);
        let pending = link_thread::start(Arc::clone(&links), backoff, address, thread)?;
        Ok(Self { handle: Arc::new(Handle { links, pages, pending }) })
    }

    /// Adds a hub. With [`LinkThread::FirstHub`], the first call starts the links on its thread.
    pub(super) fn attach(&self, inbox: Arc<dyn Inbox>) -> HubId {
        self.handle.pending.hub_attached();
        self.router().attach(inbox)
    }

    /// The hubs' calls, each for the link of its channel.
    pub(super) fn router(&self) -> &LinkRouter {
        &self.handle.links.process.router
    }

    pub(super) fn report(&self, hub: HubId, report: LocalReport) {
        rooms::report(&self.handle.links.presence_link(), hub, report);
    }

    pub(super) async fn members(
        &self,
        room: &ChannelName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RoomMembers, PresenceError> {
        rooms::members(&self.handle.links.presence_link(), room, after, limit).await
    }

    pub(super) async fn channels(
        &self,
        namespace: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ChannelsPage, PresenceError> {
        rooms::channels(&self.handle.links.presence_link(), namespace, after, limit).await
    }

    pub(super) async fn channel(&self, channel: &ChannelName) -> Result<Option<ChannelInUse>, PresenceError> {
        rooms::channel(&self.handle.links.presence_link(), channel).await
    }

    pub(super) async fn online(&self, users: &[ChannelName]) -> Result<Vec<Option<u32>>, PresenceError> {
        online::read(&self.handle.links.presence_link(), users).await
    }

    pub(super) fn control(&self) -> &ControlState {
        &self.handle.links.process.control
    }

    pub(super) async fn issue(
        &self,
        command: &ControlCommand,
        deadline: Duration,
    ) -> Result<ControlOutcome, ControlError> {
        control::issue(&self.handle.links, command, deadline).await
    }

    /// How long this process may have missed commands and revocations.
    pub(super) fn stale_for(&self) -> Option<Duration> {
        self.handle.links.stale_for()
    }

    /// Publishes all requests, those of one channel in their order, and returns an outcome for each.
    pub(super) async fn publish_all(
        &self,
        requests: &[PublishRequest<'_>],
        retry: Retry,
    ) -> Vec<PublishOutcome> {
        let links = &self.handle.links;
        let only = links.routes().only().cloned();
        match only {
            Some(link) => publishing::publish_all(&link, requests, retry).await,
            None => shards::publish_all(links, requests, retry).await,
        }
    }

    /// Reads a page of a history.
    pub(super) async fn history(&self, request: HistoryPageRequest) -> Result<Recovered, HistoryReadError> {
        let Handle { links, pages, .. } = &*self.handle;
        let page = pages.read(links, request).await;
        if !matches!(page, Err(HistoryReadError::Unavailable | HistoryReadError::Timeout)) {
            Metrics::count(&links.process.metrics.history_reads, HistoryReadKind::Page);
        }
        page
    }

    /// Publishes a signal soon, or drops it.
    pub(super) fn signal(&self, signal: Arc<Signal>) {
        signals::publish(&self.handle.links.link_of(signal.channel()), signal);
    }

    /// Whether the thread of the links responds within `deadline`, whatever their state.
    pub(super) async fn link_thread_responds(&self, deadline: Duration) -> bool {
        self.handle.links.process.thread_check.responds(deadline).await
    }

    pub(super) fn health(&self) -> Health {
        self.handle.links.health()
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.handle.links.notes()
    }

    /// Returns the reason when the first link finds that the settings must be changed.
    pub(super) async fn setup_failed(&self) -> String {
        self.handle.links.process.setup_failed().await
    }

    /// Gives up this replica's lease, if there is one and Redis answers.
    pub(super) async fn end_lease(&self) {
        let link = self.handle.links.presence_link();
        if let (Some(presence), Some(_)) = (&link.presence, link.commands()) {
            // Otherwise the lease lapses by itself.
            let _ = tokio::time::timeout(END_TIMEOUT, presence.end()).await;
        }
    }

    pub(super) fn shutdown(&self) {
        self.handle.links.stop();
    }
}

/// Publishes on the channel with this name. Returns the number of connections that receive the payload: one for each
/// replica.
async fn publish(
    commands: &mut MultiplexedConnection,
    names: Names<'_>,
    name: &str,
    payload: &str,
) -> RedisResult<u64> {
    redis::cmd(names.publish_command()).arg(name).arg(payload).query_async(commands).await
}
