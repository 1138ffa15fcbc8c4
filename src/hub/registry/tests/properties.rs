//! Under any sequence of steps, every subscriber receives each publication once and in order, and no other session
//! receives it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// One step of the test. Its fields are a session and a room.
#[derive(Debug, Clone, Copy)]
enum RegistryStep {
    Connect(u8),
    Leave(u8),
    Subscribe(u8, u8),
    Unsubscribe(u8, u8),
    Confirm(u8),
    /// Resolves a subscription and answers its session.
    Answer(u8, u8),
    GoLive(u8, u8),
    Deliver(u8),
}

fn step() -> impl Strategy<Value = RegistryStep> {
    let (session, room) = (0_u8..6, 0_u8..4);
    prop_oneof![
        session.clone().prop_map(RegistryStep::Connect),
        session.clone().prop_map(RegistryStep::Leave),
        (session.clone(), room.clone()).prop_map(|(s, r)| RegistryStep::Subscribe(s, r)),
        (session.clone(), room.clone()).prop_map(|(s, r)| RegistryStep::Unsubscribe(s, r)),
        room.clone().prop_map(RegistryStep::Confirm),
        (session.clone(), room.clone()).prop_map(|(s, r)| RegistryStep::Answer(s, r)),
        (session, room.clone()).prop_map(|(s, r)| RegistryStep::GoLive(s, r)),
        room.prop_map(RegistryStep::Deliver),
    ]
}

fn name(room: u8) -> ChannelName {
    channel(&format!("room:{room}"))
}

/// The expected state of one subscription.
#[derive(Debug, Default)]
struct Expected {
    is_answered: bool,
    is_live: bool,
    held: Vec<String>,
}

/// A registry and its model: the subscriptions, and the messages that each session should have received.
struct RegistryModel {
    registry: Registry<FrameRecorder>,
    sinks: BTreeMap<u8, (SessionKey, FrameRecorder)>,
    expected: BTreeMap<u8, Vec<String>>,
    subscriptions: BTreeMap<(u8, u8), Expected>,
    confirmed: BTreeSet<u8>,
}

impl RegistryModel {
    fn apply(&mut self, number: usize, step: RegistryStep) {
        match step {
            RegistryStep::Connect(session) => {
                self.sinks.entry(session).or_insert_with(|| {
                    let sink = FrameRecorder::default();
                    (self.registry.connect(Version::V1, sink.clone()), sink)
                });
            }
            RegistryStep::Leave(session) => {
                let Some((key, _)) = self.sinks.remove(&session) else { return };
                let left = self.registry.leave(key);
                self.subscriptions.retain(|(other, _), _| *other != session);
                left.iter().for_each(|ended| self.assert_ended(ended));
                self.expected.remove(&session);
            }
            RegistryStep::Subscribe(session, room) => {
                let Some((key, _)) = self.sinks.get(&session) else { return };
                let is_new = self.registry.subscribe(*key, &name(room), WantedHistory::Nothing, 1);
                assert_eq!(is_new, !self.subscriptions.contains_key(&(session, room)));
                self.subscriptions.entry((session, room)).or_default();
            }
            RegistryStep::Unsubscribe(session, room) => {
                let Some((key, _)) = self.sinks.get(&session) else { return };
                let ended = self.registry.unsubscribe(*key, &name(room));
                assert_eq!(ended.is_some(), self.subscriptions.remove(&(session, room)).is_some());
                ended.iter().for_each(|ended| self.assert_ended(ended));
            }
            RegistryStep::Confirm(room) => {
                self.registry.confirm(&name(room), Some(START));
                // The hub sets the cut in the same way when the broker answers.
                self.registry.pending_on(&name(room)).for_each(|(_, pending)| pending.set_cut(START, false));
                self.confirmed.insert(room);
            }
            RegistryStep::Answer(session, room) => {
                let Some((key, _)) = self.sinks.get(&session) else { return };
                if let Some(pending) = self.registry.pending(*key, &name(room)) {
                    pending.resolve([].into());
                    pending.mark_answered(true);
                }
                self.subscriptions
                    .get_mut(&(session, room))
                    .into_iter()
                    .for_each(|expected| expected.is_answered = true);
            }
            RegistryStep::GoLive(session, room) => {
                let Some((key, _)) = self.sinks.get(&session) else { return };
                self.registry.go_live(*key, &name(room));
                let expected =
                    self.subscriptions.get_mut(&(session, room)).filter(|expected| expected.is_answered);
                if let Some(Expected { is_live, held, .. }) = expected {
                    *is_live = true;
                    self.expected.entry(session).or_default().append(held);
                }
            }
            RegistryStep::Deliver(room) => self.deliver(room, number),
        }
        self.confirmed.retain(|room| self.subscriptions.keys().any(|(_, other)| other == room));
        assert_eq!(self.registry.subscription_count(), self.subscriptions.len());
        assert_eq!(self.registry.session_count(), self.sinks.len());
    }

    fn deliver(&mut self, room: u8, number: usize) {
        let publication = publication(&format!("room:{room}"), &number.to_string());
        let (outcome, _) = self.registry.deliver(&publication, Version::V1, |_| false);
        let subscribed = self.subscriptions.iter_mut().filter(|((_, other), _)| *other == room);
        if !self.confirmed.contains(&room) {
            assert_eq!(outcome, FanoutOutcome::default());
            return;
        }
        for ((session, _), Expected { is_live, held, .. }) in subscribed {
            if *is_live { self.expected.entry(*session).or_default() } else { held }.push(number.to_string());
        }
    }

    fn assert_ended(&self, ended: &EndedSubscription) {
        let is_last = !self.subscriptions.keys().any(|(_, room)| name(*room) == ended.channel);
        assert_eq!(ended.is_last, is_last);
    }
}

proptest! {
    #[test]
    fn every_subscriber_gets_each_publication_once_and_in_order(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut model = RegistryModel {
            registry: Registry::new(1_000),
            sinks: BTreeMap::new(),
            expected: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            confirmed: BTreeSet::new(),
        };
        for (number, step) in steps.into_iter().enumerate() {
            model.apply(number, step);
        }
        for (session, (_, sink)) in &model.sinks {
            let expected = model.expected.remove(session).unwrap_or_default();
            prop_assert_eq!(sink.take_messages(), expected);
        }
    }
}
