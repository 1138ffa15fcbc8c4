//! The last messages of a channel, which come before the live ones.

use super::*;

/// Session 1 wants the last three messages of room:7, which is confirmed at 9-5. Returns the read.
fn with_read() -> (TestHub, FrameRecorder, ReadId) {
    let mut hub = TestHub::linked();
    let sink = hub.live_session(1);
    let call = last_id(&hub.subscribe(1, "room:7", Some("last 3")));
    let lines = hub.ack_at(call, "room:7", at(5));
    let read = last_id(&lines);
    assert_eq!(lines, [format!("read {read} for user:1: room:7 the last 3 up to 9-5")]);
    (hub, sink, read)
}

#[test]
fn the_last_messages_come_before_held_and_live_ones() {
    let (mut hub, sink, read) = with_read();
    hub.publish(&durable("room:7", 6));
    hub.publish(&plain("room:7", 70));
    assert_eq!(hub.finish_read(read, "room:7", &[3, 4, 5], 10), ["1 subscribed room:7 #7: 9-2 last 3"]);
    hub.publish(&durable("room:7", 7));
    hub.go_live(1, Some("room:7"));
    hub.publish(&durable("room:7", 8));
    assert_eq!(sink.take_messages(), ["3", "4", "5", "6", "70", "7", "8"]);
    assert_eq!(hub.recoveries("recovered"), 0, "nothing was recovered");
}

#[test]
fn a_channel_in_use_is_read_up_to_its_current_position() {
    let (mut hub, _, read) = with_read();
    hub.finish_read(read, "room:7", &[3, 4, 5], 10);
    let sink = hub.live_session(2);
    hub.publish(&durable("room:7", 6));
    let lines = hub.subscribe(2, "room:7", Some("last 2"));
    assert_eq!(lines, [format!("read {} for user:2: room:7 the last 2 up to 9-6", last_id(&lines))]);
    hub.publish(&durable("room:7", 7));
    hub.finish_read(last_id(&lines), "room:7", &[5, 6], 10);
    hub.go_live(2, Some("room:7"));
    assert_eq!(sink.take_messages(), ["5", "6", "7"]);
}

#[test]
fn fewer_messages_are_no_error() {
    let (mut hub, _, read) = with_read();
    assert_eq!(hub.finish_read(read, "room:7", &[5], 10), ["1 subscribed room:7 #7: 9-4 last 1"]);
    let (mut hub, _, read) = with_read();
    let nothing = Recovered::nothing(at(5));
    assert_eq!(hub.end_read(read, Ok(nothing)), ["1 subscribed room:7 #7: 9-5 last 0"]);
    let (mut hub, _, read) = with_read();
    let unreadable = hub.end_read(read, Err(NotRecovered::Unreadable));
    assert_eq!(unreadable, ["1 subscribed room:7 #7: 9-5 last 0"]);
}

#[test]
fn a_channel_without_a_history_needs_no_read() {
    for (cut, answer) in [
        (Cut::At(at(0)), "1 subscribed room:7 #7: 9-0 last 0"),
        (Cut::Untracked, "1 subscribed room:7 #7: 0-0 last 0"),
    ] {
        let mut hub = TestHub::linked();
        let _sink = hub.live_session(1);
        let call = last_id(&hub.subscribe(1, "room:7", Some("last 3")));
        assert_eq!(hub.ack(call, "room:7", cut), [answer]);
    }
}

#[test]
fn a_history_that_cannot_be_read_now_follows_later() {
    let (mut hub, sink, read) = with_read();
    assert_eq!(hub.set_link(false), ["1 subscribed room:7 #7: recovering"]);
    hub.publish(&durable("room:7", 6));
    hub.go_live(1, Some("room:7"));
    assert_eq!(sink.take_messages(), [""; 0]);
    hub.set_link(true);
    assert_eq!(hub.finish_read(read, "room:7", &[3, 4, 5], 10), ["1 subscribed room:7 #7: 9-2 last 3"]);
    hub.go_live(1, Some("room:7"));
    assert_eq!(sink.take_messages(), ["3", "4", "5", "6"]);
}

#[test]
fn a_moved_cut_is_read_again() {
    let mut hub = TestHub::with_rules(HubRules { max_held: 1, ..HubRules::new(LIMITS, TIMEOUT) });
    hub.set_link(true);
    let sink = hub.live_session(1);
    let call = last_id(&hub.subscribe(1, "room:7", Some("last 2")));
    let first = last_id(&hub.ack_at(call, "room:7", at(5)));
    assert_eq!(hub.publish(&durable("room:7", 6)), [""; 0]);
    let lines = hub.publish(&durable("room:7", 7));
    let second = last_id(&lines);
    assert_eq!(lines, [format!("read {second} for user:1: room:7 the last 2 up to 9-7")]);
    assert_eq!(hub.finish_read(first, "room:7", &[4, 5], 10), [""; 0]);
    assert_eq!(hub.finish_read(second, "room:7", &[6, 7], 10), ["1 subscribed room:7 #7: 9-5 last 2"]);
    hub.go_live(1, Some("room:7"));
    assert_eq!(sink.take_messages(), ["6", "7"]);
}

#[test]
fn leaving_cancels_the_read() {
    let (mut hub, _, read) = with_read();
    assert!(hub.leave(1).contains(&format!("cancel {read}")));
}

/// Session 1 joins, resumes room:7 from 9-1, and wants the last messages of room:8. Returns the reads.
fn with_both() -> (TestHub, FrameRecorder, [ReadId; 2]) {
    let mut hub = TestHub::linked();
    let sink = hub.connect(1);
    let specs = [("user:1", None), ("room:7", Some("9-1")), ("room:8", Some("last 9"))];
    let call = last_id(&hub.join(1, &specs));
    hub.ack_at(call, "user:1", at(0));
    let reads = ["room:7", "room:8"].map(|room| last_id(&hub.ack_at(call, room, at(20))));
    (hub, sink, reads)
}

#[test]
fn last_messages_fit_into_what_recoveries_leave() {
    let (mut hub, sink, [recovery, last]) = with_both();
    assert_eq!(hub.finish_read(recovery, "room:7", &[2], 600), [""; 0]);
    // Each message counts 130 bytes, and 400 are left.
    let lines = hub.finish_read(last, "room:8", &[17, 18, 19, 20], 520);
    assert_eq!(lines, ["1 joined: 9-0, 9-1 recovered, 9-17 last 3"]);
    hub.go_live(1, None);
    assert_eq!(sink.take_messages(), ["2", "18", "19", "20"]);
}

#[test]
fn a_recovery_takes_its_bytes_before_the_last_messages() {
    let (mut hub, sink, [recovery, last]) = with_both();
    assert_eq!(hub.finish_read(last, "room:8", &[17, 18, 19, 20], 520), [""; 0]);
    let lines = hub.finish_read(recovery, "room:7", &[2], 600);
    assert_eq!(lines, ["1 joined: 9-0, 9-1 recovered, 9-20 last 0"]);
    hub.go_live(1, None);
    assert_eq!(sink.take_messages(), ["2"]);

    let (mut hub, _, [recovery, last]) = with_both();
    hub.finish_read(last, "room:8", &[17, 18, 19, 20], 520);
    let sizes = FrameSizes { all: 1_001, longest: 500 };
    let too_much = Recovered { sizes, ..Recovered::nothing(at(1)) };
    let lines = hub.end_read(recovery, Ok(too_much));
    assert_eq!(
        lines,
        ["1 joined: 9-0, 9-20 not recovered, 9-16 last 4"],
        "a recovery that does not fit alone takes nothing"
    );
}
