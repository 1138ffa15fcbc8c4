//! Histories that cannot be read.

use super::*;

#[test]
fn an_unreadable_history_is_a_gap_and_delivery_continues() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.receive(Some("1000-44"));
    channel.answer_unreadable();
    assert_eq!(channel.outputs, ["history_unreadable", "1000-44"]);
    assert_eq!(channel.follower.position(), None);
    assert_eq!(channel.receive(Some("1000-45")), Arrival::Deliver, "an untracked channel claims nothing");
    assert_eq!(channel.receive(Some("1000-47")), Arrival::DeliverAfterGap);
    assert_eq!(channel.receive(None), Arrival::Deliver);
    assert_eq!(channel.receive(Some("1000-46")), Arrival::Duplicate, "positions grow");
}

#[test]
fn a_new_channel_with_an_unreadable_history_is_untracked() {
    let mut channel = FollowedChannel::new();
    channel.receive(Some("1000-44"));
    channel.answer_unreadable();
    assert_eq!(channel.outputs, ["cut untracked", "1000-44"]);
    assert_eq!(channel.receive(Some("1000-45")), Arrival::Deliver);
}

/// Found by the simulation (seed 743): a skipped message was neither read nor announced.
#[test]
fn a_skipped_position_in_an_unreadable_history_is_a_gap() {
    let mut channel = FollowedChannel::at("1000-41");
    assert_eq!(channel.receive(Some("1000-43")), Arrival::Hole);
    channel.answer_unreadable();
    assert_eq!(channel.outputs, ["history_unreadable", "1000-43"]);
}

/// Found by the simulation (seed 10079): a refused read counted as a removed history, so the channel lost its position.
#[test]
fn an_unreadable_history_is_announced_once_and_keeps_its_position() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    channel.answer_unreadable();
    assert_eq!(channel.receive(Some("1000-42")), Arrival::Deliver);
    channel.verify();
    assert_eq!(channel.receive(Some("1000-43")), Arrival::Hold);
    channel.answer_unreadable();
    assert_eq!(channel.receive(Some("1000-44")), Arrival::Deliver);
    channel.verify();
    channel.answer_tail(Some("1000-44"));
    assert_eq!(channel.outputs, ["history_unreadable", "1000-42", "1000-43", "1000-44"]);
    assert_eq!(channel.follower.position(), Some(at("1000-44")));
}

#[test]
fn an_unreadable_tail_after_a_lost_link_is_a_gap() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.lose_link();
    assert_eq!(channel.receive(Some("1000-42")), Arrival::Hold);
    channel.answer_unreadable();
    assert_eq!(channel.outputs, ["history_unreadable", "1000-42"]);
}

#[test]
fn an_untracked_channel_resumes_after_its_last_message() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    channel.answer_unreadable();
    channel.receive(Some("1000-45"));
    channel.take_outputs();
    channel.verify();
    assert_eq!(channel.reads_from().as_deref(), Some("1000-45"));
    channel.answer_tail(Some("1000-47"));
    channel.answer_page(&["1000-46", "1000-47"], "1000-47");
    assert_eq!(channel.outputs, ["1000-46", "1000-47"]);
    assert_eq!(channel.receive(Some("1000-48")), Arrival::Deliver);
}

/// Found by the simulation (seed 84033): the end of the history went missing before the first message of a new epoch.
#[test]
fn a_history_that_becomes_unreadable_between_pages_is_a_gap() {
    for is_link_lost in [false, true] {
        for next in ["1000-45", "2000-1"] {
            let mut channel = untracked(Some("1000-41"));
            if is_link_lost {
                channel.lose_link();
            } else {
                channel.verify();
            }
            channel.answer_tail(Some("1000-44"));
            channel.receive(Some(next));
            channel.answer_page(&["1000-42", "1000-43"], "1000-44");
            channel.take_outputs();
            channel.answer_unreadable();
            assert_eq!(channel.outputs, ["history_unreadable", next], "{is_link_lost}");
        }
    }
}

#[test]
fn an_untracked_channel_without_messages_resumes_at_the_tail() {
    let mut channel = FollowedChannel::new();
    channel.answer_unreadable();
    assert_eq!(channel.take_outputs(), ["cut untracked"]);
    channel.verify();
    assert_eq!(channel.reads_from(), None, "the tail is read first");
    channel.answer_tail(Some("1000-41"));
    // An earlier publication may still be in flight. It is not delivered after the gap.
    assert_eq!(channel.outputs, ["history_unreadable@1000-41"]);
    assert_eq!(channel.receive(Some("1000-41")), Arrival::Duplicate);
    assert_eq!(channel.receive(Some("1000-42")), Arrival::Deliver);
}

/// Found by the simulation (seed 12336): a message after the ring that was still in flight counted as delivered.
#[test]
fn an_untracked_channel_reads_the_history_after_its_ring() {
    for tail in ["1000-43", "1000-44"] {
        let mut channel = untracked(None);
        channel.verify();
        channel.receive_all(&["1000-42", "1000-43"]);
        channel.answer_tail(Some(tail));
        assert_eq!(channel.take_outputs(), ["1000-42", "1000-43"]);
        assert_eq!(channel.needs_read, tail == "1000-44");
    }
    let mut channel = untracked(None);
    channel.verify();
    channel.receive(Some("1000-42"));
    channel.answer_tail(Some("1000-43"));
    channel.answer_page(&["1000-43"], "1000-43");
    assert_eq!(channel.outputs, ["1000-42", "1000-43"]);
    assert_eq!(channel.receive(Some("1000-43")), Arrival::Duplicate);
}

/// An untracked channel; `last` is its last durable message, if there was one.
fn untracked(last: Option<&str>) -> FollowedChannel {
    let mut channel = last.map_or_else(FollowedChannel::new, FollowedChannel::at);
    if last.is_some() {
        channel.verify();
    }
    channel.answer_unreadable();
    channel.take_outputs();
    channel
}

#[test]
fn an_untracked_channel_gets_a_gap_for_a_lost_link() {
    for last in [None, Some("1000-41")] {
        let mut channel = untracked(last);
        channel.lose_link();
        assert!(channel.needs_gap(), "{last:?}");
        channel.answer_tail(Some("1000-41"));
        let gap = if last.is_none() { "history_unreadable@1000-41" } else { "link_lost" };
        assert_eq!(channel.outputs, [gap]);
    }
}

#[test]
fn an_untracked_channel_gets_a_gap_for_each_lost_link() {
    for last in [None, Some("1000-41")] {
        let mut channel = untracked(last);
        for _ in 0..2 {
            channel.lose_link();
            channel.answer_unreadable();
            assert_eq!(channel.take_outputs(), ["history_unreadable"], "{last:?}");
        }
    }
}

#[test]
fn an_untracked_channel_gets_a_gap_for_dropped_messages() {
    for (last, is_readable) in [(None, false), (None, true), (Some("1000-41"), false)] {
        for position in [None, Some("1000-42")] {
            let mut channel = untracked(last);
            channel.verify();
            channel.budget_bytes = 0;
            channel.receive(position);
            channel.begin_read();
            if is_readable {
                channel.answer_tail(Some("1000-42"));
            } else {
                channel.answer_unreadable();
            }
            let gap = if is_readable { "history_unreadable@1000-42" } else { "overflow" };
            assert_eq!(channel.outputs, [gap], "{last:?} {position:?}");
        }
    }
}
