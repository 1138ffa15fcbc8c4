//! The receivers of a publication, and the end of subscriptions.

use std::sync::Arc;

use super::*;
use crate::hub::recorder::FrameRecorder;
use protocol::Version;
use protocol::publication::Publication;

mod gaps;
mod held;
mod properties;

/// The position at which the fixture confirms channels.
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

/// A registry, driven in the same way as by the core of the hub.
struct RegistryFixture {
    registry: Registry<FrameRecorder>,
}

impl RegistryFixture {
    fn new() -> Self {
        Self { registry: Registry::new(MAX_HELD) }
    }

    fn connect(&mut self, version: Version) -> (SessionKey, FrameRecorder) {
        let sink = FrameRecorder::default();
        (self.registry.connect(version, sink.clone()), sink)
    }

    /// Sessions of both versions on room:7, confirmed at 9-0 and pending.
    fn with_pending() -> (Self, [(SessionKey, FrameRecorder); 2]) {
        let mut fixture = Self::new();
        let sessions = [Version::V1, Version::V2].map(|version| fixture.connect(version));
        for (session, _) in &sessions {
            assert!(fixture.subscribe(*session, "room:7"));
        }
        fixture.confirm("room:7", Some(START));
        (fixture, sessions)
    }

    /// Sessions of both versions on room:7, confirmed at 9-0 and live.
    fn with_live() -> (Self, [(SessionKey, FrameRecorder); 2]) {
        let (mut fixture, sessions) = Self::with_pending();
        for (session, _) in &sessions {
            fixture.go_live(*session, "room:7");
        }
        (fixture, sessions)
    }

    fn subscribe(&mut self, session: SessionKey, name: &str) -> bool {
        self.registry.subscribe(session, &channel(name), WantedHistory::Nothing, 1)
    }

    fn confirm(&mut self, name: &str, cut: Option<Position>) {
        let name = channel(name);
        self.registry.confirm(&name, cut);
        let waiting = self.registry.pending_on(&name).filter(|(_, pending)| pending.is_unresolved());
        if let Some(cut) = cut {
            waiting.for_each(|(_, pending)| pending.set_cut(cut, false));
        }
    }

    fn resolve(&mut self, session: SessionKey, name: &str, missed: &[Arc<Publication>]) {
        self.registry.pending(session, &channel(name)).unwrap().resolve(missed.into());
    }

    /// Answers the session for a channel alone, or for all channels of its request.
    fn mark_answered(&mut self, session: SessionKey, name: &str, is_alone: bool) {
        self.registry.pending(session, &channel(name)).unwrap().mark_answered(is_alone);
    }

    /// Makes a subscription live whose client missed nothing.
    fn go_live(&mut self, session: SessionKey, name: &str) -> u64 {
        self.resolve(session, name, &[]);
        self.mark_answered(session, name, true);
        self.registry.go_live(session, &channel(name))
    }

    fn deliver(&mut self, publication: &Arc<Publication>) -> FanoutOutcome {
        let (outcome, receivers) = self.registry.deliver(publication, Version::V1, |_| false);
        assert!(receivers.is_none());
        outcome
    }

    fn cut(&mut self, session: SessionKey, name: &str) -> Option<Position> {
        self.registry.pending(session, &channel(name)).unwrap().cut()
    }
}

#[test]
fn each_session_receives_frames_of_its_version() {
    let (mut fixture, [(_, old), (_, new)]) = RegistryFixture::with_live();
    assert_eq!(fixture.deliver(&plain(1)), FanoutOutcome { delivered: 2, ..FanoutOutcome::default() });
    assert_eq!(old.texts(), [r#"{"op":3,"message":1}"#]);
    assert_eq!(new.texts(), [r#"{"op":3,"channel":"room:7","message":1}"#]);
}

#[test]
fn publications_of_an_earlier_subscription_are_dropped() {
    let mut fixture = RegistryFixture::new();
    let (one, sink) = fixture.connect(Version::V1);
    fixture.subscribe(one, "room:7");
    assert_eq!(fixture.deliver(&plain(1)), FanoutOutcome::default());
    fixture.confirm("room:7", Some(START));
    fixture.go_live(one, "room:7");
    fixture.deliver(&plain(3));
    assert!(fixture.registry.unsubscribe(one, &channel("room:7")).unwrap().is_last);
    fixture.subscribe(one, "room:7");
    assert_eq!(fixture.deliver(&plain(4)), FanoutOutcome::default(), "not confirmed again");
    assert_eq!(sink.take_messages(), ["3"]);
}

#[test]
fn messages_up_to_the_confirmed_position_are_dropped() {
    let (mut fixture, [(_, sink), _]) = RegistryFixture::with_live();
    fixture.deliver(&durable(1));
    fixture.confirm("room:7", Some(at(3)));
    for offset in [2, 3, 4, 4] {
        fixture.deliver(&durable(offset));
    }
    assert_eq!(sink.take_messages(), ["1", "4"]);
}

#[test]
fn a_long_fan_out_returns_its_receivers() {
    let (mut fixture, [(one, sink), (two, _)]) = RegistryFixture::with_live();
    let (late, _) = fixture.connect(Version::V2);
    fixture.subscribe(late, "room:7");
    let mut total_bytes = 0;
    let (outcome, receivers) = fixture.registry.deliver(&plain(5), Version::V1, |bytes| {
        total_bytes = bytes;
        true
    });
    assert_eq!((outcome, total_bytes), (FanoutOutcome { held: 1, ..FanoutOutcome::default() }, 3));
    let receivers: Vec<_> = receivers.unwrap().iter().map(|receiver| receiver.session).collect();
    assert_eq!(receivers, [one, two]);
    assert_eq!(sink.texts(), [""; 0]);
}

#[test]
fn only_the_last_subscriber_ends_the_channel() {
    let mut fixture = RegistryFixture::new();
    let room = channel("room:7");
    let [one, two, three, left] = [(); 4].map(|()| fixture.connect(Version::V1).0);
    assert!(fixture.registry.leave(left).is_empty());
    assert!(fixture.subscribe(one, "room:7"));
    assert!(fixture.registry.has_no_open_call(&room), "the broker was not called");
    let call = BrokerCall { id: 5, verify: false };
    fixture.registry.set_open_call(&room, call);
    assert!(fixture.subscribe(two, "room:7"));
    assert_eq!(fixture.registry.open_call(&room), Some(call));
    assert!(!fixture.registry.has_no_open_call(&room));
    fixture.confirm("room:7", Some(START));
    assert!(fixture.registry.has_no_open_call(&room));
    assert!(fixture.subscribe(three, "room:7"));
    assert!(!fixture.subscribe(three, "room:7"), "the session is subscribed already");
    assert!(!fixture.subscribe(left, "room:7"), "the session has left");
    let ended = fixture.registry.unsubscribe(one, &room).unwrap();
    assert!(!ended.is_last && ended.pending.is_some());
    assert!(fixture.registry.unsubscribe(one, &room).is_none(), "the subscription has ended already");
    let is_last = |ended: Vec<EndedSubscription>| ended.iter().map(|one| one.is_last).collect::<Vec<_>>();
    assert_eq!(is_last(fixture.registry.leave(three)), [false]);
    assert_eq!(is_last(fixture.registry.leave(two)), [true]);
    assert_eq!(is_last(fixture.registry.leave(two)), [false; 0], "the session has left already");
    assert_eq!((fixture.registry.session_count(), fixture.registry.subscription_count()), (1, 0));
    assert!(!fixture.registry.has_no_open_call(&room), "the channel has no subscriber");
    assert_eq!(fixture.registry.open_call(&room), None);
}

#[test]
fn the_last_subscriber_takes_the_index_of_one_that_leaves() {
    let mut fixture = RegistryFixture::new();
    let sessions: Vec<_> = (0..5).map(|_| fixture.connect(Version::V1)).collect();
    for (session, _) in &sessions {
        fixture.subscribe(*session, "room:7");
        fixture.subscribe(*session, "all");
    }
    fixture.confirm("room:7", Some(START));
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
    fixture.go_live(sessions[3].0, "room:7");
    fixture.deliver(&plain(1));
    assert_eq!(sessions[3].1.take_messages(), ["1"]);
}

/// The options and the members of a channel are in `Rooms`, so a channel without them takes no memory for them.
#[test]
fn the_entry_of_a_channel_has_no_room_for_options() {
    let parts = size_of::<Vec<Subscriber<()>>>() + size_of::<Coverage>() + size_of::<Option<BrokerCall>>();
    assert_eq!(size_of::<ChannelEntry<()>>(), parts);
}
