//! What is held for a subscription until its client has been told of it.

use super::*;

#[test]
fn nothing_overtakes_what_was_held() {
    let (mut world, [(one, sink), (two, _)]) = World::waiting();
    assert!(world.registry.unsubscribe(two, &channel("room:7")).is_some());
    assert_eq!(world.delivers(&plain(1)), DeliveryOutcome { held: 1, ..DeliveryOutcome::default() });
    assert_eq!(sink.texts(), [""; 0], "not live yet");
    assert_eq!(world.goes_live(one, "room:7"), 1);
    assert_eq!(world.delivers(&plain(2)).delivered, 1);
    assert_eq!(sink.take_messages(), ["1", "2"]);
}

#[test]
fn what_several_channels_held_leaves_as_it_came() {
    let mut world = World::new();
    let (one, sink) = world.connects(Version::V1);
    for name in ["user:1", "all"] {
        world.subscribes(one, name);
        world.confirms(name, Some(START));
        world.settles(one, name, &[]);
        world.is_told(one, name, false);
    }
    for (name, json) in [("user:1", "1"), ("all", "2"), ("user:1", "3")] {
        world.delivers(&publication(name, json));
    }
    assert_eq!(world.registry.go_live_everywhere(one), 3);
    assert_eq!(sink.take_messages(), ["1", "2", "3"]);
}

#[test]
fn what_was_missed_comes_before_what_was_held() {
    let (mut world, [(one, sink), _]) = World::waiting();
    world.confirms("room:7", Some(at(2)));
    for publication in [durable(1), durable(2), durable(3), plain(7)] {
        world.delivers(&publication);
    }
    world.settles(one, "room:7", &[durable(1), durable(2)]);
    world.is_told(one, "room:7", true);
    assert_eq!(world.registry.go_live(one, &channel("room:7")), 4);
    world.delivers(&durable(4));
    assert_eq!(sink.take_messages(), ["1", "2", "3", "7", "4"], "and nothing comes twice");
}

#[test]
fn a_subscription_goes_live_only_once_its_client_was_told() {
    let (mut world, [(one, sink), _]) = World::waiting();
    world.delivers(&plain(1));
    let room = channel("room:7");
    let all_closed = |world: &mut World| {
        assert_eq!((world.registry.go_live(one, &room), world.registry.go_live_everywhere(one)), (0, 0));
    };
    all_closed(&mut world);
    world.is_told(one, "room:7", true);
    all_closed(&mut world);
    world.settles(one, "room:7", &[]);
    all_closed(&mut world);
    world.is_told(one, "room:7", true);
    assert_eq!(world.registry.go_live_everywhere(one), 0, "its client was told of this one alone");
    assert_eq!(world.registry.go_live(one, &room), 1);
    assert_eq!(world.registry.go_live(one, &room), 0, "once");
    assert_eq!(sink.take_messages(), ["1"]);
}

#[test]
fn a_subscription_begins_where_its_channel_is() {
    let (mut world, [(one, _), _]) = World::live();
    assert!(world.registry.pending(one, &channel("room:7")).is_none(), "it is live");
    world.delivers(&durable(1));
    let (late, sink) = world.connects(Version::V2);
    world.subscribes(late, "room:7");
    assert_eq!(world.cut(late, "room:7"), Some(at(1)));
    assert_eq!(world.registry.waiting(&channel("room:7")), [late]);
    world.delivers(&durable(2));
    world.goes_live(late, "room:7");
    assert_eq!(sink.take_messages(), ["2"]);
}

#[test]
fn a_later_cut_gives_up_what_is_not_behind_it() {
    let (mut world, [(one, sink), _]) = World::waiting();
    world.delivers(&durable(1));
    world.delivers(&plain(7));
    world.confirms("room:7", Some(at(1)));
    world.delivers(&durable(2));
    world.goes_live(one, "room:7");
    assert_eq!(sink.take_messages(), ["7", "2"], "no history has plain messages");
}

#[test]
fn one_that_waits_and_holds_too_much_moves_its_cut() {
    let (mut world, [(one, sink), _]) = World::waiting();
    for offset in 1..=3 {
        assert_eq!(world.delivers(&durable(offset)).held, 2);
    }
    let delivery = world.delivers(&durable(4));
    assert_eq!(delivery, DeliveryOutcome { moved_cuts: true, ..DeliveryOutcome::default() });
    assert_eq!(world.cut(one, "room:7"), Some(at(4)));
    world.delivers(&durable(5));
    world.goes_live(one, "room:7");
    assert_eq!(sink.take_messages(), ["5"]);
    assert!(!sink.is_overflowed());
}

#[test]
fn plain_messages_that_a_moved_cut_loses_are_a_gap() {
    for (held, last) in
        [([durable(1), durable(2), durable(3)], plain(7)), ([plain(7), durable(1), durable(2)], durable(3))]
    {
        let (mut world, [(one, _), (two, sink)]) = World::waiting();
        for publication in &held {
            world.delivers(publication);
        }
        assert!(world.delivers(&last).moved_cuts);
        world.delivers(&durable(4));
        world.goes_live(one, "room:7");
        world.goes_live(two, "room:7");
        assert_eq!(sink.take_messages(), ["gap: overflow", "4"]);
    }
}

#[test]
fn a_moved_cut_ends_the_read_that_is_under_way() {
    let mut world = World::new();
    let (one, _) = world.connects(Version::V2);
    let (room, since) = (channel("room:7"), Some(Since::Position(START)));
    world.registry.subscribe(one, &room, since, 1);
    world.confirms("room:7", Some(at(1)));
    world.registry.pending(one, &room).unwrap().reading(5);
    assert_eq!(world.registry.pending(one, &room).unwrap().read(), Some((5, START, at(1))));
    for offset in 2..=5 {
        world.delivers(&durable(offset));
    }
    let pending = world.registry.pending(one, &room).unwrap();
    assert_eq!((pending.read(), pending.cut()), (None, Some(at(5))));
}

#[test]
fn one_that_was_told_and_holds_too_much_ends_its_session() {
    let (mut world, [(one, sink), (two, _)]) = World::waiting();
    assert!(world.registry.unsubscribe(two, &channel("room:7")).is_some());
    world.settles(one, "room:7", &[]);
    for offset in 1..=3 {
        assert_eq!(world.delivers(&durable(offset)).held, 1);
    }
    assert!(!sink.is_overflowed());
    assert_eq!(world.delivers(&durable(4)), DeliveryOutcome { unreachable: 1, ..DeliveryOutcome::default() });
    assert!(sink.is_overflowed());
}
