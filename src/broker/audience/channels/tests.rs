use super::*;

const A: HubId = HubId::of_index(0);
const B: HubId = HubId::of_index(1);

fn names<const N: usize>(names: [&str; N]) -> Vec<ChannelName> {
    names.iter().map(|name| ChannelName::parse(name).unwrap()).collect()
}

/// The place of a channel of which nothing is known.
const NOW: Position = Position::before(9);

/// What is told of channels of which nothing is known.
fn at_now(channels: Vec<ChannelName>) -> Vec<(ChannelName, Position)> {
    channels.into_iter().map(|channel| (channel, NOW)).collect()
}

fn linked() -> (Channels, Metrics) {
    let metrics = Metrics::default();
    let mut channels = Channels::new(&metrics);
    channels.link_up();
    (channels, metrics)
}

fn answer(hub: HubId, channels: Vec<(ChannelName, Position)>) -> Answer {
    Answer { hub, channels, broken: Vec::new() }
}

/// Lets the link do all that is due.
fn run_link(channels: &mut Channels) -> Vec<Answer> {
    let mut answers = Vec::new();
    loop {
        let turn = channels.next_turn(512);
        if turn.is_empty() {
            return answers;
        }
        answers.extend(channels.turn_done(turn, NOW));
    }
}

fn hubs(channels: &Channels, channel: &str) -> Vec<HubId> {
    channels.find(channel).map(|(_, hubs)| hubs.to_vec()).unwrap_or_default()
}

#[test]
fn one_call_is_answered_once_when_all_its_channels_are_confirmed() {
    let (mut channels, _) = linked();
    let wanted = names(["room:1", "room:2", "room:1"]);
    assert_eq!(channels.subscribe(A, wanted.clone(), |_| NOW), None);
    let first = channels.next_turn(1);
    assert_eq!(first.subscribe, names(["room:1"]));
    assert_eq!(channels.turn_done(first, NOW), []);
    let second = channels.next_turn(1);
    assert_eq!(channels.turn_done(second, NOW), [answer(A, at_now(wanted))]);
    assert!(channels.next_turn(1).is_empty());
}

#[test]
fn what_is_already_carried_is_answered_at_once() {
    let (mut channels, _) = linked();
    assert_eq!(channels.subscribe(A, names(["room:1"]), |_| NOW), None);
    assert_eq!(run_link(&mut channels).len(), 1);
    let again = answer(B, at_now(names(["room:1"])));
    assert_eq!(channels.subscribe(B, names(["room:1"]), |_| NOW), Some(again));
    let nothing = answer(A, Vec::new());
    assert_eq!(channels.subscribe(A, Vec::new(), |_| NOW), Some(nothing));
    assert!(channels.next_turn(512).is_empty());
    assert_eq!(hubs(&channels, "room:1"), [A, B]);
}

#[test]
fn a_second_hub_waits_for_the_same_confirmation() {
    let (mut channels, _) = linked();
    channels.subscribe(A, names(["room:1"]), |_| NOW);
    let turn = channels.next_turn(512);
    assert_eq!(channels.subscribe(B, names(["room:1"]), |_| NOW), None);
    let answered: Vec<_> = channels.turn_done(turn, NOW).into_iter().map(|answer| answer.hub).collect();
    assert_eq!(answered, [A, B]);
}

#[test]
fn only_the_last_hub_that_leaves_ends_the_subscription() {
    let (mut channels, _) = linked();
    channels.subscribe(A, names(["room:1"]), |_| NOW);
    channels.subscribe(B, names(["room:1"]), |_| NOW);
    run_link(&mut channels);
    channels.unsubscribe(A, &names(["room:1", "room:9"]));
    channels.unsubscribe(A, &names(["room:1"]));
    assert!(channels.next_turn(512).is_empty());
    channels.unsubscribe(B, &names(["room:1"]));
    assert_eq!(channels.next_turn(512).unsubscribe, names(["room:1"]));
}

#[test]
fn who_returns_while_the_channel_is_being_left_waits_for_it_anew() {
    let (mut channels, _) = linked();
    channels.subscribe(A, names(["room:1"]), |_| NOW);
    run_link(&mut channels);
    channels.unsubscribe(A, &names(["room:1"]));
    let leaving = channels.next_turn(512);
    assert_eq!(channels.subscribe(A, names(["room:1"]), |_| NOW), None);
    assert!(channels.next_turn(512).is_empty(), "the link has not left it yet");
    channels.turn_done(leaving, NOW);
    assert_eq!(run_link(&mut channels), [answer(A, at_now(names(["room:1"])))]);
    assert_eq!(hubs(&channels, "room:1"), [A]);
}

#[test]
fn who_returns_and_goes_while_the_channel_is_being_left_is_answered_too() {
    let (mut channels, _) = linked();
    channels.subscribe(A, names(["room:1"]), |_| NOW);
    run_link(&mut channels);
    channels.unsubscribe(A, &names(["room:1"]));
    let leaving = channels.next_turn(512);
    assert_eq!(channels.subscribe(B, names(["room:1"]), |_| NOW), None);
    channels.unsubscribe(B, &names(["room:1"]));
    assert_eq!(channels.turn_done(leaving, NOW), [answer(B, at_now(names(["room:1"])))]);
    assert!(channels.entries.is_empty() && channels.waiting.is_empty());
}

#[test]
fn who_leaves_before_the_confirmation_is_answered_and_nothing_stays_subscribed() {
    let (mut channels, metrics) = linked();
    for early in [true, false] {
        channels.subscribe(A, names(["room:1"]), |_| NOW);
        let turn = if early { Turn::default() } else { channels.next_turn(512) };
        channels.unsubscribe(A, &names(["room:1"]));
        let mut answers = channels.turn_done(turn, NOW);
        answers.extend(run_link(&mut channels));
        assert_eq!(answers.len(), 1, "early: {early}");
        assert!(channels.entries.is_empty() && channels.due.is_empty() && channels.waiting.is_empty());
        assert_eq!(metrics.channels.get(), 0);
    }
}

#[test]
fn a_lost_link_answers_all_who_wait_and_is_due_everything_when_it_is_back() {
    let (mut channels, _) = linked();
    channels.subscribe(A, names(["room:1"]), |_| NOW);
    run_link(&mut channels);
    channels.subscribe(A, names(["room:2", "room:3"]), |_| NOW);
    channels.subscribe(B, names(["room:4"]), |_| NOW);
    channels.unsubscribe(A, &names(["room:1"]));
    let under_way = channels.next_turn(2);
    assert_eq!(channels.link_down(NOW).len(), 2);
    assert_eq!(hubs(&channels, "room:1"), [], "it was being left: forgotten");
    let down = answer(A, at_now(names(["room:5"])));
    assert_eq!(
        channels.subscribe(A, names(["room:5"]), |_| NOW),
        Some(down),
        "nobody waits for a link that is down"
    );
    channels.unsubscribe(B, &names(["room:4"]));
    drop(under_way);
    channels.link_up();
    let mut due = channels.next_turn(512).subscribe;
    due.sort_unstable();
    assert_eq!(due, names(["room:2", "room:3", "room:5"]));
}

#[test]
fn coming_and_going_in_a_loop_leaves_no_queue_behind() {
    for up in [true, false] {
        let metrics = Metrics::default();
        let mut channels = Channels::new(&metrics);
        if up {
            channels.link_up();
        }
        for _ in 0..1000 {
            channels.subscribe(A, names(["room:1"]), |_| NOW);
            channels.unsubscribe(A, &names(["room:1"]));
        }
        assert!(channels.due.len() <= 1 && channels.entries.len() <= 1, "up: {up}");
    }
}

#[test]
fn the_gauges_count_channels_and_users_exactly() {
    let (mut channels, metrics) = linked();
    let gauges = || (metrics.channels.get(), metrics.users.get());
    channels.subscribe(A, names(["user:1", "room:1"]), |_| NOW);
    channels.subscribe(A, names(["user:1"]), |_| NOW);
    channels.subscribe(B, names(["user:1", "user:2"]), |_| NOW);
    assert_eq!(gauges(), (3, 2));
    channels.unsubscribe(A, &names(["user:1", "room:1", "room:2"]));
    assert_eq!((gauges(), channels.wanted()), ((2, 2), 2));
    channels.link_down(NOW);
    channels.unsubscribe(B, &names(["user:1", "user:2"]));
    channels.unsubscribe(B, &names(["user:1", "user:2"]));
    assert_eq!((gauges(), channels.wanted()), ((0, 0), 0));
}

/// Found by the simulation (seed 2812): what could not be read was told to those who were here. Who came next was told
/// the place before it, and that it had missed nothing.
#[test]
fn who_comes_behind_a_history_that_could_not_be_read_is_told_so_too() {
    let (mut channels, _) = linked();
    let room = names(["room:1"]);
    channels.subscribe(A, room.clone(), |_| NOW);
    run_link(&mut channels);
    let broken = |channels: &mut Channels| channels.subscribe(B, room.clone(), |_| NOW).unwrap().broken;
    assert_eq!(broken(&mut channels), []);
    channels.verify(&room);
    channels.advance(&room[0], |continuity| continuity.on_unreadable(NOW));
    assert_eq!(broken(&mut channels), [(room[0].clone(), GapReason::HistoryUnreadable)]);
    channels.arrive("room:1", Some(Position { epoch: 10, offset: 1 }));
    assert_eq!(broken(&mut channels), [], "it is behind that by now");
}
