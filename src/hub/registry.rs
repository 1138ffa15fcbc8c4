//! Who is here on this worker thread: a plain struct, without actors, Redis or JSON.
//!
//! It answers one question fast, "who gets this publication", and keeps what makes the answer right: a
//! subscription that is not live yet holds its publications back until its client has been told of it, so
//! that nothing overtakes Ready.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::Arc;

use bytes::Bytes;
use slab::Slab;

pub use self::deliver::{Delivery, Receiver};
use self::gate::{Gate, Item};
use protocol::channel::ChannelName;
use protocol::event::GapReason;
use protocol::position::Position;
use protocol::publication::Publication;
use protocol::{Variant, Version};

mod deliver;
mod gaps;
mod gate;
mod members;

/// The way out of one session, as the registry sees it.
pub trait Line: Clone {
    /// Sends a prepared frame. Returns whether the session can still be reached.
    fn send(&self, frame: Bytes) -> bool;
    /// The session cannot keep up: end it.
    fn overflow(&self);
}

/// A session's place in the registry, free for another once it has left.
///
/// Inside, sessions go by their place and not by their name: four bytes instead of sixteen in every
/// subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u32);

/// The sessions of one worker thread and their subscriptions.
#[derive(Debug)]
pub struct Registry<L> {
    sessions: Slab<Member<L>>,
    channels: HashMap<ChannelName, Channel<L>>,
    subscriptions: usize,
    arrivals: Arrival,
}

#[derive(Debug)]
struct Member<L> {
    line: L,
    variant: Variant,
    /// What it is on, and where it stands among the channel's subscribers: leaving costs a step for each of
    /// its own channels, not a search among everybody.
    memberships: Vec<Membership>,
}

#[derive(Debug)]
struct Membership {
    channel: ChannelName,
    place: u32,
}

#[derive(Debug)]
struct Channel<L> {
    subscribers: Vec<Subscriber<L>>,
    /// Everything behind this place is delivered here; `None` until the broker has confirmed that it delivers
    /// this channel.
    place: Option<Position>,
    /// Why something behind `place` may never come; its gap has been told to those who were here.
    broken: Option<GapReason>,
}

#[derive(Debug)]
struct Subscriber<L> {
    line: L,
    /// `None` once live. Boxed, because most are live most of the time.
    gate: Option<Box<Gate>>,
    session: Slot,
    variant: Variant,
}

/// The how-manieth publication of this registry: held back on several channels, they still leave as they came.
pub type Arrival = u64;

/// Where a subscription begins that is not live yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// Everything behind this place is held back for it.
    pub place: Position,
    /// Tells it from an earlier subscription of the same session to the same channel.
    pub number: u64,
    /// Whether nothing behind the place was lost before the subscription was made.
    pub is_whole: bool,
}

/// How a channel stands after a subscription to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelStanding {
    /// Nobody of this thread was on it: the broker is to be asked for it.
    New,
    /// The broker has been asked and has not confirmed.
    Pending,
    /// The broker delivers it.
    Confirmed,
}

impl<L> Default for Registry<L> {
    fn default() -> Self {
        Self { sessions: Slab::new(), channels: HashMap::new(), subscriptions: 0, arrivals: 0 }
    }
}

impl<L: Line> Registry<L> {
    /// Adds a session without subscriptions.
    ///
    /// # Panics
    ///
    /// With more than 2³² sessions, which no machine has memory for.
    pub fn join(&mut self, variant: impl Into<Variant>, line: L) -> Slot {
        // Two channels, its user's and all, are what most sessions are ever on.
        let memberships = Vec::with_capacity(2);
        Slot::of(self.sessions.insert(Member { line, variant: variant.into(), memberships }))
    }

    /// Puts a session on a channel, not live yet. `None` when the session is not here or is on it.
    pub fn subscribe(&mut self, session: Slot, channel: &ChannelName) -> Option<ChannelStanding> {
        let member = self.sessions.get_mut(session.index())?;
        if member.memberships.iter().any(|membership| membership.channel == *channel) {
            return None;
        }
        let (standing, name, entry) = match self.channels.entry(channel.clone()) {
            MapEntry::Vacant(vacant) => {
                let entry = Channel { subscribers: Vec::with_capacity(1), place: None, broken: None };
                (ChannelStanding::New, channel.clone(), vacant.insert(entry))
            }
            MapEntry::Occupied(occupied) => {
                // One name for all who are on the channel, not a copy from each.
                let (name, entry) = (occupied.key().clone(), occupied.into_mut());
                let standing =
                    if entry.place.is_some() { ChannelStanding::Confirmed } else { ChannelStanding::Pending };
                (standing, name, entry)
            }
        };
        self.arrivals += 1;
        let mut gate = Gate::new(self.arrivals, entry.place);
        if let Some(reason) = entry.broken {
            gate.begin_with_gap(gaps::frame(channel, reason));
        }
        member.memberships.push(Membership { channel: name, place: entry.subscribers.len() as u32 });
        entry.subscribers.push(Subscriber {
            line: member.line.clone(),
            gate: Some(Box::new(gate)),
            session,
            variant: member.variant,
        });
        self.subscriptions += 1;
        Some(standing)
    }

    /// The broker delivers everything behind `place` on this channel.
    pub fn confirm(&mut self, channel: &ChannelName, place: Position) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        entry.place = Some(place);
        for gate in entry.subscribers.iter_mut().filter_map(|subscriber| subscriber.gate.as_mut()) {
            gate.confirm(place);
            if let Some(reason) = entry.broken {
                gate.begin_with_gap(gaps::frame(channel, reason));
            }
        }
    }

    /// Where a subscription begins that is not live yet and whose channel is confirmed.
    pub fn beginning(&self, session: Slot, channel: &ChannelName) -> Option<Beginning> {
        self.subscriber(session, channel)?.gate.as_ref()?.beginning()
    }

    /// Puts what its client has missed, up to `last`, before what a subscription holds back. Does nothing if the
    /// subscription is another one by now. Gaps that it was to be told of up to `read_at` are none: everything
    /// was read behind them.
    pub fn restore(
        &mut self,
        session: Slot,
        channel: &ChannelName,
        number: u64,
        (missed, last): (Vec<Arc<Publication>>, Position),
        read_at: Arrival,
    ) {
        let gate = self.subscriber_mut(session, channel).and_then(|subscriber| subscriber.gate.as_mut());
        if let Some(gate) = gate {
            gate.restore(number, missed, last, read_at);
        }
    }

    /// A subscription does not continue from `since`, where its client left. Does nothing if it is another one by now.
    pub fn begin_anew(&mut self, session: Slot, channel: &ChannelName, number: u64, since: Position) {
        let gate = self.subscriber_mut(session, channel).and_then(|subscriber| subscriber.gate.as_mut());
        if let Some(gate) = gate {
            gate.begin_anew(number, since);
        }
    }

    /// How much has come so far: publications, gaps and subscriptions.
    pub fn arrivals(&self) -> Arrival {
        self.arrivals
    }

    /// Lets a subscription go live: what it held back is delivered, in order, and from now on everything is
    /// delivered as it comes. Returns how many were delivered.
    pub fn go_live(&mut self, session: Slot, channel: &ChannelName) -> u64 {
        let held = self.open_gate(session, channel);
        self.release(session, &held)
    }

    /// The same for every channel of a session, in the order in which the publications came.
    pub fn go_live_everywhere(&mut self, session: Slot) -> u64 {
        let Some(member) = self.sessions.get(session.index()) else { return 0 };
        let channels: Vec<_> =
            member.memberships.iter().map(|membership| membership.channel.clone()).collect();
        let mut held: Vec<_> = channels.iter().flat_map(|channel| self.open_gate(session, channel)).collect();
        // Stable: what a channel's history has stays in its order.
        held.sort_by_key(|(arrival, _)| *arrival);
        self.release(session, &held)
    }

    fn open_gate(&mut self, session: Slot, channel: &ChannelName) -> Vec<(Arrival, Item)> {
        let Some(place) = self.channels.get(channel).map(|channel| channel.place) else { return Vec::new() };
        let Some(subscriber) = self.subscriber_mut(session, channel) else { return Vec::new() };
        let Some(mut gate) = subscriber.gate.take() else { return Vec::new() };
        let held = gate.open(place);
        subscriber.gate = Some(gate).filter(|gate| gate.is_needed());
        held
    }

    fn release(&self, session: Slot, held: &[(Arrival, Item)]) -> u64 {
        let Some(member) = self.sessions.get(session.index()) else { return 0 };
        let mut delivered = 0;
        for (_, item) in held {
            match item {
                Item::Publication(publication) => {
                    let frame = publication.frame(member.variant).clone();
                    delivered += u64::from(member.line.send(frame));
                }
                Item::Gap(frame) if member.variant.version == Version::V2 => {
                    member.line.send(frame.clone());
                }
                Item::Gap(_) => {}
            }
        }
        delivered
    }

    /// Takes a session off a channel. Returns whether the channel is empty now, so that the broker need not
    /// deliver it here any more.
    #[must_use]
    pub fn unsubscribe(&mut self, session: Slot, channel: &ChannelName) -> bool {
        let Some(member) = self.sessions.get_mut(session.index()) else { return false };
        let Some(index) = member.memberships.iter().position(|membership| membership.channel == *channel)
        else {
            return false;
        };
        let membership = member.memberships.swap_remove(index);
        self.vacate(&membership)
    }

    /// Sends a prepared frame to one session, behind what it was sent so far.
    pub fn send(&self, session: Slot, frame: Bytes) {
        if let Some(member) = self.sessions.get(session.index()) {
            // Whoever cannot be reached any more is about to leave.
            member.line.send(frame);
        }
    }

    /// Removes a session. Returns the channels that are empty now.
    #[must_use]
    pub fn leave(&mut self, session: Slot) -> Vec<ChannelName> {
        let Some(member) = self.sessions.try_remove(session.index()) else { return Vec::new() };
        member
            .memberships
            .into_iter()
            .filter_map(|membership| self.vacate(&membership).then_some(membership.channel))
            .collect()
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many subscriptions all sessions have.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    fn subscriber(&self, session: Slot, channel: &ChannelName) -> Option<&Subscriber<L>> {
        let place = self.place_of(session, channel)?;
        self.channels.get(channel)?.subscribers.get(place)
    }

    fn subscriber_mut(&mut self, session: Slot, channel: &ChannelName) -> Option<&mut Subscriber<L>> {
        let place = self.place_of(session, channel)?;
        self.channels.get_mut(channel)?.subscribers.get_mut(place)
    }

    /// Where a session stands among a channel's subscribers.
    fn place_of(&self, session: Slot, channel: &ChannelName) -> Option<usize> {
        let member = self.sessions.get(session.index())?;
        let membership = member.memberships.iter().find(|membership| membership.channel == *channel)?;
        Some(membership.place as usize)
    }

    /// Frees a place among a channel's subscribers. The last one moves into it, and its session is told.
    fn vacate(&mut self, membership: &Membership) -> bool {
        let Some(channel) = self.channels.get_mut(&membership.channel) else { return false };
        let place = membership.place as usize;
        channel.subscribers.swap_remove(place);
        self.subscriptions -= 1;
        if channel.subscribers.is_empty() {
            self.channels.remove(&membership.channel);
            return true;
        }
        if let Some(moved) = channel.subscribers.get(place)
            && let Some(member) = self.sessions.get_mut(moved.session.index())
            && let Some(theirs) =
                member.memberships.iter_mut().find(|theirs| theirs.channel == membership.channel)
        {
            theirs.place = membership.place;
        }
        false
    }
}

impl Slot {
    #[allow(clippy::expect_used, reason = "a session takes a kilobyte: 2³² of them do not fit any memory")]
    fn of(index: usize) -> Self {
        Self(u32::try_from(index).expect("fewer than 2³² sessions"))
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests;
