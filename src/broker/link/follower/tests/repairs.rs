//! Missing messages are read, or announced as a gap if they cannot be read.

use super::*;

#[test]
fn missed_durable_messages_are_read_without_a_gap() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.lose_link();
    assert!(!channel.needs_gap());
    channel.receive(Some("1000-45"));
    channel.answer_tail(Some("1000-44"));
    assert_eq!(channel.reads_from().as_deref(), Some("1000-41"));
    channel.answer_page(&["1000-42", "1000-43"], "1000-44");
    assert_eq!(channel.reads_from().as_deref(), Some("1000-43"), "the page did not reach the tail");
    channel.answer_page(&["1000-44", "1000-45"], "1000-45");
    assert_eq!(channel.take_outputs(), ["1000-42", "1000-43", "1000-44", "1000-45"]);
    channel.lose_link();
    channel.answer_tail(Some("1000-45"));
    assert_eq!(channel.outputs, [""; 0], "no message was missed");
}

#[test]
fn a_lost_link_is_a_gap_where_plain_messages_occur() {
    for (first, history) in [(None, "1000-41"), (Some("1000-42"), "1000-42")] {
        let mut channel = FollowedChannel::at("1000-41");
        channel.receive(None);
        channel.receive(first);
        channel.take_outputs();
        channel.lose_link();
        assert!(channel.needs_gap());
        channel.answer_tail(Some(history));
        assert_eq!(channel.outputs, ["link_lost"]);
        channel.receive(None);
        assert_eq!(channel.outputs, ["link_lost", "plain"], "one gap");
    }
}

#[test]
fn a_plain_message_during_an_interrupted_repair_causes_a_gap() {
    for is_dropped in [false, true] {
        let mut channel = FollowedChannel::at("1000-41");
        channel.verify();
        channel.budget_bytes = if is_dropped { 0 } else { usize::MAX };
        channel.receive(None);
        channel.lose_link();
        assert!(channel.needs_gap(), "dropped: {is_dropped}");
        channel.answer_tail(Some("1000-41"));
        assert_eq!(channel.outputs, ["link_lost"]);
    }
}

#[test]
fn an_interrupted_repair_still_announces_its_gap() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.receive(None);
    channel.take_outputs();
    channel.lose_link();
    channel.lose_link();
    assert!(channel.needs_gap());
    channel.answer_tail(Some("1000-41"));
    assert_eq!(channel.outputs, ["link_lost"]);
}

#[test]
fn a_gap_comes_before_the_messages_read() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.receive(None);
    channel.lose_link();
    channel.answer_tail(Some("1000-42"));
    channel.answer_page(&["1000-42"], "1000-42");
    assert_eq!(channel.outputs, ["plain", "link_lost", "1000-42"]);
}

#[test]
fn a_lost_link_is_a_gap_on_channels_without_history() {
    // If the data is not whole, a history may have come and gone, so the position moves.
    for (whole_since_ms, gap) in [(NOW_MS, "link_lost"), (NOW_MS + 1, "history_lost@5000-0")] {
        let mut channel = FollowedChannel::new();
        channel.answer_tail(None);
        channel.take_outputs();
        channel.lose_link();
        assert!(channel.needs_gap());
        let read = TailRead { whole_since_ms, ..tail_read(Tail::Nothing) };
        channel.step(|follower, number| follower.on_stream_tail(number, read));
        assert_eq!(channel.outputs, [gap]);
    }
}

#[test]
fn a_history_that_does_not_continue_is_a_gap() {
    for (read, tail) in [(&["1000-43"][..], "1000-43"), (&["2000-1"], "2000-1"), (&[], "1000-40")] {
        let mut channel = FollowedChannel::at("1000-41");
        channel.lose_link();
        channel.answer_tail(Some(tail));
        channel.answer_page(read, tail);
        assert_eq!(channel.outputs, [format!("history_lost@{tail}")], "no message of it is delivered");
        assert_eq!(channel.follower.position(), Some(at(tail)));
    }
    let mut channel = FollowedChannel::at("1000-41");
    channel.lose_link();
    channel.answer_tail(None);
    assert_eq!(channel.outputs, ["history_lost@5000-0"], "the history is gone");
}

#[test]
fn after_a_lost_history_the_ring_is_delivered() {
    for (ring, tail, expected) in [
        // The ring holds all of the new history.
        (&["2000-1", "2000-2"][..], "2000-2", &["history_lost@2000-0", "2000-1", "2000-2"][..]),
        // The ring lacks its beginning.
        (&["2000-3", "2000-4"], "2000-4", &["history_lost@2000-2", "2000-3", "2000-4"]),
        // The ring holds a message after the tail that was read.
        (&["2000-2", "2000-3"], "2000-2", &["history_lost@2000-1", "2000-2", "2000-3"]),
        // The ring does not reach its tail.
        (&["1000-42"], "2000-2", &["history_lost@2000-2"]),
    ] {
        let mut channel = FollowedChannel::at("1000-41");
        channel.lose_link();
        channel.receive_all(ring);
        channel.answer_tail(Some(tail));
        channel.answer_page(&[tail], tail);
        assert_eq!(channel.outputs, expected);
    }
}

/// A channel that is being verified, and whose ring dropped the message at `position`.
fn dropping(tail: &str, position: &str) -> FollowedChannel {
    let mut channel = FollowedChannel::at(tail);
    channel.verify();
    channel.budget_bytes = 0;
    channel.receive(Some(position));
    assert_eq!(channel.dropped, 1);
    channel
}

#[test]
fn a_dropped_message_that_the_history_lacks_is_a_gap() {
    let mut ended = dropping("1000-41", "1000-42");
    ended.answer_tail(None);
    assert_eq!(ended.outputs, ["history_lost@5000-0"]);
    // The history lost its end.
    let mut shorter = dropping("1000-41", "1000-42");
    shorter.answer_tail(Some("1000-41"));
    assert_eq!(shorter.outputs, ["history_lost"]);
    // A history came and went.
    let mut deleted = dropping("5000-0", "5001-2");
    deleted.answer_page(&[], "5002-0");
    assert_eq!(deleted.outputs, ["history_lost"]);
    let mut trimmed = dropping("1000-41", "1000-43");
    trimmed.answer_page(&["1000-42"], "1000-42");
    assert_eq!(trimmed.outputs, ["1000-42", "history_lost"]);
    for channel in [ended, shorter, deleted, trimmed] {
        assert!(!channel.follower.is_repairing());
    }
}

#[test]
fn a_message_dropped_during_a_read_is_read_again() {
    let mut channel = FollowedChannel::at("5000-0");
    channel.verify();
    channel.begin_read();
    channel.budget_bytes = 0;
    channel.receive(Some("5001-1"));
    // The answer is older than the message, so it does not show that the history lacks it.
    channel.answer_tail(None);
    assert_eq!(channel.outputs, [""; 0]);
    assert!(channel.needs_read);
    channel.answer_page(&["5001-1"], "5001-1");
    assert_eq!(channel.outputs, ["5001-1"]);
}

#[test]
fn consecutive_messages_need_no_history() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    assert_eq!(channel.receive(Some("1000-42")), Arrival::Hold);
    channel.answer_tail(None);
    assert_eq!(channel.outputs, ["1000-42"]);
}

#[test]
fn an_expired_history_is_no_gap_while_the_link_is_up() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    channel.answer_tail(None);
    assert_eq!(channel.outputs, [""; 0]);
    assert_eq!(channel.receive(Some("6000-1")), Arrival::Deliver);
}

// The hub left the channel and came back between two pages, so the tail was read again: seed 89448.
#[test]
fn a_history_that_expires_between_two_pages_is_a_gap() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.lose_link();
    channel.answer_tail(Some("1000-43"));
    channel.answer_page(&["1000-42"], "1000-43");
    channel.answer_tail(None);
    assert_eq!(channel.take_outputs(), ["1000-42", "history_lost@5000-0"]);
    channel.receive(Some("6000-1"));
    assert_eq!(channel.take_outputs(), ["6000-1"]);
}

#[test]
fn a_full_ring_drops_the_oldest_and_reads_again() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.budget_bytes = publication(Some("1000-43")).queued_bytes();
    channel.receive(Some("1000-43"));
    channel.begin_read();
    channel.receive(Some("1000-44"));
    assert_eq!(channel.dropped, 1);
    channel.answer_page(&["1000-42", "1000-43"], "1000-43");
    assert_eq!(channel.reads_from().as_deref(), Some("1000-43"));
    channel.answer_page(&["1000-44"], "1000-44");
    assert_eq!(channel.outputs, ["1000-42", "1000-43", "1000-44"]);
    assert_eq!(channel.receive(Some("1000-45")), Arrival::Deliver);
}

#[test]
fn a_ring_holds_a_bounded_number_of_messages() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    channel.begin_read();
    for offset in 0..ring::MAX_RING as u64 {
        channel.receive(Some(&format!("1000-{}", 42 + offset)));
    }
    assert_eq!(channel.dropped, 0);
    channel.receive(None);
    assert_eq!(channel.dropped, 1, "the oldest is dropped");
    channel.answer_tail(Some("1000-41"));
    assert_eq!(channel.reads_from().as_deref(), Some("1000-41"), "the dropped message is read again");
}

#[test]
fn a_dropped_plain_message_is_an_overflow_gap() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    channel.budget_bytes = publication(Some("1000-42")).queued_bytes();
    channel.receive(None);
    channel.receive(Some("1000-42"));
    assert_eq!(channel.dropped, 1);
    channel.answer_tail(Some("1000-41"));
    assert_eq!(channel.outputs, ["overflow", "1000-42"]);
}

/// Found by the simulation (seed 59948): after a history was deleted between two pages, messages in the ring that the
/// first page had delivered were delivered again.
#[test]
fn messages_read_before_a_history_was_deleted_are_not_repeated() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.lose_link();
    channel.receive_all(&["1000-43", "1000-44"]);
    channel.answer_tail(Some("1000-44"));
    channel.answer_page(&["1000-42", "1000-43"], "1000-44");
    channel.answer_page(&[], "2000-0");
    assert_eq!(channel.outputs, ["1000-42", "1000-43", "history_lost@2000-0"]);
    assert_eq!(channel.receive(Some("2000-1")), Arrival::Deliver);
}

/// Found by the simulation (seed 213389): a late message of an expired history counted as the start of a history after
/// the clock was set back.
#[test]
fn late_messages_of_an_expired_history_are_not_repeated() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.lose_link();
    channel.answer_tail(Some("1000-43"));
    channel.answer_page(&["1000-42", "1000-43"], "1000-44");
    channel.answer_page(&[], "5000-0");
    assert_eq!(channel.take_outputs(), ["1000-42", "1000-43", "history_lost@5000-0"]);
    assert_eq!(channel.receive(Some("1000-42")), Arrival::Hole);
    channel.answer_page(&[], "5001-0");
    assert_eq!(channel.outputs, [""; 0]);
    assert_eq!(channel.receive(Some("5002-1")), Arrival::Deliver);
}

/// Found by the simulation (seeds 158289 and 1473496): a message of the first of two removed histories came late.
#[test]
fn a_late_message_older_than_a_lost_history_is_not_delivered() {
    let mut channel = FollowedChannel::at("2000-1");
    channel.lose_link();
    channel.answer_tail(None);
    channel.take_outputs();
    assert_eq!(channel.receive(Some("1000-4")), Arrival::Hole);
    channel.answer_page(&[], "5001-0");
    assert_eq!(channel.outputs, ["history_lost"]);
}

#[test]
fn positions_chosen_by_a_publisher_need_no_history() {
    let mut channel = FollowedChannel::new();
    channel.answer_tail(None);
    channel.take_outputs();
    assert_eq!(channel.receive(Some("1000-7")), Arrival::Hole);
    channel.answer_page(&[], "5001-0");
    assert_eq!(channel.outputs, ["history_lost", "1000-7"]);
    assert_eq!(channel.receive(Some("1000-8")), Arrival::Deliver);
}
