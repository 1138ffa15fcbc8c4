//! The sessions of one worker thread and their subscriptions: a plain struct, without actors, Redis or JSON.
//!
//! It answers one question fast, "who gets this publication", and keeps what makes the answer right: a subscription is
//! confirmed at a position, its *cut*. What is published behind the cut is held until the client has been told of the
//! subscription, so that nothing overtakes Ready.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;

use bytes::Bytes;
use slab::Slab;

pub use self::deliver::{Delivery, Receiver};
use self::pending::Held;
pub use self::pending::{MAX_HELD, PendingSubscription};
use crate::broker::RequestId;
use protocol::channel::ChannelName;
use protocol::conversation::Since;
use protocol::cursor::ChannelCursor;
use protocol::position::Position;
use protocol::{Variant, Version};

mod deliver;
mod gaps;
mod members;
mod pending;

/// The way out of one session, as the registry sees it.
pub trait FrameSink: Clone {
    /// Sends a prepared frame. Returns whether the session can still be reached.
    fn send(&self, frame: Bytes) -> bool;
    /// The session cannot keep up: end it.
    fn overflow(&self);
}

/// Names a session in the registry; free for another once it has left.
///
/// Inside, sessions go by their key and not by their name: four bytes instead of sixteen in every subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(u32);

/// The sessions of one worker thread and their subscriptions.
#[derive(Debug)]
pub struct Registry<S> {
    sessions: Slab<Session<S>>,
    channels: HashMap<ChannelName, Channel<S>>,
    subscriptions: usize,
    arrivals: Arrival,
    max_held: usize,
}

#[derive(Debug)]
struct Session<S> {
    sink: S,
    variant: Variant,
    /// What it is on, and where it stands among the channel's subscribers: leaving costs a step for each of its own
    /// channels, not a search among everybody.
    memberships: Vec<Membership>,
}

#[derive(Debug)]
struct Membership {
    channel: ChannelName,
    index: u32,
}

#[derive(Debug)]
struct Channel<S> {
    subscribers: Vec<Subscriber<S>>,
    coverage: Coverage,
    /// The call of the broker that has not been answered.
    asked: Option<Asked>,
}

/// A call of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Its name.
    pub request: RequestId,
    /// Whether the channel is compared with its history first.
    pub verify: bool,
}

/// What is delivered of a channel here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coverage {
    /// The broker has not confirmed the channel. What comes may be the end of an earlier subscription: it reaches nobody.
    Unconfirmed,
    /// Everything behind the cursor.
    From(ChannelCursor),
    /// What comes, but the position is not known before the next durable publication: something was missed, of which those
    /// who were here have been told.
    Unknown,
}

#[derive(Debug)]
struct Subscriber<S> {
    sink: S,
    /// `None` once live. Boxed, because most are live most of the time.
    pending: Option<Box<PendingSubscription>>,
    session: SessionKey,
    variant: Variant,
}

/// Arrival sequence number; keeps publications of several channels in order.
pub type Arrival = u64;

impl<S: FrameSink> Registry<S> {
    /// Nobody yet. A subscription that is not live holds `max_held` publications at most.
    pub fn new(max_held: usize) -> Self {
        Self { sessions: Slab::new(), channels: HashMap::new(), subscriptions: 0, arrivals: 0, max_held }
    }

    /// Adds a session without subscriptions.
    pub fn connect(&mut self, variant: impl Into<Variant>, sink: S) -> SessionKey {
        // Two channels, its user's and all, are what most sessions are ever on.
        let memberships = Vec::with_capacity(2);
        SessionKey::of(self.sessions.insert(Session { sink, variant: variant.into(), memberships }))
    }

    /// Puts a session on a channel, not live yet, to continue from `since`. Returns whether it was not on it.
    pub fn subscribe(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        since: Option<Since>,
        request: RequestId,
    ) -> bool {
        let Some(found) = self.sessions.get_mut(session.index()) else { return false };
        if found.memberships.iter().any(|membership| membership.channel == *channel) {
            return false;
        }
        let (name, entry) = match self.channels.entry(channel.clone()) {
            MapEntry::Vacant(vacant) => {
                let subscribers = Vec::with_capacity(1);
                let entry = Channel { subscribers, coverage: Coverage::Unconfirmed, asked: None };
                (channel.clone(), vacant.insert(entry))
            }
            // One name for all who are on the channel, not a copy from each.
            MapEntry::Occupied(occupied) => (occupied.key().clone(), occupied.into_mut()),
        };
        self.arrivals += 1;
        let pending = PendingSubscription::new(self.arrivals, request, since, entry.cut());
        found.memberships.push(Membership { channel: name, index: entry.subscribers.len() as u32 });
        entry.subscribers.push(Subscriber {
            sink: found.sink.clone(),
            pending: Some(Box::new(pending)),
            session,
            variant: found.variant,
        });
        self.subscriptions += 1;
        true
    }

    /// The position behind which the channel is delivered here, where it is known.
    pub fn cut(&self, channel: &ChannelName) -> Option<Position> {
        self.channels.get(channel)?.cut()
    }

    /// The call of the broker for this channel that has not been answered.
    pub fn asked(&mut self, channel: &ChannelName) -> Option<&mut Option<Asked>> {
        Some(&mut self.channels.get_mut(channel)?.asked)
    }

    /// The broker delivers everything behind `cut` on this channel; `None`: it does not know from where on.
    pub fn confirm(&mut self, channel: &ChannelName, cut: Option<Position>) {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.asked = None;
            entry.coverage = cut.map_or(Coverage::Unknown, |cut| Coverage::From(ChannelCursor::at(cut)));
        }
    }

    /// The subscription of a session to a channel, while it is not live.
    pub fn pending(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
    ) -> Option<&mut PendingSubscription> {
        self.subscriber_mut(session, channel)?.pending.as_deref_mut()
    }

    /// The sessions whose subscriptions to a channel are not live.
    pub fn waiting(&self, channel: &ChannelName) -> Vec<SessionKey> {
        let subscribers = self.channels.get(channel).map_or(&[][..], |entry| &entry.subscribers);
        subscribers
            .iter()
            .filter(|subscriber| subscriber.pending.is_some())
            .map(|subscriber| subscriber.session)
            .collect()
    }

    /// Lets a subscription go live: what it held is delivered, in order, and from now on everything is delivered as it
    /// comes. Returns how many were delivered.
    pub fn go_live(&mut self, session: SessionKey, channel: &ChannelName) -> u64 {
        let held = self.open(session, channel, PendingSubscription::is_told);
        self.release(session, &held)
    }

    /// The same for every channel of which the session has been told together, in the order in which the publications came.
    pub fn go_live_everywhere(&mut self, session: SessionKey) -> u64 {
        let channels: Vec<_> = self.channels_of(session).cloned().collect();
        let mut held: Vec<_> = channels
            .iter()
            .flat_map(|channel| self.open(session, channel, PendingSubscription::is_told_together))
            .collect();
        // Stable: what a channel's history has stays in its order.
        held.sort_by_key(|(arrival, _)| *arrival);
        self.release(session, &held)
    }

    fn open(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        may_open: impl Fn(&PendingSubscription) -> bool,
    ) -> Vec<(Arrival, Held)> {
        let Some(subscriber) = self.subscriber_mut(session, channel) else { return Vec::new() };
        let pending = subscriber.pending.take_if(|pending| may_open(pending));
        pending.map(|pending| pending.open()).unwrap_or_default()
    }

    fn release(&self, session: SessionKey, held: &[(Arrival, Held)]) -> u64 {
        let Some(found) = self.sessions.get(session.index()) else { return 0 };
        let mut delivered = 0;
        for (_, item) in held {
            match item {
                Held::Publication(publication) => {
                    let frame = publication.frame(found.variant).clone();
                    delivered += u64::from(found.sink.send(frame));
                }
                Held::Gap(frame) if found.variant.version == Version::V2 => {
                    found.sink.send(frame.clone());
                }
                Held::Gap(_) => {}
            }
        }
        delivered
    }

    /// Takes a session off a channel. Returns its subscription, if it was not live, and whether the channel is empty now,
    /// so that the broker need not deliver it here any more. `None`: it was not on it.
    pub fn unsubscribe(&mut self, session: SessionKey, channel: &ChannelName) -> Option<Vacated> {
        let found = self.sessions.get_mut(session.index())?;
        let index = found.memberships.iter().position(|membership| membership.channel == *channel)?;
        let membership = found.memberships.swap_remove(index);
        self.vacate(membership)
    }

    /// Sends a prepared frame to one session, behind what it was sent so far.
    pub fn send(&self, session: SessionKey, frame: Bytes) {
        if let Some(found) = self.sessions.get(session.index()) {
            // A session that cannot be reached any more is about to leave.
            found.sink.send(frame);
        }
    }

    /// Removes a session from all its channels.
    pub fn leave(&mut self, session: SessionKey) -> Vec<Vacated> {
        let Some(found) = self.sessions.try_remove(session.index()) else { return Vec::new() };
        found.memberships.into_iter().filter_map(|membership| self.vacate(membership)).collect()
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many subscriptions all sessions have.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    fn subscriber_mut(&mut self, session: SessionKey, channel: &ChannelName) -> Option<&mut Subscriber<S>> {
        let found = self.sessions.get(session.index())?;
        let membership = found.memberships.iter().find(|membership| membership.channel == *channel)?;
        self.channels.get_mut(channel)?.subscribers.get_mut(membership.index as usize)
    }

    /// Frees an index among a channel's subscribers. The last one moves there, and its session is told.
    fn vacate(&mut self, Membership { channel, index }: Membership) -> Option<Vacated> {
        let entry = self.channels.get_mut(&channel)?;
        let left = entry.subscribers.swap_remove(index as usize);
        self.subscriptions -= 1;
        let is_empty = entry.subscribers.is_empty();
        if is_empty {
            self.channels.remove(&channel);
        } else if let Some(moved) = entry.subscribers.get(index as usize)
            && let Some(session) = self.sessions.get_mut(moved.session.index())
            && let Some(theirs) = session.memberships.iter_mut().find(|theirs| theirs.channel == channel)
        {
            theirs.index = index;
        }
        Some(Vacated { channel, is_empty, pending: left.pending })
    }
}

/// A subscription that has ended.
#[derive(Debug)]
pub struct Vacated {
    /// The channel.
    pub channel: ChannelName,
    /// Whether nobody of this thread is on it any more.
    pub is_empty: bool,
    /// The subscription, if it was not live.
    pub pending: Option<Box<PendingSubscription>>,
}

impl<S> Channel<S> {
    fn cut(&self) -> Option<Position> {
        match self.coverage {
            Coverage::From(cursor) => Some(cursor.position()),
            Coverage::Unconfirmed | Coverage::Unknown => None,
        }
    }
}

impl SessionKey {
    #[allow(clippy::expect_used, reason = "a session takes a kilobyte: 2³² of them do not fit any memory")]
    fn of(index: usize) -> Self {
        Self(u32::try_from(index).expect("fewer than 2³² sessions"))
    }

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests;
