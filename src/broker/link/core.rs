//! All channels of one link: which hubs want them, which are subscribed, and what to do next.
//!
//! - `subscriptions`: the channels that hubs want, the batches to subscribe and unsubscribe, the answers to hubs.
//! - `history`: the reads of the link, for repairs and for clients.
//! - `presence`: the reads of users' presence for hubs.
//! - `gaps`: limits how often gaps of plain messages are announced.
//! - `moves`: channels that leave for another link, or come from one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::Hashing;
use super::follower::{Arrival, Follower, FollowerOutput, RepairProgress};
use super::hubs::{AttachedHubs, HubSet, Inboxes};
use super::reads::{ClientReads, ReadDone};
use crate::broker::{Cut, HistoryRequest, HubEvent, HubId, Inbox, ReadId};
use crate::metrics::{DropReason, Metrics};
use protocol::channel::ChannelName;
use protocol::event::GapReason;
use protocol::position::Position;
use protocol::publication::{Payload, Publication};
use protocol::signal_payload::SignalPayload;

mod gaps;
mod history;
mod moves;
mod presence;
mod subscriptions;

pub(crate) use self::history::{HistoryWork, ReadErrorKind};
pub(super) use self::moves::Released;
pub(crate) use self::presence::PresenceQuery;
use self::subscriptions::PendingAck;
pub(crate) use self::subscriptions::SubscriptionBatch;

/// Whether the link is subscribed to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkSubscription {
    None,
    Subscribing,
    Subscribed,
    Unsubscribing,
}

struct LinkChannel {
    name: ChannelName,
    hubs: HubSet,
    subscription: LinkSubscription,
    /// Whether the channel is in `dirty`.
    is_dirty: bool,
    /// Whether the channel came back from another link, or the server ended its subscription, while a batch with it was
    /// in flight. The confirmation of that batch is then no proof of a subscription.
    is_batch_stale: bool,
    /// Whether the server may have a subscription on which the link does not count. If no hub wants the channel, the link
    /// unsubscribes.
    may_be_subscribed: bool,
    /// Whether the channel left for another link, and the entry only waits until the link has unsubscribed.
    was_released: bool,
    follower: Follower,
}

/// The hubs of each channel, and how far the channel has been followed. A channel has an entry while a hub wants it or
/// the link may be subscribed to it.
pub(crate) struct LinkCore {
    inboxes: Inboxes,
    hubs: Arc<AttachedHubs>,
    channels: HashMap<ChannelName, LinkChannel, Hashing>,
    /// Channels to subscribe or unsubscribe, each at most once, so the queue is bounded by `channels`. Empty while the
    /// link is down.
    dirty: VecDeque<ChannelName>,
    /// Calls of `subscribe` that wait until the channel's position is known or verified.
    acks: HashMap<ChannelName, Vec<PendingAck>, Hashing>,
    /// Wanted channels that the server does not let the gateway's Redis user subscribe to.
    refused: HashSet<ChannelName, Hashing>,
    /// Wanted channels whose subscription ended although the link is up: the server ended it, or they came from another
    /// link. They are here until they are subscribed again.
    interrupted: HashSet<ChannelName, Hashing>,
    is_up: bool,
    /// Whether the link was removed, so that it stays down.
    is_retired: bool,
    /// The last number that was given to a connection or a repair.
    numbers: u64,
    /// The repairs that wait for a read.
    repairs: history::RepairQueue,
    reads: ClientReads,
    presence_reads: presence::PresenceQueries,
    /// How many channels are being repaired.
    repairing: usize,
    /// When the link last announced gaps of plain messages, and the number of the connection that lost those messages.
    /// The other channels of that connection do not wait for the interval. The number is `None` after pending gaps were
    /// announced; then every gap waits.
    gaps_announced: Option<(Instant, Option<u64>)>,
    /// Channels on which plain messages may be missing, and whose gap is not announced yet.
    pending_gaps: HashSet<ChannelName, Hashing>,
    /// The number of the current connection, or of the last one; a later loss of messages that the connection did not
    /// carry, and a move of channels to this link, take a new number.
    connection: u64,
    limits: LinkLimits,
    /// The part of `limits.ring_bytes` that is not used.
    ring_budget_bytes: usize,
    metrics: Metrics,
}

/// The limits of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkLimits {
    /// The length of the longest message, in bytes.
    pub(crate) payload_bytes: usize,
    /// The most bytes that the rings of all repairs may hold together.
    pub(crate) ring_bytes: usize,
}

impl LinkLimits {
    /// The limits for messages of at most `payload_bytes`, with 64 MiB of rings.
    pub(crate) const fn of_payload(payload_bytes: usize) -> Self {
        Self { payload_bytes, ring_bytes: 64 << 20 }
    }
}

impl LinkCore {
    /// A link that is down, with the hubs of the process.
    pub(crate) fn new(limits: LinkLimits, hubs: Arc<AttachedHubs>, metrics: &Metrics) -> Self {
        Self {
            inboxes: Inboxes::new(hubs.inboxes(), metrics),
            hubs,
            channels: HashMap::default(),
            dirty: VecDeque::new(),
            acks: HashMap::default(),
            refused: HashSet::default(),
            interrupted: HashSet::default(),
            is_up: false,
            is_retired: false,
            numbers: 0,
            repairs: history::RepairQueue::default(),
            reads: ClientReads::new(limits.payload_bytes),
            presence_reads: presence::PresenceQueries::default(),
            repairing: 0,
            gaps_announced: None,
            pending_gaps: HashSet::default(),
            connection: 0,
            limits,
            ring_budget_bytes: limits.ring_bytes,
            metrics: metrics.clone(),
        }
    }

    /// Adds a hub that was attached to the hubs of the process.
    pub(crate) fn add_hub(&mut self, inbox: Arc<dyn Inbox>) -> HubId {
        self.inboxes.add(inbox)
    }

    /// Offers an event to a hub. For events that do not concern the subscriptions of the link.
    pub(crate) fn notify(&self, hub: HubId, event: HubEvent) {
        self.inboxes.notify(hub, event);
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The link is connected, without subscriptions: every wanted channel becomes dirty.
    pub(crate) fn connected(&mut self) {
        if self.is_retired || std::mem::replace(&mut self.is_up, true) {
            return;
        }
        self.connection = self.next_number();
        let channels: Vec<_> = self.channels.keys().cloned().collect();
        channels.iter().for_each(|channel| self.mark_dirty(channel));
        self.hubs.link_changed(true);
    }

    /// The link is lost. The next connection repairs the messages that are published until then. Unanswered calls of
    /// `subscribe` and the reads for clients are kept: the next connection completes them.
    pub(crate) fn disconnected(&mut self) {
        if !std::mem::replace(&mut self.is_up, false) {
            return;
        }
        self.ring_budget_bytes = self.limits.ring_bytes;
        self.dirty = VecDeque::new();
        self.refused = HashSet::default();
        self.interrupted = HashSet::default();
        self.repairs = history::RepairQueue::default();
        self.reads.interrupted();
        self.channels.retain(|_, channel| !channel.hubs.is_empty());
        for channel in self.channels.values_mut() {
            self.numbers += 1;
            (channel.subscription, channel.is_dirty) = (LinkSubscription::None, false);
            (channel.is_batch_stale, channel.may_be_subscribed) = (false, false);
            channel.follower.link_lost(self.numbers);
        }
        self.repairing = self.channels.len();
        self.hubs.link_changed(false);
    }

    /// Handles a payload that arrived on a channel: delivers it, holds it for a repair, or drops it as a duplicate.
    pub(crate) fn receive(&mut self, channel: &str, payload: Payload) -> Received {
        let Some(found) = self.channels.get_mut(channel) else { return Received::Unknown };
        let Payload { position, message, received } = payload;
        let arrival = found.follower.arrive(position);
        if arrival == Arrival::Duplicate {
            Metrics::count(&self.metrics.publications_dropped, DropReason::Duplicate);
            return Received::Handled;
        }
        let publication = Publication::new(found.name.clone(), position, message);
        let publication = Arc::new(publication.received_at(received));
        if arrival == Arrival::DeliverAfterGap {
            self.inboxes.notify_gap(&found.hubs, &found.name, GapReason::HistoryUnreadable, None);
        }
        if matches!(arrival, Arrival::Deliver | Arrival::DeliverAfterGap) {
            self.inboxes.offer(&found.hubs, &publication);
            return Received::Handled;
        }
        if arrival == Arrival::Hole {
            self.numbers += 1;
            let number = self.numbers;
            if found.follower.verify(number) {
                self.repairing += 1;
                self.repairs.pages.push_back((found.name.clone(), number));
            }
        }
        let dropped = found.follower.hold(publication, &mut self.ring_budget_bytes);
        if dropped > 0 {
            Metrics::count_many(&self.metrics.publications_dropped, DropReason::Repairing, dropped);
        }
        if arrival == Arrival::Hole { Received::NeedsRepair } else { Received::Handled }
    }

    /// Offers a signal to the hubs of its channel, in whatever state the channel is: a signal has no position. Returns
    /// whether the channel has an entry.
    pub(crate) fn receive_signal(&self, channel: &str, payload: SignalPayload) -> bool {
        let Some(found) = self.channels.get(channel) else { return false };
        self.inboxes.offer_signal(&found.hubs, &Arc::new(payload.on(found.name.clone())));
        true
    }

    /// The channels that the link is subscribed to.
    pub(crate) fn subscribed(&self) -> Vec<ChannelName> {
        let on =
            self.channels.iter().filter(|(_, channel)| channel.subscription == LinkSubscription::Subscribed);
        on.map(|(name, _)| name.clone()).collect()
    }

    /// Starts to compare a channel with its history, if the link is subscribed to it.
    pub(crate) fn verify(&mut self, name: &ChannelName) {
        let number = self.next_number();
        let Some(channel) = self.channels.get_mut(name) else { return };
        if channel.subscription == LinkSubscription::Subscribed && channel.follower.verify(number) {
            self.repairing += 1;
            self.repairs.tails.push_back((name.clone(), number));
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.is_up
    }

    /// Whether every wanted channel that is not refused is subscribed and followed.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_up && self.dirty.is_empty() && self.repairing == self.refused.len()
    }

    /// How many wanted channels lost their subscription although the link is up, so that their messages do not arrive.
    pub(crate) fn interrupted(&self) -> usize {
        self.interrupted.len()
    }

    /// The number of channels with at least one hub.
    pub(crate) fn wanted(&self) -> usize {
        self.channels.values().filter(|channel| !channel.hubs.is_empty()).count()
    }

    /// Queues the read of a history for one subscription.
    pub(crate) fn read(&mut self, hub: HubId, request: HistoryRequest) {
        if let Some(done) = self.reads.add(hub, request) {
            self.notify_readers(done);
        }
    }

    /// Cancels a read.
    pub(crate) fn cancel(&mut self, hub: HubId, read: ReadId) {
        self.reads.cancel((hub, read));
    }

    fn notify_readers(&self, ReadDone { readers, outcome }: ReadDone) {
        for (hub, read) in readers {
            self.inboxes.notify(hub, HubEvent::HistoryRead { read, outcome: outcome.clone() });
        }
    }

    /// Advances a repair by one step, delivers the result, and answers the calls that waited for it.
    fn advance(
        &mut self,
        name: &ChannelName,
        step: impl FnOnce(&mut Follower) -> RepairProgress,
        now: Instant,
    ) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let (held, was_repairing) = (channel.follower.ring_bytes(), channel.follower.is_repairing());
        let progress = step(&mut channel.follower);
        self.ring_budget_bytes += held - channel.follower.ring_bytes();
        self.metrics.publications_repaired.inc_by(progress.repaired);
        // A new channel has a cut before its repair ends. Hubs learn it before the publications after it.
        if let Some(cut) = progress.cut {
            self.answer(name, cut, false);
        }
        self.deliver(name, progress.outputs, now);
        let Some(channel) = self.channels.get_mut(name) else { return };
        if let Follower::Repairing(repair) = &channel.follower {
            if progress.needs_read {
                self.repairs.pages.push_back((name.clone(), repair.number()));
            }
            return;
        }
        self.repairing -= usize::from(was_repairing);
        // The repair compared the channel with its history, so the calls with `verify` are answered as well.
        let cut = channel.follower.position().map_or(Cut::Untracked, Cut::At);
        self.answer(name, cut, true);
    }

    fn deliver(&mut self, name: &ChannelName, outputs: Vec<FollowerOutput>, now: Instant) {
        for output in outputs {
            match output {
                FollowerOutput::Publication(publication) => {
                    if let Some(channel) = self.channels.get(name) {
                        self.inboxes.offer(&channel.hubs, &publication);
                    }
                }
                // No durable message is missing, so the gap may wait for its interval.
                FollowerOutput::Gap { reason: GapReason::LinkLost, position: None } => {
                    self.announce_link_gap(name, now)
                }
                FollowerOutput::Gap { reason, position } => self.notify_gap(name, reason, position),
            }
        }
    }

    fn notify_gap(&self, name: &ChannelName, reason: GapReason, position: Option<Position>) {
        if let Some(channel) = self.channels.get(name) {
            self.inboxes.notify_gap(&channel.hubs, name, reason, position);
        }
    }
}

/// The result of receiving a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// The channel has no entry.
    Unknown,
    /// The payload is delivered, held, or dropped as a duplicate.
    Handled,
    /// The payload is held and the channel needs a repair, so there is a history to read.
    NeedsRepair,
}

#[cfg(test)]
pub(super) mod tests;
