//! What is told where something may be missing.

use super::*;

#[test]
fn a_gap_is_told_in_its_place_and_to_version_2_only() {
    let (mut registry, [(one, old), (two, new)], room) = coming_back();
    registry.deliver(&durable(1));
    registry.announce_gap(&room, GapReason::LinkLost, None);
    registry.deliver(&durable(5));
    registry.go_live(one, &room);
    registry.go_live(two, &room);
    registry.announce_gap(&room, GapReason::LinkLost, None);
    registry.deliver(&durable(6));
    assert_eq!(numbers(&new), ["1", "gap", "5", "gap", "6"]);
    assert_eq!(numbers(&old), ["1", "5", "6"]);
    assert_eq!(new.texts()[1], r#"{"op":8,"channel":"room:7","reason":"link_lost"}"#);
}

#[test]
fn behind_a_gap_of_the_link_nothing_comes_again() {
    let (mut registry, [_, (two, line)], room) = coming_back();
    let beginning = registry.beginning(two, &room).unwrap();
    // Its client was on a replica that was ahead of this one.
    registry.restore(two, &room, beginning.number, (Vec::new(), plus(START, 2)), 0);
    registry.go_live(two, &room);
    registry.announce_gap(&room, GapReason::LinkLost, None);
    (1..=3).for_each(|offset| {
        registry.deliver(&durable(offset));
    });
    assert_eq!(numbers(&line), ["gap", "3"]);
}

#[test]
fn behind_a_gap_a_history_with_an_older_epoch_is_delivered_too() {
    let (mut registry, [_, (two, line)], room) = coming_back();
    let beginning = registry.beginning(two, &room).unwrap();
    registry.restore(two, &room, beginning.number, (vec![durable(1), durable(2)], plus(START, 2)), 0);
    registry.go_live(two, &room);
    // The clock was set back, and the history lost.
    registry.announce_gap(&room, GapReason::HistoryLost, None);
    registry.deliver(&publication("room:7", "@8-1 3"));
    assert_eq!(numbers(&line), ["1", "2", "gap", "3"]);
}

/// Found by the simulation (seed 9): it was told that it had missed nothing, at a place that others had been told is
/// followed by a gap.
#[test]
fn who_comes_behind_a_gap_does_not_begin_before_it_without_a_word() {
    let (mut registry, _, room) = coming_back();
    registry.announce_gap(&room, GapReason::Overflow, None);
    let (late, line) = with_session(&mut registry, Version::V2);
    registry.subscribe(late, &room);
    assert!(!registry.beginning(late, &room).unwrap().is_whole);
    registry.go_live(late, &room);
    registry.deliver(&durable(5));
    assert_eq!(numbers(&line), ["gap", "5"]);
    let later = with_session(&mut registry, Version::V2).0;
    registry.subscribe(later, &room);
    assert!(registry.beginning(later, &room).unwrap().is_whole);
}

#[test]
fn what_was_lost_before_a_subscription_is_made_good_by_the_history() {
    let (mut registry, _, room) = coming_back();
    registry.announce_gap(&room, GapReason::Overflow, None);
    let (late, line) = with_session(&mut registry, Version::V2);
    registry.subscribe(late, &room);
    let beginning = registry.beginning(late, &room).unwrap();
    let read_at = registry.arrivals();
    registry.restore(late, &room, beginning.number, (vec![durable(1), durable(2)], plus(START, 2)), read_at);
    registry.go_live(late, &room);
    assert_eq!(numbers(&line), ["1", "2"]);
}

/// Found by the simulation (seed 1683): a history had come and gone while the link was away.
#[test]
fn behind_a_gap_a_channel_continues_where_the_broker_says() {
    let (mut registry, _, room) = coming_back();
    registry.announce_gap(&room, GapReason::LinkLost, Some(Position::before(2_000)));
    let late = with_session(&mut registry, Version::V2).0;
    registry.subscribe(late, &room);
    assert_eq!(registry.beginning(late, &room).unwrap().place, Position::before(2_000));
}

/// Found by the simulation (seed 2086): what had been given already came again behind the gap.
#[test]
fn behind_a_gap_what_was_restored_does_not_come_again() {
    let (mut registry, [_, (two, line)], room) = coming_back();
    let beginning = registry.beginning(two, &room).unwrap();
    registry.restore(two, &room, beginning.number, (vec![durable(1), durable(2)], plus(START, 2)), 0);
    registry.announce_gap(&room, GapReason::HistoryLost, None);
    registry.go_live(two, &room);
    (1..=3).for_each(|offset| {
        registry.deliver(&durable(offset));
    });
    assert_eq!(numbers(&line), ["1", "2", "gap", "3"]);
}

#[test]
fn a_gap_from_before_everything_was_read_is_none() {
    let (mut registry, [_, (two, line)], room) = coming_back();
    registry.announce_gap(&room, GapReason::HistoryLost, None);
    let (beginning, read_at) = (registry.beginning(two, &room).unwrap(), registry.arrivals());
    registry.announce_gap(&room, GapReason::LinkLost, None);
    registry.restore(two, &room, beginning.number, (vec![durable(1), durable(2)], plus(START, 2)), read_at);
    registry.go_live(two, &room);
    assert_eq!(numbers(&line), ["1", "2", "gap"]);
}

/// Found by the simulation (seed 879): while its history was read Redis lost it and began another. What had been held
/// back of the old one came behind what had been read of the new one.
#[test]
fn what_came_before_everything_was_read_does_not_come_behind_it() {
    let (mut registry, [_, (two, line)], room) = coming_back();
    registry.deliver(&durable(1));
    registry.deliver(&publication("room:7", "5"));
    registry.announce_gap(&room, GapReason::HistoryLost, Some(Position { epoch: 20, offset: 1 }));
    let (beginning, read_at) = (registry.beginning(two, &room).unwrap(), registry.arrivals());
    let (new, last) = (publication("room:7", "@20-1 2"), Position { epoch: 20, offset: 1 });
    registry.deliver(&publication("room:7", "@20-2 3"));
    registry.restore(two, &room, beginning.number, (vec![new], last), read_at);
    registry.go_live(two, &room);
    assert_eq!(numbers(&line), ["2", "5", "3"], "what has no place is in no history");
}

/// Found by the simulation (seed 5471): a full inbox drops what comes until its gap has been told. The gap was told
/// before the place was confirmed, to nobody, and what came behind the place was dropped on account of it.
#[test]
fn what_a_full_inbox_drops_around_the_confirmation_is_a_gap_behind_it() {
    let mut registry = Registry::default();
    let (room, (one, line)) = (channel("room:7"), with_session(&mut registry, Version::V2));
    registry.subscribe(one, &room);
    registry.announce_gap(&room, GapReason::LinkLost, None);
    registry.announce_gap(&room, GapReason::Overflow, None);
    registry.confirm(&room, START);
    assert!(!registry.beginning(one, &room).unwrap().is_whole);
    registry.go_live(one, &room);
    registry.deliver(&durable(5));
    assert_eq!(numbers(&line), ["gap", "5"]);
}

/// Found by the simulation (seed 23441): where the history could not be read when the channel was subscribed, its place
/// is younger than all that is in there.
#[test]
fn what_was_restored_does_not_come_again_on_a_channel_of_which_nothing_was_known() {
    let mut registry = Registry::default();
    let (room, (one, line)) = (channel("room:7"), with_session(&mut registry, Version::V2));
    registry.subscribe(one, &room);
    registry.confirm(&room, Position::before(2_000));
    let beginning = registry.beginning(one, &room).unwrap();
    registry.restore(one, &room, beginning.number, (vec![durable(1), durable(2)], plus(START, 2)), 0);
    registry.go_live(one, &room);
    registry.announce_gap(&room, GapReason::HistoryUnreadable, None);
    (1..=3).for_each(|offset| {
        registry.deliver(&durable(offset));
    });
    assert_eq!(numbers(&line), ["1", "2", "gap", "3"]);
}

/// Found by the simulation (seed 35636): a message was on its way when its history was lost, so it came behind a place
/// that is younger. A client that had it from another replica was given it again.
#[test]
fn what_a_client_had_does_not_come_again_though_it_does_not_continue() {
    for comes_early in [true, false] {
        let mut registry = Registry::default();
        let (room, (one, line)) = (channel("room:7"), with_session(&mut registry, Version::V2));
        registry.subscribe(one, &room);
        registry.confirm(&room, Position::before(2_000));
        if comes_early {
            registry.deliver(&durable(2));
        }
        let beginning = registry.beginning(one, &room).unwrap();
        registry.begin_anew(one, &room, beginning.number, plus(START, 2));
        registry.go_live(one, &room);
        if !comes_early {
            registry.deliver(&durable(2));
        }
        registry.deliver(&durable(3));
        registry.deliver(&publication("room:7", "@8-1 \"other\""));
        assert_eq!(numbers(&line), ["3", "\"other\""], "early: {comes_early}");
    }
}
