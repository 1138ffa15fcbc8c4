//! Channels that leave for another link, or come from one, and subscriptions that the server ends.
//!
//! For the follower of a channel, a move is like the loss of the link: the next link repairs from the cursor on.

use super::super::follower::Follower;
use super::super::hubs::HubSet;
use super::presence::PresenceQueries;
use super::subscriptions::PendingAck;
use super::{LinkChannel, LinkCore, LinkSubscription, PresenceQuery};
use crate::broker::{HistoryRequest, HubId};
use protocol::channel::ChannelName;

/// What leaves a link: channels, and the reads of channels.
#[derive(Default)]
pub(in crate::broker::link) struct Released {
    channels: Vec<ReleasedChannel>,
    reads: Vec<(HubId, HistoryRequest)>,
    presence: Vec<PresenceQuery>,
}

struct ReleasedChannel {
    name: ChannelName,
    hubs: HubSet,
    follower: Follower,
    acks: Vec<PendingAck>,
}

impl Released {
    pub(in crate::broker::link) const fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.reads.is_empty() && self.presence.is_empty()
    }

    /// Takes out what belongs to the channels that `takes` accepts.
    pub(in crate::broker::link) fn split_off(&mut self, takes: impl Fn(&ChannelName) -> bool) -> Self {
        let (channels, reads, presence) = std::mem::take(self).into_parts();
        let (taken, channels) = channels.into_iter().partition(|channel| takes(&channel.name));
        let (taken_reads, reads) = reads.into_iter().partition(|(_, read)| takes(&read.channel));
        let (taken_presence, presence) = presence.into_iter().partition(|query| takes(&query.channel));
        *self = Self { channels, reads, presence };
        Self { channels: taken, reads: taken_reads, presence: taken_presence }
    }

    pub(in crate::broker::link) fn append(&mut self, mut other: Self) {
        self.channels.append(&mut other.channels);
        self.reads.append(&mut other.reads);
        self.presence.append(&mut other.presence);
    }

    fn into_parts(self) -> (Vec<ReleasedChannel>, Vec<(HubId, HistoryRequest)>, Vec<PresenceQuery>) {
        (self.channels, self.reads, self.presence)
    }
}

impl LinkCore {
    /// Takes out the channels that `leaves` accepts, with their hubs, their cursors and their unanswered calls, and the
    /// reads of these channels. The link unsubscribes from the channels.
    pub(in crate::broker::link) fn release(&mut self, leaves: impl Fn(&ChannelName) -> bool) -> Released {
        let mut names: Vec<_> = self.channels.keys().filter(|name| leaves(name)).cloned().collect();
        names.sort_unstable();
        let channels = names.iter().filter_map(|name| self.release_channel(name)).collect();
        let reads = self.reads.take_out(&leaves);
        let queries = std::mem::take(&mut self.presence_reads).into_iter();
        let (leaving, staying): (PresenceQueries, _) = queries.partition(|(_, channel)| leaves(channel));
        self.presence_reads = staying;
        let presence =
            leaving.into_iter().map(|((read, hub), channel)| PresenceQuery { hub, read, channel }).collect();
        Released { channels, reads, presence }
    }

    fn release_channel(&mut self, name: &ChannelName) -> Option<ReleasedChannel> {
        let channel = self.channels.get_mut(name)?;
        let hubs = std::mem::replace(&mut channel.hubs, HubSet::none());
        channel.was_released = true;
        // An entry stays until the link has unsubscribed. A message that still arrives there reaches no hub.
        let mut follower = std::mem::replace(&mut channel.follower, Follower::Untracked { last: None });
        let (subscription, is_dirty) = (channel.subscription, channel.is_dirty);
        self.ring_budget_bytes += follower.ring_bytes();
        self.repairing -= usize::from(follower.is_repairing());
        self.refused.remove(name);
        self.interrupted.remove(name);
        if self.pending_gaps.remove(name) {
            follower.note_missing_plain();
        }
        // This drops the ring, which counts for this link. `adopt` gives the repair its number.
        follower.link_lost(0);
        match subscription {
            LinkSubscription::None if !is_dirty => self.remove(name),
            LinkSubscription::Subscribed => self.mark_dirty(name),
            LinkSubscription::None | LinkSubscription::Subscribing | LinkSubscription::Unsubscribing => {}
        }
        let acks = self.acks.remove(name).unwrap_or_default();
        (!hubs.is_empty()).then(|| ReleasedChannel { name: name.clone(), hubs, follower, acks })
    }

    /// Takes over what other links have released. The channels are subscribed and repaired from their cursors on, and the
    /// reads begin again.
    pub(in crate::broker::link) fn adopt(&mut self, released: Released) {
        let (channels, reads, presence) = released.into_parts();
        if !channels.is_empty() {
            // Gaps of a move wait for the interval like those of another connection: channels may move back and forth.
            self.connection = self.next_number();
        }
        channels.into_iter().for_each(|channel| self.adopt_channel(channel));
        reads.into_iter().for_each(|(hub, request)| self.read(hub, request));
        let queries = presence.into_iter().map(|query| ((query.read, query.hub), query.channel));
        self.presence_reads.extend(queries);
    }

    /// Begins a channel anew that this link has released.
    pub(super) fn take_back(&mut self, name: &ChannelName) {
        let follower = Follower::new(self.next_number());
        let (name, hubs, acks) = (name.clone(), HubSet::none(), Vec::new());
        self.adopt_channel(ReleasedChannel { name, hubs, follower, acks });
    }

    fn adopt_channel(&mut self, released: ReleasedChannel) {
        let ReleasedChannel { name, hubs, mut follower, acks } = released;
        follower.link_lost(self.next_number());
        self.repairing += 1;
        if !acks.is_empty() {
            self.acks.insert(name.clone(), acks);
        }
        // The link may not have unsubscribed yet since the channel left. The server may have ended the subscription in the
        // meantime, so it is made again.
        let left = self.channels.remove(&name);
        let mut subscription = left.as_ref().map_or(LinkSubscription::None, |left| left.subscription);
        let is_in_flight =
            matches!(subscription, LinkSubscription::Subscribing | LinkSubscription::Unsubscribing);
        if !is_in_flight {
            subscription = LinkSubscription::None;
        }
        let may_be_subscribed = left
            .as_ref()
            .is_some_and(|left| left.may_be_subscribed || left.subscription == LinkSubscription::Subscribed);
        let is_dirty = left.is_some_and(|left| left.is_dirty);
        let channel = LinkChannel {
            name: name.clone(),
            hubs,
            subscription,
            is_dirty,
            is_batch_stale: is_in_flight,
            may_be_subscribed,
            was_released: false,
            follower,
        };
        self.channels.insert(name.clone(), channel);
        if self.is_up {
            self.interrupted.insert(name.clone());
        }
        if !is_in_flight {
            self.mark_dirty(&name);
        }
    }

    /// The server has ended the subscription to these channels, because it does not own them any more. They wait for the
    /// next map: they move, or [`retry_unsubscribed`](Self::retry_unsubscribed) subscribes them again.
    pub(crate) fn unsubscribed_by_server(&mut self, channels: &[ChannelName]) {
        for name in channels {
            match self.channels.get_mut(name) {
                Some(channel) if channel.subscription == LinkSubscription::Subscribing => {
                    channel.is_batch_stale = true;
                    self.restart_repair(name);
                }
                // The subscription was made before the channel left and came back.
                Some(channel) if channel.subscription == LinkSubscription::None => self.restart_repair(name),
                Some(channel) if channel.subscription == LinkSubscription::Subscribed => {
                    self.interrupt_channel(name);
                }
                _ => {}
            }
        }
    }

    /// The server answered that another server owns these channels, so the link is not subscribed to them. They wait for
    /// the next map.
    pub(crate) fn redirected(&mut self, channels: &[ChannelName]) {
        channels.iter().for_each(|name| self.interrupt_channel(name));
    }

    /// The link is not subscribed to a channel any more, and may have missed messages on it.
    fn interrupt_channel(&mut self, name: &ChannelName) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        (channel.subscription, channel.is_batch_stale) = (LinkSubscription::None, false);
        channel.may_be_subscribed = false;
        if channel.hubs.is_empty() {
            if !channel.is_dirty {
                self.remove(name);
            }
            return;
        }
        self.interrupted.insert(name.clone());
        self.restart_repair(name);
    }

    /// Messages may be missing after those in the ring of a channel. The ring is dropped, so that the gap before it covers
    /// them as well.
    pub(super) fn restart_repair(&mut self, name: &ChannelName) {
        let number = self.next_number();
        let Some(channel) = self.channels.get_mut(name).filter(|channel| !channel.hubs.is_empty()) else {
            return;
        };
        self.ring_budget_bytes += channel.follower.ring_bytes();
        self.repairing += usize::from(!channel.follower.is_repairing());
        channel.follower.link_lost(number);
    }

    /// Subscribes again to the wanted channels without a subscription, except those that the server refuses. Call it after
    /// each reading of the map, also if it has not changed.
    pub(crate) fn retry_unsubscribed(&mut self) {
        let waits = |channel: &&LinkChannel| {
            channel.subscription == LinkSubscription::None
                && !channel.hubs.is_empty()
                && !self.refused.contains(&channel.name)
        };
        let mut names: Vec<_> = self.channels.values().filter(waits).map(|one| one.name.clone()).collect();
        names.sort_unstable();
        names.iter().for_each(|name| self.mark_dirty(name));
    }

    /// The link is removed: it stays down.
    pub(in crate::broker::link) fn retire(&mut self) {
        self.is_retired = true;
        self.disconnected();
    }
}
