//! The core under its lock, with the notifications that wake the activities of the link.
//!
//! The delivery path has no other lock, except that a hub's inbox locks its queued gaps while there are any. The lock
//! is held for a lookup or an edit, and while the resulting events are
//! offered to hubs, so that a hub receives its events in one order. No message is parsed or sent under the lock.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::core::{LinkCore, LinkLimits, Received, Released};
use super::hubs::AttachedHubs;
use crate::broker::{HubId, ReadId};
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::publication::Payload;
use protocol::signal_payload::SignalPayload;

/// The core, shared by the threads of all hubs and of the link.
pub(crate) struct SharedLink {
    core: Mutex<LinkCore>,
    /// Notified when there may be channels to subscribe or to unsubscribe.
    subscriptions: Notify,
    /// Notified when there may be something to read.
    reads: Notify,
    /// Notified when the presence of a user is to be read.
    presence: Notify,
    /// Notified when the state of the core has advanced.
    progress: Notify,
}

impl SharedLink {
    /// A link with the hubs of the process.
    pub(crate) fn new(limits: LinkLimits, hubs: Arc<AttachedHubs>, metrics: &Metrics) -> Self {
        let core = Mutex::new(LinkCore::new(limits, hubs, metrics));
        let new = Notify::new;
        Self { core, subscriptions: new(), reads: new(), presence: new(), progress: new() }
    }

    /// Locks the core. Wakes no task: use [`edit`](Self::edit) for changes that may create work.
    pub(crate) fn lock(&self) -> MutexGuard<'_, LinkCore> {
        // No edit panics half-way, so the core is consistent even if a thread panicked with the lock.
        self.core.lock()
    }

    /// Changes the core, and wakes the activities that look for work.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut LinkCore)) {
        edit(&mut self.lock());
        self.subscriptions.notify_one();
        self.reads.notify_one();
    }

    /// Takes over what other links have released.
    pub(super) fn adopt(&self, released: Released) {
        self.edit(|link| link.adopt(released));
        self.presence.notify_one();
    }

    /// Queues a read of a user's presence for a hub.
    pub(crate) fn read_presence(&self, hub: HubId, read: ReadId, channel: &ChannelName) {
        self.lock().read_presence(hub, read, channel.clone());
        self.presence.notify_one();
    }

    /// Handles a payload that arrived on a channel. Returns whether the channel has an entry.
    pub(crate) fn receive(&self, channel: &str, payload: Payload) -> bool {
        match self.lock().receive(channel, payload) {
            Received::Unknown => return false,
            Received::Handled => {}
            Received::NeedsRepair => self.reads.notify_one(),
        }
        true
    }

    /// Handles a signal that arrived on a channel. Returns whether the channel has an entry.
    pub(crate) fn receive_signal(&self, channel: &str, payload: SignalPayload) -> bool {
        self.lock().receive_signal(channel, payload)
    }

    /// Reports that the state of the core advanced. Wakes the one activity that waits in [`until`](Self::until).
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

    /// Returns when there may be a user's presence to read. A read that was queued between two calls is not missed.
    pub(crate) async fn presence_reads_changed(&self) {
        self.presence.notified().await;
    }

    /// Returns when there may be something to read. An edit between two calls is not missed.
    pub(crate) async fn reads_changed(&self) {
        self.reads.notified().await;
    }
}
