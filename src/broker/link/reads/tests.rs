//! Reads for clients: which page is read when, and which reads it answers.

use std::sync::Arc;

use super::*;
use crate::broker::RecoveryLimits;
use protocol::history::Entry;
use protocol::position::Position;
use protocol::publication::Publication;

const HUB: HubId = HubId::of_index(0);
const OTHER: HubId = HubId::of_index(1);
const LIMITS: RecoveryLimits = RecoveryLimits { messages: 100, bytes: 1 << 20 };
const PAYLOAD_BYTES: usize = 1 << 10;

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn at(offset: u64) -> Position {
    Position { epoch: 9, offset }
}

fn since(since: u64, cut: u64) -> HistoryRange {
    HistoryRange::Since { since: at(since), cut: at(cut) }
}

/// The messages of a room after 9-1 up to 9-5, for user 1.
fn request(read: ReadId, room: &str) -> HistoryRequest {
    request_of(read, "user:1", room)
}

fn request_of(read: ReadId, user: &str, room: &str) -> HistoryRequest {
    let (user, channel) = (channel(user), channel(room));
    HistoryRequest { read, user, channel, range: since(1, 5), limits: LIMITS }
}

fn page(offsets: std::ops::RangeInclusive<u64>) -> Page {
    let entry = |offset| {
        let position = at(offset);
        let payload = format!("@{position} {offset}");
        let publication = Publication::decode(channel("room:1"), payload.as_bytes(), 100).unwrap();
        Entry { position, after: None, publication: Some(Arc::new(publication)) }
    };
    Page { entries: offsets.map(entry).collect(), tail: at(99), whole_since_ms: 0 }
}

fn reads() -> ClientReads {
    ClientReads::new(PAYLOAD_BYTES)
}

/// Adds reads that need a page.
fn with<const N: usize>(requests: [HistoryRequest; N]) -> ClientReads {
    let mut reads = reads();
    for request in requests {
        assert!(reads.add(HUB, request).is_none());
    }
    reads
}

/// The channels of all pages that can be read now.
fn next_channels(reads: &mut ClientReads) -> Vec<String> {
    std::iter::from_fn(|| reads.next()).map(|page| page.channel.to_string()).collect()
}

/// The offsets of the recovered messages.
fn offsets(done: &ReadDone) -> Vec<u64> {
    let recovered = done.outcome.as_ref().unwrap();
    let offset = |publication: &Arc<Publication>| publication.position().unwrap().offset;
    recovered.publications.iter().map(offset).collect()
}

fn job(page: &PageWork) -> usize {
    let PageReader::Client(job) = page.reader else { panic!("a repair: {page:?}") };
    job
}

fn assert_empty(reads: &mut ClientReads) {
    assert!(reads.next().is_none());
    assert!(reads.jobs.is_empty() && reads.by_key.is_empty() && reads.by_reader.is_empty());
    assert!(reads.queues.is_empty() && reads.turns.is_empty());
    assert!(reads.begun.is_empty());
    assert_eq!((reads.in_flight_bytes, reads.begun_bytes), (0, 0));
}

#[test]
fn equal_reads_are_made_once_and_answered_to_all() {
    let mut reads = with([request(1, "room:1"), request_of(2, "user:2", "room:1")]);
    assert!(reads.add(OTHER, request(1, "room:1")).is_none());
    let first = reads.next().unwrap();
    assert_eq!((first.channel.as_str(), first.range), ("room:1", EntryRange::After(at(1))));
    assert!(reads.next().is_none(), "equal reads need one page");
    // An equal read may also come while the page is in flight.
    assert!(reads.add(OTHER, request(7, "room:1")).is_none());
    let done = reads.on_page(job(&first), &page(2..=5)).unwrap();
    assert_eq!(done.readers, [(HUB, 1), (HUB, 2), (OTHER, 1), (OTHER, 7)]);
    assert_eq!(offsets(&done), [2, 3, 4, 5]);
    assert_empty(&mut reads);
}

#[test]
fn reads_with_different_positions_or_cuts_are_not_merged() {
    let mut reads = with([
        request(1, "room:1"),
        HistoryRequest { range: since(2, 5), ..request(2, "room:1") },
        HistoryRequest { range: since(1, 6), ..request(3, "room:1") },
    ]);
    assert_eq!(next_channels(&mut reads).len(), 3);
}

#[test]
fn users_take_turns() {
    let mut reads = with([
        request_of(1, "user:1", "room:1"),
        request_of(2, "user:1", "room:2"),
        request_of(3, "user:1", "room:3"),
        request_of(4, "user:2", "room:4"),
        request_of(5, "user:3", "room:5"),
        request_of(6, "user:2", "room:6"),
    ]);
    assert_eq!(next_channels(&mut reads), ["room:1", "room:4", "room:5", "room:2", "room:6", "room:3"]);
}

#[test]
fn a_started_recovery_continues_before_others_start() {
    let mut reads = with([request_of(1, "user:1", "room:1"), request_of(2, "user:2", "room:2")]);
    let first = reads.next().unwrap();
    assert!(reads.on_page(job(&first), &page(2..=3)).is_none());
    let second = reads.next().unwrap();
    assert_eq!((job(&second), second.range, second.max_entries), (job(&first), EntryRange::After(at(3)), 2));
    assert_eq!(offsets(&reads.on_page(job(&second), &page(4..=6)).unwrap()), [2, 3, 4, 5]);
    assert_eq!(reads.next().unwrap().channel.as_str(), "room:2");
}

#[test]
fn the_bytes_of_all_recoveries_are_bounded() {
    let mut reads = reads();
    for read in 0..3 {
        let limits = RecoveryLimits { bytes: MAX_BEGUN_BYTES / 2, messages: 4 };
        let request = HistoryRequest { limits, ..request(read, &format!("room:{read}")) };
        assert!(reads.add(HUB, request).is_none());
    }
    let [first, second] = [reads.next(), reads.next()].map(Option::unwrap);
    assert!(reads.next().is_none(), "two recoveries reach the limit");
    assert!(reads.on_page(job(&first), &page(2..=3)).is_none());
    assert_eq!(job(&reads.next().unwrap()), job(&first));
    assert!(reads.next().is_none());
    assert!(reads.on_page(job(&second), &page(2..=5)).is_some());
    assert_eq!(next_channels(&mut reads), ["room:2"]);
}

#[test]
fn bytes_in_flight_are_bounded() {
    // Each page has up to four messages.
    let payload_bytes = MAX_IN_FLIGHT_BYTES / 8;
    let limits = RecoveryLimits { bytes: 4 * payload_bytes, ..LIMITS };
    let mut reads = ClientReads::new(payload_bytes);
    for read in 0..5 {
        let request = HistoryRequest { limits, ..request(read, &format!("room:{read}")) };
        assert!(reads.add(HUB, request).is_none());
    }
    let pages: Vec<_> = std::iter::from_fn(|| reads.next()).collect();
    assert_eq!(pages.len(), 2);
    assert!(pages.iter().all(|page| page.max_entries == 4));
    assert!(reads.on_page(job(&pages[0]), &page(2..=5)).is_some());
    assert_eq!(next_channels(&mut reads), ["room:2"], "one page returned, so one more may be read");
    assert!(reads.on_unreadable(job(&pages[1])).is_some());
    assert_eq!(next_channels(&mut reads), ["room:3"]);
}

#[test]
fn a_page_over_the_byte_limit_is_read_alone() {
    let mut reads = ClientReads::new(2 * MAX_IN_FLIGHT_BYTES);
    for read in 0..2 {
        assert!(reads.add(HUB, request(read, &format!("room:{read}"))).is_none());
    }
    let first = reads.next().unwrap();
    assert_eq!(first.max_entries, 1);
    assert!(reads.next().is_none());
    reads.retry(job(&first), first.max_entries);
    assert_eq!(next_channels(&mut reads).len(), 1);
}

#[test]
fn a_cancelled_read_is_not_sent() {
    let mut reads = with([request(1, "room:1"), request(2, "room:2"), request(3, "room:2")]);
    reads.cancel((HUB, 1));
    reads.cancel((HUB, 2));
    reads.cancel((OTHER, 3));
    reads.cancel((HUB, 9));
    let next = reads.next().unwrap();
    assert_eq!(next.channel.as_str(), "room:2", "one reader is left");
    let done = reads.on_page(job(&next), &page(2..=5)).unwrap();
    assert_eq!(done.readers, [(HUB, 3)]);
    assert_empty(&mut reads);
}

#[test]
fn a_read_cancelled_in_flight_ends_with_its_page() {
    let mut reads = with([request(1, "room:1")]);
    let first = reads.next().unwrap();
    reads.cancel((HUB, 1));
    assert!(reads.on_page(job(&first), &page(2..=3)).is_none());
    assert_empty(&mut reads);
}

#[test]
fn cancelled_reads_take_no_memory_while_the_link_is_down() {
    let mut reads = with([request(1, "room:1")]);
    for read in 2..100 {
        assert!(reads.add(HUB, request(read, &format!("room:{read}"))).is_none());
        reads.cancel((HUB, read));
    }
    assert_eq!((reads.jobs.len(), reads.by_key.len(), reads.by_reader.len()), (1, 1, 1));
    assert_eq!(reads.turns.len(), 1);
    reads.cancel((HUB, 1));
    assert!(reads.add(HUB, request(1, "room:1")).is_none());
    let next = reads.next().unwrap();
    assert_eq!(offsets(&reads.on_page(job(&next), &page(2..=5)).unwrap()), [2, 3, 4, 5]);
    assert_empty(&mut reads);
}

#[test]
fn users_without_reads_take_no_memory_during_a_downtime() {
    let mut reads = reads();
    assert!(reads.add(HUB, request(0, "room:1")).is_none());
    for read in 1..1_000 {
        let user = format!("user:of-{read}");
        assert!(reads.add(HUB, request_of(read, &user, &format!("room:of-{read}"))).is_none());
        reads.cancel((HUB, read));
    }
    assert!(reads.turns.len() <= 2 + IDLE_USERS, "{}", reads.turns.len());
    assert_eq!(reads.turns.len(), reads.queues.len());
    assert_eq!(next_channels(&mut reads), ["room:1"]);
}

#[test]
fn a_cancelled_read_can_be_requested_again() {
    let mut reads = with([request(1, "room:1")]);
    reads.cancel((HUB, 1));
    assert!(reads.add(HUB, request(2, "room:1")).is_none());
    let next = reads.next().unwrap();
    assert_eq!(reads.on_page(job(&next), &page(2..=5)).unwrap().readers, [(HUB, 2)]);
    assert_empty(&mut reads);
}

#[test]
fn rejects_by_arithmetic_without_reading() {
    let mut reads = reads();
    let done = reads.add(HUB, HistoryRequest { range: since(1, 102), ..request(1, "room:1") }).unwrap();
    assert_eq!(done.readers, [(HUB, 1)]);
    assert_eq!(done.outcome.err(), Some(NotRecovered::TooMuch));
    assert_empty(&mut reads);
}

#[test]
fn all_readers_get_the_error_of_a_lost_history() {
    let mut reads = with([request(1, "room:1"), request(2, "room:1")]);
    let first = reads.next().unwrap();
    let done = reads.on_page(job(&first), &page(3..=5)).unwrap();
    assert_eq!(done.readers.len(), 2);
    assert_eq!(done.outcome.err(), Some(NotRecovered::Lost));
    assert_empty(&mut reads);
}

#[test]
fn all_readers_get_the_error_of_an_unreadable_history() {
    let mut reads = with([request(1, "room:1"), request(2, "room:1")]);
    let first = reads.next().unwrap();
    let done = reads.on_unreadable(job(&first)).unwrap();
    assert_eq!(done.readers, [(HUB, 1), (HUB, 2)]);
    assert_eq!(done.outcome.err(), Some(NotRecovered::Unreadable));
    assert_empty(&mut reads);
}

#[test]
fn a_failed_page_is_retried_with_fewer_entries() {
    let mut reads = with([request(1, "room:1")]);
    let first = reads.next().unwrap();
    assert!(reads.on_page(job(&first), &page(2..=3)).is_none());
    let second = reads.next().unwrap();
    reads.retry(job(&second), second.max_entries);
    assert_eq!(
        reads.next(),
        Some(PageWork { max_entries: 1, ..second.clone() }),
        "from the same position, for fewer entries"
    );
    assert_eq!(offsets(&reads.on_page(job(&second), &page(4..=5)).unwrap()), [2, 3, 4, 5]);
    assert_empty(&mut reads);
}

#[test]
fn a_lost_link_requeues_pages_in_flight() {
    let mut reads = with([request(1, "room:1"), request(2, "room:2"), request(3, "room:3")]);
    let first = [reads.next(), reads.next()].map(Option::unwrap);
    reads.interrupted();
    assert_eq!(reads.in_flight_bytes, 0);
    let mut channels = next_channels(&mut reads);
    channels.sort_unstable();
    assert_eq!(channels, ["room:1", "room:2", "room:3"], "each page is queued once");
    for page_of in first {
        assert!(reads.on_page(job(&page_of), &page(2..=5)).is_some());
    }
}
