//! When a session is told what it has asked for, and when its channels go live.

use super::*;

#[test]
fn join_is_answered_when_all_is_known() {
    let mut hub = TestHub::linked();
    let sink = hub.connects(1);
    assert_eq!(hub.joins(1, &[("user:1", None), ("all", None)]), ["ask 2: user:1 all"]);
    assert_eq!(hub.acks(2, "all", at(5)), [""; 0]);
    assert_eq!(hub.acks(2, "user:1", at(1)), ["1 joined: 9-1, 9-5"], "in the order asked");
    hub.comes(&plain("all", 1));
    hub.comes(&plain("user:1", 2));
    hub.comes(&plain("all", 3));
    assert_eq!(sink.texts(), [""; 0], "nothing overtakes Ready");
    hub.goes_live(1, None);
    hub.comes(&plain("all", 4));
    assert_eq!(sink.take_messages(), ["1", "2", "3", "4"]);
    assert_eq!(hub.passes(TIMEOUT), [""; 0], "answered once");
}

#[test]
fn what_is_known_already_is_answered_at_once() {
    let mut hub = TestHub::linked();
    let _sink = hub.session(1);
    hub.comes(&durable("user:1", 4));
    let sink = hub.connects(2);
    assert_eq!(hub.joins(2, &[("user:1", None)]), ["2 joined: 9-4"]);
    let lines = hub.subscribes(2, "room:7", None);
    let request = asked(&lines);
    assert_eq!(lines, [format!("ask {request}: room:7")]);
    assert_eq!(hub.acks(request, "room:7", at(2)), ["2 subscribed room:7 #7: 9-2"]);
    hub.comes(&durable("room:7", 3));
    hub.goes_live(2, Some("room:7"));
    assert_eq!(sink.take_messages(), ["3"]);
}

#[test]
fn without_a_link_join_is_answered_at_once() {
    let mut hub = TestHub::unlinked();
    let _sink = hub.connects(1);
    let lines = hub.joins(1, &[("user:1", None), ("room:7", Some("9-1")), ("room:8", Some("?"))]);
    assert_eq!(
        lines,
        ["ask 2: user:1 room:7 room:8", "1 joined: recovering, recovering from 9-1, recovering"]
    );
    hub.goes_live(1, None);
    assert_eq!(hub.link(true), [""; 0]);
    assert_eq!(hub.acks(2, "user:1", at(3)), ["1 subscribed user:1 #0: 9-3"]);
    assert_eq!(hub.acks(2, "room:7", at(1)), ["1 subscribed room:7 #1: 9-1 recovered"]);
    assert_eq!(hub.acks(2, "room:8", at(1)), ["1 subscribed room:8 #2: 9-1 not recovered"]);
}

#[test]
fn without_a_link_subscribe_is_answered_at_once() {
    let mut hub = TestHub::linked();
    let sink = hub.session(1);
    assert_eq!(hub.link(false), [""; 0]);
    assert_eq!(
        hub.subscribes(1, "room:7", Some("9-1")),
        ["ask 4: room:7", "1 subscribed room:7 #7: recovering from 9-1"]
    );
    hub.link(true);
    assert_eq!(hub.acks(4, "room:7", at(1)), ["1 subscribed room:7 #7: 9-1 recovered"]);
    hub.comes(&durable("room:7", 2));
    hub.goes_live(1, Some("room:7"));
    assert_eq!(sink.take_messages(), ["2"]);
}

#[test]
fn a_channel_that_is_known_needs_no_link() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.session(1), hub.connects(2)];
    hub.link(false);
    assert_eq!(hub.joins(2, &[("user:1", Some("9-0"))]), ["2 joined: 9-0 recovered"]);
}

#[test]
fn at_its_deadline_join_is_answered_with_what_is_known() {
    let mut hub = TestHub::linked();
    let sink = hub.connects(1);
    hub.joins(1, &[("user:1", None), ("all", None), ("room:7", Some("9-1"))]);
    hub.acks(2, "user:1", at(3));
    assert_eq!(hub.core.next_deadline(), Some(hub.now + TIMEOUT));
    assert_eq!(hub.passes(TIMEOUT - Duration::from_millis(1)), [""; 0], "too early");
    assert_eq!(hub.passes(Duration::from_millis(1)), ["1 joined: 9-3, recovering, recovering from 9-1"]);
    assert_eq!(hub.core.next_deadline(), None);
    hub.goes_live(1, None);
    assert_eq!(hub.acks(2, "all", at(4)), ["1 subscribed all #1: 9-4"]);
    hub.comes(&durable("all", 5));
    hub.comes(&durable("user:1", 4));
    hub.goes_live(1, Some("all"));
    assert_eq!(sink.take_messages(), ["4", "5"]);
    assert_eq!(hub.acks(2, "room:7", at(1)), ["1 subscribed room:7 #2: 9-1 recovered"]);
}

#[test]
fn go_live_of_ready_opens_nothing_whose_op_6_follows() {
    let mut hub = TestHub::linked();
    let sink = hub.connects(1);
    hub.joins(1, &[("user:1", None), ("all", None)]);
    hub.acks(2, "user:1", at(0));
    hub.passes(TIMEOUT);
    // It becomes known while the session sends Ready.
    assert_eq!(hub.acks(2, "all", at(4)), ["1 subscribed all #1: 9-4"]);
    hub.comes(&durable("all", 5));
    hub.comes(&durable("user:1", 1));
    hub.goes_live(1, None);
    assert_eq!(sink.take_messages(), ["1"]);
    hub.goes_live(1, Some("all"));
    assert_eq!(sink.take_messages(), ["5"]);
}

#[test]
fn go_live_before_the_answer_opens_nothing() {
    let mut hub = TestHub::linked();
    let sink = hub.connects(1);
    hub.joins(1, &[("user:1", None), ("all", None)]);
    hub.acks(2, "user:1", at(0));
    hub.comes(&durable("user:1", 1));
    hub.goes_live(1, None);
    hub.goes_live(1, Some("user:1"));
    assert_eq!(sink.texts(), [""; 0]);
}

#[test]
fn a_lost_link_answers_all_who_wait() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.connects(1), hub.connects(2), hub.session(3)];
    let request = asked(&hub.joins(1, &[("user:1", None), ("all", None)]));
    hub.joins(2, &[("user:2", None)]);
    hub.acks(request, "user:1", at(3));
    hub.subscribes(3, "room:7", None);
    let mut lines = hub.link(false);
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["1 joined: 9-3, recovering", "2 joined: recovering", "3 subscribed room:7 #7: recovering"]
    );
    assert_eq!(hub.link(false), [""; 0], "once");
    assert_eq!(hub.passes(TIMEOUT), [""; 0]);
}

#[test]
fn requests_of_one_time_are_due_in_their_order() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.connects(1), hub.connects(2)];
    hub.joins(1, &[("user:1", None)]);
    hub.now += Duration::from_secs(1);
    hub.joins(2, &[("user:2", None)]);
    assert_eq!(hub.passes(TIMEOUT - Duration::from_secs(1)), ["1 joined: recovering"]);
    assert_eq!(hub.core.next_deadline(), Some(hub.now + Duration::from_secs(1)));
    assert_eq!(hub.passes(Duration::from_secs(1)), ["2 joined: recovering"]);
}

#[test]
fn a_session_that_has_left_is_not_answered() {
    let mut hub = TestHub::linked();
    let _sink = hub.connects(1);
    hub.joins(1, &[("user:1", None), ("all", None)]);
    let mut left = hub.leaves(1);
    left.sort_unstable();
    assert_eq!(left, ["leave user:1 all"]);
    assert_eq!(hub.acks(2, "user:1", at(0)), [""; 0]);
    assert_eq!(hub.link(false), [""; 0]);
    assert_eq!(hub.passes(TIMEOUT), [""; 0]);
}

#[test]
fn a_channel_that_was_given_up_is_not_told() {
    let mut hub = TestHub::linked();
    let _sink = hub.session(1);
    let request = asked(&hub.subscribes(1, "room:7", None));
    assert_eq!(hub.unsubscribes(1, "room:7"), ["leave room:7"]);
    assert_eq!(hub.acks(request, "room:7", at(0)), [""; 0]);
    assert_eq!(hub.passes(TIMEOUT), [""; 0]);
}

#[test]
fn a_refused_channel_ends_its_subscription_and_no_other() {
    let mut hub = TestHub::linked();
    let sink = hub.connects(1);
    let request = asked(&hub.joins(1, &[("user:1", None), ("room:7", Some("9-1")), ("room:8", None)]));
    assert_eq!(hub.is_acked(request, "room:7", Cut::Refused), ["leave room:7"]);
    hub.acks(request, "user:1", at(0));
    assert_eq!(hub.acks(request, "room:8", at(5)), ["1 joined: 9-0, refused, 9-5"], "in the order asked");
    hub.goes_live(1, None);
    hub.comes(&durable("room:8", 6));
    assert_eq!(sink.take_messages(), ["6"]);

    let request = asked(&hub.subscribes(1, "room:7", None));
    assert_eq!(
        hub.is_acked(request, "room:7", Cut::Refused),
        ["1 subscribed room:7 #7: refused", "leave room:7"]
    );
}

#[test]
fn a_session_keeps_its_own_channels_until_the_broker_may_subscribe() {
    let mut hub = TestHub::linked();
    let sink = hub.connects(1);
    let request = asked(&hub.joins(1, &[("user:1", None), ("all", None)]));
    assert_eq!(hub.is_acked(request, "user:1", Cut::Refused), [""; 0]);
    assert_eq!(hub.is_acked(request, "all", Cut::Refused), [""; 0]);
    assert_eq!(hub.passes(TIMEOUT), ["1 joined: recovering, recovering"]);
    assert_eq!(hub.acks(request, "user:1", at(3)), ["1 subscribed user:1 #0: 9-3"]);
    hub.goes_live(1, Some("user:1"));
    hub.comes(&durable("user:1", 4));
    assert_eq!(sink.take_messages(), ["4"]);
}

#[test]
fn nothing_is_begun_for_a_session_that_has_ended() {
    let mut hub = TestHub::linked();
    let (joined, connected) = (hub.session(1), hub.connects(2));
    joined.ends();
    connected.ends();
    assert_eq!(hub.subscribes(1, "room:7", None), [""; 0]);
    assert_eq!(hub.joins(2, &[("user:2", None), ("room:8", None)]), [""; 0]);
    assert_eq!(hub.leaves(2), [""; 0]);
    assert_eq!(hub.leaves(1), ["leave user:1"], "only what was begun is undone");
    assert_eq!((hub.metrics.sessions.get(), hub.metrics.subscriptions.get()), (0, 0));
}
