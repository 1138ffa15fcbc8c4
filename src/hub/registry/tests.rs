//! Who gets a publication, and when.

use std::sync::Arc;

use super::*;
use crate::hub::recorder::FrameRecorder;
use protocol::publication::Publication;

mod gaps;
mod held;
mod properties;

/// Where every channel begins here.
const START: Position = at(0);
const MAX_HELD: usize = 3;

const fn at(offset: u64) -> Position {
    Position { epoch: 9, offset }
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn publication(name: &str, payload: &str) -> Arc<Publication> {
    Arc::new(Publication::decode(channel(name), payload.as_bytes(), 1_000).unwrap())
}

/// The message of room:7 at 9-`offset`.
fn durable(offset: u64) -> Arc<Publication> {
    publication("room:7", &format!("@9-{offset} {offset}"))
}

fn plain(number: u64) -> Arc<Publication> {
    publication("room:7", &number.to_string())
}

/// A registry, and what the hub's core does with it.
struct RegistryFixture {
    registry: Registry<FrameRecorder>,
}

impl RegistryFixture {
    fn new() -> Self {
        Self { registry: Registry::new(MAX_HELD) }
    }

    fn connects(&mut self, version: Version) -> (SessionKey, FrameRecorder) {
        let sink = FrameRecorder::default();
        (self.registry.connect(version, sink.clone()), sink)
    }

    /// Sessions of both versions on room:7, confirmed at 9-0, not live yet.
    fn waiting() -> (Self, [(SessionKey, FrameRecorder); 2]) {
        let mut fixture = Self::new();
        let sessions = [Version::V1, Version::V2].map(|version| fixture.connects(version));
        for (session, _) in &sessions {
            assert!(fixture.subscribes(*session, "room:7"));
        }
        fixture.confirms("room:7", Some(START));
        (fixture, sessions)
    }

    /// The same sessions, live.
    fn live() -> (Self, [(SessionKey, FrameRecorder); 2]) {
        let (mut fixture, sessions) = Self::waiting();
        for (session, _) in &sessions {
            fixture.goes_live(*session, "room:7");
        }
        (fixture, sessions)
    }

    fn subscribes(&mut self, session: SessionKey, name: &str) -> bool {
        self.registry.subscribe(session, &channel(name), None, 1)
    }

    fn confirms(&mut self, name: &str, cut: Option<Position>) {
        let name = channel(name);
        self.registry.confirm(&name, cut);
        let waiting = self.registry.pending_on(&name).filter(|(_, pending)| pending.is_waiting());
        if let Some(cut) = cut {
            waiting.for_each(|(_, pending)| pending.set_cut(cut, false));
        }
    }

    fn settles(&mut self, session: SessionKey, name: &str, missed: &[Arc<Publication>]) {
        self.registry.pending(session, &channel(name)).unwrap().settle(missed.into());
    }

    /// Its client is told of a channel alone, or with all channels of its request.
    fn is_told(&mut self, session: SessionKey, name: &str, is_alone: bool) {
        self.registry.pending(session, &channel(name)).unwrap().mark_told(is_alone);
    }

    /// Nothing was missed; its client has been told.
    fn goes_live(&mut self, session: SessionKey, name: &str) -> u64 {
        self.settles(session, name, &[]);
        self.is_told(session, name, true);
        self.registry.go_live(session, &channel(name))
    }

    fn delivers(&mut self, publication: &Arc<Publication>) -> DeliveryOutcome {
        let (delivery, receivers) = self.registry.deliver(publication, |_| false);
        assert!(receivers.is_none());
        delivery
    }

    fn cut(&mut self, session: SessionKey, name: &str) -> Option<Position> {
        self.registry.pending(session, &channel(name)).unwrap().cut()
    }
}

#[test]
fn each_receives_the_frame_of_its_version() {
    let (mut fixture, [(_, old), (_, new)]) = RegistryFixture::live();
    assert_eq!(fixture.delivers(&plain(1)), DeliveryOutcome { delivered: 2, ..DeliveryOutcome::default() });
    assert_eq!(old.texts(), [r#"{"op":3,"message":1}"#]);
    assert_eq!(new.texts(), [r#"{"op":3,"channel":"room:7","message":1}"#]);
}

#[test]
fn the_end_of_an_earlier_subscription_reaches_nobody() {
    let mut fixture = RegistryFixture::new();
    let (one, sink) = fixture.connects(Version::V1);
    fixture.subscribes(one, "room:7");
    assert_eq!(fixture.delivers(&plain(1)), DeliveryOutcome::default());
    fixture.confirms("room:7", Some(START));
    fixture.goes_live(one, "room:7");
    fixture.delivers(&plain(3));
    assert!(fixture.registry.unsubscribe(one, &channel("room:7")).unwrap().is_empty);
    fixture.subscribes(one, "room:7");
    assert_eq!(fixture.delivers(&plain(4)), DeliveryOutcome::default(), "not confirmed again");
    assert_eq!(sink.take_messages(), ["3"]);
}

#[test]
fn what_is_not_behind_the_confirmed_position_is_dropped() {
    let (mut fixture, [(_, sink), _]) = RegistryFixture::live();
    fixture.delivers(&durable(1));
    fixture.confirms("room:7", Some(at(3)));
    for offset in [2, 3, 4, 4] {
        fixture.delivers(&durable(offset));
    }
    assert_eq!(sink.take_messages(), ["1", "4"]);
}

#[test]
fn a_long_fan_out_returns_its_receivers() {
    let (mut fixture, [(one, sink), (two, _)]) = RegistryFixture::live();
    let (late, _) = fixture.connects(Version::V2);
    fixture.subscribes(late, "room:7");
    let mut weight = 0;
    let (delivery, receivers) = fixture.registry.deliver(&plain(5), |bytes| {
        weight = bytes;
        true
    });
    assert_eq!((delivery, weight), (DeliveryOutcome { held: 1, ..DeliveryOutcome::default() }, 3));
    let receivers: Vec<_> = receivers.unwrap().iter().map(|receiver| receiver.session).collect();
    assert_eq!(receivers, [one, two]);
    assert_eq!(sink.texts(), [""; 0]);
}

#[test]
fn the_broker_is_told_when_the_last_has_left() {
    let mut fixture = RegistryFixture::new();
    let room = channel("room:7");
    let [one, two, three, gone] = [(); 4].map(|()| fixture.connects(Version::V1).0);
    assert!(fixture.registry.leave(gone).is_empty());
    assert!(fixture.subscribes(one, "room:7"));
    assert_eq!(fixture.registry.asked(&room), Some(&mut None), "nobody has asked for it");
    let asked = Asked { request: 5, verify: false };
    *fixture.registry.asked(&room).unwrap() = Some(asked);
    assert!(fixture.subscribes(two, "room:7"));
    assert_eq!(fixture.registry.asked(&room), Some(&mut Some(asked)));
    fixture.confirms("room:7", Some(START));
    assert_eq!(fixture.registry.asked(&room), Some(&mut None));
    assert!(fixture.subscribes(three, "room:7"));
    assert!(!fixture.subscribes(three, "room:7"), "it is on it");
    assert!(!fixture.subscribes(gone, "room:7"), "it is not here");
    let vacated = fixture.registry.unsubscribe(one, &room).unwrap();
    assert!(!vacated.is_empty && vacated.pending.is_some());
    assert!(fixture.registry.unsubscribe(one, &room).is_none(), "twice is once");
    let is_empty = |vacated: Vec<Vacated>| vacated.iter().map(|one| one.is_empty).collect::<Vec<_>>();
    assert_eq!(is_empty(fixture.registry.leave(three)), [false]);
    assert_eq!(is_empty(fixture.registry.leave(two)), [true]);
    assert_eq!(is_empty(fixture.registry.leave(two)), [false; 0], "twice is once");
    assert_eq!((fixture.registry.sessions(), fixture.registry.subscriptions()), (1, 0));
    assert_eq!(fixture.registry.asked(&room), None);
}

#[test]
fn the_last_subscriber_takes_the_index_of_one_that_leaves() {
    let mut fixture = RegistryFixture::new();
    let sessions: Vec<_> = (0..5).map(|_| fixture.connects(Version::V1)).collect();
    for (session, _) in &sessions {
        fixture.subscribes(*session, "room:7");
        fixture.subscribes(*session, "all");
    }
    fixture.confirms("room:7", Some(START));
    for index in [0, 4, 2] {
        let session = sessions[index].0;
        assert_eq!(fixture.registry.leave(session).len(), 2);
        for (session, _) in [1, 3].map(|index| &sessions[index]) {
            let indexes: Vec<_> = fixture.registry.sessions[session.index()]
                .subscriptions
                .iter()
                .map(|subscription| {
                    let subscribers = &fixture.registry.channels[&subscription.channel].subscribers;
                    subscribers[subscription.index as usize].session
                })
                .collect();
            assert_eq!(indexes, [*session; 2]);
        }
    }
    fixture.goes_live(sessions[3].0, "room:7");
    fixture.delivers(&plain(1));
    assert_eq!(sessions[3].1.take_messages(), ["1"]);
}
