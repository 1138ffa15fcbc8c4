//! Tracks the channels that hubs want: makes the batches to subscribe and unsubscribe, and answers the hubs.

use super::super::count_channel;
use super::super::follower::Follower;
use super::super::hubs::HubSet;
use super::{LinkChannel, LinkCore, LinkSubscription};
use crate::broker::{BrokerCallId, Cut, HubEvent, HubId, SubscribeAck};
use crate::shrink;
use protocol::channel::ChannelName;

/// Channels to subscribe and to unsubscribe in one step. No channel is in both lists, so the order of the lists does
/// not matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SubscriptionBatch {
    pub(crate) subscribe: Vec<ChannelName>,
    pub(crate) unsubscribe: Vec<ChannelName>,
}

/// A call of `subscribe` that is not answered yet.
pub(in crate::broker::link) struct PendingAck {
    hub: HubId,
    call: BrokerCallId,
    /// Whether the answer waits until the channel has been compared with its history.
    needs_verification: bool,
}

impl LinkChannel {
    /// The channel is in the next batch.
    const fn begin_batch(&mut self, subscription: LinkSubscription) {
        self.subscription = subscription;
        (self.is_batch_stale, self.may_be_subscribed) = (false, false);
    }
}

impl LinkCore {
    /// Subscribes `hub` to these channels. A channel whose position is known is answered at once, any other channel
    /// once the link is subscribed to it. With `verify`, each channel is compared with its history first.
    pub(crate) fn subscribe(
        &mut self,
        hub: HubId,
        call: BrokerCallId,
        channels: Vec<ChannelName>,
        verify: bool,
    ) {
        let mut answers = Vec::new();
        for channel in channels {
            self.want(hub, &channel);
            if verify {
                self.verify(&channel);
            }
            let Some(found) = self.channels.get(&channel) else { continue };
            let cut = match &found.follower {
                _ if self.refused.contains(&channel) => None,
                // The comparison is running, or begins once the channel is subscribed again.
                _ if verify => None,
                // The link subscribes to the channel again later, and misses the messages published until then.
                _ if found.subscription == LinkSubscription::Unsubscribing => None,
                Follower::Untracked { .. } => Some(Cut::Untracked),
                follower => follower.position().map(Cut::At),
            };
            match cut {
                Some(cut) => answers.push(SubscribeAck { channel, call, cut }),
                None => {
                    if self.refused.contains(&channel) {
                        answers.push(SubscribeAck { channel: channel.clone(), call, cut: Cut::Refused });
                    }
                    let ack = PendingAck { hub, call, needs_verification: verify };
                    self.acks.entry(channel).or_default().push(ack);
                }
            }
        }
        if !answers.is_empty() {
            self.inboxes.notify(hub, HubEvent::Subscribed(answers));
        }
    }

    /// Adds `hub` to the channel's hubs.
    fn want(&mut self, hub: HubId, channel: &ChannelName) {
        if self.channels.get(channel).is_some_and(|found| found.was_released) {
            // The link still unsubscribes from the channel that it released.
            self.take_back(channel);
        } else if !self.channels.contains_key(channel) {
            let follower = Follower::new(self.next_number());
            let new = LinkChannel {
                name: channel.clone(),
                hubs: HubSet::none(),
                subscription: LinkSubscription::None,
                is_dirty: false,
                is_batch_stale: false,
                may_be_subscribed: false,
                was_released: false,
                follower,
            };
            self.channels.insert(channel.clone(), new);
            self.repairing += 1;
        }
        let Some(found) = self.channels.get_mut(channel) else { return };
        let is_first = found.hubs.is_empty();
        if is_first {
            count_channel(&self.metrics, channel, 1);
        }
        found.hubs.add(hub);
        match found.subscription {
            LinkSubscription::None if !self.refused.contains(channel) => self.mark_dirty(channel),
            // No tail was read while no hub wanted the channel.
            LinkSubscription::Subscribed if is_first => self.requeue_tail(channel),
            _ => {}
        }
    }

    /// Unsubscribes `hub` from these channels.
    pub(crate) fn unsubscribe(&mut self, hub: HubId, channels: &[ChannelName]) {
        for channel in channels {
            let Some(found) = self.channels.get_mut(channel) else { continue };
            if !found.hubs.remove(hub) {
                continue;
            }
            let (is_empty, subscription) = (found.hubs.is_empty(), found.subscription);
            if let Some(acks) = self.acks.get_mut(channel) {
                acks.retain(|ack| ack.hub != hub);
            }
            if is_empty {
                self.acks.remove(channel);
                count_channel(&self.metrics, channel, -1);
                match subscription {
                    LinkSubscription::None if !self.is_up => self.remove(channel),
                    LinkSubscription::None | LinkSubscription::Subscribed => self.mark_dirty(channel),
                    LinkSubscription::Subscribing | LinkSubscription::Unsubscribing => {}
                }
            }
        }
    }

    pub(super) fn mark_dirty(&mut self, channel: &ChannelName) {
        let Some(found) = self.channels.get_mut(channel).filter(|_| self.is_up) else { return };
        if !std::mem::replace(&mut found.is_dirty, true) {
            self.dirty.push_back(channel.clone());
        }
    }

    pub(super) fn remove(&mut self, channel: &ChannelName) {
        self.refused.remove(channel);
        self.interrupted.remove(channel);
        if let Some(found) = self.channels.remove(channel) {
            if shrink::map(&mut self.channels) {
                shrink::give_back_soon();
            }
            self.ring_budget_bytes += found.follower.ring_bytes();
            self.repairing -= usize::from(found.follower.is_repairing());
        }
    }

    /// The next batch, of at most `max` channels; `None` if no channel is dirty.
    pub(crate) fn next_batch(&mut self, max: usize) -> Option<SubscriptionBatch> {
        let mut batch = SubscriptionBatch::default();
        while batch.subscribe.len() + batch.unsubscribe.len() < max {
            let Some(name) = self.dirty.pop_front() else { break };
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            channel.is_dirty = false;
            let is_subscribed = match channel.subscription {
                LinkSubscription::None => channel.may_be_subscribed,
                other => other == LinkSubscription::Subscribed,
            };
            match (channel.subscription, channel.hubs.is_empty()) {
                (LinkSubscription::None | LinkSubscription::Subscribed, true) if is_subscribed => {
                    channel.begin_batch(LinkSubscription::Unsubscribing);
                    batch.unsubscribe.push(name);
                }
                (LinkSubscription::None, false) => {
                    channel.begin_batch(LinkSubscription::Subscribing);
                    self.refused.remove(&name);
                    batch.subscribe.push(name);
                }
                (LinkSubscription::None, true) => self.remove(&name),
                (LinkSubscription::Subscribed, _)
                | (LinkSubscription::Subscribing | LinkSubscription::Unsubscribing, _) => {}
            }
        }
        shrink::queue(&mut self.dirty);
        (batch != SubscriptionBatch::default()).then_some(batch)
    }

    /// Redis does not let the gateway's Redis user subscribe to these channels. Notifies their hubs at once; the
    /// acknowledgements follow if a later attempt succeeds.
    pub(crate) fn refused(&mut self, channels: Vec<ChannelName>) {
        for name in channels {
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            channel.subscription = LinkSubscription::None;
            if channel.hubs.is_empty() {
                self.remove(&name);
                continue;
            }
            for PendingAck { hub, call, .. } in self.acks.get(&name).into_iter().flatten() {
                let ack = SubscribeAck { channel: name.clone(), call: *call, cut: Cut::Refused };
                self.inboxes.notify(*hub, HubEvent::Subscribed(vec![ack]));
            }
            self.interrupted.remove(&name);
            self.refused.insert(name);
        }
    }

    /// Marks the refused channels as dirty, so the link tries to subscribe to them again.
    pub(crate) fn retry_refused(&mut self) {
        let channels: Vec<_> = self.refused.iter().cloned().collect();
        channels.iter().for_each(|channel| self.mark_dirty(channel));
    }

    /// Redis confirmed a batch. Hubs may have subscribed or unsubscribed in the meantime.
    pub(crate) fn confirmed(&mut self, batch: SubscriptionBatch) {
        for name in batch.subscribe {
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            channel.subscription = LinkSubscription::Subscribed;
            if channel.hubs.is_empty() {
                self.mark_dirty(&name);
            } else if channel.is_batch_stale {
                (channel.subscription, channel.may_be_subscribed) = (LinkSubscription::None, true);
                self.restart_repair(&name);
                self.mark_dirty(&name);
            } else {
                self.interrupted.remove(&name);
                let Follower::Repairing(repair) = &channel.follower else { continue };
                // The tail shows whether the link missed messages.
                self.repairs.tails.push_back((name.clone(), repair.number()));
            }
        }
        for name in batch.unsubscribe {
            let number = self.next_number();
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            channel.subscription = LinkSubscription::None;
            if channel.hubs.is_empty() {
                self.remove(&name);
            } else if channel.is_batch_stale {
                // The channel came back with its cursor. Messages may have arrived before the subscription ended.
                self.restart_repair(&name);
                self.mark_dirty(&name);
            } else {
                // A hub subscribed again while the link unsubscribed, so the channel starts over.
                self.ring_budget_bytes += channel.follower.ring_bytes();
                self.repairing += usize::from(!channel.follower.is_repairing());
                channel.follower = Follower::new(number);
                self.mark_dirty(&name);
            }
        }
    }

    /// Answers the calls that wait for this channel; the calls with `verify` only if `is_verified`. While the link
    /// unsubscribes from the channel, no call is answered, because the cut is not valid for the next subscription.
    pub(super) fn answer(&mut self, name: &ChannelName, cut: Cut, is_verified: bool) {
        if self.channels.get(name).is_none_or(|channel| channel.subscription != LinkSubscription::Subscribed)
        {
            return;
        }
        let Some(acks) = self.acks.remove(name) else { return };
        let (answered, waiting): (Vec<_>, Vec<_>) =
            acks.into_iter().partition(|ack| is_verified || !ack.needs_verification);
        if !waiting.is_empty() {
            self.acks.insert(name.clone(), waiting);
        }
        for PendingAck { hub, call, .. } in answered {
            let ack = SubscribeAck { channel: name.clone(), call, cut };
            self.inboxes.notify(hub, HubEvent::Subscribed(vec![ack]));
        }
    }
}
