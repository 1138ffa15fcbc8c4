//! Publications that a pending subscription holds.

use super::*;
use protocol::conversation::ResumePoint;

#[test]
fn no_publication_overtakes_held_ones() {
    let (mut fixture, [(one, sink), (two, _)]) = RegistryFixture::with_pending();
    assert!(fixture.registry.unsubscribe(two, &channel("room:7")).is_some());
    assert_eq!(fixture.deliver(&plain(1)), FanoutOutcome { held: 1, ..FanoutOutcome::default() });
    assert_eq!(sink.texts(), [""; 0], "not live yet");
    assert_eq!(fixture.go_live(one, "room:7"), 1);
    assert_eq!(fixture.deliver(&plain(2)).delivered, 1);
    assert_eq!(sink.take_messages(), ["1", "2"]);
}

#[test]
fn held_publications_of_several_channels_keep_their_order() {
    let mut fixture = RegistryFixture::new();
    let (one, sink) = fixture.connect(Version::V1);
    for name in ["user:1", "all"] {
        fixture.subscribe(one, name);
        fixture.confirm(name, Some(START));
        fixture.resolve(one, name, &[]);
        fixture.mark_answered(one, name, false);
    }
    for (name, json) in [("user:1", "1"), ("all", "2"), ("user:1", "3")] {
        fixture.deliver(&publication(name, json));
    }
    assert_eq!(fixture.registry.go_live_everywhere(one), 3);
    assert_eq!(sink.take_messages(), ["1", "2", "3"]);
}

#[test]
fn missed_messages_come_before_held_ones() {
    let (mut fixture, [(one, sink), _]) = RegistryFixture::with_pending();
    fixture.confirm("room:7", Some(at(2)));
    for publication in [durable(1), durable(2), durable(3), plain(7)] {
        fixture.deliver(&publication);
    }
    fixture.resolve(one, "room:7", &[durable(1), durable(2)]);
    fixture.mark_answered(one, "room:7", true);
    assert_eq!(fixture.registry.go_live(one, &channel("room:7")), 4);
    fixture.deliver(&durable(4));
    assert_eq!(sink.take_messages(), ["1", "2", "3", "7", "4"], "each message once");
}

#[test]
fn a_subscription_goes_live_only_after_its_answer() {
    let (mut fixture, [(one, sink), _]) = RegistryFixture::with_pending();
    fixture.deliver(&plain(1));
    let room = channel("room:7");
    let assert_pending = |fixture: &mut RegistryFixture| {
        assert_eq!((fixture.registry.go_live(one, &room), fixture.registry.go_live_everywhere(one)), (0, 0));
    };
    assert_pending(&mut fixture);
    fixture.mark_answered(one, "room:7", true);
    assert_pending(&mut fixture);
    fixture.resolve(one, "room:7", &[]);
    assert_pending(&mut fixture);
    fixture.mark_answered(one, "room:7", true);
    assert_eq!(
        fixture.registry.go_live_everywhere(one),
        0,
        "the session was answered for this channel alone"
    );
    assert_eq!(fixture.registry.go_live(one, &room), 1);
    assert_eq!(fixture.registry.go_live(one, &room), 0, "it is live already");
    assert_eq!(sink.take_messages(), ["1"]);
}

#[test]
fn a_subscription_begins_at_the_position_of_its_channel() {
    let (mut fixture, [(one, _), _]) = RegistryFixture::with_live();
    assert!(fixture.registry.pending(one, &channel("room:7")).is_none(), "the subscription is live");
    fixture.deliver(&durable(1));
    let (late, sink) = fixture.connect(Version::V2);
    fixture.subscribe(late, "room:7");
    assert_eq!(fixture.cut(late, "room:7"), Some(at(1)));
    let pending: Vec<_> =
        fixture.registry.pending_on(&channel("room:7")).map(|(session, _)| session).collect();
    assert_eq!(pending, [late]);
    fixture.deliver(&durable(2));
    fixture.go_live(late, "room:7");
    assert_eq!(sink.take_messages(), ["2"]);
}

#[test]
fn a_later_cut_drops_held_messages_before_it() {
    let (mut fixture, [(one, sink), _]) = RegistryFixture::with_pending();
    fixture.deliver(&durable(1));
    fixture.deliver(&plain(7));
    fixture.confirm("room:7", Some(at(1)));
    fixture.deliver(&durable(2));
    fixture.go_live(one, "room:7");
    assert_eq!(sink.take_messages(), ["7", "2"], "plain messages are in no history");
}

#[test]
fn an_unresolved_subscription_that_overflows_moves_its_cut() {
    let (mut fixture, [(one, sink), _]) = RegistryFixture::with_pending();
    for offset in 1..=3 {
        assert_eq!(fixture.deliver(&durable(offset)).held, 2);
    }
    let outcome = fixture.deliver(&durable(4));
    assert_eq!(outcome, FanoutOutcome { moved_cuts: true, ..FanoutOutcome::default() });
    assert_eq!(fixture.cut(one, "room:7"), Some(at(4)));
    fixture.deliver(&durable(5));
    fixture.go_live(one, "room:7");
    assert_eq!(sink.take_messages(), ["5"]);
    assert!(!sink.is_overflowed());
}

#[test]
fn plain_messages_lost_by_a_moved_cut_are_a_gap() {
    for (held, last) in
        [([durable(1), durable(2), durable(3)], plain(7)), ([plain(7), durable(1), durable(2)], durable(3))]
    {
        let (mut fixture, [(one, _), (two, sink)]) = RegistryFixture::with_pending();
        for publication in &held {
            fixture.deliver(publication);
        }
        assert!(fixture.deliver(&last).moved_cuts);
        fixture.deliver(&durable(4));
        fixture.go_live(one, "room:7");
        fixture.go_live(two, "room:7");
        assert_eq!(sink.take_messages(), ["gap: overflow", "4"]);
    }
}

#[test]
fn a_moved_cut_ends_the_active_read() {
    let mut fixture = RegistryFixture::new();
    let (one, _) = fixture.connect(Version::V2);
    let (room, since) = (channel("room:7"), WantedHistory::Since(ResumePoint::Position(START)));
    fixture.registry.subscribe(one, &room, since, 1);
    fixture.confirm("room:7", Some(at(1)));
    fixture.registry.pending(one, &room).unwrap().start_read(5);
    assert_eq!(fixture.registry.pending(one, &room).unwrap().active_read(), Some(5));
    for offset in 2..=5 {
        fixture.deliver(&durable(offset));
    }
    let pending = fixture.registry.pending(one, &room).unwrap();
    assert_eq!((pending.active_read(), pending.cut()), (None, Some(at(5))));
}

#[test]
fn a_resolved_subscription_that_overflows_ends_its_session() {
    let (mut fixture, [(one, sink), (two, _)]) = RegistryFixture::with_pending();
    assert!(fixture.registry.unsubscribe(two, &channel("room:7")).is_some());
    fixture.resolve(one, "room:7", &[]);
    for offset in 1..=3 {
        assert_eq!(fixture.deliver(&durable(offset)).held, 1);
    }
    assert!(!sink.is_overflowed());
    assert_eq!(fixture.deliver(&durable(4)), FanoutOutcome { unreachable: 1, ..FanoutOutcome::default() });
    assert!(sink.is_overflowed());
}
