//! Whatever hubs and the link do, in any order: nobody is forgotten and nothing stays behind.

use std::collections::{BTreeSet, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NOW: Position = Position::before(9);

#[derive(Debug, Clone)]
enum Step {
    Subscribe(usize, Vec<usize>),
    Unsubscribe(usize, Vec<usize>),
    StartTurn(usize),
    FinishTurn,
    LinkUp,
    LinkDown,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = || vec(0..5usize, 0..4);
    vec(
        prop_oneof![
            6 => (0..3usize, some()).prop_map(|(hub, channels)| Step::Subscribe(hub, channels)),
            5 => (0..3usize, some()).prop_map(|(hub, channels)| Step::Unsubscribe(hub, channels)),
            4 => (1..4usize).prop_map(Step::StartTurn),
            4 => Just(Step::FinishTurn),
            1 => Just(Step::LinkUp),
            1 => Just(Step::LinkDown),
        ],
        0..60,
    )
}

fn names(numbers: &[usize]) -> Vec<ChannelName> {
    numbers.iter().map(|number| ChannelName::parse(&format!("user:{number}")).unwrap()).collect()
}

/// The channels beside what must be true of them.
struct World {
    channels: Channels,
    metrics: Metrics,
    /// Who wants what, kept in the simplest way.
    wanted: BTreeSet<(usize, ChannelName)>,
    /// Who has ever left what.
    left: BTreeSet<(usize, ChannelName)>,
    /// What the server has confirmed on the present link.
    carried: BTreeSet<ChannelName>,
    under_way: Option<Turn>,
    up: bool,
    /// Calls less answers, for each hub and list.
    unanswered: HashMap<(usize, Vec<ChannelName>), i32>,
}

impl World {
    fn new() -> Self {
        let metrics = Metrics::default();
        Self {
            channels: Channels::new(&metrics),
            metrics,
            wanted: BTreeSet::new(),
            left: BTreeSet::new(),
            carried: BTreeSet::new(),
            under_way: None,
            up: false,
            unanswered: HashMap::new(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Subscribe(hub, numbers) => {
                let names = names(&numbers);
                self.wanted.extend(names.iter().map(|name| (hub, name.clone())));
                *self.unanswered.entry((hub, names.clone())).or_default() += 1;
                let answer = self.channels.subscribe(HubId::of_index(hub), names, |_| NOW);
                self.answered(answer);
            }
            Step::Unsubscribe(hub, numbers) => {
                let names = names(&numbers);
                self.left.extend(names.iter().map(|name| (hub, name.clone())));
                self.wanted.retain(|(other, name)| *other != hub || !names.contains(name));
                self.channels.unsubscribe(HubId::of_index(hub), &names);
            }
            // The link takes one turn at a time, and only while it is up.
            Step::StartTurn(max) if self.up && self.under_way.is_none() => {
                let turn = self.channels.next_turn(max);
                assert!(turn.subscribe.len() + turn.unsubscribe.len() <= max);
                assert!(turn.subscribe.iter().all(|name| !self.carried.contains(name)));
                assert!(turn.unsubscribe.iter().all(|name| self.carried.contains(name)));
                self.under_way = Some(turn);
            }
            Step::FinishTurn => self.finish_turn(),
            Step::LinkUp if !self.up => {
                self.up = true;
                self.channels.link_up();
            }
            Step::LinkDown if self.up => {
                (self.up, self.under_way) = (false, None);
                self.carried.clear();
                let answers = self.channels.link_down(NOW);
                self.answered(answers);
                assert!(self.unanswered.values().all(|count| *count == 0));
            }
            Step::StartTurn(_) | Step::LinkUp | Step::LinkDown => {}
        }
    }

    fn finish_turn(&mut self) {
        let Some(turn) = self.under_way.take() else { return };
        self.carried.extend(turn.subscribe.iter().cloned());
        for name in &turn.unsubscribe {
            self.carried.remove(name);
        }
        let answers = self.channels.turn_done(turn, NOW);
        self.answered(answers);
    }

    fn answered(&mut self, answers: impl IntoIterator<Item = Answer>) {
        for Answer { hub, channels, .. } in answers {
            let channels: Vec<_> = channels.into_iter().map(|(channel, _)| channel).collect();
            if self.up {
                // Whoever is told so while the link is up is subscribed, unless it left meanwhile.
                for name in &channels {
                    let left = self.left.contains(&(hub.index(), name.clone()));
                    assert!(left || self.carried.contains(name), "{name} is not carried");
                }
            }
            let count = self.unanswered.get_mut(&(hub.index(), channels)).unwrap();
            *count -= 1;
            assert!(*count >= 0, "answered twice");
        }
    }

    fn check(&self) {
        let wanted: BTreeSet<_> = self.wanted.iter().map(|(_, name)| name).collect();
        assert_eq!(self.channels.wanted(), wanted.len());
        assert_eq!(self.metrics.users.get(), wanted.len() as i64);
        for name in &wanted {
            let (_, hubs) = self.channels.find(name.as_str()).unwrap();
            let mut hubs: Vec<_> = hubs.iter().map(|hub| hub.index()).collect();
            hubs.sort_unstable();
            let expected = self.wanted.iter().filter(|(_, other)| other == *name).map(|(hub, _)| *hub);
            assert_eq!(hubs, expected.collect::<Vec<_>>());
        }
        assert!(self.channels.due.len() <= self.channels.entries.len());
    }
}

proptest! {
    #[test]
    fn everybody_is_answered_once_and_the_link_ends_up_with_what_is_wanted(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
        // Let the link come up and do all that is due.
        world.take(Step::LinkUp);
        world.finish_turn();
        while !world.channels.due.is_empty() {
            world.take(Step::StartTurn(2));
            world.finish_turn();
        }
        prop_assert!(world.unanswered.values().all(|count| *count == 0));
        prop_assert!(world.channels.waiting.is_empty());
        let wanted: BTreeSet<_> = world.wanted.into_iter().map(|(_, name)| name).collect();
        prop_assert_eq!(&world.carried, &wanted);
        prop_assert_eq!(world.channels.entries.len(), wanted.len());
    }
}
