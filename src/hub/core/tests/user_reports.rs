//! The first and the last session of a user.

use super::*;

/// A hub that reports users.
fn reporting() -> TestHub {
    let rules = HubRules { reports_users: true, ..HubRules::new(LIMITS, TIMEOUT) };
    let mut hub = TestHub::with_rules(rules);
    assert_eq!(hub.set_link(true), [""; 0]);
    hub
}

/// The lines that report users.
fn reports(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().filter(|line| line.ends_with(" online") || line.ends_with(" offline")).collect()
}

#[test]
fn only_the_first_and_last_session_are_reported() {
    let mut hub = reporting();
    let _sinks = [1, 2, 3].map(|session| hub.connect(session));
    assert_eq!(reports(hub.join(1, &[("user:42", None)])), ["user:42 online"]);
    assert_eq!(reports(hub.join(2, &[("user:42", None)])), [""; 0]);
    assert_eq!(reports(hub.join(3, &[("user:43", None)])), ["user:43 online"]);
    assert_eq!(reports(hub.leave(1)), [""; 0]);
    assert_eq!(reports(hub.leave(2)), ["user:42 offline"]);
    assert_eq!(reports(hub.leave(2)), [""; 0], "it has left");
    assert_eq!(reports(hub.leave(3)), ["user:43 offline"]);
}

#[test]
fn a_user_that_returns_is_reported_again() {
    let mut hub = reporting();
    for session in [1, 2] {
        hub.connect(session);
        assert_eq!(reports(hub.join(session, &[("user:42", None)])), ["user:42 online"]);
        assert_eq!(reports(hub.leave(session)), ["user:42 offline"]);
    }
}

#[test]
fn a_foreign_subscriber_is_no_session_of_the_user() {
    let mut hub = reporting();
    let _sinks = [7, 42].map(|session| hub.connect(session));
    hub.join(7, &[("user:7", None)]);
    assert_eq!(reports(hub.subscribe(7, "user:42", None)), [""; 0]);
    assert_eq!(
        reports(hub.join(42, &[("user:42", None)])),
        ["user:42 online"],
        "the subscriber is no session"
    );
    assert_eq!(reports(hub.leave(42)), ["user:42 offline"], "the subscriber stays");
    assert_eq!(reports(hub.unsubscribe(7, "user:42")), [""; 0]);
    assert_eq!(reports(hub.leave(7)), ["user:7 offline"]);
}

#[test]
fn a_session_that_never_joined_reports_nothing() {
    let mut hub = reporting();
    hub.connect(1);
    assert_eq!(reports(hub.leave(1)), [""; 0]);
}

#[test]
fn a_session_that_closed_before_it_joined_reports_nothing() {
    let mut hub = reporting();
    hub.connect(1).end();
    assert_eq!(reports(hub.join(1, &[("user:42", None)])), [""; 0]);
    assert_eq!(reports(hub.leave(1)), [""; 0]);
}

#[test]
fn users_are_reported_while_the_link_is_down() {
    let mut hub = reporting();
    hub.set_link(false);
    hub.connect(1);
    assert_eq!(reports(hub.join(1, &[("user:42", None)])), ["user:42 online"]);
    assert_eq!(reports(hub.leave(1)), ["user:42 offline"]);
}

#[test]
fn no_user_is_reported_while_presence_is_off() {
    let mut hub = TestHub::linked();
    hub.connect(1);
    assert_eq!(reports(hub.join(1, &[("user:42", None)])), [""; 0]);
    assert_eq!(reports(hub.leave(1)), [""; 0]);
}
