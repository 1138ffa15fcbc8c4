//! The state under the audience's lock: plain data, without lock, clock or task.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::broker::HubId;
use crate::metrics::Metrics;
use crate::protocol::channel::ChannelName;

/// To be told to a hub: these channels are subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) hub: HubId,
    pub(crate) channels: Vec<ChannelName>,
}

/// One step of the link: the two lists have no channel in common, so their order does not matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) subscribe: Vec<ChannelName>,
    pub(crate) unsubscribe: Vec<ChannelName>,
}

impl Turn {
    pub(crate) fn is_empty(&self) -> bool {
        self.subscribe.is_empty() && self.unsubscribe.is_empty()
    }
}

/// A call of `subscribe` that is not answered yet. It is shared by the channels that it waits for.
struct Ticket {
    answer: Answer,
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

/// The hubs that want a channel. Most channels are wanted by one.
enum Hubs {
    One(HubId),
    /// None, two or more.
    Several(Box<[HubId]>),
}

struct Entry {
    hubs: Hubs,
    stage: Stage,
    /// Whether it stands in `due`.
    due: bool,
}

/// For each channel its hubs and its stage. A channel is here while a hub wants it or the link may carry it.
pub(super) struct Channels {
    entries: HashMap<ChannelName, Entry>,
    /// What the link is to look at, each channel at most once; empty while it is down. So it is bounded by
    /// `entries`, however fast channels come and go.
    due: VecDeque<ChannelName>,
    /// Only channels that are being subscribed have waiters.
    waiting: HashMap<ChannelName, Vec<Arc<Ticket>>>,
    link_is_up: bool,
    wanted: usize,
    metrics: Metrics,
}

impl Channels {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            entries: HashMap::new(),
            due: VecDeque::new(),
            waiting: HashMap::new(),
            link_is_up: false,
            wanted: 0,
            metrics: metrics.clone(),
        }
    }

    pub(super) fn find(&self, channel: &str) -> Option<(&ChannelName, &[HubId])> {
        self.entries.get_key_value(channel).map(|(name, entry)| (name, entry.hubs.as_slice()))
    }

    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    pub(super) fn subscribe(&mut self, hub: HubId, channels: Vec<ChannelName>) -> Option<Answer> {
        let mut open = Vec::new();
        for channel in &channels {
            if self.want(hub, channel) != Stage::On && self.link_is_up {
                open.push(channel.clone());
            }
        }
        let answer = Answer { hub, channels };
        if open.is_empty() {
            return Some(answer);
        }
        let ticket = Arc::new(Ticket { answer, open: AtomicUsize::new(open.len()) });
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

    pub(super) fn link_down(&mut self) -> Vec<Answer> {
        self.link_is_up = false;
        self.due = VecDeque::new();
        self.entries.retain(|_, entry| !entry.hubs.is_empty());
        for entry in self.entries.values_mut() {
            (entry.stage, entry.due) = (Stage::Off, false);
        }
        std::mem::take(&mut self.waiting).into_values().flatten().filter_map(Ticket::close).collect()
    }

    pub(super) fn next_turn(&mut self, max: usize) -> Turn {
        let mut turn = Turn::default();
        while turn.subscribe.len() + turn.unsubscribe.len() < max {
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
                    turn.subscribe.push(channel);
                }
                (Stage::On, false) | (Stage::Adding | Stage::Removing, _) => {}
            }
        }
        turn
    }

    pub(super) fn turn_done(&mut self, turn: Turn) -> Vec<Answer> {
        let mut answers = Vec::new();
        for channel in turn.subscribe {
            self.answer(&channel, &mut answers);
            self.settle(channel, Stage::On);
        }
        for channel in turn.unsubscribe {
            if self.entries.get(&channel).is_some_and(|entry| entry.hubs.is_empty()) {
                // Somebody came back while it was being left, and went again.
                self.answer(&channel, &mut answers);
            }
            self.settle(channel, Stage::Off);
        }
        answers
    }

    /// Nobody needs to wait for `channel` any longer.
    fn answer(&mut self, channel: &ChannelName, answers: &mut Vec<Answer>) {
        let tickets = self.waiting.remove(channel).unwrap_or_default();
        answers.extend(tickets.into_iter().filter_map(Ticket::close));
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
    /// One of its channels is settled; the answer when that was the last.
    fn close(ticket: Arc<Self>) -> Option<Answer> {
        // The lock around all of this orders the count.
        (ticket.open.fetch_sub(1, Ordering::Relaxed) == 1).then(|| ticket.answer.clone())
    }
}

impl Hubs {
    fn none() -> Self {
        Self::Several(Box::default())
    }

    fn as_slice(&self) -> &[HubId] {
        match self {
            Self::One(hub) => std::slice::from_ref(hub),
            Self::Several(hubs) => hubs,
        }
    }

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn add(&mut self, hub: HubId) {
        let hubs = self.as_slice();
        if !hubs.contains(&hub) {
            *self = hubs.iter().copied().chain([hub]).collect();
        }
    }

    /// Whether it was there.
    fn remove(&mut self, hub: HubId) -> bool {
        let hubs = self.as_slice();
        let found = hubs.contains(&hub);
        if found {
            *self = hubs.iter().copied().filter(|other| *other != hub).collect();
        }
        found
    }
}

impl FromIterator<HubId> for Hubs {
    fn from_iter<I: IntoIterator<Item = HubId>>(hubs: I) -> Self {
        let hubs: Box<[HubId]> = hubs.into_iter().collect();
        match *hubs {
            [hub] => Self::One(hub),
            _ => Self::Several(hubs),
        }
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
