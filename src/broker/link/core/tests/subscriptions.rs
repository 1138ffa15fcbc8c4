//! Which hubs want a channel, and what the link subscribes to.

use super::*;

#[test]
fn each_channel_is_acknowledged_once_its_tail_is_known() {
    let mut link = Link::up();
    link.server.messages.insert(name("room:2"), 7);
    link.core.subscribe(A, 5, names(["room:1", "room:2"]), false);
    assert_eq!(link.confirm_batch(1).unwrap().subscribe, names(["room:1"]));
    assert_eq!(link.take_events(A), [""; 0], "the tail is not known");
    link.answer_read();
    assert_eq!(link.take_events(A), ["room:1 subscribed by 5 at 9-0"]);
    link.run();
    assert_eq!(link.take_events(A), ["room:2 subscribed by 5 at 9-7"]);
    assert!(link.confirm_batch(1).is_none());
}

#[test]
fn a_subscribed_channel_is_acknowledged_at_once() {
    let mut link = Link::subscribed_to(["room:1", "room:2"]);
    link.core.subscribe(B, 6, names(["room:1", "room:2"]), false);
    assert_eq!(link.take_events(B), ["room:1 subscribed by 6 at 9-0", "room:2 subscribed by 6 at 9-0"]);
    assert!(link.confirm_batch(512).is_none());
    assert_eq!(link.hubs("room:1"), [A, B]);
}

#[test]
fn a_second_hub_waits_for_the_same_confirmation() {
    let mut link = Link::up();
    link.core.subscribe(A, 1, names(["room:1"]), false);
    let batch = link.core.next_batch(512).unwrap();
    link.core.subscribe(B, 2, names(["room:1"]), false);
    link.core.confirmed(batch);
    assert!(link.confirm_batch(512).is_none());
    link.run();
    assert_eq!(link.take_events(A), ["room:1 subscribed by 1 at 9-0"]);
    assert_eq!(link.take_events(B), ["room:1 subscribed by 2 at 9-0"]);
}

#[test]
fn the_link_unsubscribes_when_the_last_hub_leaves() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.core.subscribe(B, 2, names(["room:1"]), false);
    link.core.unsubscribe(A, &names(["room:1", "room:9"]));
    link.core.unsubscribe(A, &names(["room:1"]));
    assert!(link.confirm_batch(512).is_none());
    link.publish("room:1", true);
    assert_eq!(link.take_events(A), [""; 0]);
    link.core.unsubscribe(B, &names(["room:1"]));
    assert_eq!(link.confirm_batch(512).unwrap().unsubscribe, names(["room:1"]));
    link.assert_empty();
}

#[test]
fn the_acknowledgement_comes_before_publications_after_its_cut() {
    let mut link = Link::up();
    link.core.subscribe(A, 1, names(["room:1"]), false);
    let batch = link.core.next_batch(512).unwrap();
    // Redis sends publications from the subscription on, also before the link reads the confirmation.
    link.publish("room:1", true);
    link.core.confirmed(batch);
    let (work, server) = (link.core.next_read().unwrap(), link.server.clone());
    link.publish("room:1", true);
    assert_eq!(link.take_events(A), [""; 0]);
    link.answer(work, &server);
    assert_eq!(link.take_events(A), ["room:1 subscribed by 1 at 9-1", "room:1 9-2"]);
}

#[test]
fn resubscribing_during_an_unsubscription_starts_over() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.publish("room:1", true);
    link.clear_events();
    link.core.unsubscribe(A, &names(["room:1"]));
    let unsubscribing = link.core.next_batch(512).unwrap();
    assert_eq!(unsubscribing.unsubscribe, names(["room:1"]));
    link.core.subscribe(A, 2, names(["room:1"]), false);
    assert_eq!(link.take_events(A), [""; 0], "the link must subscribe again first");
    assert!(link.confirm_batch(512).is_none(), "the link has not unsubscribed yet");
    link.publish("room:1", false);
    link.core.confirmed(unsubscribing);
    assert!(!link.core.is_complete());
    link.run();
    assert_eq!(link.take_events(A), ["room:1 subscribed by 2 at 9-2"]);
    assert_eq!((link.hubs("room:1"), link.core.subscribed()), (vec![A], names(["room:1"])));
}

#[test]
fn a_channel_wanted_again_in_time_stays_subscribed() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.core.unsubscribe(A, &names(["room:1"]));
    link.core.subscribe(B, 2, names(["room:1"]), false);
    assert_eq!(link.take_events(B), ["room:1 subscribed by 2 at 9-0"]);
    assert!(link.confirm_batch(512).is_none());
    link.publish("room:1", true);
    assert_eq!(link.take_events(B), ["room:1 9-1"]);
}

#[test]
fn a_hub_that_returns_and_leaves_again_leaves_no_state() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.core.unsubscribe(A, &names(["room:1"]));
    let unsubscribing = link.core.next_batch(512).unwrap();
    link.core.subscribe(B, 2, names(["room:1"]), true);
    link.core.unsubscribe(B, &names(["room:1"]));
    link.core.confirmed(unsubscribing);
    link.run();
    assert_eq!(link.take_events(B), [""; 0], "the call was withdrawn");
    link.assert_empty();
}

#[test]
fn a_withdrawn_subscribe_is_not_answered() {
    for has_batch in [false, true] {
        let mut link = Link::up();
        link.core.subscribe(A, 1, names(["room:1"]), false);
        link.core.subscribe(B, 2, names(["room:1"]), false);
        let batch = has_batch.then(|| link.core.next_batch(512).unwrap());
        link.core.unsubscribe(A, &names(["room:1"]));
        link.core.unsubscribe(B, &names(["room:1"]));
        batch.into_iter().for_each(|batch| link.core.confirmed(batch));
        link.run();
        assert_eq!((link.take_events(A), link.take_events(B)), (vec![], vec![]), "batch first: {has_batch}");
        link.assert_empty();
    }
}

#[test]
fn a_hub_that_leaves_withdraws_only_its_own_calls() {
    let mut link = Link::up();
    link.core.subscribe(A, 1, names(["room:1"]), false);
    link.core.subscribe(B, 2, names(["room:1"]), false);
    link.core.unsubscribe(A, &names(["room:1"]));
    link.run();
    assert_eq!(
        (link.take_events(A), link.take_events(B)),
        (vec![], vec!["room:1 subscribed by 2 at 9-0".to_owned()])
    );
}

#[test]
fn a_subscribe_with_an_unknown_position_waits_for_the_link() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.core.disconnected();
    link.clear_events();
    link.core.subscribe(B, 2, names(["room:1", "room:2"]), false);
    assert_eq!(link.take_events(B), ["room:1 subscribed by 2 at 9-0"]);
    assert!(
        link.confirm_batch(512).is_none() && link.core.next_read().is_none(),
        "a link that is down has no work"
    );
    link.core.connected();
    link.run();
    assert_eq!(link.take_events(B), ["link up", "room:1 link_lost", "room:2 subscribed by 2 at 9-0"]);
}

#[test]
fn a_reconnected_link_subscribes_every_wanted_channel() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.core.subscribe(A, 2, names(["room:2", "room:3"]), false);
    link.core.subscribe(B, 3, names(["room:4"]), false);
    link.core.unsubscribe(A, &names(["room:1"]));
    let in_flight = link.core.next_batch(2).unwrap();
    link.core.disconnected();
    assert_eq!(link.hubs("room:1"), [], "no hub wants it");
    link.core.subscribe(A, 4, names(["room:5"]), false);
    link.core.unsubscribe(B, &names(["room:4"]));
    drop(in_flight);
    link.core.connected();
    link.clear_events();
    let mut subscribed = link.confirm_batch(512).unwrap().subscribe;
    subscribed.sort_unstable();
    assert_eq!(subscribed, names(["room:2", "room:3", "room:5"]));
    link.run();
    let mut events = link.take_events(A);
    events.sort_unstable();
    let expected = [("room:2", 2), ("room:3", 2), ("room:5", 4)];
    assert_eq!(events, expected.map(|(room, request)| format!("{room} subscribed by {request} at 9-0")));
}

#[test]
fn repeated_subscribing_and_unsubscribing_leaves_no_queue() {
    for mut link in [Link::up(), Link::down()] {
        for request in 0..1_000 {
            link.core.subscribe(A, request, names(["room:1"]), request % 2 == 0);
            link.core.unsubscribe(A, &names(["room:1"]));
        }
        assert!(link.core.dirty.len() <= 1 && link.core.channels.len() <= 1);
        link.run();
        assert_eq!(link.take_events(A), [""; 0]);
        link.assert_empty();
    }
}

#[test]
fn a_refused_channel_is_reported_at_once_and_retried() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.core.subscribe(A, 2, names(["room:2"]), false);
    let batch = link.core.next_batch(512).unwrap();
    assert_eq!(batch.subscribe, names(["room:2"]));
    assert!(!link.core.is_complete());
    link.core.refused(batch.subscribe);
    assert_eq!(link.take_events(A), ["room:2 refused to 2"]);
    assert!(link.core.is_complete(), "a refused channel must not keep the link from being complete");
    link.core.subscribe(B, 3, names(["room:2"]), false);
    assert_eq!(link.take_events(B), ["room:2 refused to 3"]);
    assert!(link.confirm_batch(512).is_none(), "a further subscriber must not cause an attempt");

    link.core.retry_refused();
    assert_eq!(link.confirm_batch(512).unwrap().subscribe, names(["room:2"]));
    link.run();
    assert_eq!(link.take_events(A), ["room:2 subscribed by 2 at 9-0"]);
    assert_eq!(link.take_events(B), ["room:2 subscribed by 3 at 9-0"]);
}

#[test]
fn a_refused_channel_without_hubs_is_removed() {
    let mut link = Link::up();
    link.core.subscribe(A, 1, names(["room:1", "room:2"]), false);
    let batch = link.core.next_batch(512).unwrap();
    link.core.unsubscribe(A, &names(["room:2"]));
    link.core.refused(batch.subscribe);
    link.core.unsubscribe(A, &names(["room:1"]));
    assert!(link.confirm_batch(512).is_none());
    assert!(link.core.is_complete());
    link.assert_empty();
}

#[test]
fn nothing_is_read_for_a_channel_that_no_hub_wants() {
    let mut link = Link::up();
    link.core.subscribe(A, 1, names(["room:1", "room:2"]), false);
    let batch = link.core.next_batch(512).unwrap();
    // One hub leaves before the link subscribes, one before the tail is read.
    link.core.unsubscribe(A, &names(["room:1"]));
    link.core.confirmed(batch);
    link.core.unsubscribe(A, &names(["room:2"]));
    assert!(link.core.next_read().is_none());
    let mut left = link.confirm_batch(512).unwrap().unsubscribe;
    left.sort();
    assert_eq!(left, names(["room:1", "room:2"]));
    link.assert_empty();
}

#[test]
fn a_channel_that_is_wanted_again_is_read_again() {
    let mut link = Link::up();
    link.core.subscribe(A, 1, names(["room:1"]), false);
    let batch = link.core.next_batch(512).unwrap();
    link.core.confirmed(batch);
    let (early, server) = (link.core.next_read().unwrap(), link.server.clone());
    link.core.unsubscribe(A, &names(["room:1"]));
    // The answer to the early read does not cover this message.
    link.publish("room:1", true);
    link.core.subscribe(B, 2, names(["room:1"]), false);
    link.answer(early, &server);
    assert_eq!(link.take_events(B), [""; 0], "the early answer must be ignored");
    link.run();
    assert_eq!(link.take_events(B), ["room:1 subscribed by 2 at 9-1"]);
    assert_eq!(link.take_events(A), [""; 0]);
}
