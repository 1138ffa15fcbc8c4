//! Reads of users' presence for hubs.

use super::*;
use protocol::presence::UserPresence;

const ONLINE: Option<UserPresence> = Some(UserPresence::new(true, 7));

#[test]
fn a_read_stays_until_it_is_answered() {
    let mut link = Link::subscribed_to(["online:1", "online:2"]);
    link.clear_events();
    for (read, channel) in [(5, "online:1"), (4, "online:2")] {
        link.core.read_presence(A, read, name(channel));
    }
    let first = link.core.next_presence_reads(1);
    assert_eq!(first[0].channel, name("online:2"), "the oldest read is the first");
    link.reconnect();
    link.run();
    link.clear_events();
    let again = link.core.next_presence_reads(10);
    assert_eq!((again.len(), &again[0]), (2, &first[0]));
    again.into_iter().for_each(|query| link.core.on_presence(query, ONLINE));
    let answers = link.take_events(A);
    assert_eq!(answers.len(), 2);
    assert!(answers[0].starts_with("online:2 presence 4: Some"), "{answers:?}");
    assert_eq!(link.core.next_presence_reads(10), []);
    // The answer of the lost link comes late.
    link.core.on_presence(first[0].clone(), ONLINE);
    assert_eq!(link.take_events(A), [""; 0]);
}

#[test]
fn a_cancelled_read_is_not_answered() {
    let mut link = Link::subscribed_to(["online:1"]);
    link.clear_events();
    link.core.read_presence(A, 5, name("online:1"));
    let queries = link.core.next_presence_reads(10);
    link.core.cancel_presence(A, 5);
    assert_eq!(link.core.next_presence_reads(10), []);
    queries.into_iter().for_each(|query| link.core.on_presence(query, None));
    assert_eq!(link.take_events(A), [""; 0]);
}

#[test]
fn reads_of_two_hubs_may_have_the_same_number() {
    let mut link = Link::subscribed_to(["online:1"]);
    link.clear_events();
    for hub in [A, B] {
        link.core.read_presence(hub, 5, name("online:1"));
    }
    let queries = link.core.next_presence_reads(10);
    queries.into_iter().for_each(|query| link.core.on_presence(query, None));
    for hub in [A, B] {
        assert_eq!(link.take_events(hub), ["online:1 presence 5: None"]);
    }
}
