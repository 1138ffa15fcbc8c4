//! What hubs want, what the link is to subscribe and to leave, and the answers to those who wait.

use super::super::count_channel;
use super::super::follower::Follower;
use super::super::hubs::Hubs;
use super::{Carry, Channel, LinkCore};
use crate::broker::{Cut, HubEvent, HubId, RequestId, SubscribeAck};
use protocol::channel::ChannelName;

/// One step of the link: the lists have no channel in common, so their order does not matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SubscriptionBatch {
    pub(crate) subscribe: Vec<ChannelName>,
    pub(crate) unsubscribe: Vec<ChannelName>,
}

/// A call of `subscribe` that is not answered yet.
pub(super) struct PendingAck {
    hub: HubId,
    request: RequestId,
    /// Answered only once the channel was compared with its history.
    is_verified: bool,
}

impl LinkCore {
    /// `hub` wants these channels. Where their positions are known they are answered at once, otherwise once the link has
    /// subscribed them. With `verify` they are compared with their histories first.
    pub(crate) fn subscribe(
        &mut self,
        hub: HubId,
        request: RequestId,
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
                // It is being compared, or will be once it is carried again.
                _ if verify => None,
                // It is subscribed anew, and what is published until then is missing.
                _ if found.carry == Carry::Removing => None,
                Follower::Untracked { .. } => Some(Cut::Untracked),
                follower => follower.position().map(Cut::At),
            };
            match cut {
                Some(cut) => answers.push(SubscribeAck { channel, request, cut }),
                None => {
                    let ack = PendingAck { hub, request, is_verified: verify };
                    self.acks.entry(channel).or_default().push(ack);
                }
            }
        }
        if !answers.is_empty() {
            self.tell(hub, HubEvent::Subscribed(answers));
        }
    }

    /// Adds `hub` to the channel's hubs.
    fn want(&mut self, hub: HubId, channel: &ChannelName) {
        if !self.channels.contains_key(channel) {
            let follower = Follower::new(self.next_number());
            let new = Channel {
                name: channel.clone(),
                hubs: Hubs::none(),
                carry: Carry::Off,
                is_dirty: false,
                follower,
            };
            self.channels.insert(channel.clone(), new);
            self.repairing += 1;
        }
        let Some(found) = self.channels.get_mut(channel) else { return };
        if found.hubs.is_empty() {
            count_channel(&self.metrics, channel, 1);
        }
        found.hubs.add(hub);
        if found.carry == Carry::Off {
            self.mark_dirty(channel);
        }
    }

    /// `hub` wants these channels no more.
    pub(crate) fn unsubscribe(&mut self, hub: HubId, channels: &[ChannelName]) {
        for channel in channels {
            let Some(found) = self.channels.get_mut(channel) else { continue };
            if !found.hubs.remove(hub) {
                continue;
            }
            let (is_empty, carry) = (found.hubs.is_empty(), found.carry);
            if let Some(acks) = self.acks.get_mut(channel) {
                acks.retain(|ack| ack.hub != hub);
            }
            if is_empty {
                self.acks.remove(channel);
                count_channel(&self.metrics, channel, -1);
                match carry {
                    Carry::Off if !self.is_up => self.remove(channel),
                    Carry::Off | Carry::On => self.mark_dirty(channel),
                    Carry::Adding | Carry::Removing => {}
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

    fn remove(&mut self, channel: &ChannelName) {
        if let Some(found) = self.channels.remove(channel) {
            self.ring_budget_bytes += found.follower.ring_bytes();
            self.repairing -= usize::from(found.follower.is_repairing());
        }
    }

    /// What is to be subscribed and unsubscribed next, at most `max` channels; `None` when nothing is.
    pub(crate) fn next_batch(&mut self, max: usize) -> Option<SubscriptionBatch> {
        let mut batch = SubscriptionBatch::default();
        while batch.subscribe.len() + batch.unsubscribe.len() < max {
            let Some(name) = self.dirty.pop_front() else { break };
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            channel.is_dirty = false;
            match (channel.carry, channel.hubs.is_empty()) {
                (Carry::On, true) => {
                    channel.carry = Carry::Removing;
                    batch.unsubscribe.push(name);
                }
                (Carry::Off, false) => {
                    channel.carry = Carry::Adding;
                    batch.subscribe.push(name);
                }
                (Carry::Off, true) => self.remove(&name),
                (Carry::On, false) | (Carry::Adding | Carry::Removing, _) => {}
            }
        }
        (batch != SubscriptionBatch::default()).then_some(batch)
    }

    /// Redis has confirmed a batch. What hubs want may have changed meanwhile.
    pub(crate) fn confirmed(&mut self, batch: SubscriptionBatch) {
        for name in batch.subscribe {
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            channel.carry = Carry::On;
            if channel.hubs.is_empty() {
                self.mark_dirty(&name);
            }
            // Also where nobody wants it at this moment: a hub may come back before it is left.
            self.ask_for_tail(&name);
        }
        for name in batch.unsubscribe {
            let number = self.next_number();
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            channel.carry = Carry::Off;
            if channel.hubs.is_empty() {
                self.remove(&name);
            } else {
                // A hub came back while it was left: it begins anew.
                self.ring_budget_bytes += channel.follower.ring_bytes();
                self.repairing += usize::from(!channel.follower.is_repairing());
                channel.follower = Follower::new(number);
                self.mark_dirty(&name);
            }
        }
    }

    /// Answers the calls that wait for this channel; those that want it verified only if it is. What is learnt of a channel
    /// that is being left says nothing of its next subscription.
    pub(super) fn answer(&mut self, name: &ChannelName, cut: Cut, is_verified: bool) {
        if self.channels.get(name).is_none_or(|channel| channel.carry != Carry::On) {
            return;
        }
        let Some(acks) = self.acks.remove(name) else { return };
        let (answered, waiting): (Vec<_>, Vec<_>) =
            acks.into_iter().partition(|ack| is_verified || !ack.is_verified);
        if !waiting.is_empty() {
            self.acks.insert(name.clone(), waiting);
        }
        for PendingAck { hub, request, .. } in answered {
            let ack = SubscribeAck { channel: name.clone(), request, cut };
            self.tell(hub, HubEvent::Subscribed(vec![ack]));
        }
    }
}
