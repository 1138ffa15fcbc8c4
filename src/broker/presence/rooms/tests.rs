use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const MAX: usize = 3;
const SECOND: Duration = EVENT_INTERVAL;

fn room() -> ChannelName {
    ChannelName::parse("room:7").unwrap()
}

fn hub(index: usize) -> HubId {
    HubId::of_index(index)
}

fn change(count: u64, joined: &[&str], left: &[&str]) -> RoomChange {
    let users = |ids: &[&str]| ids.iter().map(|id| Box::from(*id)).collect();
    RoomChange { count, joined: users(joined), left: users(left), is_partial: false }
}

/// An event as `hubs count +joined -left`.
fn line((hubs, event): RoomEvent) -> String {
    let HubEvent::Room { count, joined, left, .. } = event else { panic!("{event:?}") };
    let hubs: Vec<String> = hubs.iter().map(|hub| hub.index().to_string()).collect();
    let joined = joined.iter().map(|user| format!(" +{user}"));
    let users: String = joined.chain(left.iter().map(|user| format!(" -{user}"))).collect();
    format!("{}: {count}{users}", hubs.join(","))
}

fn lines(events: Vec<RoomEvent>) -> Vec<String> {
    events.into_iter().map(line).collect()
}

/// A feed with a member on hub 0, whose first event was offered.
fn feed(start: Instant, count: u64) -> RoomFeed {
    let mut feed = RoomFeed::new(MAX);
    assert!(feed.change_member(hub(0), &room(), true).is_none(), "the count is not known");
    feed.change("room:7", change(count, &["0"], &[]), start);
    assert_eq!(lines(feed.take_due(start)), [format!("0: {count}")], "only the count");
    feed
}

#[test]
fn changes_are_offered_once_a_second() {
    let start = Instant::now();
    let mut feed = feed(start, 1);
    feed.change("room:7", change(2, &["1"], &[]), start);
    feed.change("room:7", change(3, &["2"], &[]), start);
    feed.change("room:7", change(2, &[], &["0"]), start);
    assert_eq!(lines(feed.take_due(start)), [""; 0]);
    assert_eq!(feed.next_due(), Some(start + SECOND));
    assert_eq!(lines(feed.take_due(start + SECOND)), ["0: 2 +1 +2 -0"]);
    feed.change("room:7", change(1, &[], &["1"]), start + 3 * SECOND);
    assert_eq!(lines(feed.take_due(start + 3 * SECOND)), ["0: 1 -1"], "at once");
}

#[test]
fn a_user_that_came_and_left_within_a_second_is_not_offered() {
    let start = Instant::now();
    let mut feed = feed(start, 1);
    feed.change("room:7", change(2, &["1"], &[]), start);
    feed.change("room:7", change(1, &[], &["1"]), start);
    assert_eq!(lines(feed.take_due(start + SECOND)), [""; 0]);
    assert_eq!(feed.next_due(), None);
}

#[test]
fn a_new_hub_gets_what_the_others_have() {
    let start = Instant::now();
    let mut feed = feed(start, 1);
    feed.change("room:7", change(2, &["1"], &[]), start);
    assert_eq!(feed.change_member(hub(1), &room(), true).map(line), Some("1: 1".into()));
    assert!(feed.change_member(hub(1), &room(), true).is_none(), "it is not new");
    assert_eq!(lines(feed.take_due(start + SECOND)), ["0,1: 2 +1"]);
}

#[test]
fn joins_and_leaves_are_not_offered_above_the_maximum() {
    let start = Instant::now();
    let mut feed = feed(start, MAX as u64);
    let partial = |count| RoomChange { count, is_partial: true, ..RoomChange::default() };
    feed.change("room:7", partial(4), start + SECOND);
    assert_eq!(lines(feed.take_due(start + SECOND)), ["0: 4"]);
    feed.change("room:7", partial(5), start + 2 * SECOND);
    feed.change("room:7", partial(4), start + 2 * SECOND);
    assert_eq!(lines(feed.take_due(start + 2 * SECOND)), [""; 0], "nobody follows its members");
    feed.change("room:7", partial(3), start + 3 * SECOND);
    assert_eq!(lines(feed.take_due(start + 3 * SECOND)), ["0: 3"]);
    feed.change("room:7", change(2, &[], &["1"]), start + 4 * SECOND);
    assert_eq!(lines(feed.take_due(start + 4 * SECOND)), ["0: 2 -1"], "they can be followed again");
}

#[test]
fn changes_that_may_be_missed_are_offered_as_a_count_alone() {
    let start = Instant::now();
    let mut feed = feed(start, 2);
    feed.disconnected();
    feed.connected();
    assert_eq!(feed.next_read(), [room()]);
    feed.change("room:7", change(2, &[], &[]), start + SECOND);
    assert_eq!(lines(feed.take_due(start + SECOND)), ["0: 2"], "although the count is the same");
    feed.connected();
    feed.change("room:7", change(3, &["1"], &[]), start + 2 * SECOND);
    assert_eq!(lines(feed.take_due(start + 2 * SECOND)), ["0: 3"]);
}

#[test]
fn a_room_that_has_changed_is_not_read() {
    let start = Instant::now();
    let mut feed = RoomFeed::new(MAX);
    feed.connected();
    feed.set_sessions(hub(0), &room(), 1);
    feed.change("room:7", change(5, &[], &[]), start);
    assert_eq!(feed.next_read(), []);
    feed.connected();
    assert_eq!(feed.next_read(), [room()]);
    assert_eq!(feed.next_read(), []);
    feed.repeat_reads();
    assert_eq!(feed.next_read(), [room()]);
}

#[test]
fn nothing_is_kept_of_a_room_without_local_subscribers() {
    let start = Instant::now();
    let mut feed = RoomFeed::new(MAX);
    feed.connected();
    feed.set_sessions(hub(0), &room(), 1);
    feed.change("room:7", change(1, &[], &[]), start);
    feed.set_sessions(hub(0), &room(), 0);
    feed.change("room:7", change(1, &[], &[]), start);
    assert!(feed.rooms.is_empty() && feed.due.is_empty() && feed.unread.is_empty());
    assert_eq!(feed.next_read(), []);
}

proptest! {
    /// A client that reads the list at each event without users, and applies the others, has the members in the end.
    #[test]
    fn events_lead_to_the_members(
        steps in prop::collection::vec((0..8usize, 0..5usize, 0..900u64), 0..150),
    ) {
        let (mut feed, mut now) = (RoomFeed::new(4), Instant::now());
        feed.change_member(hub(0), &room(), true);
        let (mut members, mut client) = (BTreeSet::<String>::new(), None::<BTreeSet<String>>);
        let mut count = 0;
        let mut last = None;
        for (kind, user, passed) in steps.into_iter().chain([(7, 0, 5_000), (7, 0, 5_000)]) {
            now += Duration::from_millis(passed);
            match kind {
                0..=5 => {
                    let (id, before) = (user.to_string(), members.len());
                    let is_member = members.insert(id.clone());
                    if !is_member {
                        members.remove(&id);
                    }
                    let users: Vec<Box<str>> = vec![id.as_str().into()];
                    let is_partial = before.max(members.len()) > 4;
                    let change = match (is_partial, is_member) {
                        (true, _) => RoomChange::default(),
                        (_, true) => RoomChange { joined: users, ..RoomChange::default() },
                        (_, false) => RoomChange { left: users, ..RoomChange::default() },
                    };
                    feed.change("room:7", RoomChange { count: members.len() as u64, is_partial, ..change }, now);
                }
                6 => {
                    // The link was lost, and a change with it.
                    feed.disconnected();
                    if !members.remove(&user.to_string()) {
                        members.insert(user.to_string());
                    }
                    feed.connected();
                    feed.change("room:7", change(members.len() as u64, &[], &[]), now);
                }
                _ => {}
            }
            for (_, event) in feed.take_due(now) {
                let HubEvent::Room { count: told, joined, left, .. } = event else { panic!() };
                prop_assert!(last.is_none_or(|last| now - last >= SECOND));
                (last, count) = (Some(now), told);
                if joined.is_empty() && left.is_empty() {
                    client = Some(members.clone()).filter(|members| members.len() <= 4);
                } else if let Some(client) = &mut client {
                    client.extend(joined.iter().map(ToString::to_string));
                    left.iter().for_each(|user| { client.remove(&**user); });
                }
            }
        }
        if last.is_some() {
            prop_assert_eq!(count, members.len() as u64);
        }
        if let Some(client) = client {
            prop_assert_eq!(client, members);
        }
    }
}
