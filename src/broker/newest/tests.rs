use proptest::prelude::*;

use super::*;
use protocol::channel::ChannelName;

const CHANNEL_BYTES: usize = 10_000;

/// An entry of the model's stream: its message, if the entry can be delivered.
#[derive(Debug, Clone)]
struct ModelEntry {
    position: Position,
    after: Option<Position>,
    message: Option<String>,
}

fn entry(stored: &ModelEntry) -> Entry {
    let publication = stored.message.as_ref().map(|message| {
        let payload = format!("@{} \"{message}\"", stored.position);
        let all = ChannelName::all();
        Arc::new(Publication::decode(all, payload.as_bytes(), CHANNEL_BYTES).unwrap())
    });
    Entry { position: stored.position, after: stored.after, publication }
}

/// Answers one read, as Redis does.
fn read(stream: &[ModelEntry], range: EntryRange, count: usize) -> Page {
    let is_in_range = |stored: &&ModelEntry| match range {
        EntryRange::After(since) => stored.position > since,
        EntryRange::UpTo(last) => stored.position <= last,
    };
    let mut entries: Vec<_> = stream.iter().filter(is_in_range).map(entry).collect();
    match range {
        EntryRange::After(_) => entries.truncate(count),
        EntryRange::UpTo(_) => drop(entries.drain(..entries.len().saturating_sub(count))),
    }
    Page { entries, tail: END, whole_since_ms: 0 }
}

fn collect(stream: &[ModelEntry], mut collector: MessageCollector, max_payload_bytes: usize) -> Recovered {
    for _ in 0..1_000 {
        let (range, count) = collector.next_read(max_payload_bytes);
        if collector.add_page(&read(stream, range, count)) {
            return collector.finish();
        }
    }
    panic!("the read does not end");
}

fn positions(recovered: &Recovered) -> Vec<Position> {
    recovered.publications.iter().map(|publication| publication.position().unwrap()).collect()
}

/// Streams of several epochs, with deleted entries and entries that cannot be delivered.
fn streams() -> impl Strategy<Value = Vec<ModelEntry>> {
    let one = (0..10u8, proptest::option::weighted(0.8, 0..400usize));
    proptest::collection::vec(one, 0..40).prop_map(|entries| {
        let mut last = Position { epoch: 5, offset: 0 };
        let mut stream = Vec::new();
        for (kind, length) in entries {
            let begins_epoch = kind == 0 && !last.is_beginning();
            let after = begins_epoch.then_some(last);
            last = match begins_epoch {
                true => Position { epoch: last.epoch + 3, offset: 1 },
                false => Position { offset: last.offset + 1, ..last },
            };
            let is_deleted = kind == 1;
            if !is_deleted {
                stream.push(ModelEntry {
                    position: last,
                    after,
                    message: length.map(|bytes| "x".repeat(bytes)),
                });
            }
        }
        stream
    })
}

/// Positions of stored entries, of deleted ones, and beyond both ends.
fn any_position() -> impl Strategy<Value = Position> {
    (0..20u64, prop_oneof![0..45u64, Just(u64::MAX)]).prop_map(|(epoch, offset)| Position { epoch, offset })
}

fn limits() -> impl Strategy<Value = RecoveryLimits> {
    (1..12usize, prop_oneof![Just(1usize), 100..3_000usize, Just(1 << 30)])
        .prop_map(|(messages, bytes)| RecoveryLimits { messages, bytes })
}

/// How many of these messages a page has, in the order of reading.
fn fitting<'a>(messages: impl Iterator<Item = &'a ModelEntry>, limits: RecoveryLimits) -> usize {
    let mut bytes = 0;
    let sizes = messages.map(|stored| FrameSizes::of(entry(stored).publication.as_ref().unwrap()).all);
    let fits = |(index, size): &(usize, usize)| {
        bytes += size;
        *index == 0 || (*index < limits.messages && bytes <= limits.bytes)
    };
    sizes.enumerate().take_while(fits).count()
}

proptest! {
    #[test]
    fn the_last_messages_are_the_newest_that_fit(
        stream in streams(), cut in any_position(), limits in limits(), payload in 1..2_000usize,
    ) {
        let last = collect(&stream, MessageCollector::last(cut, limits), payload);
        let stored: Vec<_> =
            stream.iter().filter(|stored| stored.position <= cut && stored.message.is_some()).collect();
        let count = fitting(stored.iter().rev().copied(), limits);
        let newest: Vec<_> = stored[stored.len() - count..].iter().map(|stored| stored.position).collect();
        prop_assert_eq!(positions(&last), newest);
        match stored.get(stored.len() - count) {
            Some(first) => {
                prop_assert!(last.position.is_followed_by(first.position, first.after));
            }
            None => prop_assert_eq!(last.position, cut),
        }
    }

    #[test]
    fn pages_in_both_directions_have_every_message_once(
        stream in streams(), limits in limits(), payload in 1..2_000usize,
    ) {
        let all: Vec<_> =
            stream.iter().filter(|stored| stored.message.is_some()).map(|stored| stored.position).collect();
        let (mut forward, mut after) = (Vec::new(), None);
        loop {
            let page = collect(&stream, MessageCollector::page(PageRange::After(after), limits), payload);
            forward.extend(positions(&page));
            prop_assert_eq!(page.has_more, forward.len() < all.len());
            if !page.has_more {
                break;
            }
            after = forward.last().copied();
        }
        prop_assert_eq!(&forward, &all);
        let (mut backward, mut before) = (Vec::new(), None);
        loop {
            let page = collect(&stream, MessageCollector::page(PageRange::Before(before), limits), payload);
            backward.splice(0..0, positions(&page));
            prop_assert_eq!(page.has_more, backward.len() < all.len());
            if !page.has_more {
                break;
            }
            before = backward.first().copied();
        }
        prop_assert_eq!(&backward, &all);
    }

    #[test]
    fn a_page_begins_at_any_position(
        stream in streams(), position in any_position(), limits in limits(), payload in 1..2_000usize,
    ) {
        let stored = || stream.iter().filter(|stored| stored.message.is_some());
        let page = collect(&stream, MessageCollector::page(PageRange::After(Some(position)), limits), payload);
        let later: Vec<_> = stored().filter(|stored| stored.position > position).collect();
        let count = fitting(later.iter().copied(), limits);
        let expected: Vec<_> = later[..count].iter().map(|stored| stored.position).collect();
        prop_assert_eq!((positions(&page), page.has_more), (expected, count < later.len()));

        let page = collect(&stream, MessageCollector::page(PageRange::Before(Some(position)), limits), payload);
        let earlier: Vec<_> = stored().filter(|stored| stored.position < position).collect();
        let count = fitting(earlier.iter().rev().copied(), limits);
        let expected: Vec<_> =
            earlier[earlier.len() - count..].iter().map(|stored| stored.position).collect();
        prop_assert_eq!((positions(&page), page.has_more), (expected, count < earlier.len()));
    }
}

#[test]
fn a_read_costs_what_may_be_given() {
    let long = "x".repeat(9_000);
    let stored = |offset| ModelEntry {
        position: Position { epoch: 5, offset },
        after: None,
        message: Some(long.clone()),
    };
    let stream: Vec<_> = (1..=1_000).map(stored).collect();
    let limits = RecoveryLimits { messages: 1_000, bytes: 40_000 };
    let mut collector = MessageCollector::last(END, limits);
    let mut entries = 0;
    loop {
        let (range, count) = collector.next_read(10_000);
        let page = read(&stream, range, count);
        entries += page.entries.len();
        if collector.add_page(&page) {
            break;
        }
    }
    assert_eq!(collector.finish().publications.len(), 4);
    assert_eq!(entries, 5, "one message shows that no more fit");
}
