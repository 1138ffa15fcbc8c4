//! Histories that cannot be read.

use super::*;

#[test]
fn an_unreadable_history_is_a_gap_and_delivery_goes_on() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.comes(Some("1000-44"));
    channel.is_unreadable();
    assert_eq!(channel.told, ["history_unreadable", "1000-44"]);
    assert_eq!(channel.follower.position(), None);
    assert_eq!(channel.comes(Some("1000-45")), Arrival::Deliver, "nothing is claimed");
    assert_eq!(channel.comes(Some("1000-47")), Arrival::DeliverBehindGap);
    assert_eq!(channel.comes(None), Arrival::Deliver);
    assert_eq!(channel.comes(Some("1000-46")), Arrival::Duplicate, "positions grow");
}

#[test]
fn a_new_channel_with_an_unreadable_history_is_cut_untracked() {
    let mut channel = FollowedChannel::new();
    channel.comes(Some("1000-44"));
    channel.is_unreadable();
    assert_eq!(channel.told, ["cut untracked", "1000-44"]);
    assert_eq!(channel.comes(Some("1000-45")), Arrival::Deliver);
}

/// Found by the simulation (seed 743): what had been skipped was neither read nor told.
#[test]
fn a_skipped_position_is_a_gap_where_nothing_can_be_read() {
    let mut channel = FollowedChannel::at("1000-41");
    assert_eq!(channel.comes(Some("1000-43")), Arrival::Hole);
    channel.is_unreadable();
    assert_eq!(channel.told, ["history_unreadable", "1000-43"]);
}

/// Found by the simulation (seed 10079): a refused answer was taken for a history that is gone. The channel forgot its
/// position, and the next message was told as a gap, or what had been delivered came again.
#[test]
fn an_unreadable_history_is_told_once_and_its_position_is_kept() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    channel.is_unreadable();
    assert_eq!(channel.comes(Some("1000-42")), Arrival::Deliver);
    channel.verify();
    assert_eq!(channel.comes(Some("1000-43")), Arrival::Hold);
    channel.is_unreadable();
    assert_eq!(channel.comes(Some("1000-44")), Arrival::Deliver);
    channel.verify();
    channel.tail(Some("1000-44"));
    assert_eq!(channel.told, ["history_unreadable", "1000-42", "1000-43", "1000-44"]);
    assert_eq!(channel.follower.position(), Some(at("1000-44")));
}

#[test]
fn an_end_that_is_not_told_after_absence_is_a_gap() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.goes_away();
    assert_eq!(channel.comes(Some("1000-42")), Arrival::Hold);
    channel.is_unreadable();
    assert_eq!(channel.told, ["history_unreadable", "1000-42"]);
}

#[test]
fn an_untracked_channel_goes_on_behind_its_last_message() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    channel.is_unreadable();
    channel.comes(Some("1000-45"));
    channel.take_told();
    channel.verify();
    assert_eq!(channel.reads_from().as_deref(), Some("1000-45"));
    channel.tail(Some("1000-47"));
    channel.page(&["1000-46", "1000-47"], "1000-47");
    assert_eq!(channel.told, ["1000-46", "1000-47"]);
    assert_eq!(channel.comes(Some("1000-48")), Arrival::Deliver);
}

#[test]
fn an_untracked_channel_without_messages_goes_on_at_the_end() {
    let mut channel = FollowedChannel::new();
    channel.is_unreadable();
    assert_eq!(channel.take_told(), ["cut untracked"]);
    channel.verify();
    assert_eq!(channel.reads_from(), None, "the end is asked for");
    channel.tail(Some("1000-41"));
    // What was published before may still be on its way, and does not come.
    assert_eq!(channel.told, ["history_unreadable@1000-41"]);
    assert_eq!(channel.comes(Some("1000-41")), Arrival::Duplicate);
    assert_eq!(channel.comes(Some("1000-42")), Arrival::Deliver);
}

/// Found by the simulation (seed 12336): the history went on further than the ring. A message that was still on its way was
/// taken for one that had been delivered.
#[test]
fn an_untracked_channel_reads_on_behind_its_ring() {
    for tail in ["1000-43", "1000-44"] {
        let mut channel = untracked(None);
        channel.verify();
        channel.all_come(&["1000-42", "1000-43"]);
        channel.tail(Some(tail));
        assert_eq!(channel.take_told(), ["1000-42", "1000-43"]);
        assert_eq!(channel.needs_read, tail == "1000-44");
    }
    let mut channel = untracked(None);
    channel.verify();
    channel.comes(Some("1000-42"));
    channel.tail(Some("1000-43"));
    channel.page(&["1000-43"], "1000-43");
    assert_eq!(channel.told, ["1000-42", "1000-43"]);
    assert_eq!(channel.comes(Some("1000-43")), Arrival::Duplicate);
}

/// An untracked channel whose last message, if there was one, is known.
fn untracked(last: Option<&str>) -> FollowedChannel {
    let mut channel = last.map_or_else(FollowedChannel::new, FollowedChannel::at);
    if last.is_some() {
        channel.verify();
    }
    channel.is_unreadable();
    channel.take_told();
    channel
}

#[test]
fn an_untracked_channel_owes_a_gap_for_being_away() {
    for last in [None, Some("1000-41")] {
        let mut channel = untracked(last);
        channel.goes_away();
        assert!(channel.needs_gap(), "{last:?}");
        channel.tail(Some("1000-41"));
        let gap = if last.is_none() { "history_unreadable@1000-41" } else { "link_lost" };
        assert_eq!(channel.told, [gap]);
    }
}

#[test]
fn an_untracked_channel_tells_each_absence() {
    for last in [None, Some("1000-41")] {
        let mut channel = untracked(last);
        for _ in 0..2 {
            channel.goes_away();
            channel.is_unreadable();
            assert_eq!(channel.take_told(), ["history_unreadable"], "{last:?}");
        }
    }
}

#[test]
fn an_untracked_channel_tells_what_its_ring_dropped() {
    for (last, is_readable) in [(None, false), (None, true), (Some("1000-41"), false)] {
        for position in [None, Some("1000-42")] {
            let mut channel = untracked(last);
            channel.verify();
            channel.budget_bytes = 0;
            channel.comes(position);
            channel.asks();
            if is_readable {
                channel.tail(Some("1000-42"));
            } else {
                channel.is_unreadable();
            }
            let gap = if is_readable { "history_unreadable@1000-42" } else { "overflow" };
            assert_eq!(channel.told, [gap], "{last:?} {position:?}");
        }
    }
}
