//! The state of a session after its token is accepted.

use std::time::{Duration, Instant};

use super::on_demand::OnDemandState;
use super::{Identity, Rules};
use crate::Now;
use crate::channel::{ChannelName, ChannelPattern};
use crate::event::RefusalReason;

/// The maximum time between two checks of the wall clock. The expiry is a wall-clock time, but waiting uses the
/// monotonic clock: a wall clock that is set back must not end a session early.
const EXPIRY_CHECK_INTERVAL: Duration = Duration::from_secs(3_600);

/// The identity of a session, and its subscriptions in addition to its two own channels.
#[derive(Debug)]
pub(super) struct VerifiedSession {
    user: ChannelName,
    expiry: Option<Expiry>,
    /// `None` until the session has a grant or a subscription.
    channels: Option<Box<SessionChannels>>,
    next_request_id: u32,
    /// Whether the user's channel and `all` are recovering and wait for an answer from the hub.
    recovering_own: [bool; 2],
    /// The number of requests for members and histories that are not answered.
    pub(super) open_requests: u8,
    /// `None` until the session needs it.
    pub(super) on_demand: Option<Box<OnDemandState>>,
}

/// What a session may subscribe to by its token, and its subscriptions in addition to its two own channels.
#[derive(Debug, Default)]
struct SessionChannels {
    grants: Box<[ChannelPattern]>,
    subscriptions: Vec<ChannelSubscription>,
}

#[derive(Debug, Clone, Copy)]
struct Expiry {
    at_ms: u64,
    check_at: Instant,
}

/// A subscription in addition to the own channels, pending or live.
#[derive(Debug)]
pub(super) struct ChannelSubscription {
    pub(super) channel: ChannelName,
    pub(super) request_id: u32,
    pub(super) is_live: bool,
    /// Whether the backend subscribed the session, so that the subscription needs no grant.
    pub(super) by_server: bool,
    /// Whether the token's claim `subscribe` names the channel, so that it does not count against the limit.
    pub(super) by_token: bool,
}

impl VerifiedSession {
    pub(super) fn new(identity: Identity, now: Now) -> Self {
        let mut session = Self {
            user: identity.user,
            expiry: Expiry::new(identity.expires_at_ms, now),
            channels: None,
            next_request_id: 0,
            recovering_own: [false; 2],
            open_requests: 0,
            on_demand: None,
        };
        session.set_grants(identity.grants);
        session.set_token_channels(identity.subscribe);
        session
    }

    /// The user's id.
    pub(super) fn user(&self) -> &str {
        self.user.user_id().unwrap_or_default()
    }

    pub(super) fn user_channel(&self) -> &ChannelName {
        &self.user
    }

    /// Whether `channel` is one of the two channels that every session is subscribed to.
    pub(super) fn is_own(&self, channel: &ChannelName) -> bool {
        self.own_index(channel).is_some()
    }

    fn own_index(&self, channel: &ChannelName) -> Option<usize> {
        if *channel == self.user { Some(0) } else { (channel.as_str() == "all").then_some(1) }
    }

    /// The time until the token expires, in milliseconds; `None` if it never expires.
    pub(super) fn expires_in_ms(&self, now: Now) -> Option<u64> {
        self.expiry.map(|expiry| expiry.at_ms.saturating_sub(now.unix_ms))
    }

    /// When to check the wall clock next; `None` if the token never expires.
    pub(super) fn expiry_check(&self) -> Option<Instant> {
        self.expiry.map(|expiry| expiry.check_at)
    }

    /// Whether [`VerifiedSession::has_expired`] would return true.
    pub(super) fn would_expire(&self, now: Now) -> bool {
        self.expiry.is_some_and(|expiry| expiry.check_at <= now.monotonic && expiry.at_ms <= now.unix_ms)
    }

    /// Whether the token has expired. Schedules the next check if [`VerifiedSession::expiry_check`] has passed.
    pub(super) fn has_expired(&mut self, now: Now) -> bool {
        let Some(expiry) = self.expiry.filter(|expiry| expiry.check_at <= now.monotonic) else {
            return false;
        };
        self.expiry = Expiry::new(Some(expiry.at_ms), now);
        expiry.at_ms <= now.unix_ms
    }

    /// Applies a newer token. Unsubscribes from the channels that it no longer allows, and returns them.
    pub(super) fn refresh(&mut self, identity: Identity, rules: &Rules, now: Now) -> Vec<ChannelName> {
        self.expiry = Expiry::new(identity.expires_at_ms, now);
        self.set_grants(identity.grants);
        self.set_token_channels(identity.subscribe);
        let Some(channels) = &mut self.channels else { return Vec::new() };
        let (mut kept, lost): (Vec<_>, Vec<_>) = std::mem::take(&mut channels.subscriptions)
            .into_iter()
            .partition(|subscription| subscription.by_server || self.allows(rules, &subscription.channel));
        for subscription in &mut kept {
            subscription.by_token = self.token_channels().contains(&subscription.channel);
        }
        self.channels_mut().subscriptions = kept;
        let lost: Vec<_> = lost.into_iter().map(|subscription| subscription.channel).collect();
        lost.iter().for_each(|channel| self.remove_on_demand(channel));
        lost
    }

    fn set_grants(&mut self, grants: Vec<ChannelPattern>) {
        if !grants.is_empty() || self.channels.is_some() {
            self.channels_mut().grants = grants.into();
        }
    }

    fn channels_mut(&mut self) -> &mut SessionChannels {
        self.channels.get_or_insert_default()
    }

    fn grants(&self) -> &[ChannelPattern] {
        self.channels.as_ref().map_or(&[], |channels| &channels.grants)
    }

    fn subscriptions(&self) -> &[ChannelSubscription] {
        self.channels.as_ref().map_or(&[], |channels| &channels.subscriptions)
    }

    fn subscription_mut(&mut self, channel: &ChannelName) -> Option<&mut ChannelSubscription> {
        self.channels.as_mut()?.subscriptions.iter_mut().find(|subscription| subscription.channel == *channel)
    }

    /// Replaces the channels that the claim `subscribe` of the token names.
    fn set_token_channels(&mut self, channels: Vec<ChannelName>) {
        if !channels.is_empty() || self.on_demand.is_some() {
            self.on_demand_mut().token_channels = channels.into();
        }
    }

    /// The channels that the claim `subscribe` of the token names.
    pub(super) fn token_channels(&self) -> &[ChannelName] {
        self.on_demand.as_ref().map_or(&[], |on_demand| &on_demand.token_channels)
    }

    /// The state that few sessions have, allocated now if it is not yet.
    pub(super) fn on_demand_mut(&mut self) -> &mut OnDemandState {
        self.on_demand.get_or_insert_default()
    }

    /// Whether the token or the settings allow the channel.
    pub(super) fn allows(&self, rules: &Rules, channel: &ChannelName) -> bool {
        rules.namespaces.of(channel).is_public
            || self.token_channels().contains(channel)
            || self.grants().iter().any(|grant| grant.covers(channel))
    }

    /// Whether the session may subscribe to `channel`, to which it is not subscribed yet.
    pub(super) fn may_subscribe(&self, rules: &Rules, channel: &ChannelName) -> Result<(), RefusalReason> {
        if !self.allows(rules, channel) {
            return Err(RefusalReason::NotAllowed);
        }
        let counted = self.subscriptions().iter().filter(|subscription| !subscription.by_token);
        let is_full = rules.max_subscriptions != 0 && counted.count() >= rules.max_subscriptions as usize;
        if is_full && !self.token_channels().contains(channel) {
            return Err(RefusalReason::TooMany);
        }
        Ok(())
    }

    /// Whether the session is subscribed to `channel`, which may be one of its own.
    pub(super) fn is_subscribed(&self, channel: &ChannelName) -> bool {
        self.is_own(channel)
            || self.subscriptions().iter().any(|subscription| subscription.channel == *channel)
    }

    /// Adds a subscription that waits for the hub. Returns the id of its request.
    pub(super) fn subscribe(&mut self, channel: ChannelName) -> u32 {
        let request_id = self.next_request_id();
        let by_token = self.token_channels().contains(&channel);
        let subscription =
            ChannelSubscription { channel, request_id, is_live: false, by_server: false, by_token };
        self.channels_mut().subscriptions.push(subscription);
        request_id
    }

    /// Marks a subscription as one of the backend, which needs no grant. Returns `false` if the session is not
    /// subscribed.
    pub(super) fn mark_by_server(&mut self, channel: &ChannelName) -> bool {
        self.subscription_mut(channel).map(|subscription| subscription.by_server = true).is_some()
    }

    /// Returns a new id for a request to the hub.
    pub(super) fn next_request_id(&mut self) -> u32 {
        let request_id = self.next_request_id;
        self.next_request_id = request_id.wrapping_add(1);
        request_id
    }

    /// Whether a subscription waits for the answer with this request id.
    pub(super) fn awaits(&self, channel: &ChannelName, request_id: u32) -> bool {
        // A session never leaves its own channels, so an answer for them is never late.
        if let Some(own) = self.own_index(channel) {
            return self.recovering_own[own];
        }
        self.subscriptions().iter().any(|subscription| {
            subscription.channel == *channel && subscription.request_id == request_id && !subscription.is_live
        })
    }

    /// Marks one of the session's own channels as recovering.
    pub(super) fn mark_recovering(&mut self, channel: &ChannelName) {
        if let Some(own) = self.own_index(channel) {
            self.recovering_own[own] = true;
        }
    }

    /// Marks a subscription as live.
    pub(super) fn mark_live(&mut self, channel: &ChannelName) {
        if let Some(own) = self.own_index(channel) {
            self.recovering_own[own] = false;
        } else if let Some(found) = self.subscription_mut(channel) {
            found.is_live = true;
        }
    }

    /// Unsubscribes from a channel. Returns whether the session was subscribed.
    pub(super) fn unsubscribe(&mut self, channel: &ChannelName) -> bool {
        let Some(channels) = &mut self.channels else { return false };
        let before = channels.subscriptions.len();
        channels.subscriptions.retain(|subscription| subscription.channel != *channel);
        let was_subscribed = channels.subscriptions.len() < before;
        // A client may name a thousand other channels, each of which would be compared with all open batches.
        if was_subscribed {
            self.remove_on_demand(channel);
        }
        was_subscribed
    }

    /// Removes the state of an ended subscription: its signals, and its entry in a batch that is not answered.
    fn remove_on_demand(&mut self, channel: &ChannelName) {
        if let Some(on_demand) = &mut self.on_demand {
            on_demand.signals.retain(|slot| slot.channel() != channel);
            on_demand.batches.iter_mut().for_each(|batch| batch.remove(channel));
        }
    }
}

impl Expiry {
    fn new(at_ms: Option<u64>, now: Now) -> Option<Self> {
        let at_ms = at_ms?;
        let left = Duration::from_millis(at_ms.saturating_sub(now.unix_ms));
        Some(Self { at_ms, check_at: now.monotonic + left.min(EXPIRY_CHECK_INTERVAL) })
    }
}
