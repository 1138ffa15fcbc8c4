//! Rooms on the socket: op 14, op 15, and the channels in use.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use super::over_both::{Over, over_both};
use super::room_member::Member;
use super::*;

over_both! {
    subscribers_learn_the_number_of_sessions
    a_new_subscriber_learns_the_count_after_its_subscription
    the_count_comes_at_most_once_a_second
    subscribers_learn_which_members_join_and_leave
    a_user_with_two_tabs_is_one_member
    a_large_room_sends_only_its_count
    members_are_read_page_by_page
    only_subscribers_of_rooms_with_members_may_read_them
    version_1_receives_no_count
}

/// A gateway and its broker.
struct RoomGateway {
    gateway: TestGateway,
    /// Declared last, to be dropped last.
    _redis: Option<RedisServer>,
}

impl RoomGateway {
    fn start(over: Over) -> Self {
        Self::start_with(over, |plan| plan)
    }

    fn start_with(over: Over, change: impl FnOnce(Plan) -> Plan) -> Self {
        let redis = matches!(over, Over::Redis).then(RedisServer::start);
        let plan = match &redis {
            Some(redis) => TestGateway::redis(redis),
            None => TestGateway::plan(),
        };
        let gateway = change(with_rooms(plan)).spawn();
        gateway.wait_ready();
        Self { gateway, _redis: redis }
    }
}

/// Rooms with a count (`room`), with members (`team`), and channels in use (`list`).
fn with_rooms(plan: Plan) -> Plan {
    plan.with("presence.enabled", "true")
        .with("presence.grace", "0s")
        .with("channels.public_namespaces", "room,team,list")
        .with("namespaces.room.presence", "count")
        .with("namespaces.team.presence", "members")
        .with("namespaces.list.occupancy", "true")
        .with("namespaces.all.presence", "count")
        .with("limits.connections_per_address", "0")
        .with("session.messages_per_minute", "0")
}

/// The users in a field of all op 14.
fn users(events: &[Value], field: &str) -> BTreeSet<String> {
    let lists = events.iter().filter_map(|frame| frame.get(field)?.as_array());
    lists.flatten().map(|user| user.as_str().unwrap().to_owned()).collect()
}

fn set(users: &[&str]) -> BTreeSet<String> {
    users.iter().map(|user| (*user).to_owned()).collect()
}

fn subscribers_learn_the_number_of_sessions(over: Over) {
    let test = RoomGateway::start(over);
    let mut first = Member::enter(&test.gateway, "42", "room:7");
    first.wait_count(1);
    let second = Member::enter(&test.gateway, "42", "room:7");
    first.wait_count(2);
    drop(second);
    let events = first.wait_count(1);
    assert!(events.iter().all(|frame| frame.as_object().unwrap().len() == 1), "{events:?}");
}

fn a_new_subscriber_learns_the_count_after_its_subscription(over: Over) {
    let test = RoomGateway::start(over);
    let mut members: Vec<_> = (0..4).map(|_| Member::enter(&test.gateway, "42", "room:7")).collect();
    members.iter_mut().for_each(|member| drop(member.wait_count(4)));
    // Both workers know the count, so it directly follows op 6 or Ready.
    let mut fifth = Member::enter(&test.gateway, "43", "room:7");
    assert_eq!(fifth.next_but_all(), json!({"op": 14, "channel": "room:7", "count": 4}));
    let mut sixth = test.gateway.connect_v2().answering_heartbeats();
    sixth.send_text(r#"{"op":1,"token":"44","channels":[{"channel":"room:7"}]}"#);
    sixth.expect_ready();
    let mut sixth = Member { client: sixth, channel: "room:7" };
    assert!([4, 5].contains(&sixth.next_but_all()["count"].as_u64().unwrap()));
    sixth.wait_count(6);
}

fn the_count_comes_at_most_once_a_second(over: Over) {
    let test = RoomGateway::start(over);
    let mut watcher = Member::enter(&test.gateway, "1", "room:7");
    watcher.wait_count(1);
    let mut churning = Member::enter(&test.gateway, "2", "room:7");
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(3_300) {
        for (op, state) in [(5, "unsubscribed"), (4, "subscribed")] {
            churning.client.send_text(&json!({"op": op, "channel": "room:7"}).to_string());
            while churning.client.next_json()["state"] != state {}
        }
    }
    let third = Member::enter(&test.gateway, "3", "room:7");
    let events = watcher.wait_count(3);
    let seconds = started.elapsed().as_secs() as usize;
    assert!(events.len() <= seconds + 2, "{} in {seconds} s: {events:?}", events.len());
    drop(third);
}

fn subscribers_learn_which_members_join_and_leave(over: Over) {
    let test = RoomGateway::start(over);
    let mut first = Member::enter(&test.gateway, "42", "team:7");
    assert_eq!(first.wait_count(1), [json!({"count": 1})]);
    let second = Member::enter(&test.gateway, "43", "team:7");
    assert_eq!(first.wait_count(2), [json!({"count": 2, "joined": ["43"]})]);
    drop(second);
    assert_eq!(first.wait_count(1), [json!({"count": 1, "left": ["43"]})]);
}

fn a_user_with_two_tabs_is_one_member(over: Over) {
    let test = RoomGateway::start(over);
    let mut first = Member::enter(&test.gateway, "1", "team:7");
    first.wait_count(1);
    // The workers share the connections, so both have tabs of the user.
    let mut tabs: Vec<_> = (0..4).map(|_| Member::enter(&test.gateway, "42", "team:7")).collect();
    assert_eq!(first.wait_count(2), [json!({"count": 2, "joined": ["42"]})]);
    for (dropped, tab) in (1..).zip(tabs.drain(1..)) {
        drop(tab);
        test.gateway.wait_metric("sessions", 5 - dropped);
    }
    assert_eq!(first.members(), ["1", "42"]);
    drop(tabs);
    // No op 14 came for the other tabs.
    assert_eq!(first.wait_count(1), [json!({"count": 1, "left": ["42"]})]);
}

fn a_large_room_sends_only_its_count(over: Over) {
    let test = RoomGateway::start_with(over, |plan| plan.with("presence.max_members", "2"));
    let mut first = Member::enter(&test.gateway, "1", "team:7");
    first.wait_count(1);
    let second = Member::enter(&test.gateway, "2", "team:7");
    assert_eq!(first.wait_count(2), [json!({"count": 2, "joined": ["2"]})]);
    let third = Member::enter(&test.gateway, "3", "team:7");
    assert_eq!(first.wait_count(3), [json!({"count": 3})]);
    let fourth = Member::enter(&test.gateway, "4", "team:7");
    assert_eq!(first.wait_count(4), [json!({"count": 4})]);
    assert_eq!(first.members(), ["1", "2", "3", "4"]);
    drop(fourth);
    assert_eq!(first.wait_count(3), [json!({"count": 3})]);
    drop(third);
    assert_eq!(first.wait_count(2), [json!({"count": 2})], "the members can be followed from here");
    drop(second);
    assert_eq!(first.wait_count(1), [json!({"count": 1, "left": ["2"]})]);
}

fn members_are_read_page_by_page(over: Over) {
    let test = RoomGateway::start(over);
    let mut first = Member::enter(&test.gateway, "1", "team:7");
    let ids: Vec<String> = (100..225).map(|user| format!("{user}")).collect();
    let others: Vec<_> = ids.iter().map(|user| Member::enter(&test.gateway, user, "team:7")).collect();
    first.wait_count(126);
    let mut expected: Vec<_> = ids.iter().map(String::as_str).chain(["1"]).collect();
    expected.sort_unstable();
    assert_eq!(first.members(), expected);
    let page = first.ask("team:7", Some("9"));
    assert_eq!(page, json!({"op": 15, "id": "m1", "channel": "team:7", "members": []}));
    drop(others);
}

fn only_subscribers_of_rooms_with_members_may_read_them(over: Over) {
    let test = RoomGateway::start(over);
    let mut member = Member::enter(&test.gateway, "42", "room:7");
    for channel in ["room:7", "team:7", "user:42", "all", "no channel"] {
        let answer = member.ask(channel, None);
        assert_eq!((&answer["op"], &answer["code"]), (&json!(9), &json!("not_allowed")), "{channel}");
    }
}

fn version_1_receives_no_count(over: Over) {
    let test = RoomGateway::start(over);
    let mut old = test.gateway.ready_client("42");
    let mut new = test.gateway.connect_v2().answering_heartbeats();
    new.identify("43");
    new.expect_ready();
    let mut new = Member { client: new, channel: "all" };
    let counts = |member: &mut Member| member.client.next_json()["count"].as_u64();
    while counts(&mut new) != Some(2) {}
    test.gateway.publish("all", r#""marker""#);
    old.expect_text(r#"{"op":3,"message":"marker"}"#);
}

#[test]
fn the_count_is_that_of_all_replicas() {
    let redis = RedisServer::start();
    let gateways = [0, 1].map(|_| with_rooms(TestGateway::redis(&redis)).spawn());
    gateways.iter().for_each(TestGateway::wait_ready);
    let [mut here, mut there] = gateways.each_ref().map(|one| Member::enter(one, "42", "room:7"));
    here.wait_count(2);
    there.wait_count(2);
    let [mut team_here, mut team_there] = gateways.each_ref().map(|one| Member::enter(one, "42", "team:7"));
    // One user on two replicas is one member.
    team_here.wait_count(1);
    team_there.wait_count(1);
    let other = Member::enter(&gateways[1], "43", "team:7");
    assert_eq!(users(&team_here.wait_count(2), "joined"), set(&["43"]));
    assert_eq!(team_here.members(), ["42", "43"]);
    assert_eq!(team_there.members(), ["42", "43"]);
    drop(other);
    assert_eq!(users(&team_here.wait_count(1), "left"), set(&["43"]));
    drop(there);
    here.wait_count(1);
}

#[test]
fn the_sessions_of_a_killed_replica_stop_counting() {
    let redis = RedisServer::start();
    let [gateway, mut dying] = [0, 1].map(|_| with_rooms(TestGateway::redis(&redis)).spawn());
    for one in [&gateway, &dying] {
        one.wait_ready();
    }
    let mut room = Member::enter(&gateway, "1", "room:7");
    let mut team = Member::enter(&gateway, "1", "team:7");
    let lost = ["2", "3"].map(|user| ["room:7", "team:7"].map(|one| Member::enter(&dying, user, one)));
    room.wait_count(3);
    team.wait_count(3);
    dying.signal("KILL");
    dying.wait_exit();
    room.wait_count(1);
    assert_eq!(users(&team.wait_count(1), "left"), set(&["2", "3"]));
    assert_eq!(team.members(), ["1"]);
    drop(lost);
}

#[test]
fn members_are_unavailable_while_redis_is_down() {
    let mut redis = RedisServer::start();
    let gateway = with_rooms(TestGateway::redis(&redis)).with("broker.response_timeout", "1s").spawn();
    gateway.wait_ready();
    let mut member = Member::enter(&gateway, "42", "team:7");
    member.wait_count(1);
    redis.kill();
    gateway.wait_metric("redis_link_up", 0);
    let answer = member.ask("team:7", None);
    assert_eq!((&answer["op"], &answer["code"]), (&json!(9), &json!("unavailable")));
    redis.restart();
    gateway.wait_ready();
    // The replica reports its members again.
    eventually_eq(BURIAL, &vec!["42".to_owned()], || member.members());
}

#[test]
fn channels_in_use_have_one_pair_of_edges() {
    let redis = RedisServer::start();
    let gateway = with_rooms(TestGateway::redis(&redis)).spawn();
    gateway.wait_ready();
    let mut backend = redis.client();
    let mut states = move || -> Vec<String> {
        let entries: Vec<(String, BTreeMap<String, String>)> = redis::cmd("XRANGE")
            .arg("gateway:{presence}:channels")
            .arg("-")
            .arg("+")
            .query(&mut backend)
            .unwrap();
        entries.iter().map(|(_, fields)| format!("{} {}", fields["channel"], fields["state"])).collect()
    };
    let members = [0; 4].map(|_| Member::enter(&gateway, "42", "list:7"));
    eventually_eq(BURIAL, &vec!["list:7 occupied".to_owned()], &mut states);
    drop(members);
    let both = ["list:7 occupied", "list:7 vacated"].map(str::to_owned).to_vec();
    eventually_eq(BURIAL, &both, &mut states);
    // A room without occupancy has no edge.
    drop(Member::enter(&gateway, "42", "room:7"));
    gateway.wait_metric("sessions", 0);
    drop(Member::enter(&gateway, "42", "list:8"));
    eventually_eq(BURIAL, &true, || states().last().is_some_and(|last| last.starts_with("list:8")));
    assert!(states().iter().all(|edge| edge.starts_with("list:")));
}

#[test]
fn a_flood_of_requests_for_members_is_refused() {
    let redis = RedisServer::start();
    let gateway = with_rooms(TestGateway::redis(&redis)).spawn();
    gateway.wait_ready();
    let mut member = Member::enter(&gateway, "42", "team:7");
    member.wait_count(1);
    redis.stop();
    for number in 1..=6 {
        let request = json!({"op": 15, "id": format!("m{number}"), "channel": "team:7"});
        member.client.send_text(&request.to_string());
    }
    for id in ["m5", "m6"] {
        let answer = member.next_but_all();
        assert_eq!((&answer["code"], &answer["id"]), (&json!("unavailable"), &json!(id)));
    }
    redis.cont();
    let answers: BTreeSet<_> = (1..=4).map(|_| member.next_but_all()["id"].to_string()).collect();
    assert_eq!(answers.len(), 4);
}
