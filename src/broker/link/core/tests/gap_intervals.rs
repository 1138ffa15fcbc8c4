//! An unstable link announces its gaps at an interval, not at each loss.

use super::*;

/// Hub A is subscribed to room:1, which has plain messages, and to room:2, which has only durable ones.
fn link() -> Link {
    let mut link = Link::subscribed_to(["room:1", "room:2"]);
    link.receive_plain("room:1");
    link.publish("room:2", true);
    link.clear_events();
    link
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_channel_gets_one_link_gap_in_ten_seconds() {
    let mut link = link();
    let start = link.now;
    link.reconnect();
    link.run();
    assert_eq!(link.take_events(A), ["link down", "link up", "room:1 link_lost"]);
    for second in 1..10 {
        link.now = start + second * SECOND;
        link.reconnect();
        link.run();
        assert_eq!(link.take_events(A), ["link down", "link up"], "after {second} s");
        assert_eq!(link.core.next_deadline(), Some(start + GAP_INTERVAL));
        link.core.deadline_passed(link.now);
        link.run();
        assert_eq!(link.take_events(A), [""; 0], "after {second} s");
    }
    link.now = start + GAP_INTERVAL;
    link.core.deadline_passed(link.now);
    assert_eq!(link.core.next_deadline(), None);
    link.run();
    assert_eq!(link.take_events(A), ["room:1 link_lost"]);
}

#[test]
fn a_pending_gap_does_not_delay_publications() {
    let mut link = link();
    for _ in 0..2 {
        link.reconnect();
        link.run();
    }
    link.clear_events();
    link.receive_plain("room:1");
    link.publish("room:1", true);
    assert_eq!(link.take_events(A), ["room:1 plain", "room:1 9-1"]);
    assert!(link.core.is_complete());
    link.core.deadline_passed(link.now + GAP_INTERVAL);
    assert_eq!(link.take_events(A), ["room:1 link_lost"]);
}

#[test]
fn durable_messages_are_repaired_without_delay() {
    let mut link = link();
    for offset in 2..6 {
        link.core.disconnected();
        link.publish("room:2", false);
        link.core.connected();
        link.run();
        assert!(link.take_events(A).contains(&format!("room:2 9-{offset}")));
    }
}

#[test]
fn all_channels_of_one_connection_announce_their_gaps() {
    let mut link = Link::subscribed_to(["room:1", "room:2", "room:3"]);
    link.reconnect();
    while link.confirm_batch(1).is_some() {
        link.now += SECOND;
        while link.answer_read().is_some() {}
    }
    let events = link.take_events(A);
    assert_eq!(events.iter().filter(|line| line.contains("link_lost")).count(), 3, "{events:?}");
    assert_eq!(link.core.next_deadline(), None);
}

/// Found by a flapping link: the pending gap was followed at once by the same channel's next gap.
#[test]
fn a_pending_gap_covers_all_gaps_of_its_connection() {
    let mut link = link();
    for _ in 0..2 {
        link.reconnect();
        link.run();
    }
    link.reconnect();
    link.clear_events();
    link.now += GAP_INTERVAL;
    link.core.deadline_passed(link.now);
    link.run();
    assert_eq!(link.take_events(A), ["room:1 link_lost"]);
    assert_eq!(link.core.next_deadline(), Some(link.now + GAP_INTERVAL));
}

#[test]
fn after_ten_seconds_a_gap_is_announced_at_once() {
    let mut link = link();
    for _ in 0..3 {
        link.reconnect();
        link.run();
        assert_eq!(link.take_events(A).last().unwrap(), "room:1 link_lost");
        link.now += GAP_INTERVAL;
    }
}

#[test]
fn a_new_subscriber_is_answered_while_a_gap_is_pending() {
    let mut link = link();
    link.reconnect();
    link.run();
    link.reconnect();
    link.run();
    link.clear_events();
    link.core.subscribe(B, 2, names(["room:1", "room:3"]), false);
    link.run();
    assert_eq!(link.take_events(B), ["room:1 subscribed by 2 at 9-0", "room:3 subscribed by 2 at 9-0"]);
}

#[test]
fn a_channel_left_with_a_pending_gap_is_removed() {
    let mut link = link();
    link.reconnect();
    link.run();
    link.reconnect();
    link.run();
    link.core.unsubscribe(A, &names(["room:1", "room:2"]));
    link.run();
    link.core.deadline_passed(link.now + GAP_INTERVAL);
    link.run();
    link.assert_empty();
    assert!(link.core.is_complete());
}
