use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn room(number: usize) -> ChannelName {
    ChannelName::parse(&format!("room:{number}")).unwrap()
}

fn hub(index: usize) -> HubId {
    HubId::of_index(index)
}

const SECOND: Duration = REPORT_INTERVAL;

#[test]
fn a_room_is_reported_at_once_and_then_every_second() {
    let (mut counts, start) = (CountReporter::default(), Instant::now());
    counts.set(hub(0), &room(7), 1, start);
    assert_eq!(counts.next_report(start), Some(vec![(room(7), 1)]));
    counts.set(hub(1), &room(7), 2, start);
    assert_eq!(counts.next_report(start), None, "one at a time");
    counts.answered(true, start);
    assert_eq!(counts.next_report(start), None);
    assert_eq!(counts.next_due(), Some(start + SECOND));
    assert_eq!(counts.next_report(start + SECOND), Some(vec![(room(7), 3)]), "of both hubs");
}

#[test]
fn a_count_that_returns_to_what_was_reported_is_not_reported() {
    let (mut counts, start) = (CountReporter::default(), Instant::now());
    counts.set(hub(0), &room(7), 1, start);
    counts.next_report(start);
    counts.answered(true, start);
    counts.set(hub(0), &room(7), 0, start);
    counts.set(hub(0), &room(7), 1, start);
    assert_eq!(counts.next_report(start + SECOND), None);
    assert_eq!(counts.next_due(), None);
}

#[test]
fn nothing_is_kept_for_an_empty_room_after_the_interval() {
    let (mut counts, start) = (CountReporter::default(), Instant::now());
    for (sessions, second) in [(1, 0), (0, 1)] {
        let now = start + second * SECOND;
        counts.set(hub(0), &room(7), sessions, now);
        assert_eq!(counts.next_report(now), Some(vec![(room(7), sessions)]));
        counts.answered(true, now);
    }
    assert_eq!(counts.next_report(start + 2 * SECOND), None);
    assert!(counts.rooms.is_empty() && counts.due.is_empty());
}

#[test]
fn a_lost_answer_repeats_the_report() {
    let (mut counts, start) = (CountReporter::default(), Instant::now());
    counts.set(hub(0), &room(7), 1, start);
    counts.next_report(start);
    counts.set(hub(0), &room(7), 0, start);
    counts.answered(false, start);
    assert_eq!(counts.next_report(start + SECOND), Some(vec![(room(7), 0)]), "Redis may count it");
}

#[test]
fn every_room_is_due_at_once_under_a_new_lease() {
    let (mut counts, start) = (CountReporter::default(), Instant::now());
    (0..250).for_each(|number| counts.set(hub(0), &room(number), 1, start));
    let mut lengths = Vec::new();
    while let Some(report) = counts.next_report(start) {
        lengths.push(report.len());
        counts.answered(true, start);
    }
    assert_eq!(lengths, [100, 100, 50]);
    counts.set(hub(0), &room(0), 0, start);
    counts.begin_lease(start);
    assert_eq!(counts.next_report(start).map(|report| report.len()), Some(100));
    assert_eq!(counts.rooms.len(), 249);
}

#[test]
fn rooms_that_come_and_leave_without_a_lease_leave_nothing() {
    let (mut counts, start) = (CountReporter::default(), Instant::now());
    counts.set(hub(0), &room(1), 1, start);
    counts.next_report(start);
    counts.set(hub(0), &room(2), 1, start);
    counts.end_lease();
    counts.answered(true, start);
    for number in 3..100 {
        counts.set(hub(0), &room(number), 1, start);
        counts.set(hub(0), &room(number), 0, start);
    }
    counts.set(hub(0), &room(2), 0, start);
    assert_eq!((counts.rooms.len(), counts.due.len(), counts.next_due()), (1, 0, None));
    assert_eq!(counts.next_report(start), None);
    counts.begin_lease(start);
    assert_eq!(counts.next_report(start), Some(vec![(room(1), 1)]));
}

proptest! {
    /// Whatever is lost, Redis has the truth in the end, and no room is reported twice within a second of a lease.
    #[test]
    fn reports_converge_to_the_truth(
        steps in prop::collection::vec((0..6usize, 0..3usize, 0..2usize, 0..3usize, 0..700u64), 0..200),
    ) {
        let (mut counts, mut now) = (CountReporter::default(), Instant::now());
        let (mut truth, mut redis) = (BTreeMap::new(), BTreeMap::new());
        let mut last = BTreeMap::<ChannelName, Instant>::new();
        for (kind, number, of_hub, sessions, passed) in steps {
            now += Duration::from_millis(passed);
            match kind {
                0..=2 => {
                    counts.set(hub(of_hub), &room(number), sessions, now);
                    truth.insert((number, of_hub), sessions);
                }
                3 | 4 => {
                    for (room, sessions) in counts.next_report(now).into_iter().flatten() {
                        let before = last.insert(room.clone(), now);
                        prop_assert!(before.is_none_or(|before| now - before >= SECOND));
                        redis.insert(room, sessions);
                    }
                    counts.answered(kind == 3, now);
                }
                _ => {
                    counts.begin_lease(now);
                    redis.clear();
                    last.clear();
                }
            }
        }
        counts.answered(false, now);
        for _ in 0..2 {
            now += SECOND;
            redis.extend(counts.next_report(now).into_iter().flatten());
            counts.answered(true, now);
        }
        for number in 0..3 {
            let expected: usize = (0..2).filter_map(|of_hub| truth.get(&(number, of_hub))).sum();
            prop_assert_eq!(redis.get(&room(number)).copied().unwrap_or_default(), expected);
        }
        prop_assert_eq!(counts.next_report(now + SECOND), None);
        prop_assert_eq!(counts.next_due(), None);
    }
}
