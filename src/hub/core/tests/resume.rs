//! The recovery of missed messages when clients return to a channel.

use super::*;

/// Session 1 resumes room:7 from `since`; the broker confirms the channel at `cut`.
fn resume(since: &str, cut: Position) -> (TestHub, FrameRecorder, Vec<String>) {
    let mut hub = TestHub::linked();
    let sink = hub.live_session(1);
    let request = last_id(&hub.subscribe(1, "room:7", Some(since)));
    let lines = hub.ack_at(request, "room:7", cut);
    (hub, sink, lines)
}

/// Session 1 resumes room:7; its read from 9-1 to 9-3 is in progress.
fn with_read() -> (TestHub, FrameRecorder, ReadId) {
    let (hub, sink, lines) = resume("9-1", at(3));
    let read = last_id(&lines);
    assert_eq!(lines, [format!("read {read} for user:1: room:7 from 9-1 to 9-3")]);
    (hub, sink, read)
}

#[test]
fn a_client_at_the_cut_has_missed_nothing() {
    let (hub, _, lines) = resume("9-3", at(3));
    assert_eq!(lines, ["1 subscribed room:7 #7: 9-3 recovered"]);
    assert_eq!(hub.recoveries("recovered"), 1);
}

#[test]
fn a_client_before_the_cut_receives_its_history() {
    let (mut hub, sink, read) = with_read();
    hub.publish(&durable("room:7", 4));
    hub.publish(&plain("room:7", 70));
    assert_eq!(hub.finish_read(read, "room:7", &[2, 3], 10), ["1 subscribed room:7 #7: 9-1 recovered"]);
    hub.publish(&durable("room:7", 5));
    hub.go_live(1, Some("room:7"));
    assert_eq!(sink.take_messages(), ["2", "3", "4", "70", "5"]);
    assert_eq!(hub.end_read(read, Err(NotRecovered::Lost)), [""; 0], "a second result is ignored");
}

#[test]
fn a_client_ahead_of_the_cut_waits_for_the_comparison() {
    let (mut hub, sink, lines) = resume("9-5", at(3));
    let verify = last_id(&lines);
    assert_eq!(lines, [format!("verify {verify}: room:7")]);
    // The broker publishes the missing messages before it answers the comparison.
    hub.publish(&durable("room:7", 4));
    hub.publish(&durable("room:7", 5));
    assert_eq!(hub.ack_at(verify, "room:7", at(5)), ["1 subscribed room:7 #7: 9-5 recovered"]);
    hub.publish(&durable("room:7", 6));
    hub.go_live(1, Some("room:7"));
    assert_eq!(sink.take_messages(), ["6"]);
}

#[test]
fn a_comparison_past_the_client_starts_a_read() {
    let (mut hub, _, lines) = resume("9-5", at(3));
    let lines = hub.ack_at(last_id(&lines), "room:7", at(7));
    let read = last_id(&lines);
    assert_eq!(lines, [format!("read {read} for user:1: room:7 from 9-5 to 9-7")]);
}

#[test]
fn a_client_still_ahead_after_the_comparison_is_not_recovered() {
    let (mut hub, sink, lines) = resume("9-5", at(3));
    assert_eq!(hub.ack_at(last_id(&lines), "room:7", at(3)), ["1 subscribed room:7 #7: 9-3 not recovered"]);
    assert_eq!(hub.recoveries("lost"), 1);
    hub.publish(&durable("room:7", 4));
    hub.go_live(1, Some("room:7"));
    assert_eq!(sink.take_messages(), ["4"], "only messages after the cut");
}

#[test]
fn all_clients_ahead_of_the_cut_share_one_comparison() {
    let (mut hub, _, lines) = resume("9-5", at(3));
    let _other = hub.live_session(2);
    assert_eq!(hub.subscribe(2, "room:7", Some("9-4")), [""; 0]);
    assert_eq!(
        hub.ack_at(last_id(&lines), "room:7", at(5)),
        ["1 subscribed room:7 #7: 9-5 recovered".to_owned(), {
            let read = hub.core.reads.keys().next().unwrap();
            format!("read {read} for user:2: room:7 from 9-4 to 9-5")
        }]
    );
}

#[test]
fn an_invalid_position_is_not_recovered() {
    let (hub, _, lines) = resume("?", at(3));
    assert_eq!(lines, ["1 subscribed room:7 #7: 9-3 not recovered"]);
    assert_eq!(hub.recoveries("invalid_position"), 1);
}

#[test]
fn a_failed_read_is_answered_as_not_recovered() {
    for reason in [NotRecovered::Lost, NotRecovered::TooMuch, NotRecovered::Unreadable] {
        let (mut hub, sink, read) = with_read();
        hub.publish(&durable("room:7", 4));
        assert_eq!(hub.end_read(read, Err(reason)), ["1 subscribed room:7 #7: 9-3 not recovered"]);
        assert_eq!(hub.recoveries(RecoveryResult::from(reason).label()), 1);
        hub.go_live(1, Some("room:7"));
        assert_eq!(sink.take_messages(), ["4"], "only messages after the cut");
    }
}

#[test]
fn a_slow_read_is_answered_later() {
    let (mut hub, sink, read) = with_read();
    assert_eq!(hub.advance(TIMEOUT), ["1 subscribed room:7 #7: recovering from 9-1"]);
    hub.go_live(1, Some("room:7"));
    hub.publish(&durable("room:7", 4));
    assert_eq!(sink.texts(), [""; 0]);
    assert_eq!(hub.finish_read(read, "room:7", &[2, 3], 10), ["1 subscribed room:7 #7: 9-1 recovered"]);
    hub.go_live(1, Some("room:7"));
    assert_eq!(sink.take_messages(), ["2", "3", "4"]);
}

#[test]
fn a_cut_moves_when_a_subscription_holds_too_much() {
    let (mut hub, sink, first) = with_read();
    for offset in 4..=6 {
        assert_eq!(hub.publish(&durable("room:7", offset)), [""; 0]);
    }
    let lines = hub.publish(&durable("room:7", 7));
    let second = last_id(&lines);
    assert_eq!(lines, [format!("read {second} for user:1: room:7 from 9-1 to 9-7")]);
    hub.publish(&durable("room:7", 8));
    assert_eq!(hub.finish_read(first, "room:7", &[2, 3], 10), [""; 0], "the read ends before the new cut");
    let lines = hub.finish_read(second, "room:7", &[2, 3, 4, 5, 6, 7], 10);
    assert_eq!(lines, ["1 subscribed room:7 #7: 9-1 recovered"]);
    hub.go_live(1, Some("room:7"));
    assert_eq!(sink.take_messages(), ["2", "3", "4", "5", "6", "7", "8"]);
}

#[test]
fn plain_messages_lost_by_a_moved_cut_are_a_gap() {
    let (mut hub, sink, _) = with_read();
    for number in 70..=72 {
        hub.publish(&plain("room:7", number));
    }
    let lines = hub.publish(&plain("room:7", 73));
    let read = last_id(&lines);
    assert_eq!(lines, [format!("read {read} for user:1: room:7 from 9-1 to 9-3")]);
    hub.finish_read(read, "room:7", &[2, 3], 10);
    hub.publish(&plain("room:7", 74));
    hub.go_live(1, Some("room:7"));
    assert_eq!(sink.take_messages(), ["2", "3", "gap: overflow", "74"]);
}

#[test]
fn leaving_cancels_reads() {
    for is_whole_session in [false, true] {
        let (mut hub, sink, read) = with_read();
        let lines = if is_whole_session { hub.leave(1) } else { hub.unsubscribe(1, "room:7") };
        assert!(lines.contains(&format!("cancel {read}")), "{lines:?}");
        assert!(
            lines.iter().any(|line| line.starts_with("unsubscribe") && line.ends_with("room:7")),
            "{lines:?}"
        );
        assert_eq!(hub.finish_read(read, "room:7", &[2, 3], 10), [""; 0]);
        assert!(hub.core.reads.is_empty());
        assert!(sink.take_messages().iter().all(|message| message == r#"{"op":6}"#));
    }
}

#[test]
fn a_read_for_an_earlier_subscription_is_ignored() {
    let (mut hub, sink, read) = with_read();
    let _other = hub.live_session(2);
    hub.subscribe(2, "room:7", None);
    hub.unsubscribe(1, "room:7");
    sink.take_messages();
    let lines = hub.subscribe(1, "room:7", Some("9-1"));
    assert_eq!(lines, [format!("read {} for user:1: room:7 from 9-1 to 9-3", last_id(&lines))]);
    assert_eq!(hub.finish_read(read, "room:7", &[2, 3], 10), [""; 0]);
    assert_eq!(hub.finish_read(last_id(&lines), "room:7", &[2, 3], 10).len(), 1);
}

/// Session 1 joins and resumes two rooms from 9-1. Returns the reads of their histories.
fn with_two_reads() -> (TestHub, FrameRecorder, [ReadId; 2]) {
    let mut hub = TestHub::linked();
    let sink = hub.connect(1);
    let specs = [("user:1", None), ("room:7", Some("9-1")), ("room:8", Some("9-1"))];
    let request = last_id(&hub.join(1, &specs));
    hub.ack_at(request, "user:1", at(0));
    let reads = ["room:7", "room:8"].map(|room| last_id(&hub.ack_at(request, room, at(2))));
    (hub, sink, reads)
}

#[test]
fn all_channels_of_a_request_share_one_budget() {
    let (mut hub, _, [first, second]) = with_two_reads();
    assert_eq!(hub.finish_read(second, "room:8", &[2], 600), [""; 0]);
    assert_eq!(
        hub.finish_read(first, "room:7", &[2], 401),
        ["1 joined: 9-0, 9-2 not recovered, 9-1 recovered"],
        "one byte over the budget"
    );
    assert_eq!(hub.recoveries("too_much"), 1);
    let (mut hub, sink, [first, second]) = with_two_reads();
    hub.finish_read(second, "room:8", &[2], 600);
    assert_eq!(hub.finish_read(first, "room:7", &[2], 400), ["1 joined: 9-0, 9-1 recovered, 9-1 recovered"]);
    hub.go_live(1, None);
    assert_eq!(sink.take_messages(), ["2", "2"]);
}

#[test]
fn one_message_longer_than_the_budget_is_recovered() {
    let (mut hub, _, [first, second]) = with_two_reads();
    assert_eq!(hub.finish_read(first, "room:7", &[2], 5_000), [""; 0]);
    assert_eq!(
        hub.finish_read(second, "room:8", &[2], 1_000),
        ["1 joined: 9-0, 9-1 recovered, 9-1 recovered"]
    );
    let (mut hub, _, [first, second]) = with_two_reads();
    hub.finish_read(first, "room:7", &[2], 5_000);
    assert_eq!(
        hub.finish_read(second, "room:8", &[2], 1_001),
        ["1 joined: 9-0, 9-1 recovered, 9-2 not recovered"],
        "two long messages exceed the budget"
    );
}

#[test]
fn each_request_has_its_own_budget() {
    let (mut hub, _, read) = with_read();
    hub.finish_read(read, "room:7", &[2, 3], 1_000);
    let request = last_id(&hub.subscribe(1, "room:8", Some("9-1")));
    let read = last_id(&hub.ack_at(request, "room:8", at(2)));
    assert_eq!(hub.finish_read(read, "room:8", &[2], 1_000), ["1 subscribed room:8 #7: 9-1 recovered"]);
}
