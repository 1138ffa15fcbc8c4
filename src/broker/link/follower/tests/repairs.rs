//! What is missing is read, and what cannot be made good is told.

use super::*;

#[test]
fn what_was_missed_while_away_is_read_without_a_gap() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.goes_away();
    assert!(!channel.needs_gap());
    channel.comes(Some("1000-45"));
    channel.tail(Some("1000-44"));
    assert_eq!(channel.reads_from().as_deref(), Some("1000-41"));
    channel.page(&["1000-42", "1000-43"], "1000-44");
    assert_eq!(channel.reads_from().as_deref(), Some("1000-43"), "the page was full");
    channel.page(&["1000-44", "1000-45"], "1000-45");
    assert_eq!(channel.take_told(), ["1000-42", "1000-43", "1000-44", "1000-45"]);
    channel.goes_away();
    channel.tail(Some("1000-45"));
    assert_eq!(channel.told, [""; 0], "nothing was missed");
}

#[test]
fn plain_messages_may_be_missed_while_away_and_that_is_told() {
    for (first, history) in [(None, "1000-41"), (Some("1000-42"), "1000-42")] {
        let mut channel = FollowedChannel::at("1000-41");
        channel.comes(None);
        channel.comes(first);
        channel.take_told();
        channel.goes_away();
        assert!(channel.needs_gap());
        channel.tail(Some(history));
        assert_eq!(channel.told, ["link_lost"]);
        channel.comes(None);
        assert_eq!(channel.told, ["link_lost", "plain"], "once");
    }
}

#[test]
fn a_plain_message_of_an_interrupted_repair_owes_a_gap() {
    for is_dropped in [false, true] {
        let mut channel = FollowedChannel::at("1000-41");
        channel.verify();
        channel.budget_bytes = if is_dropped { 0 } else { usize::MAX };
        channel.comes(None);
        channel.goes_away();
        assert!(channel.needs_gap(), "dropped: {is_dropped}");
        channel.tail(Some("1000-41"));
        assert_eq!(channel.told, ["link_lost"]);
    }
}

#[test]
fn a_repair_that_is_interrupted_still_owes_its_gap() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.comes(None);
    channel.take_told();
    channel.goes_away();
    channel.goes_away();
    assert!(channel.needs_gap());
    channel.tail(Some("1000-41"));
    assert_eq!(channel.told, ["link_lost"]);
}

#[test]
fn a_gap_comes_before_what_was_read() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.comes(None);
    channel.goes_away();
    channel.tail(Some("1000-42"));
    channel.page(&["1000-42"], "1000-42");
    assert_eq!(channel.told, ["plain", "link_lost", "1000-42"]);
}

#[test]
fn a_channel_without_history_owes_a_gap_for_being_away() {
    // The data was whole since the channel began, or a history may have come and gone: then its position moves.
    for (whole_since_ms, gap) in [(NOW_MS, "link_lost"), (NOW_MS + 1, "history_lost@5000-0")] {
        let mut channel = FollowedChannel::new();
        channel.tail(None);
        channel.take_told();
        channel.goes_away();
        assert!(channel.needs_gap());
        let read = TailRead { whole_since_ms, ..tail_read(Tail::Nothing) };
        channel.step(|follower, number| follower.on_stream_tail(number, read));
        assert_eq!(channel.told, [gap]);
    }
}

#[test]
fn a_history_that_does_not_continue_is_a_gap() {
    for (read, tail) in [(&["1000-43"][..], "1000-43"), (&["2000-1"], "2000-1"), (&[], "1000-40")] {
        let mut channel = FollowedChannel::at("1000-41");
        channel.goes_away();
        channel.tail(Some(tail));
        channel.page(read, tail);
        assert_eq!(channel.told, [format!("history_lost@{tail}")], "nothing of it is delivered");
        assert_eq!(channel.follower.position(), Some(at(tail)));
    }
    let mut channel = FollowedChannel::at("1000-41");
    channel.goes_away();
    channel.tail(None);
    assert_eq!(channel.told, ["history_lost@5000-0"], "it is gone");
}

#[test]
fn behind_a_lost_history_what_the_ring_holds_is_delivered() {
    for (ring, tail, expected) in [
        // All of the new history came while the channel was repaired.
        (&["2000-1", "2000-2"][..], "2000-2", &["history_lost@2000-0", "2000-1", "2000-2"][..]),
        // Its beginning did not.
        (&["2000-3", "2000-4"], "2000-4", &["history_lost@2000-2", "2000-3", "2000-4"]),
        // More has come since it was read.
        (&["2000-2", "2000-3"], "2000-2", &["history_lost@2000-1", "2000-2", "2000-3"]),
        // Nothing of what came leads to its end.
        (&["1000-42"], "2000-2", &["history_lost@2000-2"]),
    ] {
        let mut channel = FollowedChannel::at("1000-41");
        channel.goes_away();
        channel.all_come(ring);
        channel.tail(Some(tail));
        channel.page(&[tail], tail);
        assert_eq!(channel.told, expected);
    }
}

/// A channel that is verified; its ring has dropped the message at `position`.
fn dropping(tail: &str, position: &str) -> FollowedChannel {
    let mut channel = FollowedChannel::at(tail);
    channel.verify();
    channel.budget_bytes = 0;
    channel.comes(Some(position));
    assert_eq!(channel.dropped, 1);
    channel
}

#[test]
fn a_dropped_message_that_the_history_lacks_is_a_gap() {
    let mut ended = dropping("1000-41", "1000-42");
    ended.tail(None);
    assert_eq!(ended.told, ["history_lost@5000-0"]);
    // The history has lost its end.
    let mut shorter = dropping("1000-41", "1000-42");
    shorter.tail(Some("1000-41"));
    assert_eq!(shorter.told, ["history_lost"]);
    // A history has come and gone.
    let mut deleted = dropping("5000-0", "5001-2");
    deleted.page(&[], "5002-0");
    assert_eq!(deleted.told, ["history_lost"]);
    let mut trimmed = dropping("1000-41", "1000-43");
    trimmed.page(&["1000-42"], "1000-42");
    assert_eq!(trimmed.told, ["1000-42", "history_lost"]);
    for channel in [ended, shorter, deleted, trimmed] {
        assert!(!channel.follower.is_repairing());
    }
}

#[test]
fn a_message_dropped_after_the_question_is_read_first() {
    let mut channel = FollowedChannel::at("5000-0");
    channel.verify();
    channel.asks();
    channel.budget_bytes = 0;
    channel.comes(Some("5001-1"));
    // There was none when the history was asked for, which says nothing of this one.
    channel.tail(None);
    assert_eq!(channel.told, [""; 0]);
    assert!(channel.needs_read);
    channel.page(&["5001-1"], "5001-1");
    assert_eq!(channel.told, ["5001-1"]);
}

#[test]
fn what_follows_by_itself_needs_no_history() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    assert_eq!(channel.comes(Some("1000-42")), Arrival::Hold);
    channel.tail(None);
    assert_eq!(channel.told, ["1000-42"]);
}

#[test]
fn a_history_that_expires_while_the_link_is_up_is_no_gap() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    channel.tail(None);
    assert_eq!(channel.told, [""; 0]);
    assert_eq!(channel.comes(Some("6000-1")), Arrival::Deliver);
}

#[test]
fn a_full_ring_drops_the_oldest_and_reads_again() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.budget_bytes = publication(Some("1000-43")).queued_bytes();
    channel.comes(Some("1000-43"));
    channel.asks();
    channel.comes(Some("1000-44"));
    assert_eq!(channel.dropped, 1);
    channel.page(&["1000-42", "1000-43"], "1000-43");
    assert_eq!(channel.reads_from().as_deref(), Some("1000-43"));
    channel.page(&["1000-44"], "1000-44");
    assert_eq!(channel.told, ["1000-42", "1000-43", "1000-44"]);
    assert_eq!(channel.comes(Some("1000-45")), Arrival::Deliver);
}

#[test]
fn a_ring_holds_so_many_messages_and_no_more() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    channel.asks();
    for offset in 0..ring::MAX_RING as u64 {
        channel.comes(Some(&format!("1000-{}", 42 + offset)));
    }
    assert_eq!(channel.dropped, 0);
    channel.comes(None);
    assert_eq!(channel.dropped, 1, "the oldest goes");
    channel.tail(Some("1000-41"));
    assert_eq!(channel.reads_from().as_deref(), Some("1000-41"), "it is read again");
}

#[test]
fn a_dropped_plain_message_is_an_overflow_gap() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    channel.budget_bytes = publication(Some("1000-42")).queued_bytes();
    channel.comes(None);
    channel.comes(Some("1000-42"));
    assert_eq!(channel.dropped, 1);
    channel.tail(Some("1000-41"));
    assert_eq!(channel.told, ["overflow", "1000-42"]);
}

/// Found by the simulation (seed 59948): a history was deleted between two pages. What had come live as well, and been
/// delivered from the first page, was delivered again.
#[test]
fn what_was_read_does_not_come_again_behind_a_deleted_history() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.goes_away();
    channel.all_come(&["1000-43", "1000-44"]);
    channel.tail(Some("1000-44"));
    channel.page(&["1000-42", "1000-43"], "1000-44");
    channel.page(&[], "2000-0");
    assert_eq!(channel.told, ["1000-42", "1000-43", "history_lost@2000-0"]);
    assert_eq!(channel.comes(Some("2000-1")), Arrival::Deliver);
}

/// Found by the simulation (seed 213389): the history was read ahead of what came live, then it expired, and what came late
/// was taken for a history that had begun after a clock was set back.
#[test]
fn what_comes_late_from_a_history_that_is_gone_does_not_come_again() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.goes_away();
    channel.tail(Some("1000-43"));
    channel.page(&["1000-42", "1000-43"], "1000-44");
    channel.page(&[], "5000-0");
    assert_eq!(channel.take_told(), ["1000-42", "1000-43", "history_lost@5000-0"]);
    assert_eq!(channel.comes(Some("1000-42")), Arrival::Hole);
    channel.page(&[], "5001-0");
    assert_eq!(channel.told, [""; 0]);
    assert_eq!(channel.comes(Some("5002-1")), Arrival::Deliver);
}

#[test]
fn a_publisher_with_positions_of_its_own_needs_no_history() {
    let mut channel = FollowedChannel::new();
    channel.tail(None);
    channel.take_told();
    assert_eq!(channel.comes(Some("1000-7")), Arrival::Hole);
    channel.page(&[], "5001-0");
    assert_eq!(channel.told, ["history_lost", "1000-7"]);
    assert_eq!(channel.comes(Some("1000-8")), Arrival::Deliver);
}
