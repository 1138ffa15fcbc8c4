//! Stores the last known state of the data of the prefix, with the notes about it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::cluster::slot::Slot;
use super::data_settings::DataSettings;
use super::options::RedisOptions;
use protocol::payload_limits::PayloadLimits;

/// At most one log line about evictions in this time: under memory pressure every check finds more.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// `gateway_mark` runs `INFO`, and a process with many channels checks histories many times a second.
const MARK_INTERVAL: Duration = Duration::from_secs(1);

/// The state of the data of one prefix, as `gateway_mark` reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dataset {
    /// `u64::MAX` when it is not known, or when Redis may evict keys.
    pub(super) whole_since_ms_of_marker: u64,
    /// In force for every replica and for `gateway_publish`.
    pub(super) settings: DataSettings,
    /// The `maxmemory-policy` by which Redis may evict keys, if it may.
    pub(super) eviction_policy: Option<String>,
    /// How many keys Redis has evicted since it was started; `None`: not known.
    pub(super) evicted_keys: Option<u64>,
}

/// The state of the data as of the last mark. Until the first mark, the process' own settings count as in force.
pub(super) struct KnownDataset {
    own: DataSettings,
    /// Atomic, because it is read for every message.
    max_payload_bytes: AtomicUsize,
    max_payload_depth: AtomicUsize,
    max_inbox_entries: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Whether this process has put its settings into force.
    is_marked: bool,
    /// When it last tried to mark the data.
    last_attempt: Option<Instant>,
    /// The index of the slot to mark next, where each slot has a marker.
    next_slot: usize,
    /// Notes on the data as of the last successful mark.
    notes: Vec<String>,
    evictions: Evictions,
    /// Why the latest mark failed.
    failure: Option<String>,
}

impl KnownDataset {
    pub(super) fn new(options: &RedisOptions) -> Self {
        Self {
            own: DataSettings::own(options),
            max_payload_bytes: AtomicUsize::new(options.max_payload_bytes),
            max_payload_depth: AtomicUsize::new(options.max_payload_depth),
            max_inbox_entries: AtomicU64::new(options.history.inbox.max_entries as u64),
            known: Mutex::new(Known::default()),
        }
    }

    /// The limits on a message, by the settings in force.
    pub(super) fn payload_limits(&self) -> PayloadLimits {
        PayloadLimits {
            max_bytes: self.max_payload_bytes.load(Ordering::Relaxed),
            max_depth: self.max_payload_depth.load(Ordering::Relaxed),
        }
    }

    /// The limit of the inbox, by the settings in force.
    pub(super) fn max_inbox_entries(&self) -> u64 {
        self.max_inbox_entries.load(Ordering::Relaxed)
    }

    /// The notes for the operator.
    pub(super) fn notes(&self) -> Vec<String> {
        let known = self.known.lock();
        let evicted = known.evictions.note();
        known.notes.iter().cloned().chain(evicted).chain(known.failure.clone()).collect()
    }

    /// Records an attempt to mark the data. Returns whether this process must still put its settings into force.
    pub(super) fn begin_mark(&self) -> bool {
        let mut known = self.known.lock();
        known.last_attempt = Some(Instant::now());
        !known.is_marked
    }

    pub(super) fn is_due(&self) -> bool {
        self.known.lock().last_attempt.is_none_or(|last_attempt| last_attempt.elapsed() >= MARK_INTERVAL)
    }

    /// The next of the link's slots to mark: as many as are due at this time, so that each slot is marked once in each
    /// interval.
    pub(super) fn next_slots(&self, slots: &[Slot], interval: Duration) -> Vec<Slot> {
        let mut known = self.known.lock();
        let elapsed =
            known.last_attempt.map_or(interval, |last_attempt| last_attempt.elapsed().min(interval));
        let part = elapsed.as_secs_f64() / interval.as_secs_f64().max(f64::MIN_POSITIVE);
        let count = ((slots.len() as f64 * part).ceil() as usize).min(slots.len());
        let first = known.next_slot;
        known.next_slot = (first + count) % slots.len().max(1);
        slots.iter().cycle().skip(first).take(count).copied().collect()
    }

    pub(super) fn set(&self, dataset: &Dataset) {
        self.max_payload_bytes.store(dataset.settings.max_payload_bytes, Ordering::Relaxed);
        self.max_payload_depth.store(dataset.settings.max_payload_depth, Ordering::Relaxed);
        self.max_inbox_entries.store(dataset.settings.inbox_max_entries as u64, Ordering::Relaxed);
        let differences = dataset.settings.differences(&self.own);
        let mut notes = Vec::new();
        if !differences.is_empty() {
            notes.push(format!("history: {}", differences.join("; ")));
        }
        if let Some(policy) = &dataset.eviction_policy {
            notes.push(format!(
                "history: redis may evict keys (maxmemory_policy {policy}), so a client that has received no message \
                 of a channel is not recovered; set it to noeviction"
            ));
        }
        let mut known = self.known.lock();
        known.is_marked = true;
        if let Some(evicted) = dataset.evicted_keys {
            known.evictions.record(evicted, Instant::now());
        }
        known.set(notes, None);
    }

    /// Notes a failed mark. The last known state stays.
    pub(super) fn set_failed(&self, reason: &str) {
        let failure = format!("history: the dataset marker cannot be written because {reason}");
        let mut known = self.known.lock();
        let notes = known.notes.clone();
        known.set(notes, Some(failure));
    }
}

/// The keys that Redis evicted since this process was started.
#[derive(Default)]
struct Evictions {
    /// Redis' count at this process' first check, or 0 after Redis restarted its count.
    before: Option<u64>,
    /// How many more keys Redis evicted since then.
    seen: u64,
    /// When an increase was last logged.
    logged: Option<Instant>,
}

impl Evictions {
    /// Records Redis' count of evicted keys. Logs an increase, at most once in `LOG_INTERVAL`.
    fn record(&mut self, evicted: u64, now: Instant) {
        let before = *self.before.get_or_insert(evicted);
        if evicted < before {
            // Redis was restarted, or this is another server.
            *self = Self { before: Some(0), ..Self::default() };
        }
        let seen = evicted - self.before.unwrap_or_default();
        let is_more = seen > std::mem::replace(&mut self.seen, seen);
        if is_more && self.logged.is_none_or(|logged| now - logged >= LOG_INTERVAL) {
            self.logged = Some(now);
            self.note().iter().for_each(|note| log::warn!("redis: {note}"));
        }
    }

    fn note(&self) -> Option<String> {
        let seen = Some(self.seen).filter(|seen| *seen > 0)?;
        Some(format!(
            "history: redis has evicted {seen} keys since this replica was started, so histories may be missing; set \
             maxmemory_policy to noeviction and give it more memory"
        ))
    }
}

impl Known {
    /// Replaces the notes, and logs new ones.
    fn set(&mut self, notes: Vec<String>, failure: Option<String>) {
        let is_known = |note: &String| self.notes.contains(note) || self.failure.as_ref() == Some(note);
        for note in notes.iter().chain(&failure).filter(|note| !is_known(note)) {
            log::warn!("redis: {note}");
        }
        (self.notes, self.failure) = (notes, failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_name_differences_evictions_and_failures() {
        let options = RedisOptions::of_url("redis://localhost");
        let known = KnownDataset::new(&options);
        let settings = DataSettings { max_payload_bytes: 7, ..DataSettings::own(&options) };
        let dataset = Dataset {
            whole_since_ms_of_marker: 1,
            settings,
            eviction_policy: Some("allkeys-lru".into()),
            evicted_keys: None,
        };
        known.set(&dataset);
        known.set_failed("NOPERM");
        assert_eq!(known.payload_limits().max_bytes, 7);
        let notes = known.notes();
        assert_eq!(notes[0], "history: broker.max_payload_bytes is 7 in force, 65536 here");
        assert!(notes[1].contains("maxmemory_policy allkeys-lru"), "{notes:?}");
        assert!(notes[2].ends_with("because NOPERM"), "{notes:?}");
        known.set(&Dataset { settings: DataSettings::own(&options), eviction_policy: None, ..dataset });
        assert_eq!((known.notes(), known.payload_limits().max_bytes), (vec![], 65_536));
    }

    #[test]
    fn each_slot_is_marked_once_in_an_interval() {
        let known = KnownDataset::new(&RedisOptions::of_url("redis://localhost"));
        let slots: Vec<_> = Slot::all().take(10).collect();
        assert_eq!(known.next_slots(&slots, Duration::from_secs(3600)), slots, "none was marked before");
        known.begin_mark();
        let next = || known.next_slots(&slots, Duration::from_secs(3600));
        let seen: Vec<_> = (0..11).flat_map(|_| next()).collect();
        assert_eq!((&seen[..10], seen[10]), (&slots[..], slots[0]));
        assert_eq!(known.next_slots(&[], Duration::from_secs(1)), vec![]);
    }

    #[test]
    fn only_evictions_seen_by_this_process_are_noted() {
        let (mut evictions, now) = (Evictions::default(), Instant::now());
        let mut note_at = |evicted| {
            evictions.record(evicted, now);
            evictions.note().map(|note| note.split(' ').nth(4).unwrap().to_owned())
        };
        assert_eq!(note_at(100), None, "from before this process");
        assert_eq!(note_at(101).as_deref(), Some("1"));
        assert_eq!(note_at(103).as_deref(), Some("3"));
        assert_eq!(note_at(0), None, "Redis was restarted");
        assert_eq!(note_at(2).as_deref(), Some("2"));
    }
}
