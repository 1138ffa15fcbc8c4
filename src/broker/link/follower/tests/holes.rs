//! Messages that do not follow the one before.

use super::*;

#[test]
fn a_skipped_position_is_read_from_the_history() {
    let mut channel = FollowedChannel::at("1000-41");
    assert_eq!(channel.receive(Some("1000-43")), Arrival::Hole);
    assert_eq!(channel.receive(None), Arrival::Hold);
    assert_eq!(channel.reads_from().as_deref(), Some("1000-41"));
    channel.answer_page(&["1000-42", "1000-43"], "1000-43");
    assert_eq!(channel.outputs, ["1000-42", "1000-43", "plain"]);
}

#[test]
fn a_hole_found_during_a_read_causes_another_read() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.receive(Some("1000-43"));
    channel.begin_read();
    channel.receive(Some("1000-45"));
    channel.answer_page(&["1000-42", "1000-43"], "1000-43");
    assert_eq!(channel.reads_from().as_deref(), Some("1000-43"));
    channel.answer_page(&["1000-44", "1000-45"], "1000-45");
    assert_eq!(channel.outputs, ["1000-42", "1000-43", "1000-44", "1000-45"]);
}

#[test]
fn a_message_missing_from_the_history_becomes_a_gap() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.receive_all(&["1000-43", "1000-45"]);
    channel.answer_page(&["1000-42", "1000-43"], "1000-43");
    assert_eq!(channel.outputs, ["1000-42", "1000-43", "history_lost", "1000-45"]);
    assert_eq!(channel.receive(Some("1000-46")), Arrival::Deliver);
}

#[test]
fn a_message_older_than_the_history_is_not_delivered() {
    let mut channel = FollowedChannel::at("1000-41");
    assert_eq!(channel.receive(Some("900-7")), Arrival::Hole);
    channel.answer_page(&[], "1000-41");
    assert_eq!(channel.outputs, [""; 0]);
    assert_eq!(channel.receive(Some("1000-42")), Arrival::Deliver);
}

#[test]
fn a_clock_that_was_set_back_causes_a_gap() {
    let mut channel = FollowedChannel::at("5000-0");
    assert_eq!(channel.receive(Some("4000-1")), Arrival::Hole);
    channel.answer_page(&[], "4000-1");
    assert_eq!(channel.outputs, ["history_lost@4000-0", "4000-1"]);
    assert_eq!(channel.receive(Some("4000-2")), Arrival::Deliver);
}

#[test]
fn an_edited_history_does_not_block_its_channel() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.receive(Some("1000-50"));
    for round in 0.. {
        assert!(round < 2, "the repair does not end");
        if !channel.needs_read {
            break;
        }
        channel.answer_page(&[], "1000-41");
    }
    assert_eq!(channel.outputs, ["history_lost", "1000-50"]);
}

#[test]
fn a_position_without_a_history_is_delivered_after_a_gap() {
    let mut channel = FollowedChannel::at("5000-0");
    assert_eq!(channel.receive(Some("5001-7")), Arrival::Hole);
    channel.answer_page(&[], "5002-0");
    assert_eq!(channel.outputs, ["history_lost", "5001-7"]);
    assert_eq!(channel.receive(Some("5001-8")), Arrival::Deliver);
}

/// Found by the simulation (seed 263924): for a hole in the middle of the ring, the gap came before the whole ring.
#[test]
fn each_hole_is_announced_before_the_message_after_it() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.receive_all(&["1000-43", "1000-44", "1000-46"]);
    channel.answer_page(&[], "1000-41");
    assert_eq!(channel.outputs, ["history_lost", "1000-43", "1000-44", "history_lost", "1000-46"]);
    assert_eq!(channel.receive(Some("1000-47")), Arrival::Deliver);
}

#[test]
fn a_repair_with_many_holes_ends() {
    let mut channel = FollowedChannel::at("1000-1");
    let positions: Vec<_> = (1..=40).map(|number| format!("1000-{}", number * 2 + 1)).collect();
    for position in &positions {
        channel.receive(Some(position));
    }
    channel.answer_page(&[], "1000-1");
    let expected: Vec<_> =
        positions.iter().flat_map(|position| ["history_lost".to_owned(), position.clone()]).collect();
    assert_eq!(channel.outputs, expected, "each hole is a gap");
    assert!(!channel.needs_read);
}
