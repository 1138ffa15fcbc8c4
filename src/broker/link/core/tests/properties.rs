//! Random steps of hubs, link and publishers: every call is answered, no publication is missed, and no state is left.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum LinkStep {
    Subscribe {
        hub: usize,
        rooms: BTreeSet<usize>,
        verify: bool,
    },
    Unsubscribe {
        hub: usize,
        rooms: BTreeSet<usize>,
    },
    /// Takes the next batch. The server applies it now (`is_early`) or when it confirms it.
    StartBatch {
        max: usize,
        is_early: bool,
    },
    FinishBatch,
    StartRead,
    /// Answers a read with the state of the server now (`is_fresh`) or when the read began.
    FinishRead {
        is_fresh: bool,
    },
    FailRead,
    Publish(usize),
    LinkUp,
    LinkDown,
    /// Channels leave the link and come back. The server ends their subscriptions if `ends`.
    Move {
        rooms: BTreeSet<usize>,
        ends: bool,
    },
    /// The server ends the subscription to a channel.
    EndSubscription(usize),
    /// The map was read.
    Retry,
}

fn step() -> impl Strategy<Value = LinkStep> {
    let some = || proptest::collection::btree_set(0..5usize, 0..4);
    prop_oneof![
        6 => (0..3usize, some(), any::<bool>())
            .prop_map(|(hub, rooms, verify)| LinkStep::Subscribe { hub, rooms, verify }),
        4 => (0..3usize, some()).prop_map(|(hub, rooms)| LinkStep::Unsubscribe { hub, rooms }),
        4 => (1..4usize, any::<bool>()).prop_map(|(max, is_early)| LinkStep::StartBatch { max, is_early }),
        4 => Just(LinkStep::FinishBatch),
        6 => Just(LinkStep::StartRead),
        6 => any::<bool>().prop_map(|is_fresh| LinkStep::FinishRead { is_fresh }),
        1 => Just(LinkStep::FailRead),
        8 => (0..5usize).prop_map(LinkStep::Publish),
        2 => Just(LinkStep::LinkUp),
        1 => Just(LinkStep::LinkDown),
        2 => (some(), any::<bool>()).prop_map(|(rooms, ends)| LinkStep::Move { rooms, ends }),
        1 => (0..5usize).prop_map(LinkStep::EndSubscription),
        1 => Just(LinkStep::Retry),
    ]
}

fn rooms(numbers: &BTreeSet<usize>) -> Vec<ChannelName> {
    numbers.iter().map(|number| name(&format!("user:{number}"))).collect()
}

type Member = (usize, ChannelName);

/// The core, and the state that its events must agree with.
struct LinkModel {
    link: Link,
    is_up: bool,
    calls: BrokerCallId,
    /// The channels that each hub wants, with the last position it received; `None`: not answered yet.
    wanted: BTreeMap<Member, Option<Position>>,
    /// Calls that were neither answered nor withdrawn.
    unanswered: BTreeSet<(Member, BrokerCallId)>,
    /// The channels that the server sends.
    subscribed: BTreeSet<ChannelName>,
    batch: Option<(SubscriptionBatch, bool)>,
    /// The channels that have moved, or whose subscription the server has ended.
    moved: BTreeSet<ChannelName>,
    reads: VecDeque<(HistoryWork, Histories)>,
}

impl LinkModel {
    fn new(ring_bytes: usize) -> Self {
        let mut link = Link::with_hubs(3, LinkLimits { ring_bytes, ..LIMITS });
        // Some channels have a history already.
        link.server.messages.extend([(name("user:0"), 3), (name("user:1"), 1)]);
        Self {
            link,
            is_up: false,
            calls: 0,
            wanted: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            subscribed: BTreeSet::new(),
            batch: None,
            moved: BTreeSet::new(),
            reads: VecDeque::new(),
        }
    }

    fn apply(&mut self, step: LinkStep) {
        match step {
            LinkStep::Subscribe { hub, rooms: numbers, verify } => {
                self.subscribe(hub, rooms(&numbers), verify)
            }
            LinkStep::Unsubscribe { hub, rooms: numbers } => {
                let rooms = rooms(&numbers);
                self.wanted.retain(|(other, room), _| *other != hub || !rooms.contains(room));
                self.unanswered.retain(|((other, room), _)| *other != hub || !rooms.contains(room));
                self.link.core.unsubscribe(HubId::of_index(hub), &rooms);
            }
            // The link has one batch in flight, and only while it is up.
            LinkStep::StartBatch { max, is_early } if self.is_up && self.batch.is_none() => {
                self.start_batch(max, is_early);
            }
            LinkStep::FinishBatch => self.finish_batch(),
            LinkStep::StartRead => {
                let snapshot = self.link.server.clone();
                self.reads.extend(self.link.core.next_read().map(|work| (work, snapshot)));
            }
            LinkStep::FinishRead { is_fresh } => {
                let Some((work, snapshot)) = self.reads.pop_front() else { return };
                let server = if is_fresh { self.link.server.clone() } else { snapshot };
                self.link.answer(work, &server);
            }
            LinkStep::FailRead => self.fail_read(),
            LinkStep::Publish(number) => {
                let room = name(&format!("user:{number}"));
                self.link.publish(room.as_str(), self.subscribed.contains(&room));
            }
            LinkStep::LinkUp if !self.is_up => {
                self.is_up = true;
                self.link.core.connected();
            }
            LinkStep::LinkDown if self.is_up => {
                (self.is_up, self.batch) = (false, None);
                self.subscribed.clear();
                self.reads.clear();
                self.link.core.disconnected();
            }
            LinkStep::Move { rooms: numbers, ends } => {
                let rooms = rooms(&numbers);
                let released = self.link.core.release(|room| rooms.contains(room));
                if ends {
                    self.subscribed.retain(|room| !rooms.contains(room));
                }
                self.moved.extend(rooms);
                self.link.core.adopt(released);
            }
            LinkStep::EndSubscription(number) => {
                let room = name(&format!("user:{number}"));
                if self.subscribed.remove(&room) {
                    self.link.core.unsubscribed_by_server(std::slice::from_ref(&room));
                    self.moved.insert(room);
                }
            }
            LinkStep::Retry => self.link.core.retry_unsubscribed(),
            LinkStep::StartBatch { .. } | LinkStep::LinkUp | LinkStep::LinkDown => {}
        }
    }

    fn subscribe(&mut self, hub: usize, rooms: Vec<ChannelName>, verify: bool) {
        self.calls += 1;
        for room in &rooms {
            self.wanted.entry((hub, room.clone())).or_default();
            self.unanswered.insert(((hub, room.clone()), self.calls));
        }
        self.link.core.subscribe(HubId::of_index(hub), self.calls, rooms, verify);
    }

    fn start_batch(&mut self, max: usize, is_early: bool) {
        let Some(batch) = self.link.core.next_batch(max) else { return };
        assert!(batch.subscribe.len() + batch.unsubscribe.len() <= max);
        let is_moved = |room: &ChannelName| self.moved.contains(room);
        assert!(batch.subscribe.iter().all(|room| !self.subscribed.contains(room) || is_moved(room)));
        assert!(batch.unsubscribe.iter().all(|room| self.subscribed.contains(room) || is_moved(room)));
        if is_early {
            self.apply_batch(&batch);
        }
        self.batch = Some((batch, is_early));
    }

    fn apply_batch(&mut self, batch: &SubscriptionBatch) {
        self.subscribed.extend(batch.subscribe.iter().cloned());
        self.subscribed.retain(|room| !batch.unsubscribe.contains(room));
    }

    fn finish_batch(&mut self) {
        let Some((batch, is_early)) = self.batch.take() else { return };
        if !is_early {
            self.apply_batch(&batch);
        }
        self.link.core.confirmed(batch);
    }

    fn fail_read(&mut self) {
        match self.reads.pop_front() {
            Some((HistoryWork::Tails(channels), _)) => {
                let read = vec![Err(ReadErrorKind::Transient); channels.len()];
                self.link.core.on_stream_tails(channels, read, self.link.now);
            }
            Some((HistoryWork::Page(page), _)) => {
                self.link.core.on_page(page, Err(ReadErrorKind::Transient), self.link.now);
            }
            None => {}
        }
    }

    /// Checks all events of the hubs.
    fn check(&mut self) {
        for hub in 0..3 {
            let events = std::mem::take(&mut *self.link.inboxes[hub].events.lock().unwrap());
            events.into_iter().for_each(|event| self.check_event(hub, event));
        }
        let wanted: BTreeSet<_> = self.wanted.keys().map(|(_, room)| room).collect();
        assert_eq!(self.link.core.wanted(), wanted.len());
        assert_eq!(self.link.metrics.users.get(), wanted.len() as i64);
        for room in &wanted {
            let mut hubs: Vec<_> = self.link.hubs(room.as_str()).iter().map(|hub| hub.index()).collect();
            hubs.sort_unstable();
            let expected = self.wanted.keys().filter(|(_, other)| other == *room).map(|(hub, _)| *hub);
            assert_eq!(hubs, expected.collect::<Vec<_>>());
        }
        assert!(self.link.core.dirty.len() <= self.link.core.channels.len());
    }

    fn check_event(&mut self, hub: usize, event: HubEvent) {
        match event {
            HubEvent::Signal(_) => panic!("no signal was sent"),
            HubEvent::Subscribed(acks) => {
                for SubscribeAck { channel, call, cut } in acks {
                    let member = (hub, channel);
                    let Cut::At(cut) = cut else { panic!("every history is readable: {member:?}") };
                    assert!(self.unanswered.remove(&(member.clone(), call)), "{member:?} {call}");
                    let last = self.wanted.get_mut(&member).unwrap().replace(cut);
                    assert!(last.is_none_or(|last| last == cut), "{member:?} was at {last:?}, not {cut}");
                }
            }
            HubEvent::Publication(publication) => {
                let member = (hub, publication.channel().clone());
                // The event was sent before the hub left the channel.
                let Some(Some(last)) = self.wanted.get_mut(&member) else { return };
                let position = publication.position().unwrap();
                assert!(last.is_followed_by(position, None), "{member:?}: {position} after {last}");
                *last = position;
            }
            HubEvent::Gap { channel, reason, position } => {
                assert_eq!(reason, GapReason::LinkLost, "{channel}");
                let last = self.wanted.get(&(hub, channel)).copied().flatten();
                assert!(position.is_none() || last.is_none() || last == position);
            }
            HubEvent::Link { is_up } => assert_eq!(is_up, self.is_up),
            HubEvent::HistoryRead { .. } | HubEvent::PresenceRead { .. } => panic!("no client reads"),
            HubEvent::Room { .. } => panic!("the link has no rooms"),
        }
    }

    /// Brings the link up and performs all pending work.
    fn settle(&mut self) {
        self.apply(LinkStep::LinkUp);
        self.finish_batch();
        self.apply(LinkStep::Retry);
        while let Some((work, snapshot)) = self.reads.pop_front() {
            self.link.answer(work, &snapshot);
        }
        while !self.link.core.is_complete() || self.link.core.next_deadline().is_some() {
            if let Some(at) = self.link.core.next_deadline() {
                self.link.core.deadline_passed(at);
            }
            self.start_batch(2, true);
            self.finish_batch();
            self.link.answer_read();
            self.check();
        }
        self.link.run();
        self.check();
    }
}

proptest! {
    #[test]
    fn every_call_is_answered_and_no_publication_is_missed(
        ring_bytes in prop_oneof![Just(0), Just(200), Just(LIMITS.ring_bytes)],
        steps in vec(step(), 0..80),
    ) {
        let mut model = LinkModel::new(ring_bytes);
        for step in steps {
            model.apply(step);
            model.check();
        }
        model.settle();
        prop_assert!(model.unanswered.is_empty(), "{:?}", model.unanswered);
        prop_assert!(model.link.core.acks.is_empty());
        let wanted: BTreeSet<_> = model.wanted.keys().map(|(_, room)| room.clone()).collect();
        prop_assert_eq!(&model.subscribed, &wanted);
        prop_assert_eq!(model.link.core.channels.len(), wanted.len());
        prop_assert_eq!(model.link.core.ring_budget_bytes, ring_bytes);
        for ((hub, room), last) in model.wanted {
            let tail = model.link.server.messages.get(&room).copied().unwrap_or_default();
            prop_assert_eq!(last, Some(at(tail)), "hub {} of {}", hub, room);
        }
    }
}
