//! The hub's calls to the broker, and the answers that it accepts.

use super::*;

#[test]
fn one_broker_call_serves_all_waiting_sessions() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.live_session(1), hub.live_session(2)];
    let request = last_id(&hub.subscribe(1, "room:7", None));
    assert_eq!(hub.subscribe(2, "room:7", Some("9-3")), [""; 0]);
    assert_eq!(
        hub.ack_at(request, "room:7", at(3)),
        ["1 subscribed room:7 #7: 9-3", "2 subscribed room:7 #7: 9-3 recovered"]
    );
    assert_eq!(hub.unsubscribe(1, "room:7"), [""; 0]);
    assert_eq!(hub.unsubscribe(2, "room:7"), ["unsubscribe room:7"]);
}

#[test]
fn an_answer_to_an_earlier_call_is_ignored() {
    let mut hub = TestHub::linked();
    let sink = hub.live_session(1);
    let first = last_id(&hub.subscribe(1, "room:7", None));
    hub.unsubscribe(1, "room:7");
    sink.take_messages();
    let second = last_id(&hub.subscribe(1, "room:7", None));
    assert_ne!(first, second);
    assert_eq!(hub.ack_at(first, "room:7", at(1)), [""; 0]);
    hub.publish(&durable("room:7", 2));
    assert_eq!(hub.ack_at(second, "room:7", at(3)), ["1 subscribed room:7 #7: 9-3"]);
    assert_eq!(hub.ack_at(second, "room:7", at(9)), [""; 0], "a second answer is ignored");
    hub.go_live(1, Some("room:7"));
    hub.publish(&durable("room:7", 4));
    assert_eq!(sink.take_messages(), ["4"]);
}

/// Simulation seed 5471: the gap preceded the confirmation and reached no session, so messages dropped after the
/// confirmed position stayed unnoticed.
#[test]
fn an_overflow_repeats_the_open_call() {
    let mut hub = TestHub::linked();
    let sink = hub.live_session(1);
    let first = last_id(&hub.subscribe(1, "room:7", None));
    assert_eq!(hub.announce_gap("room:7", GapReason::LinkLost), [""; 0], "nothing was dropped");
    let again = hub.announce_gap("room:7", GapReason::Overflow);
    let second = last_id(&again);
    assert_eq!(again, [format!("verify {second}: room:7")]);
    assert_eq!(hub.ack_at(first, "room:7", at(1)), [""; 0]);
    assert_eq!(hub.ack_at(second, "room:7", at(4)), ["1 subscribed room:7 #7: 9-4"]);
    hub.go_live(1, Some("room:7"));
    assert_eq!(sink.texts(), [""; 0], "the dropped messages are before its cut");
}

#[test]
fn an_overflow_on_a_confirmed_channel_is_only_a_gap() {
    let mut hub = TestHub::linked();
    let sink = hub.live_session(1);
    assert_eq!(hub.announce_gap("user:1", GapReason::Overflow), [""; 0]);
    assert_eq!(hub.announce_gap("room:9", GapReason::Overflow), [""; 0], "the channel has no subscriber");
    assert_eq!(sink.take_messages(), ["gap: overflow"]);
}

#[test]
fn a_later_subscriber_after_an_overflow_calls_the_broker() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.live_session(1), hub.live_session(2)];
    hub.announce_gap("user:1", GapReason::Overflow);
    let request = last_id(&hub.subscribe(2, "user:1", Some("9-0")));
    let lines = hub.ack_at(request, "user:1", at(2));
    assert_eq!(lines, [format!("read {} for user:2: user:1 from 9-0 to 9-2", last_id(&lines))]);
}

#[test]
fn a_durable_message_makes_an_unknown_position_known() {
    let mut hub = TestHub::linked();
    let _sink = hub.live_session(1);
    hub.announce_gap("user:1", GapReason::Overflow);
    let late = hub.live_session(2);
    hub.subscribe(2, "user:1", None);
    assert_eq!(hub.publish(&plain("user:1", 1)), [""; 0]);
    assert_eq!(hub.publish(&durable("user:1", 6)), ["2 subscribed user:1 #7: 9-6"]);
    hub.publish(&durable("user:1", 7));
    hub.go_live(2, Some("user:1"));
    assert_eq!(late.take_messages().last().unwrap(), "7");
}

#[test]
fn an_untracked_channel_is_delivered_but_not_recovered() {
    let mut hub = TestHub::linked();
    let sinks = [hub.live_session(1), hub.live_session(2)];
    let request = last_id(&hub.subscribe(1, "room:7", None));
    hub.subscribe(2, "room:7", Some("9-3"));
    assert_eq!(
        hub.ack(request, "room:7", Cut::Untracked),
        ["1 subscribed room:7 #7: 0-0", "2 subscribed room:7 #7: 0-0 not recovered"]
    );
    assert_eq!(hub.recoveries("unreadable"), 1);
    hub.go_live(1, Some("room:7"));
    hub.go_live(2, Some("room:7"));
    hub.publish(&plain("room:7", 1));
    hub.publish(&durable("room:7", 5));
    sinks.iter().for_each(|sink| assert_eq!(sink.take_messages(), ["1", "5"]));
}

#[test]
fn a_later_subscriber_of_an_untracked_channel_calls_again() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.live_session(1), hub.live_session(2)];
    let first = last_id(&hub.subscribe(1, "room:7", None));
    hub.ack(first, "room:7", Cut::Untracked);
    let second = last_id(&hub.subscribe(2, "room:7", None));
    assert_ne!(first, second);
    assert_eq!(hub.ack_at(second, "room:7", at(3)), ["2 subscribed room:7 #7: 9-3"]);
}
