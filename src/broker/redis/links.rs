//! The links of a process, and which of them serves a channel or a key.

use std::sync::Arc;
use std::time::Duration;

use super::super::types::{Inbox, PublishOutcome, PublishRequest};
use super::super::{BrokerCallId, Health, HistoryRequest, HubId, ReadId, Retry};
use super::link_error::LinkError;
use super::options::RedisOptions;
use super::pages::PageReads;
use super::presence::Presence;
use super::process::ProcessState;
use super::state::RedisState;
use super::{link, publishing};
use crate::backoff::Backoff;
use crate::metrics::Metrics;
use protocol::channel::ChannelName;

/// The links of a process.
pub(super) struct Links {
    pub(super) process: Arc<ProcessState>,
    /// The pages of histories that are being read.
    pub(super) pages: PageReads,
    link: Arc<RedisState>,
}

impl Links {
    pub(super) fn new(options: RedisOptions, metrics: &Metrics) -> Self {
        let process = Arc::new(ProcessState::new(options, metrics));
        let link = Arc::new(RedisState::new(Arc::clone(&process)));
        let pages = PageReads::new(|inbox| link.link.lock().attach(inbox));
        Self { process, pages, link }
    }

    /// The link of a channel.
    pub(super) fn link_of(&self, _channel: &ChannelName) -> Arc<RedisState> {
        Arc::clone(&self.link)
    }

    /// The link with the keys of presence.
    pub(super) fn presence_link(&self) -> Arc<RedisState> {
        Arc::clone(&self.link)
    }

    /// The link with the keys of control.
    pub(super) fn control_link(&self) -> Arc<RedisState> {
        Arc::clone(&self.link)
    }

    /// The link with the inbox.
    pub(super) fn inbox_link(&self) -> Arc<RedisState> {
        Arc::clone(&self.link)
    }

    /// All links.
    pub(super) fn all(&self) -> Vec<Arc<RedisState>> {
        vec![Arc::clone(&self.link)]
    }

    /// Adds a hub to every link, under the same id.
    pub(super) fn attach(&self, inbox: Arc<dyn Inbox>) -> HubId {
        self.link.link.lock().attach(inbox)
    }

    pub(super) fn subscribe(&self, hub: HubId, call: BrokerCallId, channels: Vec<ChannelName>, verify: bool) {
        self.link.link.edit(|link| link.subscribe(hub, call, channels, verify));
    }

    pub(super) fn unsubscribe(&self, hub: HubId, channels: &[ChannelName]) {
        self.link.link.edit(|link| link.unsubscribe(hub, channels));
    }

    pub(super) fn read(&self, hub: HubId, request: HistoryRequest) {
        self.link.link.edit(|link| link.read(hub, request));
    }

    pub(super) fn cancel(&self, hub: HubId, read: ReadId) {
        self.link.link.lock().cancel(hub, read);
    }

    pub(super) fn read_presence(&self, hub: HubId, read: ReadId, channel: &ChannelName) {
        self.link.link.read_presence(hub, read, channel);
    }

    pub(super) fn cancel_presence(&self, hub: HubId, read: ReadId) {
        self.link.link.lock().cancel_presence(hub, read);
    }

    /// How long this process may have missed commands and revocations; `None`: it misses none.
    pub(super) fn stale_for(&self) -> Option<Duration> {
        self.control_link().stale_for()
    }

    pub(super) fn health(&self) -> Health {
        self.link.health()
    }

    /// Warnings for the operator that do not affect delivery.
    pub(super) fn notes(&self) -> Vec<String> {
        let process = &self.process;
        let inbox = process.inbox.notes(self.inbox_link().dataset.max_inbox_entries());
        let presence = process.presence.as_ref().and_then(Presence::note);
        self.link.notes().into_iter().chain(process.control.note()).chain(inbox).chain(presence).collect()
    }

    /// Has the links keep connections for reading tokens.
    pub(super) fn want_tokens(&self) {
        self.link.tokens.is_wanted.send_replace(true);
    }

    /// Keeps the links up until the broker is stopped. `address` names Redis in messages while no endpoint is known.
    pub(super) async fn run(&self, backoff: Backoff, address: &str) {
        link::run(Arc::clone(&self.link), backoff, address).await;
    }

    /// Publishes all requests, those of one channel in their order, and returns an outcome for each.
    pub(super) async fn publish_all(
        &self,
        requests: &[PublishRequest<'_>],
        retry: Retry,
    ) -> Vec<PublishOutcome> {
        publishing::publish_all(&self.link, requests, retry).await
    }

    /// All links are lost.
    pub(super) fn disconnected(&self, error: &LinkError) {
        self.link.disconnected(error.clone());
    }

    /// Tells all links to end.
    pub(super) fn stop(&self) {
        self.link.stop();
    }
}
