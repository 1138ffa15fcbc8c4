//! The links of a process, and which of them owns a channel.
//!
//! The hubs call the router, which finds the link. A channel is in one link at a time, in the one that the map names. When
//! the map changes, channels move with their cursors, their hubs and their unanswered calls. Channels that no link owns
//! are in the unassigned link, which is never connected.
//!
//! The lock of the router is taken before the lock of a core, never after it. A call for a channel holds it for reading,
//! so no channel moves during the call; a move holds it for writing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;

use super::core::{LinkLimits, Released};
use super::hubs::AttachedHubs;
use super::shared::SharedLink;
use crate::broker::{BrokerCallId, HistoryRequest, HubId, Inbox, ReadId};
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::publication::Payload;

/// Identifies a link. No id is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(u32);

#[cfg(test)]
impl LinkId {
    pub(crate) const fn of_number(number: u32) -> Self {
        Self(number)
    }
}

/// Which link owns a channel; `None`: no link does.
pub(crate) type OwnerOf = Box<dyn Fn(&str) -> Option<LinkId> + Send + Sync>;

/// The links of a process.
pub(crate) struct LinkRouter {
    links: RwLock<LinkTable>,
    hubs: Arc<AttachedHubs>,
    limits: LinkLimits,
    metrics: Metrics,
}

struct LinkTable {
    owner_of: OwnerOf,
    /// Holds the channels that no link owns. Never connected.
    unassigned: Arc<SharedLink>,
    by_id: BTreeMap<LinkId, Arc<SharedLink>>,
    last_id: u32,
}

impl LinkRouter {
    /// A router without links: every channel is unassigned.
    pub(crate) fn new(limits: LinkLimits, metrics: &Metrics) -> Self {
        let hubs = Arc::new(AttachedHubs::default());
        let unassigned = Arc::new(SharedLink::new(limits, Arc::clone(&hubs), metrics));
        let links =
            LinkTable { owner_of: Box::new(|_| None), unassigned, by_id: BTreeMap::new(), last_id: 0 };
        Self { links: RwLock::new(links), hubs, limits, metrics: metrics.clone() }
    }

    /// Adds a hub to all links, also to those that are added later.
    pub(crate) fn attach(&self, inbox: Arc<dyn Inbox>) -> HubId {
        // For writing: a link that is added at this moment must have the hub too.
        let links = self.links.write();
        self.hubs.attach(Arc::clone(&inbox));
        for link in links.by_id.values() {
            link.lock().add_hub(Arc::clone(&inbox));
        }
        links.unassigned.lock().add_hub(inbox)
    }

    /// Adds a link, which owns no channel before the next map.
    pub(crate) fn add(&self) -> (LinkId, Arc<SharedLink>) {
        let mut links = self.links.write();
        links.last_id += 1;
        let id = LinkId(links.last_id);
        let link = Arc::new(SharedLink::new(self.limits, Arc::clone(&self.hubs), &self.metrics));
        links.by_id.insert(id, Arc::clone(&link));
        (id, link)
    }

    /// Removes a link. Its channels are unassigned until the next map. A connection that the link still has counts as
    /// lost, and a later one is ignored.
    pub(crate) fn remove(&self, id: LinkId) {
        let mut links = self.links.write();
        let Some(link) = links.by_id.remove(&id) else { return };
        let released = link.lock().release(|_| true);
        link.lock().retire();
        link.edit(|_| {});
        links.unassigned.adopt(released);
    }

    /// Applies a map: moves each channel to its owner, and subscribes again to channels that waited for the map.
    pub(crate) fn assign(&self, owner_of: OwnerOf) {
        let mut links = self.links.write();
        links.owner_of = owner_of;
        let mut moving = Released::default();
        for (id, link) in links.all() {
            let released = link.lock().release(|channel| links.owner(channel.as_str()) != id);
            if !released.is_empty() {
                moving.append(released);
                link.edit(|_| {});
            }
        }
        for (id, link) in links.all() {
            let adopted = moving.split_off(|channel| links.owner(channel.as_str()) == id);
            if !adopted.is_empty() {
                link.adopt(adopted);
            }
            link.edit(|link| link.retry_unsubscribed());
        }
    }

    /// Subscribes a hub to channels, each in its link.
    pub(crate) fn subscribe(&self, hub: HubId, call: BrokerCallId, channels: Vec<ChannelName>, verify: bool) {
        let links = self.links.read();
        for (link, channels) in links.divide(channels) {
            link.edit(|link| link.subscribe(hub, call, channels, verify));
        }
    }

    /// Unsubscribes a hub from channels.
    pub(crate) fn unsubscribe(&self, hub: HubId, channels: &[ChannelName]) {
        let links = self.links.read();
        for (link, channels) in links.divide(channels.to_vec()) {
            link.edit(|link| link.unsubscribe(hub, &channels));
        }
    }

    /// Queues the read of a history for one subscription.
    pub(crate) fn read(&self, hub: HubId, request: HistoryRequest) {
        let links = self.links.read();
        links.of(request.channel.as_str()).edit(|link| link.read(hub, request));
    }

    /// Cancels a read.
    pub(crate) fn cancel(&self, hub: HubId, read: ReadId) {
        self.links.read().all().for_each(|(_, link)| link.lock().cancel(hub, read));
    }

    /// Queues a read of a user's presence for a hub.
    pub(crate) fn read_presence(&self, hub: HubId, read: ReadId, channel: &ChannelName) {
        self.links.read().of(channel.as_str()).read_presence(hub, read, channel);
    }

    /// Cancels a read of a user's presence.
    pub(crate) fn cancel_presence(&self, hub: HubId, read: ReadId) {
        self.links.read().all().for_each(|(_, link)| link.lock().cancel_presence(hub, read));
    }

    /// Handles a payload that arrived for a channel on any link. Returns whether the channel has an entry.
    pub(crate) fn receive(&self, channel: &str, payload: Payload) -> bool {
        self.links.read().of(channel).receive(channel, payload)
    }

    /// Plain messages of a namespace that `except` carries for all links may be missing. Call it once `except` carries them
    /// again, so that the gap covers all of them; `except` itself announces its loss with its repairs.
    pub(crate) fn plain_messages_lost(&self, namespace: &str, except: LinkId, now: Instant) {
        let links = self.links.read();
        for (_, link) in links.by_id.iter().filter(|(id, _)| **id != except) {
            link.edit(|link| link.plain_messages_lost(namespace, now));
        }
    }
}

impl LinkTable {
    /// All links, the unassigned one first.
    fn all(&self) -> impl Iterator<Item = (Option<LinkId>, &Arc<SharedLink>)> {
        let assigned = self.by_id.iter().map(|(id, link)| (Some(*id), link));
        [(None, &self.unassigned)].into_iter().chain(assigned)
    }

    /// The link that owns a channel, if it is one of these.
    fn owner(&self, channel: &str) -> Option<LinkId> {
        (self.owner_of)(channel).filter(|id| self.by_id.contains_key(id))
    }

    fn of(&self, channel: &str) -> &Arc<SharedLink> {
        self.owner(channel).and_then(|id| self.by_id.get(&id)).unwrap_or(&self.unassigned)
    }

    /// The channels of each link, in the order of `channels`.
    fn divide(
        &self,
        channels: Vec<ChannelName>,
    ) -> impl Iterator<Item = (&Arc<SharedLink>, Vec<ChannelName>)> {
        let mut by_owner = BTreeMap::<Option<LinkId>, Vec<ChannelName>>::new();
        for channel in channels {
            by_owner.entry(self.owner(channel.as_str())).or_default().push(channel);
        }
        by_owner.into_iter().map(|(id, channels)| {
            (id.and_then(|id| self.by_id.get(&id)).unwrap_or(&self.unassigned), channels)
        })
    }
}

#[cfg(test)]
mod tests;
