//! The announcement of gaps.

use super::*;
use protocol::event::GapReason;

/// Announces a gap of room:7 at once, not in turns.
fn announce_gap(fixture: &mut RegistryFixture, reason: GapReason, position: Option<Position>) {
    assert!(fixture.registry.announce_gap(&channel("room:7"), reason, position, false).is_none());
}

/// Subscribes a new session to room:7. Returns the cut of its subscription.
fn subscribe_late(fixture: &mut RegistryFixture) -> (SessionKey, FrameRecorder, Option<Position>) {
    let (late, sink) = fixture.connect(Version::V2);
    fixture.subscribe(late, "room:7");
    let cut = fixture.cut(late, "room:7");
    (late, sink, cut)
}

#[test]
fn a_gap_keeps_its_position_and_reaches_only_version_2() {
    let (mut fixture, [(one, old), (two, new)]) = RegistryFixture::with_pending();
    fixture.deliver(&durable(1));
    announce_gap(&mut fixture, GapReason::LinkLost, None);
    fixture.deliver(&durable(5));
    fixture.go_live(one, "room:7");
    fixture.go_live(two, "room:7");
    announce_gap(&mut fixture, GapReason::LinkLost, None);
    fixture.deliver(&durable(6));
    assert_eq!(new.texts()[1], r#"{"op":8,"channel":"room:7","reason":"link_lost"}"#);
    assert_eq!(new.take_messages(), ["1", "gap: link_lost", "5", "gap: link_lost", "6"]);
    assert_eq!(old.take_messages(), ["1", "5", "6"]);
}

#[test]
fn a_gap_before_the_confirmation_is_not_announced() {
    let mut fixture = RegistryFixture::new();
    let (one, sink) = fixture.connect(Version::V2);
    fixture.subscribe(one, "room:7");
    announce_gap(&mut fixture, GapReason::LinkLost, Some(at(5)));
    assert_eq!(fixture.registry.channel_position(&channel("room:7")), None);
    fixture.confirm("room:7", Some(START));
    fixture.go_live(one, "room:7");
    assert_eq!(sink.texts(), [""; 0]);
}

#[test]
fn the_position_is_still_known_after_a_link_gap() {
    let (mut fixture, _) = RegistryFixture::with_live();
    fixture.deliver(&durable(2));
    announce_gap(&mut fixture, GapReason::LinkLost, None);
    assert_eq!(subscribe_late(&mut fixture).2, Some(at(2)));
}

/// Simulation seed 9: a later subscriber was confirmed at the position before the gap, as if it missed nothing.
#[test]
fn a_later_subscriber_does_not_begin_before_a_gap() {
    for reason in [GapReason::Overflow, GapReason::HistoryLost, GapReason::HistoryUnreadable] {
        let (mut fixture, _) = RegistryFixture::with_live();
        announce_gap(&mut fixture, reason, None);
        let (late, sink, cut) = subscribe_late(&mut fixture);
        assert_eq!(cut, None);
        assert!(fixture.deliver(&durable(5)).moved_cuts);
        assert_eq!(fixture.cut(late, "room:7"), Some(at(5)), "the cut is after the next message");
        fixture.deliver(&durable(6));
        fixture.go_live(late, "room:7");
        assert_eq!(sink.take_messages(), ["6"]);
        assert_eq!(subscribe_late(&mut fixture).2, Some(at(6)), "the position is known again");
    }
}

/// Simulation seed 1683: a history began and expired during the downtime of the link.
#[test]
fn a_channel_continues_after_a_gap_at_the_brokers_position() {
    let (mut fixture, [(_, old), (_, new)]) = RegistryFixture::with_live();
    fixture.deliver(&durable(1));
    announce_gap(&mut fixture, GapReason::LinkLost, Some(Position::before(2_000)));
    assert_eq!(subscribe_late(&mut fixture).2, Some(Position::before(2_000)));
    fixture.deliver(&publication("room:7", "@2000-1 8"));
    assert_eq!(
        (old.take_messages().len(), new.take_messages()),
        (2, vec!["1".into(), "gap: link_lost".into(), "8".into()])
    );
}

#[test]
fn an_older_epoch_is_delivered_after_a_gap() {
    let (mut fixture, [_, (_, sink)]) = RegistryFixture::with_live();
    fixture.deliver(&durable(2));
    // Redis lost the history, and its clock was set back.
    announce_gap(&mut fixture, GapReason::HistoryLost, Some(Position { epoch: 8, offset: 0 }));
    fixture.deliver(&publication("room:7", "@8-1 3"));
    assert_eq!(sink.take_messages(), ["2", "gap: history_lost", "3"]);
}

#[test]
fn no_message_is_delivered_again_after_a_gap() {
    let (mut fixture, [_, (_, sink)]) = RegistryFixture::with_live();
    announce_gap(&mut fixture, GapReason::HistoryLost, Some(at(2)));
    for offset in 1..=3 {
        fixture.deliver(&durable(offset));
    }
    assert_eq!(sink.take_messages(), ["gap: history_lost", "3"]);
}

#[test]
fn a_held_gap_follows_the_missed_messages() {
    let (mut fixture, [_, (two, sink)]) = RegistryFixture::with_pending();
    fixture.confirm("room:7", Some(at(2)));
    announce_gap(&mut fixture, GapReason::HistoryLost, Some(at(4)));
    fixture.deliver(&durable(5));
    fixture.resolve(two, "room:7", &[durable(1), durable(2)]);
    fixture.mark_answered(two, "room:7", true);
    fixture.registry.go_live(two, &channel("room:7"));
    assert_eq!(sink.take_messages(), ["1", "2", "gap: history_lost", "5"]);
}

/// Simulation seed 879: Redis lost the history during its read and began a new one. Held messages of the old history
/// followed messages read from the new one.
#[test]
fn a_cut_in_a_new_history_drops_the_old_messages() {
    let (mut fixture, [_, (two, sink)]) = RegistryFixture::with_pending();
    fixture.deliver(&durable(1));
    fixture.deliver(&plain(5));
    announce_gap(&mut fixture, GapReason::HistoryLost, Some(Position { epoch: 20, offset: 0 }));
    fixture.confirm("room:7", Some(Position { epoch: 20, offset: 1 }));
    fixture.deliver(&publication("room:7", "@20-2 3"));
    fixture.resolve(two, "room:7", &[publication("room:7", "@20-1 2")]);
    fixture.mark_answered(two, "room:7", true);
    fixture.registry.go_live(two, &channel("room:7"));
    assert_eq!(
        sink.take_messages(),
        ["2", "5", "gap: history_lost", "3"],
        "plain messages are in no history"
    );
}

#[test]
fn a_deferred_gap_returns_its_receivers_and_is_held_by_others() {
    let (mut fixture, [_, (two, sink)]) = RegistryFixture::with_live();
    let (late, held, _) = subscribe_late(&mut fixture);
    let deferred = fixture.registry.announce_gap(&channel("room:7"), GapReason::LinkLost, None, true);
    let (_, receivers) = deferred.unwrap();
    assert_eq!(receivers.iter().map(|receiver| receiver.session).collect::<Vec<_>>(), [two]);
    assert_eq!(sink.texts(), [""; 0]);
    fixture.go_live(late, "room:7");
    assert_eq!(held.take_messages(), ["gap: link_lost"]);
}

#[test]
fn a_pending_subscription_holds_repeated_gaps_once() {
    let (mut fixture, [_, (two, sink)]) = RegistryFixture::with_pending();
    fixture.deliver(&durable(1));
    for reason in [GapReason::LinkLost, GapReason::LinkLost, GapReason::HistoryLost, GapReason::LinkLost] {
        announce_gap(&mut fixture, reason, Some(at(1)));
    }
    fixture.go_live(two, "room:7");
    assert_eq!(sink.take_messages(), ["1", "gap: link_lost", "gap: history_lost"]);
}
