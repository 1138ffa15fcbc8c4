use proptest::prelude::*;

use super::*;
use protocol::channel::ChannelName;

const GRACE: Duration = Duration::from_millis(100);

fn user(number: usize) -> ChannelName {
    ChannelName::of_user(&number.to_string()).unwrap()
}

fn edge(number: usize, is_online: bool) -> Edge<ChannelName> {
    Edge { name: user(number), is_present: is_online }
}

#[test]
fn first_hub_writes_online_and_last_hub_starts_the_grace() {
    let (mut users, start) = (PresentNames::new(GRACE), Instant::now());
    assert_eq!(users.replicas_of(&user(1)), None);
    assert_eq!(users.report(&user(1), true, start), Some(edge(1, true)));
    assert_eq!(users.report(&user(1), true, start), None, "the second hub");
    assert_eq!(users.report(&user(1), false, start), None);
    assert_eq!((users.replicas_of(&user(1)), users.next_due()), (Some(1), None));
    assert_eq!(users.report(&user(1), false, start), None);
    assert_eq!((users.replicas_of(&user(1)), users.next_due()), (Some(0), Some(start + GRACE)));
    assert_eq!(users.settle(start + GRACE - Duration::from_millis(1)), []);
    assert_eq!(users.settle(start + GRACE), [edge(1, false)]);
    assert_eq!((users.replicas_of(&user(1)), users.next_due()), (None, None));
    assert!(users.names.is_empty(), "no state is kept for a user that is away");
}

#[test]
fn a_return_within_the_grace_writes_no_edge() {
    let (mut users, start) = (PresentNames::new(GRACE), Instant::now());
    assert!(users.report(&user(1), true, start).is_some());
    assert_eq!(users.report(&user(1), false, start), None);
    assert_eq!(users.report(&user(1), true, start + GRACE / 2), None);
    assert_eq!(users.settle(start + 2 * GRACE), []);
    assert_eq!(users.replicas_of(&user(1)), Some(1));
    let left = start + 3 * GRACE;
    assert_eq!(users.report(&user(1), false, left), None);
    assert_eq!(users.next_due(), Some(left + GRACE), "each absence has its own grace");
}

#[test]
fn an_offline_report_of_an_absent_user_is_ignored() {
    let (mut users, start) = (PresentNames::new(GRACE), Instant::now());
    assert_eq!(users.report(&user(1), false, start), None);
    assert_eq!((users.replicas_of(&user(1)), users.next_due()), (None, None));
}

#[test]
fn many_due_edges_are_settled_in_slices() {
    let (mut users, now) = (PresentNames::new(Duration::ZERO), Instant::now());
    for number in 0..2 * MAX_SETTLED + 1 {
        assert!(users.report(&user(number), true, now).is_some());
        assert_eq!(users.report(&user(number), false, now), None);
    }
    let mut slice = || users.settle(now).len();
    assert_eq!([slice(), slice(), slice(), slice()], [MAX_SETTLED, MAX_SETTLED, 1, 0]);
}

/// The obvious model: the hubs of each user, when the last one left, and what the last edge says.
#[derive(Default)]
struct Model {
    hubs: BTreeMap<usize, [bool; 3]>,
    left: BTreeMap<usize, Instant>,
    online: BTreeMap<usize, bool>,
}

impl Model {
    fn has_session(&self, number: usize) -> bool {
        self.hubs.get(&number).is_some_and(|hubs| hubs.contains(&true))
    }

    fn replicas_of(&self, number: usize) -> Option<u32> {
        let is_online = self.online.get(&number).copied().unwrap_or_default();
        is_online.then(|| u32::from(self.has_session(number)))
    }

    /// Flips one hub of a user. Returns what the hub reports, and the edge that must follow.
    fn flip(&mut self, number: usize, hub: usize, now: Instant) -> (bool, Option<Edge<ChannelName>>) {
        let had_session = self.has_session(number);
        let hubs = self.hubs.entry(number).or_default();
        hubs[hub] = !hubs[hub];
        let is_online = hubs[hub];
        if had_session && !self.has_session(number) {
            self.left.insert(number, now);
        }
        let was_online = self.online.get(&number).copied().unwrap_or_default();
        self.online.insert(number, was_online || is_online);
        (is_online, (is_online && !was_online).then(|| edge(number, true)))
    }

    /// The users without a session for the whole grace, in the order in which they left.
    fn settle(&mut self, now: Instant) -> Vec<Edge<ChannelName>> {
        let mut gone: Vec<(Instant, ChannelName, usize)> = self
            .left
            .iter()
            .filter(|(number, left)| self.replicas_of(**number) == Some(0) && **left + GRACE <= now)
            .map(|(number, left)| (*left, user(*number), *number))
            .collect();
        gone.sort();
        self.online.extend(gone.iter().map(|(_, _, number)| (*number, false)));
        gone.into_iter().map(|(_, user, _)| Edge { name: user, is_present: false }).collect()
    }
}

proptest! {
    #[test]
    fn edges_alternate_from_online_and_match_the_model(
        steps in prop::collection::vec((0..4usize, 0..3usize, 0..150u64, any::<bool>()), 0..200),
    ) {
        let (mut users, mut model, mut now) = (PresentNames::new(GRACE), Model::default(), Instant::now());
        let mut edges = Vec::new();
        for (number, hub, passed, is_settled) in steps {
            now += Duration::from_millis(passed);
            if is_settled {
                let settled = users.settle(now);
                prop_assert_eq!(&settled, &model.settle(now));
                edges.extend(settled);
            } else {
                let (is_online, expected) = model.flip(number, hub, now);
                let written = users.report(&user(number), is_online, now);
                prop_assert_eq!(&written, &expected);
                edges.extend(written);
            }
            for number in 0..4 {
                prop_assert_eq!(users.replicas_of(&user(number)), model.replicas_of(number));
            }
        }
        edges.extend(users.settle(now + GRACE));
        for number in 0..4 {
            let own: Vec<bool> =
                edges.iter().filter(|edge| edge.name == user(number)).map(|edge| edge.is_present).collect();
            let alternating = [true, false].into_iter().cycle().take(own.len());
            prop_assert!(own.iter().copied().eq(alternating), "{:?}", own);
            prop_assert_eq!(own.last().copied().unwrap_or_default(), model.has_session(number));
        }
    }
}
