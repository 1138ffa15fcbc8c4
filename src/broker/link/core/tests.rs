//! Drives a link core as its tasks do: with batches, reads and messages.
//!
//! - `gap_intervals`: how often gaps of plain messages are announced.
//! - `moves`: channels that leave for another link, or come from one.
//! - `presence`: reads of users' presence for hubs.
//! - `properties`: random steps, checked against a model.
//! - `repairs`: reads of histories, for repairs and for clients.
//! - `subscriptions`: which hubs want a channel, and what the link subscribes to.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::follower::TailRead;
use super::super::reads::PageReader;
use super::gaps::GAP_INTERVAL;
use super::*;
use crate::broker::newest::EntryRange;
use crate::broker::{BrokerCallId, Cut, InboxFull, RecoveryLimits, SubscribeAck};
use crate::metrics::{Label as _, RecoveryResult};
use protocol::history::{Entry, Page, Tail};

mod gap_intervals;
mod moves;
mod presence;
mod properties;
mod repairs;
mod subscriptions;

impl LinkCore {
    /// Adds a hub, to this link only.
    fn attach(&mut self, inbox: Arc<dyn Inbox>) -> HubId {
        self.hubs.attach(Arc::clone(&inbox));
        self.add_hub(inbox)
    }
}

/// Records the events of a hub.
#[derive(Default)]
pub(in crate::broker::link) struct EventRecorder {
    pub(in crate::broker::link) events: Mutex<Vec<HubEvent>>,
    is_full: AtomicBool,
}

impl Inbox for EventRecorder {
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
        if matches!(event, HubEvent::Publication(_)) && self.is_full.load(Ordering::Relaxed) {
            return Err(InboxFull);
        }
        self.events.lock().unwrap().push(event);
        Ok(())
    }
}

/// The server's clock in these tests, and the epoch of its histories.
const NOW_MS: u64 = 9;
/// `payload_bytes` is longer than any message here, so the first page of a repair has two entries.
pub(in crate::broker::link) const LIMITS: LinkLimits =
    LinkLimits { payload_bytes: 1 << 19, ring_bytes: 1 << 20 };

pub(in crate::broker::link) fn at(offset: u64) -> Position {
    Position { epoch: NOW_MS, offset }
}

pub(in crate::broker::link) fn name(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

pub(in crate::broker::link) fn names<const N: usize>(names: [&str; N]) -> Vec<ChannelName> {
    names.iter().map(|text| name(text)).collect()
}

pub(in crate::broker::link) fn payload(position: Option<Position>) -> Payload {
    let text = position.map_or_else(|| "0".to_owned(), |position| format!("@{position} 0"));
    Payload::parse(text.as_bytes(), 100).unwrap()
}

/// The number of messages in each history of a server. The histories are whole, or they cannot be read.
#[derive(Debug, Default, Clone)]
pub(in crate::broker::link) struct Histories {
    pub(in crate::broker::link) messages: BTreeMap<ChannelName, u64>,
    is_unreadable: bool,
}

impl Histories {
    fn tail(&self, channel: &ChannelName) -> Tail {
        match self.messages.get(channel) {
            Some(offset) => Tail::At(at(*offset)),
            None => Tail::Nothing,
        }
    }

    fn page(&self, channel: &ChannelName, range: EntryRange, max_entries: usize) -> Page {
        let EntryRange::After(since) = range else { panic!("no test reads the last messages: {range:?}") };
        let tail = self.messages.get(channel).copied().unwrap_or_default();
        let entry = |offset| {
            let Payload { position, message, .. } = payload(Some(at(offset)));
            let publication = Publication::new(channel.clone(), position, message);
            Entry { position: at(offset), after: None, publication: Some(Arc::new(publication)) }
        };
        let entries = (since.offset + 1..=tail).take(max_entries).map(entry).collect();
        Page { entries, tail: at(tail), whole_since_ms: 0 }
    }
}

impl Histories {
    /// Answers a read of a core.
    fn answer(&self, core: &mut LinkCore, work: HistoryWork, now: Instant) {
        match work {
            HistoryWork::Tails(channels) => {
                let tail = |(channel, _): &(ChannelName, u64)| match self.is_unreadable {
                    true => Err(ReadErrorKind::Unreadable),
                    false => Ok(TailRead { tail: self.tail(channel), now_ms: NOW_MS, whole_since_ms: 0 }),
                };
                let tails = channels.iter().map(tail).collect();
                core.on_stream_tails(channels, tails, now);
            }
            HistoryWork::Page(work) => {
                let page = match self.is_unreadable {
                    true => Err(ReadErrorKind::Unreadable),
                    false => Ok(self.page(&work.channel, work.range, work.max_entries)),
                };
                core.on_page(work, page, now);
            }
        }
    }

    /// Performs all pending work of a core.
    pub(in crate::broker::link) fn run(&self, core: &mut LinkCore, now: Instant) {
        loop {
            if let Some(batch) = core.next_batch(512) {
                core.confirmed(batch);
            } else if let Some(work) = core.next_read() {
                self.answer(core, work, now);
            } else {
                return;
            }
        }
    }
}

/// A core with hubs, a server and a clock.
struct Link {
    core: LinkCore,
    metrics: Metrics,
    inboxes: Vec<Arc<EventRecorder>>,
    server: Histories,
    now: Instant,
}

const A: HubId = HubId::of_index(0);
const B: HubId = HubId::of_index(1);

impl Link {
    fn down() -> Self {
        Self::with_hubs(2, LIMITS)
    }

    fn with_hubs(hubs: usize, limits: LinkLimits) -> Self {
        let metrics = Metrics::default();
        let attached = Arc::new(AttachedHubs::default());
        let core = LinkCore::new(limits, attached, &metrics);
        let server = Histories::default();
        let mut link = Self { core, metrics, inboxes: Vec::new(), server, now: Instant::now() };
        for _ in 0..hubs {
            let inbox = Arc::new(EventRecorder::default());
            link.core.attach(Arc::clone(&inbox) as Arc<dyn Inbox>);
            link.inboxes.push(inbox);
        }
        link.clear_events();
        link
    }

    fn up() -> Self {
        let mut link = Self::down();
        link.core.connected();
        link.clear_events();
        link
    }

    /// Hub A is subscribed to these channels, and its acknowledgements are cleared.
    fn subscribed_to<const N: usize>(channels: [&str; N]) -> Self {
        let mut link = Self::up();
        link.core.subscribe(A, 1, names(channels), false);
        link.run();
        assert!(link.core.is_complete());
        link.clear_events();
        link
    }

    fn reconnect(&mut self) {
        self.core.disconnected();
        self.core.connected();
    }

    /// Takes the next batch and confirms it.
    fn confirm_batch(&mut self, max: usize) -> Option<SubscriptionBatch> {
        let batch = self.core.next_batch(max)?;
        let confirmed =
            SubscriptionBatch { subscribe: batch.subscribe.clone(), unsubscribe: batch.unsubscribe.clone() };
        self.core.confirmed(confirmed);
        Some(batch)
    }

    /// Takes the next read and answers it from the server.
    fn answer_read(&mut self) -> Option<HistoryWork> {
        let work = self.core.next_read()?;
        let server = self.server.clone();
        self.answer(work.clone(), &server);
        Some(work)
    }

    fn answer(&mut self, work: HistoryWork, server: &Histories) {
        server.answer(&mut self.core, work, self.now);
    }

    /// Performs all pending work of the link's tasks.
    fn run(&mut self) {
        while self.confirm_batch(512).is_some() || self.answer_read().is_some() {}
    }

    /// Appends a message to a history. The link receives it if `arrives`.
    fn publish(&mut self, channel: &str, arrives: bool) -> Received {
        let offset = self.server.messages.entry(name(channel)).or_default();
        *offset += 1;
        let position = at(*offset);
        if arrives { self.core.receive(channel, payload(Some(position))) } else { Received::Unknown }
    }

    fn receive_plain(&mut self, channel: &str) -> Received {
        self.core.receive(channel, payload(None))
    }

    /// The events of a hub since the last call, one line each.
    fn take_events(&self, hub: HubId) -> Vec<String> {
        let events = std::mem::take(&mut *self.inboxes[hub.index()].events.lock().unwrap());
        events.iter().flat_map(event_lines).collect()
    }

    fn clear_events(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.events.lock().unwrap().clear());
    }

    fn hubs(&self, channel: &str) -> Vec<HubId> {
        let found = self.core.channels.get(channel);
        found.map(|found| found.hubs.as_slice().to_vec()).unwrap_or_default()
    }

    /// Asserts that no state is left of any channel.
    fn assert_empty(&self) {
        assert!(self.core.channels.is_empty() && self.core.acks.is_empty() && self.core.dirty.is_empty());
        assert_eq!((self.core.repairing, self.core.ring_budget_bytes), (0, self.core.limits.ring_bytes));
        assert_eq!(self.metrics.channels.get(), 0);
    }
}

pub(in crate::broker::link) fn event_lines(event: &HubEvent) -> Vec<String> {
    match event {
        HubEvent::Signal(signal) => vec![format!("{} signal {}", signal.channel(), signal.signal())],
        HubEvent::Publication(publication) => vec![match publication.position() {
            Some(position) => format!("{} {position}", publication.channel()),
            None => format!("{} plain", publication.channel()),
        }],
        HubEvent::Subscribed(acks) => acks.iter().map(ack_line).collect(),
        HubEvent::Gap { channel, reason, position: None } => vec![format!("{channel} {}", reason.label())],
        HubEvent::Gap { channel, reason, position: Some(position) } => {
            vec![format!("{channel} {}@{position}", reason.label())]
        }
        HubEvent::Link { is_up } => vec![format!("link {}", if *is_up { "up" } else { "down" })],
        HubEvent::Room { channel, count, .. } => vec![format!("{channel} has {count}")],
        HubEvent::HistoryRead { read, outcome } => vec![match outcome {
            Ok(recovered) => format!("read {read}: {}", recovered.publications.len()),
            Err(reason) => format!("read {read}: {}", RecoveryResult::from(*reason).label()),
        }],
        HubEvent::PresenceRead { read, channel, presence } => {
            vec![format!("{channel} presence {read}: {presence:?}")]
        }
    }
}

fn ack_line(SubscribeAck { channel, call, cut }: &SubscribeAck) -> String {
    match cut {
        Cut::At(position) => format!("{channel} subscribed by {call} at {position}"),
        Cut::Untracked => format!("{channel} subscribed by {call}, untracked"),
        Cut::Refused => format!("{channel} refused to {call}"),
    }
}

#[test]
fn a_hub_receives_the_link_state_and_each_change() {
    let mut link = Link::down();
    let attach = |link: &mut Link| {
        let inbox = Arc::new(EventRecorder::default());
        link.inboxes.push(Arc::clone(&inbox));
        link.core.attach(inbox)
    };
    let early = attach(&mut link);
    assert_eq!(link.take_events(early), ["link down"]);
    link.core.connected();
    let late = attach(&mut link);
    assert_eq!(
        (link.take_events(early), link.take_events(late)),
        (vec!["link up".to_owned()], vec!["link up".to_owned()])
    );
    link.core.disconnected();
    link.core.disconnected();
    assert_eq!(link.take_events(late), ["link down"], "one event for two losses");
}

#[test]
fn a_link_is_complete_once_every_channel_is_followed() {
    let mut link = Link::down();
    assert!(!link.core.is_complete(), "down");
    link.core.connected();
    assert!(link.core.is_complete(), "no channel is wanted");
    link.core.subscribe(A, 1, names(["room:1"]), false);
    assert!(!link.core.is_complete(), "not subscribed yet");
    link.confirm_batch(512);
    assert!(!link.core.is_complete(), "the tail is not known");
    link.answer_read();
    assert!(link.core.is_complete());
    link.server.messages.insert(name("room:1"), 1);
    link.core.verify(&name("room:1"));
    link.answer_read();
    assert!(!link.core.is_complete(), "a page must be read");
    link.answer_read();
    assert!(link.core.is_complete());
    link.core.disconnected();
    assert!(!link.core.is_complete(), "down");
}

#[test]
fn a_message_on_an_unwanted_channel_is_unknown() {
    let mut link = Link::subscribed_to(["room:1"]);
    assert_eq!(link.receive_plain("room:2"), Received::Unknown);
    assert_eq!(link.publish("room:1", true), Received::Handled);
    assert_eq!(link.take_events(A), ["room:1 9-1"]);
}

#[test]
fn refused_and_duplicate_publications_are_counted() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.publish("room:1", true);
    link.core.receive("room:1", payload(Some(at(1))));
    link.inboxes[0].is_full.store(true, Ordering::Relaxed);
    link.publish("room:1", true);
    assert_eq!(link.take_events(A), ["room:1 9-1"]);
    let text = link.metrics.render();
    for reason in ["duplicate", "hub_inbox_full"] {
        assert!(text.lines().any(|line| line.contains(reason) && line.ends_with(" 1")), "{reason}: {text}");
    }
}

#[test]
fn the_gauges_count_channels_and_users_exactly() {
    let mut link = Link::up();
    let gauges = |link: &Link| (link.metrics.channels.get(), link.metrics.users.get());
    link.core.subscribe(A, 1, names(["user:1", "room:1"]), false);
    link.core.subscribe(A, 2, names(["user:1"]), true);
    link.core.subscribe(B, 1, names(["user:1", "user:2"]), false);
    assert_eq!(gauges(&link), (3, 2));
    link.core.unsubscribe(A, &names(["user:1", "room:1", "room:2"]));
    assert_eq!((gauges(&link), link.core.wanted()), ((2, 2), 2));
    link.core.disconnected();
    for _ in 0..2 {
        link.core.unsubscribe(B, &names(["user:1", "user:2"]));
    }
    assert_eq!((gauges(&link), link.core.wanted()), ((0, 0), 0));
    link.assert_empty();
}
