//! The state under the audience's lock: plain data, without lock, clock or task.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::continuity::{Arrival, Continuity, Progress};
use super::hubs::Hubs;
use crate::broker::HubId;
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::event::GapReason;
use protocol::position::Position;
use protocol::publication::Publication;

/// Tests repeat themselves, so the order of channels is the same there each time.
#[cfg(test)]
type Hashing = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;
#[cfg(not(test))]
type Hashing = std::hash::RandomState;

/// Bytes that may be held back over all channels while they catch up.
const MAX_HELD_BYTES: usize = 64 << 20;

/// To be told to a hub: these channels are subscribed, and everything behind these places will come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) hub: HubId,
    pub(crate) channels: Vec<(ChannelName, Position)>,
    /// To be told behind that: something behind the places of these is missing, of which others know already.
    pub(crate) broken: Vec<(ChannelName, GapReason)>,
}

/// One step of the link: the lists have no channel in common, so their order does not matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) subscribe: Vec<ChannelName>,
    pub(crate) unsubscribe: Vec<ChannelName>,
    /// Subscribed already, and to be compared with their history.
    pub(crate) verify: Vec<ChannelName>,
}

impl Turn {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.subscribe.len() + self.unsubscribe.len() + self.verify.len()
    }
}

/// A call of `subscribe` that is not answered yet. It is shared by the channels that it waits for.
struct Ticket {
    hub: HubId,
    channels: Vec<ChannelName>,
    /// How many of its channels are still to be confirmed.
    open: AtomicUsize,
}

/// How far the link is with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Off,
    Adding,
    On,
    Removing,
}

struct Entry {
    hubs: Hubs,
    stage: Stage,
    /// Whether it stands in `due`.
    due: bool,
    continuity: Continuity,
}

/// For each channel its hubs and its stage. A channel is here while a hub wants it or the link may carry it.
pub(super) struct Channels {
    entries: HashMap<ChannelName, Entry, Hashing>,
    /// What the link is to look at, each channel at most once; empty while it is down. So it is bounded by
    /// `entries`, however fast channels come and go.
    due: VecDeque<ChannelName>,
    /// Only channels that are being subscribed have waiters.
    waiting: HashMap<ChannelName, Vec<Arc<Ticket>>, Hashing>,
    link_is_up: bool,
    wanted: usize,
    /// What is left of [`MAX_HELD_BYTES`].
    held_budget: usize,
    metrics: Metrics,
}

impl Channels {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            entries: HashMap::default(),
            due: VecDeque::new(),
            waiting: HashMap::default(),
            link_is_up: false,
            wanted: 0,
            held_budget: MAX_HELD_BYTES,
            metrics: metrics.clone(),
        }
    }

    /// The name and the hubs of a channel.
    pub(super) fn find(&self, channel: &str) -> Option<(&ChannelName, &[HubId])> {
        self.entries.get_key_value(channel).map(|(name, entry)| (name, entry.hubs.as_slice()))
    }

    /// A publication has come for a channel that is here.
    pub(super) fn arrive(&mut self, channel: &str, position: Option<Position>) -> Option<Arrival> {
        let entry = self.entries.get_mut(channel)?;
        let arrival = entry.continuity.arrive(position);
        if arrival == (Arrival::Hold { begins: true }) {
            self.make_due(channel);
        }
        Some(arrival)
    }

    /// A durable publication has come, of which it is known that it is the next.
    pub(super) fn pass(&mut self, channel: &str, position: Position) {
        if let Some(entry) = self.entries.get_mut(channel) {
            entry.continuity.pass(position);
        }
    }

    /// Holds a publication back until its channel has caught up. Returns whether there was room.
    pub(super) fn hold(&mut self, publication: Arc<Publication>) -> bool {
        let Some(entry) = self.entries.get_mut(publication.channel().as_str()) else { return true };
        entry.continuity.hold(publication, &mut self.held_budget)
    }

    /// Takes a step of a channel's catching up.
    pub(super) fn advance(
        &mut self,
        channel: &ChannelName,
        step: impl FnOnce(&mut Continuity) -> Progress,
    ) -> Progress {
        let Some(entry) = self.entries.get_mut(channel) else { return Progress::default() };
        let held = entry.continuity.held_bytes();
        let progress = step(&mut entry.continuity);
        self.held_budget += held - entry.continuity.held_bytes();
        progress
    }

    /// Compares channels with their histories, if they are subscribed.
    pub(super) fn verify(&mut self, channels: &[ChannelName]) {
        for channel in channels {
            let Some(entry) = self.entries.get_mut(channel) else { continue };
            if entry.stage == Stage::On && !entry.hubs.is_empty() {
                entry.continuity.verify();
                self.make_due(channel.as_str());
            }
        }
    }

    /// Every channel that is subscribed.
    pub(super) fn subscribed(&self) -> Vec<ChannelName> {
        let on = self.entries.iter().filter(|(_, entry)| entry.stage == Stage::On);
        on.map(|(channel, _)| channel.clone()).collect()
    }

    fn make_due(&mut self, channel: &str) {
        if let Some((name, _)) = self.entries.get_key_value(channel).filter(|_| self.link_is_up) {
            let name = name.clone();
            let Some(entry) = self.entries.get_mut(channel) else { return };
            if !std::mem::replace(&mut entry.due, true) {
                self.due.push_back(name);
            }
        }
    }

    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// `now` tells the place of a channel of which nothing is known yet.
    pub(super) fn subscribe(
        &mut self,
        hub: HubId,
        channels: Vec<ChannelName>,
        now: impl FnMut(&ChannelName) -> Position,
    ) -> Option<Answer> {
        let mut open = Vec::new();
        for channel in &channels {
            if self.want(hub, channel) != Stage::On && self.link_is_up {
                open.push(channel.clone());
            }
        }
        if open.is_empty() {
            return Some(self.answer(hub, channels, now));
        }
        let ticket = Arc::new(Ticket { hub, channels, open: AtomicUsize::new(open.len()) });
        for channel in open {
            self.waiting.entry(channel).or_default().push(Arc::clone(&ticket));
        }
        None
    }

    /// Adds `hub` to the channel's hubs and says how far the link is with it.
    fn want(&mut self, hub: HubId, channel: &ChannelName) -> Stage {
        let entry = self.entries.entry(channel.clone()).or_insert_with(|| Entry {
            hubs: Hubs::none(),
            stage: Stage::Off,
            due: false,
            continuity: Continuity::default(),
        });
        if entry.hubs.is_empty() {
            self.wanted += 1;
            count(&self.metrics, channel, 1);
        }
        entry.hubs.add(hub);
        if self.link_is_up && entry.stage == Stage::Off && !entry.due {
            entry.due = true;
            self.due.push_back(channel.clone());
        }
        entry.stage
    }

    pub(super) fn unsubscribe(&mut self, hub: HubId, channels: &[ChannelName]) {
        for channel in channels {
            let Some(entry) = self.entries.get_mut(channel) else { continue };
            if !entry.hubs.remove(hub) || !entry.hubs.is_empty() {
                continue;
            }
            self.wanted -= 1;
            count(&self.metrics, channel, -1);
            if !self.link_is_up {
                self.entries.remove(channel);
            } else if entry.stage == Stage::On && !entry.due {
                entry.due = true;
                self.due.push_back(channel.clone());
            }
        }
    }

    pub(super) fn link_up(&mut self) {
        self.link_is_up = true;
        self.due = self.entries.keys().cloned().collect();
        for entry in self.entries.values_mut() {
            entry.due = true;
        }
    }

    pub(super) fn link_down(&mut self, now: Position) -> Vec<Answer> {
        self.link_is_up = false;
        self.held_budget = MAX_HELD_BYTES;
        self.due = VecDeque::new();
        self.entries.retain(|_, entry| !entry.hubs.is_empty());
        for entry in self.entries.values_mut() {
            (entry.stage, entry.due) = (Stage::Off, false);
            entry.continuity.link_lost();
        }
        let tickets = std::mem::take(&mut self.waiting).into_values().flatten();
        let closed: Vec<_> = tickets.filter_map(Ticket::close).collect();
        closed.into_iter().map(|ticket| self.answer_of(&ticket, now)).collect()
    }

    pub(super) fn next_turn(&mut self, max: usize) -> Turn {
        let mut turn = Turn::default();
        while turn.len() < max {
            let Some(channel) = self.due.pop_front() else { break };
            let Some(entry) = self.entries.get_mut(&channel) else { continue };
            entry.due = false;
            match (entry.stage, entry.hubs.is_empty()) {
                (Stage::On, true) => {
                    entry.stage = Stage::Removing;
                    turn.unsubscribe.push(channel);
                }
                // Also when nobody wants it any longer but somebody did and waits for the answer: it is
                // subscribed and then, as nobody wants it, unsubscribed. Rare, and no special case.
                (Stage::Off, _) => {
                    entry.stage = Stage::Adding;
                    entry.continuity.begin();
                    turn.subscribe.push(channel);
                }
                (Stage::On, false) if entry.continuity.is_catching_up() => turn.verify.push(channel),
                (Stage::On, false) | (Stage::Adding | Stage::Removing, _) => {}
            }
        }
        turn
    }

    /// The server has confirmed the turn, and its channels have caught up. `now` stands for places that are
    /// not known.
    pub(super) fn turn_done(&mut self, turn: Turn, now: Position) -> Vec<Answer> {
        let mut closed = Vec::new();
        for channel in turn.subscribe {
            self.close_tickets(&channel, &mut closed);
            self.settle(channel, Stage::On);
        }
        for channel in turn.unsubscribe {
            if let Some(entry) = self.entries.get_mut(&channel) {
                self.held_budget += entry.continuity.held_bytes();
                entry.continuity.left();
                if entry.hubs.is_empty() {
                    // Somebody came back while it was being left, and went again.
                    self.close_tickets(&channel, &mut closed);
                }
            }
            self.settle(channel, Stage::Off);
        }
        closed.into_iter().map(|ticket| self.answer_of(&ticket, now)).collect()
    }

    /// Nobody needs to wait for `channel` any longer.
    fn close_tickets(&mut self, channel: &ChannelName, closed: &mut Vec<Arc<Ticket>>) {
        let tickets = self.waiting.remove(channel).unwrap_or_default();
        closed.extend(tickets.into_iter().filter_map(Ticket::close));
    }

    /// Everything up to the places in an answer was handed over before it, or came when nobody was there.
    fn answer_of(&mut self, ticket: &Ticket, now: Position) -> Answer {
        self.answer(ticket.hub, ticket.channels.clone(), |_| now)
    }

    fn answer(
        &mut self,
        hub: HubId,
        channels: Vec<ChannelName>,
        mut now: impl FnMut(&ChannelName) -> Position,
    ) -> Answer {
        let mut broken = Vec::new();
        let place = |channel: ChannelName| {
            let place = match self.entries.get_mut(&channel) {
                Some(entry) => {
                    broken.extend(entry.continuity.broken().map(|reason| (channel.clone(), reason)));
                    entry.continuity.place_or_else(|| now(&channel))
                }
                // It was given up while it was asked for; the answer will find nobody.
                None => now(&channel),
            };
            (channel, place)
        };
        let channels = channels.into_iter().map(place).collect();
        Answer { hub, channels, broken }
    }

    /// The link has brought a channel to `stage`; what hubs want may have changed meanwhile.
    fn settle(&mut self, channel: ChannelName, stage: Stage) {
        let Some(entry) = self.entries.get_mut(&channel) else { return };
        entry.stage = stage;
        match (stage, entry.hubs.is_empty()) {
            (Stage::Off, true) => {
                self.entries.remove(&channel);
            }
            (Stage::On, true) | (Stage::Off, false) if !entry.due => {
                entry.due = true;
                self.due.push_back(channel);
            }
            _ => {}
        }
    }
}

impl Ticket {
    /// One of its channels is settled; the ticket when that was the last.
    fn close(ticket: Arc<Self>) -> Option<Arc<Self>> {
        // The lock around all of this orders the count.
        (ticket.open.fetch_sub(1, Ordering::Relaxed) == 1).then_some(ticket)
    }
}

/// Keeps the gauges of channels, and of users among them, exact.
fn count(metrics: &Metrics, channel: &ChannelName, change: i64) {
    metrics.channels.inc_by(change);
    if channel.namespace() == "user" {
        metrics.users.inc_by(change);
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
