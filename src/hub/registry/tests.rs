use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use protocol::Version;

mod gaps;

/// A line that remembers what was sent.
#[derive(Debug, Clone, Default)]
struct Recorder(Rc<(RefCell<Vec<String>>, Cell<bool>)>);

impl Recorder {
    fn texts(&self) -> Vec<String> {
        self.0.0.borrow().clone()
    }
}

impl Line for Recorder {
    fn send(&self, frame: Bytes) -> bool {
        let text = std::str::from_utf8(&frame[2..]).unwrap().to_owned();
        self.0.0.borrow_mut().push(text);
        !self.0.1.get()
    }

    fn overflow(&self) {
        self.0.1.set(true);
    }
}

/// Where every channel begins here.
const START: Position = Position::before(9);

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn publication(name: &str, json: &str) -> Arc<Publication> {
    Arc::new(Publication::decode(channel(name), json.as_bytes(), 1_000).unwrap())
}

fn with_session(registry: &mut Registry<Recorder>, version: Version) -> (Slot, Recorder) {
    let line = Recorder::default();
    (registry.join(version, line.clone()), line)
}

#[test]
fn nothing_overtakes_what_was_held_back() {
    let mut registry = Registry::default();
    let (one, line) = with_session(&mut registry, Version::V1);
    let room = channel("room:7");
    assert_eq!(registry.subscribe(one, &room), Some(ChannelStanding::New));
    registry.confirm(&room, START);
    assert_eq!(registry.deliver(&publication("room:7", "1")), Delivery { held: 1, ..Delivery::default() });
    assert_eq!(line.texts(), [""; 0], "not live yet");
    assert_eq!(registry.go_live(one, &room), 1);
    assert_eq!(registry.deliver(&publication("room:7", "2")).delivered, 1);
    assert_eq!(line.texts(), [r#"{"op":3,"message":1}"#, r#"{"op":3,"message":2}"#]);
}

#[test]
fn what_several_channels_held_back_leaves_as_it_came() {
    let mut registry = Registry::default();
    let (one, line) = with_session(&mut registry, Version::V1);
    for name in ["user:1", "all"] {
        registry.subscribe(one, &channel(name));
        registry.confirm(&channel(name), START);
    }
    for (name, json) in [("user:1", "1"), ("all", "2"), ("user:1", "3")] {
        registry.deliver(&publication(name, json));
    }
    assert_eq!(registry.go_live_everywhere(one), 3);
    assert_eq!(line.texts(), [1, 2, 3].map(|number| format!(r#"{{"op":3,"message":{number}}}"#)));
}

#[test]
fn the_end_of_an_earlier_subscription_is_not_the_beginning_of_the_next() {
    let mut registry = Registry::default();
    let (one, line) = with_session(&mut registry, Version::V1);
    let room = channel("room:7");
    registry.subscribe(one, &room);
    assert_eq!(registry.deliver(&publication("room:7", "1")), Delivery::default());
    registry.confirm(&room, START);
    registry.go_live(one, &room);
    registry.deliver(&publication("room:7", "3"));
    assert!(registry.unsubscribe(one, &room));
    registry.subscribe(one, &room);
    assert_eq!(registry.deliver(&publication("room:7", "4")), Delivery::default(), "not confirmed again");
    assert_eq!(line.texts(), [r#"{"op":3,"message":3}"#]);
}

#[test]
fn each_receives_the_frame_of_its_version() {
    let mut registry = Registry::default();
    let (first, old) = with_session(&mut registry, Version::V1);
    let (second, new) = with_session(&mut registry, Version::V2);
    for session in [first, second] {
        registry.subscribe(session, &channel("room:7"));
        registry.confirm(&channel("room:7"), START);
        registry.go_live_everywhere(session);
    }
    registry.deliver(&publication("room:7", "1"));
    assert_eq!(old.texts(), [r#"{"op":3,"message":1}"#]);
    assert_eq!(new.texts(), [r#"{"op":3,"channel":"room:7","message":1}"#]);
}

#[test]
fn a_subscription_that_holds_back_too_much_ends_its_session() {
    let mut registry = Registry::default();
    let (one, line) = with_session(&mut registry, Version::V1);
    registry.subscribe(one, &channel("room:7"));
    registry.confirm(&channel("room:7"), START);
    let message = publication("room:7", "1");
    for _ in 0..gate::MAX_HELD {
        assert_eq!(registry.deliver(&message).held, 1);
    }
    assert_eq!(registry.deliver(&message), Delivery { unreachable: 1, ..Delivery::default() });
    assert!(line.0.1.get());
}

#[test]
fn the_broker_is_asked_once_and_told_when_the_last_has_left() {
    let mut registry = Registry::default();
    let room = channel("room:7");
    let [one, two, three, gone] = [(); 4].map(|()| with_session(&mut registry, Version::V1).0);
    assert_eq!(registry.leave(gone), []);
    assert_eq!(registry.subscribe(one, &room), Some(ChannelStanding::New));
    assert_eq!(registry.subscribe(two, &room), Some(ChannelStanding::Pending));
    registry.confirm(&room, START);
    assert_eq!(registry.subscribe(three, &room), Some(ChannelStanding::Confirmed));
    assert_eq!(registry.subscribe(three, &room), None, "it is on it");
    assert_eq!(registry.subscribe(gone, &room), None, "it is not here");
    assert!(!registry.unsubscribe(one, &room));
    assert!(!registry.unsubscribe(one, &room), "twice is once");
    assert_eq!(registry.leave(three), []);
    assert_eq!(registry.leave(two), [room]);
    assert_eq!(registry.leave(two), [], "twice is once");
    assert_eq!((registry.sessions(), registry.subscriptions()), (1, 0));
}

/// What a test does next: (session, channel, what).
#[derive(Debug, Clone, Copy)]
enum Step {
    Join(u8),
    Leave(u8),
    Subscribe(u8, u8),
    Unsubscribe(u8, u8),
    Confirm(u8),
    GoLive(u8, u8),
    Deliver(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (session, room) = (0_u8..6, 0_u8..4);
    prop_oneof![
        session.clone().prop_map(Step::Join),
        session.clone().prop_map(Step::Leave),
        (session.clone(), room.clone()).prop_map(|(s, r)| Step::Subscribe(s, r)),
        (session.clone(), room.clone()).prop_map(|(s, r)| Step::Unsubscribe(s, r)),
        room.clone().prop_map(Step::Confirm),
        (session, room.clone()).prop_map(|(s, r)| Step::GoLive(s, r)),
        room.prop_map(Step::Deliver),
    ]
}

proptest! {
    /// Against the obvious model: a set of (session, room), and for each what it should have received.
    #[test]
    fn every_member_and_nobody_else_gets_each_publication_once_and_in_order(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut registry = Registry::default();
        let mut lines: BTreeMap<u8, (Slot, Recorder)> = BTreeMap::new();
        let mut expected: BTreeMap<u8, Vec<String>> = BTreeMap::new();
        let mut on: BTreeMap<(u8, u8), (bool, Vec<String>)> = BTreeMap::new();
        let mut asked: BTreeSet<ChannelName> = BTreeSet::new();
        let mut confirmed: BTreeSet<ChannelName> = BTreeSet::new();
        let name = |room: u8| channel(&format!("room:{room}"));
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Join(session) => {
                    lines.entry(session).or_insert_with(|| with_session(&mut registry, Version::V1));
                }
                Step::Leave(session) => {
                    let Some((slot, _)) = lines.remove(&session) else { continue };
                    for gone in registry.leave(slot) {
                        prop_assert!(asked.remove(&gone));
                    }
                    on.retain(|(member, _), _| *member != session);
                    expected.remove(&session);
                }
                Step::Subscribe(session, room) => {
                    let Some((slot, _)) = lines.get(&session) else { continue };
                    let standing = registry.subscribe(*slot, &name(room));
                    let expect_some = !on.contains_key(&(session, room));
                    prop_assert_eq!(standing.is_some(), expect_some);
                    if expect_some {
                        on.insert((session, room), (false, vec![]));
                        prop_assert_eq!(standing == Some(ChannelStanding::New), asked.insert(name(room)));
                    }
                }
                Step::Unsubscribe(session, room) => {
                    let Some((slot, _)) = lines.get(&session) else { continue };
                    if registry.unsubscribe(*slot, &name(room)) {
                        prop_assert!(asked.remove(&name(room)));
                    }
                    on.remove(&(session, room));
                }
                Step::Confirm(room) => {
                    registry.confirm(&name(room), START);
                    confirmed.extend(asked.get(&name(room)).cloned());
                }
                Step::GoLive(session, room) => {
                    let Some((slot, _)) = lines.get(&session) else { continue };
                    registry.go_live(*slot, &name(room));
                    if let Some((live, held)) = on.get_mut(&(session, room)) {
                        *live = true;
                        expected.entry(session).or_default().append(held);
                    }
                }
                Step::Deliver(room) => {
                    registry.deliver(&publication(&format!("room:{room}"), &number.to_string()));
                    if !confirmed.contains(&name(room)) {
                        continue;
                    }
                    let text = format!(r#"{{"op":3,"message":{number}}}"#);
                    for ((session, _), (live, held)) in on.iter_mut().filter(|((_, other), _)| *other == room) {
                        if *live { expected.entry(*session).or_default() } else { held }.push(text.clone());
                    }
                }
            }
            confirmed.retain(|channel| asked.contains(channel));
            prop_assert_eq!(registry.subscriptions(), on.len());
            prop_assert_eq!(registry.sessions(), lines.len());
            prop_assert_eq!(&on.keys().map(|(_, room)| name(*room)).collect::<BTreeSet<_>>(), &asked);
        }
        for (session, (_, line)) in &lines {
            prop_assert_eq!(line.texts(), expected.get(session).cloned().unwrap_or_default());
        }
    }
}

/// Sessions of both versions on room:7, confirmed at 9-0, not live yet.
fn coming_back() -> (Registry<Recorder>, [(Slot, Recorder); 2], ChannelName) {
    let (mut registry, room) = (Registry::default(), channel("room:7"));
    let sessions = [Version::V1, Version::V2].map(|version| with_session(&mut registry, version));
    for (slot, _) in &sessions {
        registry.subscribe(*slot, &room);
    }
    registry.confirm(&room, START);
    (registry, sessions, room)
}

fn plus(position: Position, offset: u64) -> Position {
    Position { offset: position.offset + offset, ..position }
}

fn durable(offset: u64) -> Arc<Publication> {
    publication("room:7", &format!("@9-{offset} {offset}"))
}

fn numbers(line: &Recorder) -> Vec<String> {
    let number = |text: String| match text.split_once(r#""message":"#) {
        Some((_, message)) => message.trim_end_matches('}').to_owned(),
        None => "gap".to_owned(),
    };
    line.texts().into_iter().map(number).collect()
}

#[test]
fn what_was_missed_comes_before_what_was_held_back_and_nothing_comes_twice() {
    let (mut registry, [(one, line), _], room) = coming_back();
    for offset in 1..=3 {
        registry.deliver(&durable(offset));
    }
    registry.deliver(&publication("room:7", "\"plain\""));
    let beginning = registry.beginning(one, &room).unwrap();
    assert_eq!(beginning.place, START);
    registry.restore(one, &room, beginning.number, (vec![durable(1), durable(2)], plus(START, 2)), 0);
    assert_eq!(registry.go_live(one, &room), 4);
    registry.deliver(&durable(4));
    assert_eq!(numbers(&line), ["1", "2", "3", "\"plain\"", "4"]);
}

#[test]
fn what_was_restored_ahead_of_this_thread_does_not_come_again() {
    let (mut registry, [(one, line), (two, other)], room) = coming_back();
    let beginning = registry.beginning(one, &room).unwrap();
    registry.restore(one, &room, beginning.number, (vec![durable(1), durable(2)], plus(START, 2)), 0);
    registry.go_live_everywhere(one);
    registry.go_live_everywhere(two);
    registry.deliver(&durable(1));
    registry.deliver(&publication("room:7", "\"plain\""));
    for offset in 2..=4 {
        registry.deliver(&durable(offset));
    }
    assert_eq!(numbers(&line), ["1", "2", "\"plain\"", "3", "4"]);
    assert_eq!(numbers(&other), ["1", "\"plain\"", "2", "3", "4"]);
}

#[test]
fn what_is_restored_for_an_earlier_subscription_is_not_given_to_the_next() {
    let (mut registry, [(one, line), _], room) = coming_back();
    let earlier = registry.beginning(one, &room).unwrap();
    assert!(!registry.unsubscribe(one, &room));
    registry.subscribe(one, &room);
    registry.restore(one, &room, earlier.number, (vec![durable(1)], plus(START, 1)), 0);
    registry.go_live(one, &room);
    assert_eq!(numbers(&line), [""; 0]);
    assert_eq!(registry.beginning(one, &room), None, "it is live");
}

#[test]
fn a_subscription_begins_where_its_channel_is() {
    let (mut registry, [(one, _), _], room) = coming_back();
    registry.deliver(&durable(1));
    let late = with_session(&mut registry, Version::V2).0;
    registry.subscribe(late, &room);
    assert_eq!(registry.beginning(one, &room).unwrap().place, START);
    assert_eq!(registry.beginning(late, &room).unwrap().place, plus(START, 1));
}
