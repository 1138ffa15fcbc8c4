//! What the clients count together, and what each of their threads records.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock};
use std::thread::Thread;
use std::time::Instant;

use super::latency::Latencies;

/// A run has at most so many parts, the one that is not counted (0) included: a part's number is one digit.
pub(super) const PHASES: usize = 5;

/// What a thread notes down.
#[derive(Clone)]
pub(super) struct Recorder {
    /// Of messages: from when they were due to when a client had them, by phase.
    pub(super) phases: [Latencies; PHASES],
    /// Of connections: from when they were due to Ready.
    pub(super) connects: Latencies,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { phases: std::array::from_fn(|_| Latencies::default()), connects: Latencies::default() }
    }
}

impl Recorder {
    /// Takes another thread's notes in.
    pub(super) fn merge(&mut self, other: &Self) {
        self.connects.merge(&other.connects);
        for (own, other) in self.phases.iter_mut().zip(&other.phases) {
            own.merge(other);
        }
    }
}

/// What all threads count together.
#[derive(Default)]
pub(super) struct Counts {
    /// Clients that are Ready now.
    pub(super) ready: AtomicUsize,
    /// Connections that were refused, or lost without our doing.
    pub(super) lost: AtomicUsize,
    /// Of those that came back with a place, how many were told that nothing is missing.
    pub(super) recovered: AtomicUsize,
    /// … and how many that something may be.
    pub(super) not_recovered: AtomicUsize,
    /// Heartbeats answered.
    pub(super) heartbeats: AtomicU64,
    /// Messages received, by phase.
    pub(super) deliveries: [AtomicU64; PHASES],
    /// The last reason why a connection was lost.
    pub(super) reason: Mutex<Option<String>>,
    /// How many deliveries the publisher waits for, and its thread.
    awaited: AtomicU64,
    waiting: OnceLock<Thread>,
}

impl Counts {
    /// Messages received in all phases.
    pub(super) fn delivered(&self) -> u64 {
        self.deliveries.iter().map(|phase| phase.load(SeqCst)).sum()
    }

    /// Wakes whoever waits for so many deliveries. Called by each thread after each batch.
    pub(super) fn notify(&self) {
        if let Some(waiting) = self.waiting.get()
            && self.delivered() >= self.awaited.load(SeqCst)
        {
            waiting.unpark();
        }
    }

    /// Waits until so many messages have come; false when the deadline has passed first. Only ever called by one thread.
    pub(super) fn wait_for_deliveries(&self, count: u64, deadline: Instant) -> bool {
        self.awaited.store(count, SeqCst);
        self.waiting.get_or_init(std::thread::current);
        while self.delivered() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::park_timeout(left);
        }
        self.awaited.store(u64::MAX, SeqCst);
        true
    }
}
