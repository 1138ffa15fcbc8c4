//! Rooms: what the hub reports of them, and who receives op 14.

use std::sync::Arc;

use super::*;
use crate::settings::{NamespaceSettings, Namespaces, RoomPresence};

const ROOM: &str = "room:7";

fn namespaces() -> Namespaces {
    let options = |presence, occupancy| NamespaceSettings { presence, occupancy, ..Default::default() };
    [
        ("room", options(RoomPresence::Count, false)),
        ("team", options(RoomPresence::Members, false)),
        ("list", options(RoomPresence::Off, true)),
        ("hall", options(RoomPresence::Members, true)),
    ]
    .map(|(name, options)| (name.to_owned(), options))
    .into_iter()
    .collect()
}

fn rules() -> HubRules {
    HubRules { namespaces: Arc::new(namespaces()), ..HubRules::new(LIMITS, TIMEOUT) }
}

/// A linked hub with rooms.
fn hub_with_rooms() -> TestHub {
    let mut hub = TestHub::with_rules(rules());
    assert_eq!(hub.set_link(true), [""; 0]);
    hub
}

/// The lines that report a room.
fn reports(lines: &[String]) -> Vec<&str> {
    let words = [" has ", " +user", " -user", " occupied", " vacated"];
    lines.iter().map(String::as_str).filter(|line| words.iter().any(|word| line.contains(word))).collect()
}

impl TestHub {
    /// Subscribes a session and makes the subscription live.
    fn enter_live(&mut self, session: u128, name: &str) -> Vec<String> {
        let lines = self.subscribe(session, name, None);
        if let Some(call) = lines.iter().find(|line| line.starts_with("subscribe ")) {
            let call = call.split([' ', ':']).nth(1).unwrap().parse().unwrap();
            self.ack_at(call, name, at(0));
        }
        self.go_live(session, Some(name));
        lines
    }

    fn tell_room(&mut self, name: &str, count: u64, joined: &[&str], left: &[&str]) {
        let ids = |ids: &[&str]| ids.iter().map(|id| Box::from(*id)).collect();
        let event = HubEvent::Room { channel: channel(name), count, joined: ids(joined), left: ids(left) };
        assert_eq!(self.on(HubInput::Broker(event)), [""; 0]);
    }
}

fn op14(name: &str, fields: &str) -> String {
    format!(r#"{{"op":14,"channel":"{name}",{fields}}}"#)
}

#[test]
fn each_change_of_the_number_of_sessions_is_reported() {
    let mut hub = hub_with_rooms();
    let _sinks = [hub.live_session(1), hub.live_session(2)];
    assert_eq!(reports(&hub.subscribe(1, ROOM, None)), ["room:7 has 1"]);
    assert_eq!(reports(&hub.subscribe(2, ROOM, None)), ["room:7 has 2"]);
    assert_eq!(reports(&hub.unsubscribe(1, ROOM)), ["room:7 has 1"]);
    assert_eq!(reports(&hub.unsubscribe(1, ROOM)), [""; 0], "it is not subscribed");
    assert_eq!(reports(&hub.leave(2)), ["room:7 has 0"]);
}

#[test]
fn only_the_first_and_last_session_of_a_member_are_reported() {
    let mut hub = hub_with_rooms();
    let _sinks = [1, 2, 3].map(|session| hub.connect(session));
    hub.join(1, &[("user:42", None)]);
    assert_eq!(reports(&hub.join(2, &[("user:42", None), ("team:7", None)])), ["team:7 +user:42"]);
    assert_eq!(reports(&hub.subscribe(1, "team:7", None)), [""; 0]);
    assert_eq!(reports(&hub.join(3, &[("user:43", None), ("team:7", None)])), ["team:7 +user:43"]);
    assert_eq!(reports(&hub.leave(2)), [""; 0]);
    assert_eq!(reports(&hub.unsubscribe(1, "team:7")), ["team:7 -user:42"]);
    assert_eq!(reports(&hub.leave(3)), ["team:7 -user:43"]);
}

#[test]
fn the_first_and_last_subscriber_of_a_channel_in_use_are_reported() {
    let mut hub = hub_with_rooms();
    let _sinks = [hub.live_session(1), hub.live_session(2)];
    assert_eq!(reports(&hub.subscribe(1, "list:7", None)), ["list:7 occupied", "list:7 has 1"]);
    assert_eq!(reports(&hub.subscribe(2, "list:7", None)), ["list:7 has 2"]);
    assert_eq!(reports(&hub.leave(1)), ["list:7 has 1"]);
    assert_eq!(reports(&hub.leave(2)), ["list:7 has 0", "list:7 vacated"]);
}

#[test]
fn a_room_with_every_option_reports_its_members_and_its_use() {
    let mut hub = hub_with_rooms();
    let _sink = hub.live_session(1);
    assert_eq!(reports(&hub.subscribe(1, "hall:7", None)), ["hall:7 occupied", "hall:7 +user:1"]);
    assert_eq!(reports(&hub.leave(1)), ["hall:7 -user:1", "hall:7 vacated"]);
}

#[test]
fn channels_without_options_are_not_reported() {
    let mut hub = hub_with_rooms();
    let _sink = hub.live_session(1);
    assert_eq!(reports(&hub.subscribe(1, "news:7", None)), [""; 0]);
    assert_eq!(reports(&hub.leave(1)), [""; 0]);
    let mut hub = TestHub::linked();
    let _sink = hub.live_session(1);
    assert_eq!(reports(&hub.subscribe(1, ROOM, None)), [""; 0], "no namespace has options");
    assert_eq!(reports(&hub.leave(1)), [""; 0]);
}

#[test]
fn a_refused_subscription_is_taken_back() {
    let mut hub = hub_with_rooms();
    let _sink = hub.live_session(1);
    for (name, entered, left) in
        [(ROOM, "room:7 has 1", "room:7 has 0"), ("team:7", "team:7 +user:1", "team:7 -user:1")]
    {
        let lines = hub.subscribe(1, name, None);
        assert_eq!(reports(&lines), [entered]);
        assert_eq!(reports(&hub.ack(last_id(&lines), name, Cut::Refused)), [left]);
    }
    assert_eq!(reports(&hub.leave(1)), [""; 0]);
}

#[test]
fn sessions_are_counted_while_the_link_is_down() {
    let mut hub = hub_with_rooms();
    let _sink = hub.live_session(1);
    hub.set_link(false);
    assert_eq!(reports(&hub.subscribe(1, ROOM, None)), ["room:7 has 1"]);
}

#[test]
fn only_live_subscribers_receive_the_count() {
    let mut hub = hub_with_rooms();
    let sinks = [1, 2, 3].map(|session| hub.live_session(session));
    hub.enter_live(1, ROOM);
    hub.subscribe(2, ROOM, None);
    hub.tell_room(ROOM, 812, &[], &[]);
    let messages = sinks.each_ref().map(FrameRecorder::take_messages);
    assert_eq!(messages, [vec![op14(ROOM, r#""count":812"#)], vec![], vec![]]);
}

#[test]
fn a_new_subscriber_receives_the_last_count_when_it_goes_live() {
    let mut hub = hub_with_rooms();
    let (first, second) = (hub.live_session(1), hub.live_session(2));
    hub.enter_live(1, "team:7");
    hub.tell_room("team:7", 1, &[], &[]);
    hub.tell_room("team:7", 2, &["2"], &[]);
    hub.enter_live(2, "team:7");
    assert_eq!(second.take_messages(), [op14("team:7", r#""count":2"#)]);
    assert_eq!(
        first.take_messages(),
        [op14("team:7", r#""count":1"#), op14("team:7", r#""count":2,"joined":["2"]"#)]
    );
}

#[test]
fn a_room_of_identify_receives_its_count_after_what_was_held() {
    let mut hub = hub_with_rooms();
    let _first = hub.live_session(1);
    hub.enter_live(1, ROOM);
    hub.tell_room(ROOM, 1, &[], &[]);
    let sink = hub.connect(2);
    let lines = hub.join(2, &[("user:2", None), (ROOM, None)]);
    let call = lines.iter().find(|line| line.starts_with("subscribe ")).cloned();
    hub.ack_at(last_id(call.as_slice()), "user:2", at(0));
    hub.publish(&plain(ROOM, 5));
    hub.go_live(2, None);
    assert_eq!(sink.take_messages(), ["5".to_owned(), op14(ROOM, r#""count":1"#)]);
}

#[test]
fn the_first_op_14_has_only_the_count() {
    let mut hub = hub_with_rooms();
    let sink = hub.live_session(1);
    hub.enter_live(1, "team:7");
    hub.tell_room("team:7", 2, &["1", "2"], &[]);
    hub.tell_room("team:7", 1, &[], &["2"]);
    assert_eq!(
        sink.take_messages(),
        [op14("team:7", r#""count":2"#), op14("team:7", r#""count":1,"left":["2"]"#)]
    );
}

#[test]
fn a_count_is_forgotten_with_the_last_subscriber() {
    let mut hub = hub_with_rooms();
    let sink = hub.live_session(1);
    hub.enter_live(1, ROOM);
    hub.tell_room(ROOM, 812, &[], &[]);
    hub.unsubscribe(1, ROOM);
    hub.tell_room(ROOM, 811, &[], &[]);
    sink.take_messages();
    hub.enter_live(1, ROOM);
    assert_eq!(sink.take_messages(), [""; 0]);
}

#[test]
fn a_namespace_without_presence_sends_no_count() {
    let mut hub = hub_with_rooms();
    let sink = hub.live_session(1);
    hub.enter_live(1, "list:7");
    hub.tell_room("list:7", 1, &[], &[]);
    assert_eq!(sink.take_messages(), [""; 0]);
}

#[test]
fn version_1_receives_no_op_14() {
    let mut hub = hub_with_rooms();
    let sink = FrameRecorder::default();
    let key = hub.core.connect(SessionId(1), Version::V1, sink.clone());
    hub.names.insert(key, 1);
    let call = last_id(&hub.join(1, &[("user:1", None), (ROOM, None)]));
    hub.ack_at(call, "user:1", at(0));
    hub.ack_at(call, ROOM, at(0));
    hub.go_live(1, None);
    hub.tell_room(ROOM, 1, &[], &[]);
    hub.go_live(1, Some(ROOM));
    assert_eq!(sink.take_messages(), [""; 0]);
}

#[test]
fn a_large_room_receives_its_count_in_turns() {
    let rules = HubRules { turn_bytes: 3 * crate::hub::fanout::ROOM_FRAME_COST, ..rules() };
    let mut hub = TestHub::with_rules(rules);
    hub.set_link(true);
    let sinks: Vec<_> = (1..=10).map(|session| hub.live_session(session)).collect();
    (1..=10).for_each(|session| drop(hub.enter_live(session, "team:7")));
    let received = || sinks.iter().map(|sink| sink.texts().len()).sum::<usize>();
    hub.tell_room("team:7", 10, &[], &[]);
    assert_eq!(received(), 0);
    hub.on(HubInput::WriteTurn);
    assert_eq!(received(), 3);
    // Two newer counts wait. The last one replaces the other, whose changes are lost.
    hub.tell_room("team:7", 9, &[], &["11"]);
    hub.tell_room("team:7", 8, &[], &["12"]);
    while hub.core.has_writes() {
        hub.on(HubInput::WriteTurn);
    }
    for sink in sinks {
        assert_eq!(sink.take_messages(), [op14("team:7", r#""count":10"#), op14("team:7", r#""count":8"#)]);
    }
}
