//! Messages that do not follow the one before.

use super::*;

#[test]
fn a_position_that_is_skipped_is_read() {
    let mut channel = FollowedChannel::at("1000-41");
    assert_eq!(channel.comes(Some("1000-43")), Arrival::Hole);
    assert_eq!(channel.comes(None), Arrival::Hold);
    assert_eq!(channel.reads_from().as_deref(), Some("1000-41"));
    channel.page(&["1000-42", "1000-43"], "1000-43");
    assert_eq!(channel.told, ["1000-42", "1000-43", "plain"]);
}

#[test]
fn a_hole_that_came_after_the_read_is_read_again() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.comes(Some("1000-43"));
    channel.asks();
    channel.comes(Some("1000-45"));
    channel.page(&["1000-42", "1000-43"], "1000-43");
    assert_eq!(channel.reads_from().as_deref(), Some("1000-43"));
    channel.page(&["1000-44", "1000-45"], "1000-45");
    assert_eq!(channel.told, ["1000-42", "1000-43", "1000-44", "1000-45"]);
}

#[test]
fn what_a_history_lacks_is_a_gap_before_the_message() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.all_come(&["1000-43", "1000-45"]);
    channel.page(&["1000-42", "1000-43"], "1000-43");
    assert_eq!(channel.told, ["1000-42", "1000-43", "history_lost", "1000-45"]);
    assert_eq!(channel.comes(Some("1000-46")), Arrival::Deliver);
}

#[test]
fn what_is_older_than_the_history_is_not_delivered_behind_it() {
    let mut channel = FollowedChannel::at("1000-41");
    assert_eq!(channel.comes(Some("900-7")), Arrival::Hole);
    channel.page(&[], "1000-41");
    assert_eq!(channel.told, [""; 0]);
    assert_eq!(channel.comes(Some("1000-42")), Arrival::Deliver);
}

#[test]
fn a_clock_that_was_set_back_costs_a_gap() {
    let mut channel = FollowedChannel::at("5000-0");
    assert_eq!(channel.comes(Some("4000-1")), Arrival::Hole);
    channel.page(&[], "4000-1");
    assert_eq!(channel.told, ["history_lost@4000-0", "4000-1"]);
    assert_eq!(channel.comes(Some("4000-2")), Arrival::Deliver);
}

#[test]
fn a_history_that_is_edited_does_not_stop_its_channel() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.comes(Some("1000-50"));
    for round in 0.. {
        assert!(round < 2, "it reads for ever");
        if !channel.needs_read {
            break;
        }
        channel.page(&[], "1000-41");
    }
    assert_eq!(channel.told, ["history_lost", "1000-50"]);
}

#[test]
fn a_position_without_a_history_is_delivered_behind_a_gap() {
    let mut channel = FollowedChannel::at("5000-0");
    assert_eq!(channel.comes(Some("5001-7")), Arrival::Hole);
    channel.page(&[], "5002-0");
    assert_eq!(channel.told, ["history_lost", "5001-7"]);
    assert_eq!(channel.comes(Some("5001-8")), Arrival::Deliver);
}

/// Found by the simulation (seed 263924): a message in the middle of the ring had been lost, and the one gap was before all
/// that the ring held.
#[test]
fn each_hole_behind_the_history_is_told_before_its_message() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.all_come(&["1000-43", "1000-44", "1000-46"]);
    channel.page(&[], "1000-41");
    assert_eq!(channel.told, ["history_lost", "1000-43", "1000-44", "history_lost", "1000-46"]);
    assert_eq!(channel.comes(Some("1000-47")), Arrival::Deliver);
}

#[test]
fn holes_without_end_come_to_an_end() {
    let mut channel = FollowedChannel::at("1000-1");
    let positions: Vec<_> = (1..=40).map(|number| format!("1000-{}", number * 2 + 1)).collect();
    for position in &positions {
        channel.comes(Some(position));
    }
    channel.page(&[], "1000-1");
    let expected: Vec<_> =
        positions.iter().flat_map(|position| ["history_lost".to_owned(), position.clone()]).collect();
    assert_eq!(channel.told, expected, "each is told");
    assert!(!channel.needs_read);
}
