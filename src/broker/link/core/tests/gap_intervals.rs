//! A link that comes and goes tells a gap now and then, not each time.

use super::*;

/// Hub A is on room:1, which carries plain messages, and on room:2, which is durable.
fn link() -> Link {
    let mut link = Link::carrying(["room:1", "room:2"]);
    link.plain_comes("room:1");
    link.publishes("room:2", true);
    link.forget();
    link
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn one_gap_is_told_in_ten_seconds() {
    let mut link = link();
    let start = link.now;
    link.reconnects();
    link.run();
    assert_eq!(link.told(A), ["link down", "link up", "room:1 link_lost"]);
    for second in 1..10 {
        link.now = start + second * SECOND;
        link.reconnects();
        link.run();
        assert_eq!(link.told(A), ["link down", "link up"], "after {second} s");
        assert_eq!(link.core.next_deadline(), Some(start + GAP_INTERVAL));
        link.core.deadline_passed(link.now);
        link.run();
        assert_eq!(link.told(A), [""; 0], "after {second} s");
    }
    link.now = start + GAP_INTERVAL;
    link.core.deadline_passed(link.now);
    assert_eq!(link.core.next_deadline(), None);
    link.run();
    assert_eq!(link.told(A), ["room:1 link_lost"]);
}

#[test]
fn what_comes_while_a_gap_waits_is_not_delayed() {
    let mut link = link();
    for _ in 0..2 {
        link.reconnects();
        link.run();
    }
    link.forget();
    link.plain_comes("room:1");
    link.publishes("room:1", true);
    assert_eq!(link.told(A), ["room:1 plain", "room:1 9-1"]);
    assert!(link.core.is_complete());
    link.core.deadline_passed(link.now + GAP_INTERVAL);
    assert_eq!(link.told(A), ["room:1 link_lost"]);
}

#[test]
fn a_channel_with_nothing_but_durable_messages_is_not_delayed() {
    let mut link = link();
    for offset in 2..6 {
        link.core.disconnected();
        link.publishes("room:2", false);
        link.core.connected();
        link.run();
        assert!(link.told(A).contains(&format!("room:2 9-{offset}")));
    }
}

#[test]
fn all_channels_of_one_connection_tell_their_gaps() {
    let mut link = Link::carrying(["room:1", "room:2", "room:3"]);
    link.reconnects();
    while link.batch(1).is_some() {
        link.now += SECOND;
        while link.read().is_some() {}
    }
    let told = link.told(A);
    assert_eq!(told.iter().filter(|line| line.contains("link_lost")).count(), 3, "{told:?}");
    assert_eq!(link.core.next_deadline(), None);
}

/// Found by a link that flapped: what was owed came first, and the same channel's next gap right behind it.
#[test]
fn an_owed_gap_is_not_followed_by_another_of_its_connection() {
    let mut link = link();
    for _ in 0..2 {
        link.reconnects();
        link.run();
    }
    link.reconnects();
    link.forget();
    link.now += GAP_INTERVAL;
    link.core.deadline_passed(link.now);
    link.run();
    assert_eq!(link.told(A), ["room:1 link_lost"]);
    assert_eq!(link.core.next_deadline(), Some(link.now + GAP_INTERVAL));
}

#[test]
fn after_ten_seconds_a_gap_is_told_at_once() {
    let mut link = link();
    for _ in 0..3 {
        link.reconnects();
        link.run();
        assert_eq!(link.told(A).last().unwrap(), "room:1 link_lost");
        link.now += GAP_INTERVAL;
    }
}

#[test]
fn a_new_subscriber_is_answered_while_a_gap_waits() {
    let mut link = link();
    link.reconnects();
    link.run();
    link.reconnects();
    link.run();
    link.forget();
    link.core.subscribe(B, 2, names(["room:1", "room:3"]), false);
    link.run();
    assert_eq!(link.told(B), ["room:1 subscribed by 2 at 9-0", "room:3 subscribed by 2 at 9-0"]);
}

#[test]
fn a_channel_that_is_left_while_its_gap_waits_is_forgotten() {
    let mut link = link();
    link.reconnects();
    link.run();
    link.reconnects();
    link.run();
    link.core.unsubscribe(A, &names(["room:1", "room:2"]));
    link.run();
    link.core.deadline_passed(link.now + GAP_INTERVAL);
    link.run();
    link.assert_empty();
    assert!(link.core.is_complete());
}
