//! The guarantees of every broker. Each test runs with both brokers.

use std::sync::atomic::Ordering;

use super::*;

macro_rules! over_both {
    ($($test:ident)*) => {
        mod memory {
            $(#[test] fn $test() { super::$test(super::BrokerUnderTest::memory); })*
        }
        mod redis {
            $(#[test] fn $test() { super::$test(super::BrokerUnderTest::redis); })*
        }
    };
}

over_both! {
    messages_are_delivered_once_and_byte_for_byte
    a_thousand_publications_keep_their_order
    publications_reach_subscribed_hubs_only
    an_unsubscribed_hub_gets_nothing_more
    each_channel_of_a_subscribe_is_acknowledged_exactly_once
    repeated_subscribes_and_unknown_unsubscribes_are_harmless
    two_hubs_see_concurrent_publications_in_one_order
    a_message_over_the_bound_is_refused
    a_full_inbox_drops_publications_but_never_an_acknowledgement
    channels_and_users_are_counted
    after_shutdown_publishing_fails_at_once
}

type Make = fn() -> BrokerUnderTest;

fn messages_are_delivered_once_and_byte_for_byte(make: Make) {
    let test = make();
    let hub = test.hub();
    hub.subscribe(&["room:7"]);
    let message = r#"{"b": 1,  "a":[1.0, 1e3, "\u00e9é"], "a":null}"#;
    test.publish("room:7", message).unwrap();
    test.publish("room:7", "2").unwrap();
    assert_eq!(hub.next(), format!("room:7 {message}"));
    assert_eq!(hub.next(), "room:7 2");
    assert_eq!((hub.queued(), test.metrics.publications_received.get()), (0, 2));
}

fn a_thousand_publications_keep_their_order(make: Make) {
    let test = make();
    let hub = test.hub();
    hub.subscribe(&["room:1", "user:1"]);
    for number in 0..1000 {
        test.publish(["room:1", "user:1"][number % 2], &number.to_string()).unwrap();
    }
    for number in 0..1000 {
        assert_eq!(hub.next(), format!("{} {number}", ["room:1", "user:1"][number % 2]));
    }
}

fn publications_reach_subscribed_hubs_only(make: Make) {
    let test = make();
    let [both, one, none] = [test.hub(), test.hub(), test.hub()];
    both.subscribe(&["all", "room:1", "room:2"]);
    one.subscribe(&["all", "room:1"]);
    none.subscribe(&["all"]);
    test.publish("room:1", "1").unwrap();
    test.publish("room:2", "2").unwrap();
    test.publish("room:3", "3").unwrap();
    test.publish("all", "4").unwrap();
    assert_eq!([both.next(), both.next(), both.next()], ["room:1 1", "room:2 2", "all 4"]);
    assert_eq!([one.next(), one.next()], ["room:1 1", "all 4"]);
    assert_eq!(none.next(), "all 4");
    assert_eq!([both.queued(), one.queued(), none.queued()], [0; 3]);
}

fn an_unsubscribed_hub_gets_nothing_more(make: Make) {
    let test = make();
    let (leaver, stayer) = (test.hub(), test.hub());
    leaver.subscribe(&["room:1", "room:2"]);
    stayer.subscribe(&["room:1"]);
    leaver.unsubscribe(&["room:1"]);
    test.publish("room:1", "1").unwrap();
    test.publish("room:2", "2").unwrap();
    assert_eq!(stayer.next(), "room:1 1");
    assert_eq!(leaver.next(), "room:2 2");
    leaver.subscribe(&["room:1"]);
    test.publish("room:1", "3").unwrap();
    assert_eq!(leaver.next(), "room:1 3");
}

fn each_channel_of_a_subscribe_is_acknowledged_exactly_once(make: Make) {
    let test = make();
    let (hub, other) = (test.hub(), test.hub());
    other.subscribe(&["room:1"]);
    let calls: [&[&str]; 3] = [&["room:1"], &["room:2", "room:3"], &["room:1", "room:3"]];
    let requests = calls.map(|channels| hub.send_subscribe(channels));
    hub.send_subscribe(&["room:4"]);
    hub.unsubscribe(&["room:4"]);
    let again = hub.send_subscribe(&["room:4"]);
    // After one more round trip, a surplus acknowledgement would have arrived.
    hub.subscribe(&["room:5"]);
    for (request, channels) in requests.into_iter().zip(calls).chain([(again, &["room:4"][..])]) {
        let expected: Vec<_> = channels.iter().map(|channel| name(channel)).collect();
        eventually_eq(SOON, &expected, || hub.acknowledged(request));
    }
    hub.subscribe(&["room:6"]);
    let surplus = hub.inbox.subscribed.lock().unwrap().len();
    assert!(
        (8..=9).contains(&surplus),
        "only the cancelled request may have a surplus acknowledgement: {surplus}"
    );
}

fn repeated_subscribes_and_unknown_unsubscribes_are_harmless(make: Make) {
    let test = make();
    let hub = test.hub();
    hub.unsubscribe(&["room:1"]);
    hub.subscribe(&["room:1"]);
    hub.subscribe(&["room:1"]);
    test.publish("room:1", "1").unwrap();
    test.publish("room:1", "2").unwrap();
    assert_eq!([hub.next(), hub.next()], ["room:1 1", "room:1 2"]);
    hub.unsubscribe(&["room:1", "room:1"]);
    test.publish("room:1", "3").unwrap();
    hub.subscribe(&["room:2"]);
    test.publish("room:2", "4").unwrap();
    assert_eq!(hub.next(), "room:2 4");
}

fn two_hubs_see_concurrent_publications_in_one_order(make: Make) {
    let test = make();
    let hubs = [test.hub(), test.hub()];
    hubs.iter().for_each(|hub| hub.subscribe(&["room:1"]));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let test = &test;
            scope.spawn(move || {
                (0..50).for_each(|number| test.publish("room:1", &format!("[{thread},{number}]")).unwrap());
            });
        }
    });
    let [first, second] = hubs.map(|hub| (0..200).map(|_| hub.next()).collect::<Vec<_>>());
    assert_eq!(first, second);
}

fn a_message_over_the_bound_is_refused(make: Make) {
    let test = make();
    let hub = test.hub();
    hub.subscribe(&["room:1"]);
    let of_length = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let error = PublishError::TooBig { bytes: MAX_PAYLOAD_BYTES + 1, max_bytes: MAX_PAYLOAD_BYTES };
    assert_eq!(test.publish("room:1", &of_length(MAX_PAYLOAD_BYTES + 1)), Err(error));
    test.publish("room:1", &of_length(MAX_PAYLOAD_BYTES)).unwrap();
    assert_eq!(hub.next().len(), "room:1 ".len() + MAX_PAYLOAD_BYTES);
    assert_eq!(hub.queued(), 0);
}

fn a_full_inbox_drops_publications_but_never_an_acknowledgement(make: Make) {
    let test = make();
    let (full, other) = (test.hub(), test.hub());
    full.subscribe(&["room:1"]);
    other.subscribe(&["room:1"]);
    full.inbox.full.store(true, Ordering::Relaxed);
    test.publish("room:1", "1").unwrap();
    assert_eq!(other.next(), "room:1 1");
    eventually_eq(SOON, &1, || test.dropped(DropReason::HubInboxFull));
    full.subscribe(&["room:2"]);
    full.inbox.full.store(false, Ordering::Relaxed);
    test.publish("room:1", "2").unwrap();
    assert_eq!(full.next(), "room:1 2");
}

fn channels_and_users_are_counted(make: Make) {
    let test = make();
    let (one, two) = (test.hub(), test.hub());
    let gauges = || (test.metrics.channels.get(), test.metrics.users.get());
    one.subscribe(&["user:1", "all", "room:1"]);
    two.subscribe(&["user:1", "user:2"]);
    assert_eq!(gauges(), (4, 2));
    one.unsubscribe(&["user:1", "all", "room:1", "room:1"]);
    assert_eq!(gauges(), (2, 2));
    two.unsubscribe(&["user:1", "user:2"]);
    assert_eq!(gauges(), (0, 0));
}

fn after_shutdown_publishing_fails_at_once(make: Make) {
    let test = make();
    let hub = test.hub();
    assert!(test.broker.health().is_ready);
    test.broker.shutdown();
    eventually_eq(SOON, &"stopped", || test.broker.health().state);
    assert_eq!(test.publish("room:1", "1"), Err(PublishError::Unavailable));
    // Without a link, hubs do not let clients wait.
    let request = hub.send_subscribe(&["room:1"]);
    eventually(SOON, || {
        let is_answered = !hub.acknowledged(request).is_empty();
        (is_answered || !hub.inbox.link_is_up.load(Ordering::Relaxed)).then_some(())
    });
    assert_eq!((test.broker.health().is_ready, test.metrics.redis_link_up.get()), (false, 0));
}
