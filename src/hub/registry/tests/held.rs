//! What is held for a subscription until its client has been told of it.

use super::*;

#[test]
fn nothing_overtakes_what_was_held() {
    let (mut fixture, [(one, sink), (two, _)]) = RegistryFixture::waiting();
    assert!(fixture.registry.unsubscribe(two, &channel("room:7")).is_some());
    assert_eq!(fixture.delivers(&plain(1)), DeliveryOutcome { held: 1, ..DeliveryOutcome::default() });
    assert_eq!(sink.texts(), [""; 0], "not live yet");
    assert_eq!(fixture.goes_live(one, "room:7"), 1);
    assert_eq!(fixture.delivers(&plain(2)).delivered, 1);
    assert_eq!(sink.take_messages(), ["1", "2"]);
}

#[test]
fn what_several_channels_held_leaves_as_it_came() {
    let mut fixture = RegistryFixture::new();
    let (one, sink) = fixture.connects(Version::V1);
    for name in ["user:1", "all"] {
        fixture.subscribes(one, name);
        fixture.confirms(name, Some(START));
        fixture.settles(one, name, &[]);
        fixture.is_told(one, name, false);
    }
    for (name, json) in [("user:1", "1"), ("all", "2"), ("user:1", "3")] {
        fixture.delivers(&publication(name, json));
    }
    assert_eq!(fixture.registry.go_live_everywhere(one), 3);
    assert_eq!(sink.take_messages(), ["1", "2", "3"]);
}

#[test]
fn what_was_missed_comes_before_what_was_held() {
    let (mut fixture, [(one, sink), _]) = RegistryFixture::waiting();
    fixture.confirms("room:7", Some(at(2)));
    for publication in [durable(1), durable(2), durable(3), plain(7)] {
        fixture.delivers(&publication);
    }
    fixture.settles(one, "room:7", &[durable(1), durable(2)]);
    fixture.is_told(one, "room:7", true);
    assert_eq!(fixture.registry.go_live(one, &channel("room:7")), 4);
    fixture.delivers(&durable(4));
    assert_eq!(sink.take_messages(), ["1", "2", "3", "7", "4"], "and nothing comes twice");
}

#[test]
fn a_subscription_goes_live_only_once_its_client_was_told() {
    let (mut fixture, [(one, sink), _]) = RegistryFixture::waiting();
    fixture.delivers(&plain(1));
    let room = channel("room:7");
    let all_closed = |fixture: &mut RegistryFixture| {
        assert_eq!((fixture.registry.go_live(one, &room), fixture.registry.go_live_everywhere(one)), (0, 0));
    };
    all_closed(&mut fixture);
    fixture.is_told(one, "room:7", true);
    all_closed(&mut fixture);
    fixture.settles(one, "room:7", &[]);
    all_closed(&mut fixture);
    fixture.is_told(one, "room:7", true);
    assert_eq!(fixture.registry.go_live_everywhere(one), 0, "its client was told of this one alone");
    assert_eq!(fixture.registry.go_live(one, &room), 1);
    assert_eq!(fixture.registry.go_live(one, &room), 0, "once");
    assert_eq!(sink.take_messages(), ["1"]);
}

#[test]
fn a_subscription_begins_where_its_channel_is() {
    let (mut fixture, [(one, _), _]) = RegistryFixture::live();
    assert!(fixture.registry.pending(one, &channel("room:7")).is_none(), "it is live");
    fixture.delivers(&durable(1));
    let (late, sink) = fixture.connects(Version::V2);
    fixture.subscribes(late, "room:7");
    assert_eq!(fixture.cut(late, "room:7"), Some(at(1)));
    let pending: Vec<_> =
        fixture.registry.pending_on(&channel("room:7")).map(|(session, _)| session).collect();
    assert_eq!(pending, [late]);
    fixture.delivers(&durable(2));
    fixture.goes_live(late, "room:7");
    assert_eq!(sink.take_messages(), ["2"]);
}

#[test]
fn a_later_cut_gives_up_what_is_not_behind_it() {
    let (mut fixture, [(one, sink), _]) = RegistryFixture::waiting();
    fixture.delivers(&durable(1));
    fixture.delivers(&plain(7));
    fixture.confirms("room:7", Some(at(1)));
    fixture.delivers(&durable(2));
    fixture.goes_live(one, "room:7");
    assert_eq!(sink.take_messages(), ["7", "2"], "no history has plain messages");
}

#[test]
fn one_that_waits_and_holds_too_much_moves_its_cut() {
    let (mut fixture, [(one, sink), _]) = RegistryFixture::waiting();
    for offset in 1..=3 {
        assert_eq!(fixture.delivers(&durable(offset)).held, 2);
    }
    let delivery = fixture.delivers(&durable(4));
    assert_eq!(delivery, DeliveryOutcome { moved_cuts: true, ..DeliveryOutcome::default() });
    assert_eq!(fixture.cut(one, "room:7"), Some(at(4)));
    fixture.delivers(&durable(5));
    fixture.goes_live(one, "room:7");
    assert_eq!(sink.take_messages(), ["5"]);
    assert!(!sink.is_overflowed());
}

#[test]
fn plain_messages_that_a_moved_cut_loses_are_a_gap() {
    for (held, last) in
        [([durable(1), durable(2), durable(3)], plain(7)), ([plain(7), durable(1), durable(2)], durable(3))]
    {
        let (mut fixture, [(one, _), (two, sink)]) = RegistryFixture::waiting();
        for publication in &held {
            fixture.delivers(publication);
        }
        assert!(fixture.delivers(&last).moved_cuts);
        fixture.delivers(&durable(4));
        fixture.goes_live(one, "room:7");
        fixture.goes_live(two, "room:7");
        assert_eq!(sink.take_messages(), ["gap: overflow", "4"]);
    }
}

#[test]
fn a_moved_cut_ends_the_read_that_is_under_way() {
    let mut fixture = RegistryFixture::new();
    let (one, _) = fixture.connects(Version::V2);
    let (room, since) = (channel("room:7"), Some(ResumePoint::Position(START)));
    fixture.registry.subscribe(one, &room, since, 1);
    fixture.confirms("room:7", Some(at(1)));
    fixture.registry.pending(one, &room).unwrap().reading(5);
    assert_eq!(fixture.registry.pending(one, &room).unwrap().read(), Some((5, START, at(1))));
    for offset in 2..=5 {
        fixture.delivers(&durable(offset));
    }
    let pending = fixture.registry.pending(one, &room).unwrap();
    assert_eq!((pending.read(), pending.cut()), (None, Some(at(5))));
}

#[test]
fn one_that_was_told_and_holds_too_much_ends_its_session() {
    let (mut fixture, [(one, sink), (two, _)]) = RegistryFixture::waiting();
    assert!(fixture.registry.unsubscribe(two, &channel("room:7")).is_some());
    fixture.settles(one, "room:7", &[]);
    for offset in 1..=3 {
        assert_eq!(fixture.delivers(&durable(offset)).held, 1);
    }
    assert!(!sink.is_overflowed());
    assert_eq!(
        fixture.delivers(&durable(4)),
        DeliveryOutcome { unreachable: 1, ..DeliveryOutcome::default() }
    );
    assert!(sink.is_overflowed());
}
