//! What a hub asks the broker, and which answers count.

use super::*;

#[test]
fn the_broker_is_asked_once_for_all_who_wait() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.session(1), hub.session(2)];
    let request = asked(&hub.subscribes(1, "room:7", None));
    assert_eq!(hub.subscribes(2, "room:7", Some("9-3")), [""; 0]);
    assert_eq!(
        hub.acks(request, "room:7", at(3)),
        ["1 subscribed room:7 #7: 9-3", "2 subscribed room:7 #7: 9-3 recovered"]
    );
    assert_eq!(hub.unsubscribes(1, "room:7"), [""; 0]);
    assert_eq!(hub.unsubscribes(2, "room:7"), ["leave room:7"]);
}

#[test]
fn an_answer_to_an_earlier_call_is_passed_over() {
    let mut hub = TestHub::linked();
    let sink = hub.session(1);
    let first = asked(&hub.subscribes(1, "room:7", None));
    hub.unsubscribes(1, "room:7");
    sink.take_messages();
    let second = asked(&hub.subscribes(1, "room:7", None));
    assert_ne!(first, second);
    assert_eq!(hub.acks(first, "room:7", at(1)), [""; 0]);
    hub.comes(&durable("room:7", 2));
    assert_eq!(hub.acks(second, "room:7", at(3)), ["1 subscribed room:7 #7: 9-3"]);
    assert_eq!(hub.acks(second, "room:7", at(9)), [""; 0], "once");
    hub.goes_live(1, Some("room:7"));
    hub.comes(&durable("room:7", 4));
    assert_eq!(sink.take_messages(), ["4"]);
}

/// Found by the simulation (seed 5471): a full inbox drops what comes until its gap has been told. The gap was told before
/// the position was confirmed, to nobody, and what came behind the position was dropped on account of it.
#[test]
fn a_full_inbox_asks_again_for_what_is_not_answered() {
    let mut hub = TestHub::linked();
    let sink = hub.session(1);
    let first = asked(&hub.subscribes(1, "room:7", None));
    assert_eq!(hub.gap("room:7", GapReason::LinkLost), [""; 0], "nothing was dropped");
    let again = hub.gap("room:7", GapReason::Overflow);
    let second = asked(&again);
    assert_eq!(again, [format!("verify {second}: room:7")]);
    assert_eq!(hub.acks(first, "room:7", at(1)), [""; 0]);
    assert_eq!(hub.acks(second, "room:7", at(4)), ["1 subscribed room:7 #7: 9-4"]);
    hub.goes_live(1, Some("room:7"));
    assert_eq!(sink.texts(), [""; 0], "what was dropped is before its beginning");
}

#[test]
fn a_full_inbox_of_a_known_channel_is_a_gap_only() {
    let mut hub = TestHub::linked();
    let sink = hub.session(1);
    assert_eq!(hub.gap("user:1", GapReason::Overflow), [""; 0]);
    assert_eq!(hub.gap("room:9", GapReason::Overflow), [""; 0], "nobody is on it");
    assert_eq!(sink.take_messages(), ["gap: overflow"]);
}

#[test]
fn behind_an_overflow_a_later_subscriber_asks_the_broker() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.session(1), hub.session(2)];
    hub.gap("user:1", GapReason::Overflow);
    let request = asked(&hub.subscribes(2, "user:1", Some("9-0")));
    let lines = hub.acks(request, "user:1", at(2));
    assert_eq!(lines, [format!("read {} for user:2: user:1 from 9-0 to 9-2", asked(&lines))]);
}

#[test]
fn a_durable_message_makes_an_unknown_position_known() {
    let mut hub = TestHub::linked();
    let _sink = hub.session(1);
    hub.gap("user:1", GapReason::Overflow);
    let late = hub.session(2);
    hub.subscribes(2, "user:1", None);
    assert_eq!(hub.comes(&plain("user:1", 1)), [""; 0]);
    assert_eq!(hub.comes(&durable("user:1", 6)), ["2 subscribed user:1 #7: 9-6"]);
    hub.comes(&durable("user:1", 7));
    hub.goes_live(2, Some("user:1"));
    assert_eq!(late.take_messages().last().unwrap(), "7");
}

#[test]
fn an_untracked_channel_is_delivered_and_nothing_is_recovered() {
    let mut hub = TestHub::linked();
    let sinks = [hub.session(1), hub.session(2)];
    let request = asked(&hub.subscribes(1, "room:7", None));
    hub.subscribes(2, "room:7", Some("9-3"));
    assert_eq!(
        hub.is_acked(request, "room:7", Cut::Untracked),
        ["1 subscribed room:7 #7: 0-0", "2 subscribed room:7 #7: 0-0 not recovered"]
    );
    assert_eq!(hub.recoveries("unreadable"), 1);
    hub.goes_live(1, Some("room:7"));
    hub.goes_live(2, Some("room:7"));
    hub.comes(&plain("room:7", 1));
    hub.comes(&durable("room:7", 5));
    sinks.iter().for_each(|sink| assert_eq!(sink.take_messages(), ["1", "5"]));
}

#[test]
fn a_later_subscriber_of_an_untracked_channel_asks_again() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.session(1), hub.session(2)];
    let first = asked(&hub.subscribes(1, "room:7", None));
    hub.is_acked(first, "room:7", Cut::Untracked);
    let second = asked(&hub.subscribes(2, "room:7", None));
    assert_ne!(first, second);
    assert_eq!(hub.acks(second, "room:7", at(3)), ["2 subscribed room:7 #7: 9-3"]);
}
