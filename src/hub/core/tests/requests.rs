//! The answers to requests of sessions, and the time at which channels go live.

use super::*;

#[test]
fn join_is_answered_when_every_channel_is_known() {
    let mut hub = TestHub::linked();
    let sink = hub.connect(1);
    assert_eq!(hub.join(1, &[("user:1", None), ("all", None)]), ["subscribe 2: user:1 all"]);
    assert_eq!(hub.ack_at(2, "all", at(5)), [""; 0]);
    assert_eq!(hub.ack_at(2, "user:1", at(1)), ["1 joined: 9-1, 9-5"], "in the order of the request");
    hub.publish(&plain("all", 1));
    hub.publish(&plain("user:1", 2));
    hub.publish(&plain("all", 3));
    assert_eq!(sink.texts(), [""; 0], "no publication overtakes Ready");
    hub.go_live(1, None);
    hub.publish(&plain("all", 4));
    assert_eq!(sink.take_messages(), ["1", "2", "3", "4"]);
    assert_eq!(hub.advance(TIMEOUT), [""; 0], "answered once");
}

#[test]
fn a_known_channel_is_answered_at_once() {
    let mut hub = TestHub::linked();
    let _sink = hub.live_session(1);
    hub.publish(&durable("user:1", 4));
    let sink = hub.connect(2);
    assert_eq!(hub.join(2, &[("user:1", None)]), ["2 joined: 9-4"]);
    let lines = hub.subscribe(2, "room:7", None);
    let request = last_id(&lines);
    assert_eq!(lines, [format!("subscribe {request}: room:7")]);
    assert_eq!(hub.ack_at(request, "room:7", at(2)), ["2 subscribed room:7 #7: 9-2"]);
    hub.publish(&durable("room:7", 3));
    hub.go_live(2, Some("room:7"));
    assert_eq!(sink.take_messages(), ["3"]);
}

#[test]
fn without_a_link_join_is_answered_at_once() {
    let mut hub = TestHub::unlinked();
    let _sink = hub.connect(1);
    let lines = hub.join(1, &[("user:1", None), ("room:7", Some("9-1")), ("room:8", Some("?"))]);
    assert_eq!(
        lines,
        ["subscribe 2: user:1 room:7 room:8", "1 joined: recovering, recovering from 9-1, recovering"]
    );
    hub.go_live(1, None);
    assert_eq!(hub.set_link(true), [""; 0]);
    assert_eq!(hub.ack_at(2, "user:1", at(3)), ["1 subscribed user:1 #0: 9-3"]);
    assert_eq!(hub.ack_at(2, "room:7", at(1)), ["1 subscribed room:7 #1: 9-1 recovered"]);
    assert_eq!(hub.ack_at(2, "room:8", at(1)), ["1 subscribed room:8 #2: 9-1 not recovered"]);
}

#[test]
fn without_a_link_subscribe_is_answered_at_once() {
    let mut hub = TestHub::linked();
    let sink = hub.live_session(1);
    assert_eq!(hub.set_link(false), [""; 0]);
    assert_eq!(
        hub.subscribe(1, "room:7", Some("9-1")),
        ["subscribe 4: room:7", "1 subscribed room:7 #7: recovering from 9-1"]
    );
    hub.set_link(true);
    assert_eq!(hub.ack_at(4, "room:7", at(1)), ["1 subscribed room:7 #7: 9-1 recovered"]);
    hub.publish(&durable("room:7", 2));
    hub.go_live(1, Some("room:7"));
    assert_eq!(sink.take_messages(), ["2"]);
}

#[test]
fn a_known_channel_needs_no_link() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.live_session(1), hub.connect(2)];
    hub.set_link(false);
    assert_eq!(hub.join(2, &[("user:1", Some("9-0"))]), ["2 joined: 9-0 recovered"]);
}

#[test]
fn join_is_answered_at_its_deadline_with_the_known_channels() {
    let mut hub = TestHub::linked();
    let sink = hub.connect(1);
    hub.join(1, &[("user:1", None), ("all", None), ("room:7", Some("9-1"))]);
    hub.ack_at(2, "user:1", at(3));
    assert_eq!(hub.core.next_deadline(), Some(hub.now + TIMEOUT));
    assert_eq!(hub.advance(TIMEOUT - Duration::from_millis(1)), [""; 0], "too early");
    assert_eq!(hub.advance(Duration::from_millis(1)), ["1 joined: 9-3, recovering, recovering from 9-1"]);
    assert_eq!(hub.core.next_deadline(), None);
    hub.go_live(1, None);
    assert_eq!(hub.ack_at(2, "all", at(4)), ["1 subscribed all #1: 9-4"]);
    hub.publish(&durable("all", 5));
    hub.publish(&durable("user:1", 4));
    hub.go_live(1, Some("all"));
    assert_eq!(sink.take_messages(), ["4", "5"]);
    assert_eq!(hub.ack_at(2, "room:7", at(1)), ["1 subscribed room:7 #2: 9-1 recovered"]);
}

#[test]
fn go_live_after_ready_skips_channels_answered_alone() {
    let mut hub = TestHub::linked();
    let sink = hub.connect(1);
    hub.join(1, &[("user:1", None), ("all", None)]);
    hub.ack_at(2, "user:1", at(0));
    hub.advance(TIMEOUT);
    // The position becomes known while the session sends Ready.
    assert_eq!(hub.ack_at(2, "all", at(4)), ["1 subscribed all #1: 9-4"]);
    hub.publish(&durable("all", 5));
    hub.publish(&durable("user:1", 1));
    hub.go_live(1, None);
    assert_eq!(sink.take_messages(), ["1"]);
    hub.go_live(1, Some("all"));
    assert_eq!(sink.take_messages(), ["5"]);
}

#[test]
fn go_live_before_the_answer_does_nothing() {
    let mut hub = TestHub::linked();
    let sink = hub.connect(1);
    hub.join(1, &[("user:1", None), ("all", None)]);
    hub.ack_at(2, "user:1", at(0));
    hub.publish(&durable("user:1", 1));
    hub.go_live(1, None);
    hub.go_live(1, Some("user:1"));
    assert_eq!(sink.texts(), [""; 0]);
}

#[test]
fn a_lost_link_answers_all_waiting_requests() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.connect(1), hub.connect(2), hub.live_session(3)];
    let request = last_id(&hub.join(1, &[("user:1", None), ("all", None)]));
    hub.join(2, &[("user:2", None)]);
    hub.ack_at(request, "user:1", at(3));
    hub.subscribe(3, "room:7", None);
    let mut lines = hub.set_link(false);
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["1 joined: 9-3, recovering", "2 joined: recovering", "3 subscribed room:7 #7: recovering"]
    );
    assert_eq!(hub.set_link(false), [""; 0], "each request is answered once");
    assert_eq!(hub.advance(TIMEOUT), [""; 0]);
}

#[test]
fn deadlines_expire_in_the_order_of_requests() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.connect(1), hub.connect(2)];
    hub.join(1, &[("user:1", None)]);
    hub.now += Duration::from_secs(1);
    hub.join(2, &[("user:2", None)]);
    assert_eq!(hub.advance(TIMEOUT - Duration::from_secs(1)), ["1 joined: recovering"]);
    assert_eq!(hub.core.next_deadline(), Some(hub.now + Duration::from_secs(1)));
    assert_eq!(hub.advance(Duration::from_secs(1)), ["2 joined: recovering"]);
}

#[test]
fn a_session_that_has_left_is_not_answered() {
    let mut hub = TestHub::linked();
    let _sink = hub.connect(1);
    hub.join(1, &[("user:1", None), ("all", None)]);
    let mut left = hub.leave(1);
    left.sort_unstable();
    assert_eq!(left, ["unsubscribe user:1 all"]);
    assert_eq!(hub.ack_at(2, "user:1", at(0)), [""; 0]);
    assert_eq!(hub.set_link(false), [""; 0]);
    assert_eq!(hub.advance(TIMEOUT), [""; 0]);
}

#[test]
fn an_unsubscribed_channel_is_not_answered() {
    let mut hub = TestHub::linked();
    let _sink = hub.live_session(1);
    let request = last_id(&hub.subscribe(1, "room:7", None));
    assert_eq!(hub.unsubscribe(1, "room:7"), ["unsubscribe room:7"]);
    assert_eq!(hub.ack_at(request, "room:7", at(0)), [""; 0]);
    assert_eq!(hub.advance(TIMEOUT), [""; 0]);
}

#[test]
fn a_refused_channel_ends_its_subscription_and_no_other() {
    let mut hub = TestHub::linked();
    let sink = hub.connect(1);
    let request = last_id(&hub.join(1, &[("user:1", None), ("room:7", Some("9-1")), ("room:8", None)]));
    assert_eq!(hub.ack(request, "room:7", Cut::Refused), ["unsubscribe room:7"]);
    hub.ack_at(request, "user:1", at(0));
    assert_eq!(
        hub.ack_at(request, "room:8", at(5)),
        ["1 joined: 9-0, refused, 9-5"],
        "in the order of the request"
    );
    hub.go_live(1, None);
    hub.publish(&durable("room:8", 6));
    assert_eq!(sink.take_messages(), ["6"]);

    let request = last_id(&hub.subscribe(1, "room:7", None));
    assert_eq!(
        hub.ack(request, "room:7", Cut::Refused),
        ["1 subscribed room:7 #7: refused", "unsubscribe room:7"]
    );
}

#[test]
fn a_session_keeps_its_own_channels_when_they_are_refused() {
    let mut hub = TestHub::linked();
    let sink = hub.connect(1);
    let request = last_id(&hub.join(1, &[("user:1", None), ("all", None)]));
    assert_eq!(hub.ack(request, "user:1", Cut::Refused), [""; 0]);
    assert_eq!(hub.ack(request, "all", Cut::Refused), [""; 0]);
    assert_eq!(hub.advance(TIMEOUT), ["1 joined: recovering, recovering"]);
    assert_eq!(hub.ack_at(request, "user:1", at(3)), ["1 subscribed user:1 #0: 9-3"]);
    hub.go_live(1, Some("user:1"));
    hub.publish(&durable("user:1", 4));
    assert_eq!(sink.take_messages(), ["4"]);
}

#[test]
fn no_work_starts_for_an_ended_session() {
    let mut hub = TestHub::linked();
    let (joined, connected) = (hub.live_session(1), hub.connect(2));
    joined.end();
    connected.end();
    assert_eq!(hub.subscribe(1, "room:7", None), [""; 0]);
    assert_eq!(hub.join(2, &[("user:2", None), ("room:8", None)]), [""; 0]);
    assert_eq!(hub.leave(2), [""; 0]);
    assert_eq!(hub.leave(1), ["unsubscribe user:1"], "only started subscriptions end");
    assert_eq!((hub.metrics.sessions.get(), hub.metrics.subscriptions.get()), (0, 0));
}
