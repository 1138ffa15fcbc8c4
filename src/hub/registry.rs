//! The sessions of one worker thread and their subscriptions: a plain struct, without actors, Redis or JSON.
//!
//! The registry finds the receivers of a publication. A subscription is confirmed at a position, its *cut*.
//! Publications after the cut are held until the client knows of the subscription, so that none overtakes Ready.
//!
//! - `deliver`: delivers a publication to the subscribers of its channel.
//! - `gaps`: announces gaps.
//! - `held`: sends what a subscription missed or held.
//! - `pending`: a subscription that is not live yet.
//! - `queries`: queries about sessions.
//! - `rooms`: the receivers of the number of subscribers.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;

use bytes::Bytes;
use slab::Slab;

pub use self::deliver::{FanoutOutcome, FrameReceiver};
use self::pending::HeldItem;
pub use self::pending::{MAX_HELD, PendingSubscription};
use super::frame_group::FrameGroup;
use crate::broker::BrokerCallId;
use crate::shrink;
use protocol::Variant;
use protocol::channel::ChannelName;
use protocol::conversation::WantedHistory;
use protocol::cursor::ChannelCursor;
use protocol::position::Position;

mod deliver;
mod gaps;
mod held;
mod pending;
mod queries;
mod rooms;

/// Sends frames to one session.
pub trait FrameSink: Clone {
    /// Sends a prepared frame. Returns `false` if the session is closing.
    fn send(&self, frame: Bytes) -> bool;
    /// Sends frames together. Returns `false` if the session is closing.
    fn send_together(&self, frames: &FrameGroup) -> bool {
        frames.frames().all(|frame| self.send(frame))
    }
    /// Sends frames that are worthless later: those that cannot be sent now are dropped.
    fn offer(&self, frames: &FrameGroup) -> Offered {
        let sent = frames.frames().take_while(|frame| self.send(frame.clone())).count();
        if sent == 0 { Offered::Closed } else { Offered::Sent(sent) }
    }
    /// Ends the session because it is too slow.
    fn close_too_slow(&self);
    /// Whether the session has ended. The hub may not have processed its Leave yet.
    fn is_closed(&self) -> bool {
        false
    }
}

/// The outcome of [`FrameSink::offer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// This many frames are sent. If others are left, the session reads too slowly for them.
    Sent(usize),
    /// The session is closing.
    Closed,
}

/// Identifies a session in the registry. The key is reused after the session has left.
///
/// A key takes four bytes in every subscription, a session id sixteen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(u32);

/// Stores the sessions of one worker thread and their subscriptions.
#[derive(Debug)]
pub struct Registry<S> {
    sessions: Slab<SessionEntry<S>>,
    channels: HashMap<ChannelName, ChannelEntry<S>>,
    subscriptions: usize,
    arrivals: ArrivalNumber,
    max_held: usize,
}

#[derive(Debug)]
struct SessionEntry<S> {
    sink: S,
    variant: Variant,
    /// The channels of the session. Each entry stores the session's index among the channel's subscribers, so that
    /// leaving needs no search among all subscribers.
    subscriptions: Vec<SessionChannel>,
}

#[derive(Debug)]
struct SessionChannel {
    channel: ChannelName,
    index: u32,
}

#[derive(Debug)]
struct ChannelEntry<S> {
    subscribers: Vec<Subscriber<S>>,
    coverage: Coverage,
    /// The broker call that is not answered yet.
    open_call: Option<BrokerCall>,
}

/// A broker call that is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerCall {
    /// The id that the broker returns in its answer.
    pub id: BrokerCallId,
    /// Whether the broker compares the channel with its history first.
    pub verify: bool,
}

/// Which publications on a channel are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coverage {
    /// No publication: the broker has not confirmed the channel, so a publication may belong to an earlier
    /// subscription.
    Unconfirmed,
    /// Every publication after the cursor.
    From(ChannelCursor),
    /// Every publication. The position is unknown until the next durable publication: messages were missed, and the
    /// subscribers at that time received a gap.
    Unknown,
}

#[derive(Debug)]
struct Subscriber<S> {
    sink: S,
    /// `None` once the subscription is live. Boxed, because most subscriptions are live.
    pending: Option<Box<PendingSubscription>>,
    session: SessionKey,
    variant: Variant,
}

/// Identifies a Join or Subscribe of a session in its hub.
pub type HubRequestId = u64;

/// Arrival sequence number; keeps publications of several channels in order.
pub type ArrivalNumber = u64;

impl<S: FrameSink> Registry<S> {
    /// Creates an empty registry. A pending subscription holds at most `max_held` publications.
    pub fn new(max_held: usize) -> Self {
        Self { sessions: Slab::new(), channels: HashMap::new(), subscriptions: 0, arrivals: 0, max_held }
    }

    /// Adds a session that has no subscriptions yet.
    pub fn connect(&mut self, variant: impl Into<Variant>, sink: S) -> SessionKey {
        // Most sessions have two channels only: their user's, and `all`.
        let subscriptions = Vec::with_capacity(2);
        SessionKey::of(self.sessions.insert(SessionEntry { sink, variant: variant.into(), subscriptions }))
    }

    /// Adds a pending subscription. Returns `false` if the session is already subscribed or unknown.
    pub fn subscribe(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        history: WantedHistory,
        request: HubRequestId,
    ) -> bool {
        let Some(found) = self.sessions.get_mut(session.index()) else { return false };
        if found.subscriptions.iter().any(|one| one.channel == *channel) {
            return false;
        }
        let (name, entry) = match self.channels.entry(channel.clone()) {
            MapEntry::Vacant(vacant) => {
                let subscribers = Vec::with_capacity(1);
                let entry = ChannelEntry { subscribers, coverage: Coverage::Unconfirmed, open_call: None };
                (channel.clone(), vacant.insert(entry))
            }
            // All subscribers share one allocation of the name.
            MapEntry::Occupied(occupied) => (occupied.key().clone(), occupied.into_mut()),
        };
        self.arrivals += 1;
        let pending = PendingSubscription::new(self.arrivals, request, history, entry.position());
        found.subscriptions.push(SessionChannel { channel: name, index: entry.subscribers.len() as u32 });
        entry.subscribers.push(Subscriber {
            sink: found.sink.clone(),
            pending: Some(Box::new(pending)),
            session,
            variant: found.variant,
        });
        self.subscriptions += 1;
        true
    }

    /// The position after which the channel is delivered; it moves with each durable publication. `None` if it is
    /// unknown.
    pub fn channel_position(&self, channel: &ChannelName) -> Option<Position> {
        self.channels.get(channel)?.position()
    }

    /// The broker call for a channel that is not answered yet.
    pub fn open_call(&self, channel: &ChannelName) -> Option<BrokerCall> {
        self.channels.get(channel)?.open_call
    }

    /// Whether a channel has subscribers but no open call.
    pub fn has_no_open_call(&self, channel: &ChannelName) -> bool {
        self.channels.get(channel).is_some_and(|entry| entry.open_call.is_none())
    }

    /// Sets the open call of a channel. Replaces an earlier one, whose answer no longer counts.
    pub fn set_open_call(&mut self, channel: &ChannelName, call: BrokerCall) {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.open_call = Some(call);
        }
    }

    /// Notes that the broker delivers everything after `cut` on a channel. `None`: the position is unknown.
    pub fn confirm(&mut self, channel: &ChannelName, cut: Option<Position>) {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.open_call = None;
            entry.coverage = cut.map_or(Coverage::Unknown, |cut| Coverage::From(ChannelCursor::at(cut)));
        }
    }

    /// The pending subscription of a session to a channel. `None` if it is live or does not exist.
    pub fn pending(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
    ) -> Option<&mut PendingSubscription> {
        self.subscriber_mut(session, channel)?.pending.as_deref_mut()
    }

    /// The pending subscriptions to a channel, with their sessions.
    pub fn pending_on(
        &mut self,
        channel: &ChannelName,
    ) -> impl Iterator<Item = (SessionKey, &mut PendingSubscription)> {
        let subscribers = self.channels.get_mut(channel).map(|entry| entry.subscribers.iter_mut());
        let subscribers = subscribers.into_iter().flatten();
        subscribers.filter_map(|one| Some((one.session, one.pending.as_deref_mut()?)))
    }

    /// Makes the subscription to an answered channel live: delivers its held publications in order. Later publications
    /// are delivered directly. Returns the number of publications delivered.
    pub fn go_live(&mut self, session: SessionKey, channel: &ChannelName) -> u64 {
        let held = self.take_held(session, channel, PendingSubscription::is_answered);
        self.send_held(session, &held)
    }

    /// Makes the subscriptions to all channels of the session's Join live, except to recovering channels. Publications
    /// of all channels are delivered in the order of their arrival.
    pub fn go_live_everywhere(&mut self, session: SessionKey) -> u64 {
        let channels: Vec<_> = self.channels_of(session).cloned().collect();
        let mut held: Vec<_> = channels
            .iter()
            .flat_map(|channel| {
                self.take_held(session, channel, PendingSubscription::is_answered_with_request)
            })
            .collect();
        // A stable sort keeps recovered publications in the order of their history.
        held.sort_by_key(|(arrival, _)| *arrival);
        self.send_held(session, &held)
    }

    fn take_held(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        may_open: impl Fn(&PendingSubscription) -> bool,
    ) -> Vec<(ArrivalNumber, HeldItem)> {
        let Some(subscriber) = self.subscriber_mut(session, channel) else { return Vec::new() };
        let pending = subscriber.pending.take_if(|pending| may_open(pending));
        pending.map(|pending| pending.into_items()).unwrap_or_default()
    }

    /// Unsubscribes a session from a channel. Returns `None` if it was not subscribed.
    pub fn unsubscribe(&mut self, session: SessionKey, channel: &ChannelName) -> Option<EndedSubscription> {
        let found = self.sessions.get_mut(session.index())?;
        let index = found.subscriptions.iter().position(|one| one.channel == *channel)?;
        let subscription = found.subscriptions.swap_remove(index);
        self.remove_subscriber(subscription)
    }

    /// Sends a prepared frame to one session, after all earlier frames.
    pub fn send(&self, session: SessionKey, frame: Bytes) {
        if let Some(found) = self.sessions.get(session.index()) {
            // A closing session is about to leave, so its result does not matter.
            found.sink.send(frame);
        }
    }

    /// Removes a session from all its channels.
    pub fn leave(&mut self, session: SessionKey) -> Vec<EndedSubscription> {
        let Some(found) = self.sessions.try_remove(session.index()) else { return Vec::new() };
        shrink::slab(&mut self.sessions);
        found
            .subscriptions
            .into_iter()
            .filter_map(|subscription| self.remove_subscriber(subscription))
            .collect()
    }

    /// The number of sessions, identified or not.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The number of subscriptions of all sessions, live or pending.
    pub fn subscription_count(&self) -> usize {
        self.subscriptions
    }

    fn subscriber_mut(&mut self, session: SessionKey, channel: &ChannelName) -> Option<&mut Subscriber<S>> {
        let found = self.sessions.get(session.index())?;
        let subscription = found.subscriptions.iter().find(|one| one.channel == *channel)?;
        self.channels.get_mut(channel)?.subscribers.get_mut(subscription.index as usize)
    }

    /// Removes a subscriber of a channel. The last subscriber moves to its index, and that subscriber's session stores
    /// the new index.
    fn remove_subscriber(
        &mut self,
        SessionChannel { channel, index }: SessionChannel,
    ) -> Option<EndedSubscription> {
        let entry = self.channels.get_mut(&channel)?;
        let left = entry.subscribers.swap_remove(index as usize);
        self.subscriptions -= 1;
        let is_last = entry.subscribers.is_empty();
        if is_last {
            self.channels.remove(&channel);
            shrink::map(&mut self.channels);
        } else if let Some(moved) = entry.subscribers.get(index as usize)
            && let Some(session) = self.sessions.get_mut(moved.session.index())
            && let Some(theirs) = session.subscriptions.iter_mut().find(|theirs| theirs.channel == channel)
        {
            theirs.index = index;
        }
        Some(EndedSubscription { channel, is_last, pending: left.pending })
    }
}

/// A subscription that was removed from the registry.
#[derive(Debug)]
pub struct EndedSubscription {
    /// The channel of the subscription.
    pub channel: ChannelName,
    /// Whether the channel has no subscriber left on this thread, so that the hub can unsubscribe at the broker.
    pub is_last: bool,
    /// The pending part of the subscription; `None` if it was live.
    pub pending: Option<Box<PendingSubscription>>,
}

impl<S> ChannelEntry<S> {
    fn position(&self) -> Option<Position> {
        match self.coverage {
            Coverage::From(cursor) => Some(cursor.position()),
            Coverage::Unconfirmed | Coverage::Unknown => None,
        }
    }
}

impl SessionKey {
    #[allow(
        clippy::expect_used,
        reason = "a session takes a kilobyte, so 2³² sessions do not fit into memory"
    )]
    fn of(index: usize) -> Self {
        Self(u32::try_from(index).expect("fewer than 2³² sessions"))
    }

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests;
