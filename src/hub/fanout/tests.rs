use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::hub::registry::Registry;
use protocol::Version;
use protocol::conversation::WantedHistory;
use protocol::event::GapReason;
use protocol::position::Position;

/// A sink that records the sent frames. Clones share one record.
#[derive(Debug, Clone, Default)]
struct TextRecorder(Rc<RefCell<Vec<String>>>);

impl TextRecorder {
    fn texts(&self) -> Vec<String> {
        self.0.borrow().clone()
    }
}

impl FrameSink for TextRecorder {
    fn send(&self, frame: Bytes) -> bool {
        self.0.borrow_mut().push(std::str::from_utf8(&frame[2..]).unwrap().to_owned());
        true
    }

    fn close_too_slow(&self) {
        panic!("a sink overflowed, but no subscription holds many publications");
    }
}

fn channel(room: u8) -> ChannelName {
    ChannelName::parse(&format!("room:{room}")).unwrap()
}

fn publication(room: u8, number: usize) -> Arc<Publication> {
    Arc::new(Publication::decode(channel(room), number.to_string().as_bytes(), 100).unwrap())
}

fn text(room: u8, number: usize) -> String {
    format!(r#"{{"op":3,"channel":"room:{room}","message":{number}}}"#)
}

/// A registry with its fan-outs, used in the same way as by the hub.
struct FanoutFixture {
    registry: Registry<TextRecorder>,
    fanouts: FanoutScheduler<TextRecorder>,
}

impl FanoutFixture {
    fn new(turn_bytes: usize) -> Self {
        Self { registry: Registry::new(1_000), fanouts: FanoutScheduler::new(turn_bytes) }
    }

    fn connect(&mut self) -> (SessionKey, TextRecorder) {
        let sink = TextRecorder::default();
        (self.registry.connect(Version::V2, sink.clone()), sink)
    }

    fn subscribe(&mut self, session: SessionKey, room: u8) {
        self.registry.subscribe(session, &channel(room), WantedHistory::Nothing, 0);
        self.registry.confirm(&channel(room), Some(Position::before(9)));
        if let Some(pending) = self.registry.pending(session, &channel(room)) {
            pending.resolve([].into());
            pending.mark_answered(true);
        }
        self.registry.go_live(session, &channel(room));
    }

    fn unsubscribe(&mut self, session: SessionKey, room: u8) {
        self.fanouts.flush(session, &channel(room));
        let _ = self.registry.unsubscribe(session, &channel(room));
        self.registry.send(session, Bytes::from(format!("--answer {room}")));
    }

    fn publish(&mut self, room: u8, number: usize) {
        let publication = publication(room, number);
        let fanouts = &self.fanouts;
        let (_, receivers) = self
            .registry
            .deliver(&publication, Version::V1, |bytes| fanouts.should_defer(publication.channel(), bytes));
        if let Some(receivers) = receivers {
            self.fanouts.add(publication, receivers, 1);
        }
    }
}

#[test]
fn another_channel_does_not_wait_for_a_long_fan_out() {
    let mut fixture = FanoutFixture::new(100);
    let subscribers: Vec<_> = (0..200).map(|_| fixture.connect()).collect();
    subscribers.iter().for_each(|(session, _)| fixture.subscribe(*session, 1));
    let (other, sink) = fixture.connect();
    fixture.subscribe(other, 2);
    fixture.publish(1, 1);
    let outcome = fixture.fanouts.run_turn();
    assert!((1..5).contains(&outcome.fanout.delivered), "{outcome:?}");
    fixture.publish(2, 7);
    assert_eq!(sink.texts(), [text(2, 7)]);
    let mut delivered = outcome.fanout.delivered;
    while !fixture.fanouts.is_empty() {
        delivered += fixture.fanouts.run_turn().fanout.delivered;
    }
    assert_eq!(delivered, 200);
    assert!(subscribers.iter().all(|(_, sink)| sink.texts() == [text(1, 1)]));
}

#[test]
fn two_long_fan_outs_take_turns() {
    let mut fixture = FanoutFixture::new(10);
    for room in [1, 2] {
        for _ in 0..20 {
            let (session, _) = fixture.connect();
            fixture.subscribe(session, room);
        }
        fixture.publish(room, 1_000_000_000);
    }
    let mut turns = Vec::new();
    while let Some((channel, _)) = fixture.fanouts.channels.front() {
        turns.push(channel.clone());
        fixture.fanouts.run_turn();
    }
    assert!(turns.len() >= 20 && turns.windows(2).all(|pair| pair[0] != pair[1]), "{turns:?}");
}

#[test]
fn a_gap_follows_the_publications_before_it() {
    let mut fixture = FanoutFixture::new(10);
    let sinks: Vec<_> = (0..20).map(|_| fixture.connect()).collect();
    sinks.iter().for_each(|(session, _)| fixture.subscribe(*session, 1));
    fixture.publish(1, 1);
    let (frame, receivers) =
        fixture.registry.announce_gap(&channel(1), GapReason::LinkLost, None, true).unwrap();
    fixture.fanouts.add_gap(channel(1), frame, receivers);
    fixture.publish(1, 2);
    while !fixture.fanouts.is_empty() {
        fixture.fanouts.run_turn();
    }
    let gap = r#"{"op":8,"channel":"room:1","reason":"link_lost"}"#.to_owned();
    assert!(sinks.iter().all(|(_, sink)| sink.texts() == [text(1, 1), gap.clone(), text(1, 2)]));
}

#[test]
fn a_fan_out_releases_its_bytes_when_it_ends() {
    let mut fixture = FanoutFixture::new(1);
    for _ in 0..3 {
        let (session, _) = fixture.connect();
        fixture.subscribe(session, 1);
    }
    fixture.publish(1, 11);
    let released: Vec<_> = std::iter::from_fn(|| {
        (!fixture.fanouts.is_empty()).then(|| fixture.fanouts.run_turn().released_bytes)
    })
    .collect();
    assert_eq!(released, [0, 0, 1]);
}

/// One step of the property test. Its fields are a session and a room.
#[derive(Debug, Clone, Copy)]
enum FanoutStep {
    Subscribe(u8, u8),
    Unsubscribe(u8, u8),
    Leave(u8),
    Publish(u8),
    Turn,
}

fn step() -> impl Strategy<Value = FanoutStep> {
    let (session, room) = (0_u8..5, 0_u8..3);
    prop_oneof![
        3 => (session.clone(), room.clone()).prop_map(|(s, r)| FanoutStep::Subscribe(s, r)),
        1 => (session.clone(), room.clone()).prop_map(|(s, r)| FanoutStep::Unsubscribe(s, r)),
        1 => session.prop_map(FanoutStep::Leave),
        4 => room.prop_map(FanoutStep::Publish),
        3 => Just(FanoutStep::Turn),
    ]
}

proptest! {
    /// Compares fan-outs with and without turns. On each channel every session receives the same frames in the same
    /// order, and no message follows the answer to an Unsubscribe.
    #[test]
    fn turns_change_only_the_time_of_delivery(
        steps in proptest::collection::vec(step(), 1..80),
        turn_bytes in 1_usize..200,
    ) {
        let (mut with, mut without) = (FanoutFixture::new(turn_bytes), FanoutFixture::new(usize::MAX));
        let mut sessions: BTreeMap<u8, [(SessionKey, TextRecorder); 2]> = BTreeMap::new();
        let mut left = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                FanoutStep::Subscribe(session, room) => {
                    let both = sessions.entry(session).or_insert_with(|| [with.connect(), without.connect()]);
                    with.subscribe(both[0].0, room);
                    without.subscribe(both[1].0, room);
                }
                FanoutStep::Unsubscribe(session, room) => {
                    let Some(both) = sessions.get(&session) else { continue };
                    with.unsubscribe(both[0].0, room);
                    without.unsubscribe(both[1].0, room);
                }
                FanoutStep::Leave(session) => {
                    let Some([(one, actual), (other, expected)]) = sessions.remove(&session) else { continue };
                    with.fanouts.remove(one);
                    let _ = with.registry.leave(one);
                    let _ = without.registry.leave(other);
                    left.push((actual, expected));
                }
                FanoutStep::Publish(room) => {
                    with.publish(room, number);
                    without.publish(room, number);
                }
                FanoutStep::Turn => drop(with.fanouts.run_turn()),
            }
        }
        while !with.fanouts.is_empty() {
            with.fanouts.run_turn();
        }
        let on = |sink: &TextRecorder, room: u8| -> Vec<String> {
            let (name, answer) = (format!("room:{room}\""), format!("answer {room}"));
            sink.texts().into_iter().filter(|text| text.contains(&name) || text.contains(&answer)).collect()
        };
        for [(_, actual), (_, expected)] in sessions.values() {
            for room in 0..3 {
                prop_assert_eq!(on(actual, room), on(expected, room));
            }
        }
        // A session that has left may have received fewer frames, never different ones.
        for (actual, expected) in left {
            for room in 0..3 {
                prop_assert!(on(&expected, room).starts_with(&on(&actual, room)));
            }
        }
    }
}
