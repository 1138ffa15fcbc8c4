use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::settings::{NamespaceSettings, Namespaces};
use protocol::history::Proof;

const CHANNELS: [&str; 3] = ["user:1", "room:1", "all"];
/// The channel whose namespace has limits of its own.
const ROOM: usize = 1;
const SIZE: usize = 4;
const TTL_MS: u64 = 1000;
const WINDOW_MS: u64 = 300;

fn options(memory_bytes: usize) -> HistoryOptions {
    let history_ttl = Duration::from_millis(limits(ROOM).1);
    let room = NamespaceSettings { history_size: limits(ROOM).0, history_ttl, ..Default::default() };
    HistoryOptions {
        size: SIZE,
        ttl: Duration::from_millis(TTL_MS),
        idempotency_window: Duration::from_millis(WINDOW_MS),
        memory_bytes,
        namespaces: Namespaces::from_iter([("room".to_owned(), room)]).into(),
        inbox: HistoryOptions::of_size(SIZE).inbox,
    }
}

/// The size and the TTL of the histories of a channel.
fn limits(channel: usize) -> (usize, u64) {
    if channel == ROOM { (2, 150) } else { (SIZE, TTL_MS) }
}

fn name(index: usize) -> ChannelName {
    ChannelName::parse(CHANNELS[index]).unwrap()
}

fn message(number: usize) -> Arc<RawValue> {
    RawValue::from_string(number.to_string()).unwrap().into()
}

#[derive(Debug, Clone)]
enum HistoryStep {
    Append {
        channel: usize,
        key: Option<u8>,
    },
    AdvanceClock {
        ms: u64,
    },
    SetClockBack {
        ms: u64,
    },
    /// A reader learns the channel's last position.
    ReadTail {
        channel: usize,
    },
}

fn step() -> impl Strategy<Value = HistoryStep> {
    prop_oneof![
        5 => (0..3usize, proptest::option::weighted(0.3, 0..3u8))
            .prop_map(|(channel, key)| HistoryStep::Append { channel, key }),
        2 => prop_oneof![0..5u64, 100..400u64, 900..1200u64].prop_map(|ms| HistoryStep::AdvanceClock { ms }),
        1 => (0..500u64).prop_map(|ms| HistoryStep::SetClockBack { ms }),
        3 => (0..3usize).prop_map(|channel| HistoryStep::ReadTail { channel }),
    ]
}

/// A position that a reader learned, and how many messages had been appended to the channel by then.
struct KnownPosition {
    channel: usize,
    position: Position,
    count: usize,
}

/// The model: every message that was ever appended.
struct HistoryModel {
    history: MemoryHistory,
    now_ms: u64,
    /// The latest time that was passed to the history, which never goes back.
    latest_ms: u64,
    log: [Vec<(Position, usize, u64)>; 3],
    receipts: HashMap<(usize, u8), (Position, u64, usize)>,
    known_positions: Vec<KnownPosition>,
    appended: usize,
    is_tight: bool,
}

/// More memory than a test can fill.
const PLENTY: usize = 1_000_000;

impl HistoryModel {
    fn new(memory_bytes: usize) -> Self {
        let now_ms = 1_000_000;
        Self {
            history: MemoryHistory::new(options(memory_bytes), now_ms),
            now_ms,
            latest_ms: now_ms,
            log: Default::default(),
            receipts: HashMap::new(),
            known_positions: Vec::new(),
            appended: 0,
            is_tight: memory_bytes < PLENTY,
        }
    }

    fn apply(&mut self, step: HistoryStep) {
        match step {
            HistoryStep::Append { channel, key } => self.append(channel, key),
            HistoryStep::AdvanceClock { ms } => self.now_ms += ms,
            HistoryStep::SetClockBack { ms } => self.now_ms -= ms,
            HistoryStep::ReadTail { channel } => {
                self.latest_ms = self.latest_ms.max(self.now_ms);
                let page =
                    self.history.page(&name(channel), EntryRange::After(Position::before(0)), 0, self.now_ms);
                assert_eq!(self.history.tail(&name(channel), self.now_ms).unwrap_or(page.tail), page.tail);
                let count = self.log[channel].len();
                self.known_positions.push(KnownPosition { channel, position: page.tail, count });
            }
        }
    }

    fn append(&mut self, channel: usize, key: Option<u8>) {
        self.appended += 1;
        let (number, text) = (self.appended, key.map(|key| key.to_string()));
        self.latest_ms = self.latest_ms.max(self.now_ms);
        let before = key.and_then(|key| self.receipts.get(&(channel, key)).copied());
        let before = before.filter(|(_, until_ms, _)| *until_ms >= self.latest_ms);
        let mut append =
            |number| self.history.append(&name(channel), message(number), text.as_deref(), self.now_ms);
        let appended = append(number).unwrap_or_else(|KeyReused| append(before.unwrap().2).unwrap());
        // Under a tight memory limit, idempotency keys may be removed early.
        let before = before.filter(|_| appended.is_repeated || !self.is_tight);
        assert_eq!(appended.is_repeated, before.is_some());
        if let Some((position, ..)) = before {
            assert_eq!(appended.position, position);
            return;
        }
        if let Some(&(last, _, _)) = self.log[channel].last() {
            assert!(appended.position > last, "positions grow");
        }
        self.log[channel].push((appended.position, number, self.latest_ms));
        if let Some(key) = key {
            self.receipts.insert((channel, key), (appended.position, self.latest_ms + WINDOW_MS, number));
        }
    }

    fn page(&mut self, channel: usize, since: Position) -> (Page, Vec<(Position, usize)>) {
        self.latest_ms = self.latest_ms.max(self.now_ms);
        let page = self.history.page(&name(channel), EntryRange::After(since), 100, self.now_ms);
        let read = page.entries.iter().map(|entry| {
            let number = entry.publication.as_ref().unwrap().message().get().parse().unwrap();
            (entry.position, number)
        });
        let read = read.collect();
        (page, read)
    }
}

/// Whether a page is proven to be everything between a position and the tail.
fn is_proven(page: &Page, since: Position) -> bool {
    page.prove(since, page.tail) == Ok(Proof::Complete)
}

proptest! {
    /// For every position that a reader ever learned, a page that is proven complete has exactly the messages after it.
    #[test]
    fn a_complete_page_has_every_later_message(
        steps in proptest::collection::vec(step(), 1..80),
        memory_bytes in prop_oneof![Just(PLENTY), 300..1500usize],
    ) {
        let mut model = HistoryModel::new(memory_bytes);
        for step in steps {
            model.apply(step);
            let known: Vec<_> = model.known_positions.iter().map(|known| (known.channel, known.position, known.count)).collect();
            for (channel, position, count) in known {
                let (page, read) = model.page(channel, position);
                if is_proven(&page, position) {
                    let all: Vec<_> =
                        model.log[channel][count..].iter().map(|(at, number, _)| (*at, *number)).collect();
                    prop_assert_eq!(read, all, "since {}", position);
                }
            }
            let last = MAP_ENTRY_BYTES + ENTRY_BYTES + 20 + 2 * (MAP_ENTRY_BYTES + 10);
            prop_assert!(model.history.bytes <= memory_bytes.max(last));
        }
    }

    /// With enough memory, all messages within the size and TTL are there, and every position among them is proven.
    #[test]
    fn everything_within_the_limits_is_kept(steps in proptest::collection::vec(step(), 1..80)) {
        let mut model = HistoryModel::new(PLENTY);
        for step in steps {
            model.apply(step);
            for channel in 0..3 {
                let (page, read) = model.page(channel, Position::before(0));
                let log = &model.log[channel];
                let (size, ttl_ms) = limits(channel);
                let epoch = log.last().map(|(at, _, _)| at.epoch);
                let kept: Vec<_> = log
                    .iter()
                    .filter(|(at, _, _)| Some(at.epoch) == epoch)
                    .map(|(at, number, _)| (*at, *number))
                    .collect();
                let is_over = log.last().is_none_or(|(_, _, ms)| model.latest_ms - ms > ttl_ms);
                if is_over {
                    prop_assert!(read.is_empty() && page.tail.is_beginning());
                    continue;
                }
                prop_assert_eq!(&read, &kept[kept.len().saturating_sub(size)..]);
                for (since, _) in &kept[kept.len().saturating_sub(size + 1)..] {
                    let (page, _) = model.page(channel, *since);
                    prop_assert!(is_proven(&page, *since));
                }
            }
            let epochs: Vec<HashSet<u64>> =
                model.log.iter().map(|log| log.iter().map(|(at, _, _)| at.epoch).collect()).collect();
            prop_assert!(epochs[0].is_disjoint(&epochs[1]) && epochs[1].is_disjoint(&epochs[2]));
        }
    }
}

#[test]
fn a_short_ttl_makes_only_its_own_namespace_uncertain() {
    let mut history = MemoryHistory::new(options(PLENTY), 5000);
    history.append(&name(ROOM), message(1), None, 5000).unwrap();
    history.append(&name(0), message(2), None, 5000).unwrap();
    assert!(history.tail(&name(ROOM), 5150).is_some());
    assert_eq!(history.tail(&name(ROOM), 5151), None, "expired before the histories of other namespaces");
    assert!(history.tail(&name(0), 6000).is_some());
    let before = Position::before(5000);
    assert!(is_proven(&history.page(&name(2), EntryRange::After(before), 10, 6000), before));
    assert!(!is_proven(&history.page(&name(ROOM), EntryRange::After(before), 10, 6000), before));
}

#[test]
fn over_the_memory_limit_the_longest_idle_history_is_removed() {
    let each = MAP_ENTRY_BYTES + "room:1".len() + ENTRY_BYTES + 1;
    let mut history = MemoryHistory::new(options(2 * each), 5000);
    let first = history.append(&name(0), message(1), None, 5000).unwrap().position;
    history.append(&name(1), message(2), None, 5000).unwrap();
    assert_eq!(history.tail(&name(0), 5000), Some(first));
    history.append(&name(2), message(3), None, 5000).unwrap();
    assert_eq!(history.tail(&name(0), 5000), None);
    assert!(history.tail(&name(1), 5000).is_some());
    let page = history.page(&name(0), EntryRange::After(first), 10, 5001);
    assert!(!is_proven(&page, first), "its reader must notice");
    assert!(!is_proven(&page, Position::before(5000)), "a reader that found no history must notice, too");
}

#[test]
fn a_single_history_over_the_limit_loses_its_oldest_messages() {
    let mut history = MemoryHistory::new(options(MAP_ENTRY_BYTES + 6 + 2 * (ENTRY_BYTES + 1)), 5000);
    let positions: Vec<_> = (0..4)
        .map(|number| history.append(&name(0), message(number), None, 5000).unwrap().position)
        .collect();
    let page = history.page(&name(0), EntryRange::After(positions[1]), 10, 5000);
    assert_eq!(page.entries.iter().map(|entry| entry.position).collect::<Vec<_>>(), positions[2..]);
    assert!(
        is_proven(&page, positions[1])
            && !is_proven(&history.page(&name(0), EntryRange::After(positions[0]), 10, 5000), positions[0])
    );
}
