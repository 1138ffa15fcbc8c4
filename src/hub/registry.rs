//! The sessions of one worker thread and their subscriptions: a plain struct, without actors, Redis or JSON.
//!
//! It finds the receivers of a publication. A subscription is confirmed at a position, its *cut*. Publications after the
//! cut are held until the client has been told of the subscription, so that none overtakes Ready.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;

use bytes::Bytes;
use slab::Slab;

pub use self::deliver::{DeliveryOutcome, Recipient};
use self::pending::Held;
pub use self::pending::{MAX_HELD, PendingSubscription};
use crate::broker::RequestId;
use protocol::channel::ChannelName;
use protocol::conversation::ResumePoint;
use protocol::cursor::ChannelCursor;
use protocol::position::Position;
use protocol::{Variant, Version};

mod deliver;
mod gaps;
mod pending;
mod queries;

/// Sends frames to one session.
pub trait FrameSink: Clone {
    /// Sends a prepared frame. Returns `false` if the session is closing.
    fn send(&self, frame: Bytes) -> bool;
    /// Ends the session because it is too slow.
    fn overflow(&self);
    /// Whether the session has ended. Its Leave may not have come yet.
    fn is_closed(&self) -> bool {
        false
    }
}

/// Identifies a session in the registry; reused once the session has left.
///
/// The registry uses keys instead of session ids: four bytes instead of sixteen in every subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(u32);

/// The sessions of one worker thread and their subscriptions.
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
    /// Its channels, each with the session's index among the channel's subscribers, so that leaving needs no search among
    /// all subscribers.
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
    /// The broker call for this channel that is not answered yet.
    asked: Option<Asked>,
}

/// A broker call that is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Its id.
    pub request: RequestId,
    /// Whether the channel is compared with its history first.
    pub verify: bool,
}

/// Which publications on a channel are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coverage {
    /// None: the broker has not confirmed the channel. A publication may belong to an earlier subscription.
    Unconfirmed,
    /// Everything after the cursor.
    From(ChannelCursor),
    /// Everything, but the position is not known before the next durable publication: messages were missed, and the
    /// subscribers at that time have been told.
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
pub type ArrivalNumber = u64;

impl<S: FrameSink> Registry<S> {
    /// An empty registry. A subscription that is not live holds at most `max_held` publications.
    pub fn new(max_held: usize) -> Self {
        Self { sessions: Slab::new(), channels: HashMap::new(), subscriptions: 0, arrivals: 0, max_held }
    }

    /// Adds a session without subscriptions.
    pub fn connect(&mut self, variant: impl Into<Variant>, sink: S) -> SessionKey {
        // Most sessions only ever have two channels: their user's, and `all`.
        let subscriptions = Vec::with_capacity(2);
        SessionKey::of(self.sessions.insert(SessionEntry { sink, variant: variant.into(), subscriptions }))
    }

    /// Subscribes a session to a channel, not live yet, to continue from `since`. Returns `false` if it was subscribed
    /// already.
    pub fn subscribe(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        since: Option<ResumePoint>,
        request: RequestId,
    ) -> bool {
        let Some(found) = self.sessions.get_mut(session.index()) else { return false };
        if found.subscriptions.iter().any(|one| one.channel == *channel) {
            return false;
        }
        let (name, entry) = match self.channels.entry(channel.clone()) {
            MapEntry::Vacant(vacant) => {
                let subscribers = Vec::with_capacity(1);
                let entry = ChannelEntry { subscribers, coverage: Coverage::Unconfirmed, asked: None };
                (channel.clone(), vacant.insert(entry))
            }
            // All subscribers share one allocation of the name.
            MapEntry::Occupied(occupied) => (occupied.key().clone(), occupied.into_mut()),
        };
        self.arrivals += 1;
        let pending = PendingSubscription::new(self.arrivals, request, since, entry.cut());
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

    /// The position after which the channel is delivered, if it is known.
    pub fn cut(&self, channel: &ChannelName) -> Option<Position> {
        self.channels.get(channel)?.cut()
    }

    /// The broker call for this channel that is not answered yet.
    pub fn asked(&mut self, channel: &ChannelName) -> Option<&mut Option<Asked>> {
        Some(&mut self.channels.get_mut(channel)?.asked)
    }

    /// The broker delivers everything after `cut` on this channel; `None`: the position is not known.
    pub fn confirm(&mut self, channel: &ChannelName, cut: Option<Position>) {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.asked = None;
            entry.coverage = cut.map_or(Coverage::Unknown, |cut| Coverage::From(ChannelCursor::at(cut)));
        }
    }

    /// The subscription of a session to a channel, unless it is live.
    pub fn pending(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
    ) -> Option<&mut PendingSubscription> {
        self.subscriber_mut(session, channel)?.pending.as_deref_mut()
    }

    /// The subscriptions to a channel that are not live, with their sessions.
    pub fn pending_on(
        &mut self,
        channel: &ChannelName,
    ) -> impl Iterator<Item = (SessionKey, &mut PendingSubscription)> {
        let subscribers = self.channels.get_mut(channel).map(|entry| entry.subscribers.iter_mut());
        let subscribers = subscribers.into_iter().flatten();
        subscribers.filter_map(|one| Some((one.session, one.pending.as_deref_mut()?)))
    }

    /// Makes a subscription live: delivers the publications that it held, in order. Later ones are delivered directly.
    /// Returns how many were delivered.
    pub fn go_live(&mut self, session: SessionKey, channel: &ChannelName) -> u64 {
        let held = self.open(session, channel, PendingSubscription::is_told);
        self.release(session, &held)
    }

    /// The same for every channel of the session's Join answer, in the order of arrival.
    pub fn go_live_everywhere(&mut self, session: SessionKey) -> u64 {
        let channels: Vec<_> = self.channels_of(session).cloned().collect();
        let mut held: Vec<_> = channels
            .iter()
            .flat_map(|channel| self.open(session, channel, PendingSubscription::is_told_together))
            .collect();
        // A stable sort keeps recovered publications in the order of their history.
        held.sort_by_key(|(arrival, _)| *arrival);
        self.release(session, &held)
    }

    fn open(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        may_open: impl Fn(&PendingSubscription) -> bool,
    ) -> Vec<(ArrivalNumber, Held)> {
        let Some(subscriber) = self.subscriber_mut(session, channel) else { return Vec::new() };
        let pending = subscriber.pending.take_if(|pending| may_open(pending));
        pending.map(|pending| pending.open()).unwrap_or_default()
    }

    fn release(&self, session: SessionKey, held: &[(ArrivalNumber, Held)]) -> u64 {
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

    /// Unsubscribes a session from a channel. `None` if it was not subscribed.
    pub fn unsubscribe(&mut self, session: SessionKey, channel: &ChannelName) -> Option<Vacated> {
        let found = self.sessions.get_mut(session.index())?;
        let index = found.subscriptions.iter().position(|one| one.channel == *channel)?;
        let subscription = found.subscriptions.swap_remove(index);
        self.vacate(subscription)
    }

    /// Sends a prepared frame to one session, after all earlier frames.
    pub fn send(&self, session: SessionKey, frame: Bytes) {
        if let Some(found) = self.sessions.get(session.index()) {
            // A session that is closing is about to leave.
            found.sink.send(frame);
        }
    }

    /// Removes a session from all its channels.
    pub fn leave(&mut self, session: SessionKey) -> Vec<Vacated> {
        let Some(found) = self.sessions.try_remove(session.index()) else { return Vec::new() };
        found.subscriptions.into_iter().filter_map(|subscription| self.vacate(subscription)).collect()
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
        let subscription = found.subscriptions.iter().find(|one| one.channel == *channel)?;
        self.channels.get_mut(channel)?.subscribers.get_mut(subscription.index as usize)
    }

    /// Frees an index among a channel's subscribers. The last subscriber moves there, and its session gets the new index.
    fn vacate(&mut self, SessionChannel { channel, index }: SessionChannel) -> Option<Vacated> {
        let entry = self.channels.get_mut(&channel)?;
        let left = entry.subscribers.swap_remove(index as usize);
        self.subscriptions -= 1;
        let is_empty = entry.subscribers.is_empty();
        if is_empty {
            self.channels.remove(&channel);
        } else if let Some(moved) = entry.subscribers.get(index as usize)
            && let Some(session) = self.sessions.get_mut(moved.session.index())
            && let Some(theirs) = session.subscriptions.iter_mut().find(|theirs| theirs.channel == channel)
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
    /// Whether the channel has no subscriber left on this thread, so that the broker need not deliver it any more.
    pub is_empty: bool,
    /// The subscription, if it was not live.
    pub pending: Option<Box<PendingSubscription>>,
}

impl<S> ChannelEntry<S> {
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
