//! Reads of histories, for repairs and for clients.

use super::*;
use crate::broker::HistoryRange;

#[test]
fn verify_is_answered_only_after_the_comparison() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.publish("room:1", false);
    link.core.subscribe(B, 2, names(["room:1"]), true);
    assert_eq!(link.take_events(B), [""; 0]);
    link.core.subscribe(B, 3, names(["room:1"]), false);
    assert_eq!(link.take_events(B), ["room:1 subscribed by 3 at 9-0"], "this call has no verify");
    link.answer_read();
    assert_eq!(link.take_events(B), [""; 0], "the history continues");
    link.answer_read();
    assert_eq!(link.take_events(B), ["room:1 9-1", "room:1 subscribed by 2 at 9-1"]);
    assert_eq!(link.take_events(A), ["room:1 9-1"]);
}

#[test]
fn verify_of_a_new_channel_is_answered_once() {
    let mut link = Link::up();
    link.core.subscribe(A, 1, names(["room:1"]), true);
    link.core.subscribe(A, 2, names(["room:1"]), false);
    link.run();
    assert_eq!(link.take_events(A), ["room:1 subscribed by 2 at 9-0", "room:1 subscribed by 1 at 9-0"]);
    link.run();
    assert_eq!(link.take_events(A), [""; 0]);
}

/// Once the call was answered at once, because an unsubscribing channel is not compared.
#[test]
fn verify_during_an_unsubscription_waits_for_the_comparison() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.publish("room:1", true);
    link.core.unsubscribe(A, &names(["room:1"]));
    let unsubscribing = link.core.next_batch(512).unwrap();
    link.publish("room:1", false);
    link.core.subscribe(B, 2, names(["room:1"]), true);
    link.core.confirmed(unsubscribing);
    assert_eq!(link.take_events(B), [""; 0]);
    link.run();
    assert_eq!(link.take_events(B), ["room:1 subscribed by 2 at 9-2"]);
}

#[test]
fn verify_while_the_link_is_down_waits_for_it() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.server.messages.insert(name("room:1"), 1);
    link.core.disconnected();
    link.core.subscribe(A, 2, names(["room:1"]), true);
    assert_eq!(link.take_events(A), ["link down"]);
    link.core.connected();
    link.run();
    assert_eq!(
        link.take_events(A),
        ["link up", "room:1 link_lost", "room:1 9-1", "room:1 subscribed by 2 at 9-1"]
    );
}

/// Found by the simulation (seed 2812): a later subscriber got the position before the gap as if nothing were missing.
#[test]
fn a_later_subscriber_of_an_unreadable_history_is_untracked() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.server.is_unreadable = true;
    link.core.verify(&name("room:1"));
    link.run();
    assert_eq!(link.take_events(A), ["room:1 history_unreadable"]);
    for verify in [false, true] {
        link.core.subscribe(B, 2, names(["room:1"]), verify);
        link.run();
        assert_eq!(link.take_events(B), ["room:1 subscribed by 2, untracked"], "verify: {verify}");
    }
    link.publish("room:1", true);
    link.server.is_unreadable = false;
    link.core.subscribe(B, 3, names(["room:1"]), true);
    link.run();
    assert_eq!(link.take_events(B)[1..], ["room:1 subscribed by 3 at 9-1"]);
}

#[test]
fn a_skipped_position_is_read_page_by_page() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.publish("room:1", true);
    for _ in 0..4 {
        link.publish("room:1", false);
    }
    link.clear_events();
    assert_eq!(link.publish("room:1", true), Received::NeedsRepair);
    assert_eq!(link.publish("room:1", true), Received::Handled, "the repair is already queued");
    assert_eq!(link.take_events(A), [""; 0]);
    // The first page shows that the messages are short, so the second one may have more entries.
    for (since, max_entries) in [(1, 2), (3, 8)] {
        let Some(HistoryWork::Page(page)) = link.answer_read() else { panic!("no page after {since}") };
        assert_eq!(
            (page.channel, page.range, page.max_entries),
            (name("room:1"), EntryRange::After(at(since)), max_entries)
        );
    }
    assert_eq!(link.take_events(A), (2..=7).map(|offset| format!("room:1 9-{offset}")).collect::<Vec<_>>());
    assert!(link.answer_read().is_none() && link.core.is_complete());
    assert_eq!(link.metrics.publications_repaired.get(), 6);
}

#[test]
fn a_failed_read_is_retried() {
    let mut link = Link::up();
    link.core.subscribe(A, 1, names(["room:1"]), false);
    link.confirm_batch(512);
    let Some(HistoryWork::Tails(channels)) = link.core.next_read() else { panic!("no tail is read") };
    link.core.on_stream_tails(channels, vec![Err(ReadErrorKind::Transient)], link.now);
    link.run();
    link.publish("room:1", false);
    link.publish("room:1", true);
    let Some(HistoryWork::Page(page)) = link.core.next_read() else { panic!("no page is read") };
    link.core.on_page(page, Err(ReadErrorKind::Transient), link.now);
    assert_eq!(link.take_events(A), ["room:1 subscribed by 1 at 9-0"]);
    link.run();
    assert_eq!(link.take_events(A), ["room:1 9-1", "room:1 9-2"]);
}

#[test]
fn tails_are_read_in_batches_and_pages_are_bounded() {
    let mut link = Link::up();
    let channels: Vec<_> = (0..300).map(|number| name(&format!("room:{number}"))).collect();
    link.core.subscribe(A, 1, channels.clone(), false);
    while link.confirm_batch(512).is_some() {}
    let tails = |work| match work {
        Some(HistoryWork::Tails(channels)) => channels.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((tails(link.answer_read()), tails(link.answer_read())), (256, 44));
    for channel in &channels {
        link.publish(channel.as_str(), false);
        link.publish(channel.as_str(), true);
    }
    let pages: Vec<_> = std::iter::from_fn(|| link.core.next_read()).collect();
    assert_eq!(pages.len(), 32);
    let server = link.server.clone();
    pages.into_iter().for_each(|page| link.answer(page, &server));
    link.run();
    assert!(link.core.is_complete());
}

#[test]
fn repairs_are_read_before_histories_for_clients() {
    let mut link = Link::subscribed_to(["room:1"]);
    link.core.read(A, request(7, "room:2"));
    link.publish("room:1", false);
    link.publish("room:1", true);
    link.core.verify(&name("room:1"));
    let reads: Vec<_> = std::iter::from_fn(|| link.answer_read()).collect();
    let reader = |work: &HistoryWork| match work {
        HistoryWork::Page(page) => Some(page.reader),
        HistoryWork::Tails(_) => None,
    };
    assert!(matches!(reader(&reads[0]), Some(PageReader::Repair(_))), "{reads:?}");
    assert!(matches!(reader(&reads[1]), Some(PageReader::Client(_))), "{reads:?}");
    assert_eq!(link.take_events(A), ["room:1 9-1", "room:1 9-2", "read 7: lost"]);
}

fn request(read: ReadId, channel: &str) -> HistoryRequest {
    let limits = RecoveryLimits { messages: 10, bytes: 1 << 20 };
    let range = HistoryRange::Since { since: at(1), cut: at(3) };
    HistoryRequest { read, user: name("user:1"), channel: name(channel), range, limits }
}

#[test]
fn a_client_read_survives_a_lost_link() {
    let mut link = Link::up();
    link.server.messages.insert(name("room:1"), 4);
    link.core.read(A, request(7, "room:1"));
    link.core.read(B, request(8, "room:1"));
    link.core.read(B, request(9, "room:2"));
    link.core.cancel(B, 9);
    assert!(link.core.next_read().is_some());
    link.core.disconnected();
    assert!(link.core.next_read().is_none());
    link.core.connected();
    link.clear_events();
    link.run();
    assert_eq!(
        (link.take_events(A), link.take_events(B)),
        (vec!["read 7: 2".to_owned()], vec!["read 8: 2".to_owned()])
    );
}

#[test]
fn a_read_that_cannot_succeed_is_answered_at_once() {
    let mut link = Link::down();
    link.core.read(
        A,
        HistoryRequest { range: HistoryRange::Since { since: at(1), cut: at(100) }, ..request(7, "room:1") },
    );
    assert_eq!(link.take_events(A), ["read 7: too_much"]);
}

#[test]
fn all_rings_share_one_byte_budget() {
    let bytes = Publication::new(name("room:1"), Some(at(2)), payload(None).message).queued_bytes();
    let limits = LinkLimits { ring_bytes: bytes, ..LIMITS };
    let mut link = Link::with_hubs(2, limits);
    link.core.connected();
    link.core.subscribe(A, 1, names(["room:1", "room:2"]), false);
    link.run();
    link.clear_events();
    for channel in ["room:1", "room:2"] {
        link.publish(channel, false);
        link.publish(channel, true);
    }
    assert_eq!(link.core.ring_budget_bytes, 0);
    link.run();
    let mut events = link.take_events(A);
    events.sort_unstable();
    assert_eq!(events, ["room:1 9-1", "room:1 9-2", "room:2 9-1", "room:2 9-2"]);
    assert_eq!(link.core.ring_budget_bytes, bytes);
}
