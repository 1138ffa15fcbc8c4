//! The state of the user of `online:<user>` in answers, and after gaps.

use super::*;
use protocol::presence::UserPresence;

/// A hub with presence, and a live session 1.
fn watching() -> (TestHub, FrameRecorder) {
    let rules = HubRules { reports_users: true, max_held: MAX_HELD, ..HubRules::new(LIMITS, TIMEOUT) };
    let mut hub = TestHub::with_rules(rules);
    assert_eq!(hub.set_link(true), [""; 0]);
    hub.connect(1);
    let sink = live(&mut hub, 1);
    (hub, sink)
}

fn live(hub: &mut TestHub, session: u128) -> FrameRecorder {
    let sink = hub.connect(session);
    let user = format!("user:{session}");
    let lines = hub.join(session, &[(&user, None)]);
    let call = lines.iter().find(|line| line.starts_with("subscribe")).unwrap();
    hub.ack_at(last_id(std::slice::from_ref(call)), &user, at(0));
    hub.go_live(session, None);
    sink
}

/// Subscribes to `online:42` until its presence is read. Returns the number of the read.
fn subscribe(hub: &mut TestHub, session: u128) -> ReadId {
    let lines = hub.subscribe(session, "online:42", None);
    last_id(&hub.ack_at(last_id(&lines), "online:42", at(3)))
}

fn answer(hub: &mut TestHub, read: ReadId, presence: Option<(bool, u64)>) -> Vec<String> {
    let presence = presence.map(|(is_online, at_ms)| UserPresence::new(is_online, at_ms));
    hub.on(HubInput::Broker(HubEvent::PresenceRead { read, channel: channel("online:42"), presence }))
}

#[test]
fn a_subscription_is_answered_with_a_state_read_after_its_ack() {
    let (mut hub, sink) = watching();
    let lines = hub.subscribe(1, "online:42", None);
    assert_eq!(lines.len(), 1, "nothing is read before the ack: {lines:?}");
    let lines = hub.ack_at(last_id(&lines), "online:42", at(3));
    let read = last_id(&lines);
    assert_eq!(lines, [format!("presence {read}: online:42")]);
    hub.publish(&plain("online:42", 1));
    let answered = answer(&mut hub, read, Some((true, 77)));
    assert_eq!(answered, [r#"1 subscribed online:42 #7: 9-3{"online":true,"at":77}"#]);
    assert_eq!(sink.take_messages(), [""; 0], "an edge waits for the client to know");
    hub.go_live(1, Some("online:42"));
    assert_eq!(sink.take_messages(), ["1"]);
    assert_eq!(answer(&mut hub, read, Some((false, 78))), [""; 0], "answered once");
}

#[test]
fn a_join_waits_for_the_presence_of_its_channels() {
    let (mut hub, _) = watching();
    hub.connect(2);
    let lines = hub.join(2, &[("user:2", None), ("online:42", None), ("room:7", None)]);
    let call = last_id(&lines[..1]);
    for name in ["user:2", "room:7"] {
        assert_eq!(hub.ack_at(call, name, at(0)), [""; 0]);
    }
    let read = last_id(&hub.ack_at(call, "online:42", at(3)));
    assert_eq!(
        answer(&mut hub, read, Some((false, 5))),
        [r#"2 joined: 9-0, 9-3{"online":false,"at":5}, 9-0"#]
    );
}

#[test]
fn a_late_read_makes_the_channel_recovering_and_then_answers_it() {
    let (mut hub, _) = watching();
    let read = subscribe(&mut hub, 1);
    assert_eq!(hub.advance(TIMEOUT), ["1 subscribed online:42 #7: recovering"]);
    assert_eq!(
        answer(&mut hub, read, Some((true, 5))),
        [r#"1 subscribed online:42 #7: 9-3{"online":true,"at":5}"#]
    );
    // Without a link nothing waits.
    hub.set_link(false);
    let sink = live_without_link(&mut hub);
    assert_eq!(sink.take_messages(), [""; 0]);
}

/// A session that subscribes to the known channel `online:42` while the link is down.
fn live_without_link(hub: &mut TestHub) -> FrameRecorder {
    let sink = hub.connect(2);
    hub.join(2, &[("user:2", None)]);
    let lines = hub.subscribe(2, "online:42", None);
    assert!(lines[0].starts_with("presence "), "{lines:?}");
    assert_eq!(lines[1..], ["2 subscribed online:42 #7: recovering"]);
    sink
}

/// An edge may have been delivered after the first read was made and before the second session came.
#[test]
fn a_later_subscriber_gets_a_later_read() {
    let (mut hub, _) = watching();
    live(&mut hub, 2);
    live(&mut hub, 3);
    let first = subscribe(&mut hub, 1);
    for session in [2, 3] {
        assert_eq!(hub.subscribe(session, "online:42", None), [""; 0], "one read at a time");
    }
    let lines = answer(&mut hub, first, Some((false, 5)));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], r#"1 subscribed online:42 #7: 9-3{"online":false,"at":5}"#);
    let second = last_id(&lines[1..]);
    assert_eq!(
        answer(&mut hub, second, Some((true, 6))),
        [2, 3].map(|session| format!(r#"{session} subscribed online:42 #7: 9-3{{"online":true,"at":6}}"#))
    );
}

#[test]
fn after_a_gap_the_state_is_sent_to_version_2() {
    let (mut hub, sink) = watching();
    let read = subscribe(&mut hub, 1);
    answer(&mut hub, read, Some((true, 5)));
    hub.go_live(1, Some("online:42"));
    let lines = hub.announce_gap("online:42", GapReason::LinkLost);
    assert_eq!(sink.take_messages().len(), 1, "the gap");
    // A second gap while the first read is on its way needs another read.
    assert_eq!(hub.announce_gap("online:42", GapReason::LinkLost), [""; 0]);
    assert_eq!(sink.take_messages().len(), 1);
    let lines = answer(&mut hub, last_id(&lines), Some((false, 8)));
    assert_eq!(sink.take_messages(), [r#"{"at":8,"online":false}"#], "the recorder sorts members");
    assert_eq!(answer(&mut hub, last_id(&lines), Some((true, 9))), [""; 0]);
    assert_eq!(sink.take_messages(), [r#"{"at":9,"online":true}"#]);
    assert_eq!(hub.metrics.hub_inbox_bytes.get(), 0);
}

#[test]
fn version_1_subscribers_get_no_state() {
    let (mut hub, _) = watching();
    let sink = FrameRecorder::default();
    let key = hub.core.connect(SessionId(2), Version::V1, sink.clone());
    hub.names.insert(key, 2);
    let lines = hub.join(2, &[("online:42", None)]);
    assert_eq!(hub.ack_at(last_id(&lines[..1]), "online:42", at(3)), ["2 joined: 9-3"]);
    hub.go_live(2, None);
    assert_eq!(hub.announce_gap("online:42", GapReason::LinkLost), [""; 0]);
    // A subscriber of version 2 does not change that.
    let lines = hub.subscribe(1, "online:42", None);
    let read = last_id(&lines);
    hub.announce_gap("online:42", GapReason::LinkLost);
    let lines = answer(&mut hub, read, Some((true, 1)));
    answer(&mut hub, last_id(&lines), Some((true, 2)));
    assert_eq!(sink.take_messages(), [""; 0]);
}

#[test]
fn the_last_subscriber_cancels_the_read() {
    let (mut hub, _) = watching();
    let read = subscribe(&mut hub, 1);
    let lines = hub.unsubscribe(1, "online:42");
    assert_eq!(lines, [format!("cancel-presence {read}"), "unsubscribe online:42".to_owned()]);
    let later = subscribe(&mut hub, 1);
    assert_eq!(answer(&mut hub, read, Some((true, 5))), [""; 0], "a cancelled read answers nobody");
    assert_eq!(
        answer(&mut hub, later, Some((true, 6))),
        [r#"1 subscribed online:42 #7: 9-3{"online":true,"at":6}"#]
    );
}

#[test]
fn a_refused_read_answers_without_a_state() {
    let (mut hub, sink) = watching();
    let read = subscribe(&mut hub, 1);
    assert_eq!(answer(&mut hub, read, None), ["1 subscribed online:42 #7: 9-3"]);
    hub.go_live(1, Some("online:42"));
    let lines = hub.announce_gap("online:42", GapReason::LinkLost);
    assert_eq!(answer(&mut hub, last_id(&lines), None), [""; 0]);
    assert_eq!(sink.take_messages().len(), 1, "the gap alone");
}

#[test]
fn nothing_is_read_while_presence_is_off() {
    let mut hub = TestHub::linked();
    let _sink = hub.live_session(1);
    let lines = hub.subscribe(1, "online:42", None);
    assert_eq!(hub.ack_at(last_id(&lines), "online:42", at(3)), ["1 subscribed online:42 #7: 9-3"]);
    hub.go_live(1, Some("online:42"));
    assert_eq!(hub.announce_gap("online:42", GapReason::LinkLost), [""; 0]);
}

#[test]
fn the_state_is_held_with_edges_for_a_subscription_that_is_not_live() {
    let (mut hub, sink) = watching();
    let read = subscribe(&mut hub, 1);
    let lines = hub.announce_gap("online:42", GapReason::Overflow);
    assert_eq!(lines, [""; 0], "the first read is on its way");
    let lines = answer(&mut hub, read, Some((true, 5)));
    hub.publish(&plain("online:42", 1));
    answer(&mut hub, last_id(&lines), Some((false, 6)));
    hub.go_live(1, Some("online:42"));
    let messages = sink.take_messages();
    assert_eq!(messages[1..], ["1", r#"{"at":6,"online":false}"#], "{messages:?}");
}
