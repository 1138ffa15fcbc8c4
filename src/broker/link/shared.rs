//! The core under its lock, with the notifications that wake the tasks which drive it.
//!
//! This is the one lock of the delivery path. It is held for a lookup or an edit, and while the resulting events are
//! offered to hubs, so that all events of a hub have one order. Nothing is parsed or sent under it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::core::{LinkCore, LinkLimits, Received};
use crate::broker::{HistoryRequest, HubId, Inbox, ReadId, RequestId};
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::publication::Payload;

/// Shared by the threads of all hubs and of the link.
pub(crate) struct SharedLink {
    core: Mutex<LinkCore>,
    /// Notified when there may be channels to subscribe or to unsubscribe.
    subscriptions: Notify,
    /// Notified when there may be something to read.
    reads: Notify,
    /// Notified when the state of the core has advanced.
    progress: Notify,
}

impl SharedLink {
    pub(crate) fn new(max_payload_bytes: usize, metrics: &Metrics) -> Self {
        let core = Mutex::new(LinkCore::new(LinkLimits::of_payload(max_payload_bytes), metrics));
        Self { core, subscriptions: Notify::new(), reads: Notify::new(), progress: Notify::new() }
    }

    /// Locks the core. After an edit that may create work for the tasks, [`wake`](Self::wake) them.
    pub(crate) fn lock(&self) -> MutexGuard<'_, LinkCore> {
        // No edit can panic half-way, so what a panicking thread leaves behind is whole.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the tasks to look for work.
    pub(crate) fn wake(&self) {
        self.subscriptions.notify_one();
        self.reads.notify_one();
    }

    pub(crate) fn attach(&self, inbox: Arc<dyn Inbox>) -> HubId {
        self.lock().attach(inbox)
    }

    pub(crate) fn subscribe(&self, hub: HubId, request: RequestId, channels: Vec<ChannelName>, verify: bool) {
        self.lock().subscribe(hub, request, channels, verify);
        self.wake();
    }

    pub(crate) fn unsubscribe(&self, hub: HubId, channels: &[ChannelName]) {
        self.lock().unsubscribe(hub, channels);
        self.subscriptions.notify_one();
    }

    pub(crate) fn read(&self, hub: HubId, request: HistoryRequest) {
        self.lock().read(hub, request);
        self.reads.notify_one();
    }

    pub(crate) fn cancel(&self, hub: HubId, read: ReadId) {
        self.lock().cancel(hub, read);
    }

    /// A payload has arrived on a channel. Returns whether a hub wants the channel.
    pub(crate) fn receive(&self, channel: &str, payload: Payload) -> bool {
        match self.lock().receive(channel, payload) {
            Received::Unknown => return false,
            Received::Taken => {}
            Received::NeedsRepair => self.reads.notify_one(),
        }
        true
    }

    /// The state of the core has advanced: wakes the one task that waits in [`until`](Self::until).
    pub(crate) fn progressed(&self) {
        self.progress.notify_one();
    }

    /// Returns once `holds` is true of the core.
    pub(crate) async fn until(&self, holds: impl Fn(&LinkCore) -> bool) {
        while !holds(&self.lock()) {
            self.progress.notified().await;
        }
    }

    /// Returns when there may be channels to subscribe or to unsubscribe. An edit between two calls is not missed.
    pub(crate) async fn subscriptions_changed(&self) {
        self.subscriptions.notified().await;
    }

    /// Returns when there may be something to read. An edit between two calls is not missed.
    pub(crate) async fn reads_changed(&self) {
        self.reads.notified().await;
    }
}
