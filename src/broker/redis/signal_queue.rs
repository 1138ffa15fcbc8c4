//! The signals of this process' sessions that wait for Redis: bounded in number and in age.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::metrics::{Metrics, SignalResult};
use protocol::signal::Signal;

/// How many signals may wait for Redis. Each takes less than 2 KiB.
const MAX_QUEUED: usize = 1024;
/// How many signals are published together. Redis needs less than a millisecond for them.
const MAX_BATCH: usize = 64;
/// A signal that has waited for longer is dropped.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The signals that are to be published.
pub(super) struct SignalQueue {
    queued: Mutex<VecDeque<(Instant, Arc<Signal>)>>,
    /// Notified when a signal is queued.
    pub(super) changed: Notify,
    metrics: Metrics,
}

impl SignalQueue {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self { queued: Mutex::default(), changed: Notify::new(), metrics: metrics.clone() }
    }

    pub(super) fn push(&self, signal: Arc<Signal>, now: Instant) {
        let mut queued = self.queued.lock();
        if queued.len() >= MAX_QUEUED {
            return self.count(SignalResult::QueueFull, 1);
        }
        queued.push_back((now, signal));
        drop(queued);
        self.changed.notify_one();
    }

    /// Takes the next batch, without signals that are late.
    pub(super) fn take(&self, now: Instant) -> Vec<Arc<Signal>> {
        let mut queued = self.queued.lock();
        let mut late = 0;
        while queued.front().is_some_and(|(since, _)| now.saturating_duration_since(*since) > MAX_AGE) {
            queued.pop_front();
            late += 1;
        }
        self.count(SignalResult::Late, late);
        let count = queued.len().min(MAX_BATCH);
        queued.drain(..count).map(|(_, signal)| signal).collect()
    }

    pub(super) fn count(&self, result: SignalResult, many: usize) {
        Metrics::count_many(&self.metrics.signals, result, many as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::channel::ChannelName;
    use protocol::signal_payload::SignalPayload;

    fn signal() -> Arc<Signal> {
        let payload = format!("~{:032x} 42 1", 7);
        Arc::new(SignalPayload::parse(payload.as_bytes(), 1).unwrap().on(ChannelName::all()))
    }

    fn counted(metrics: &Metrics, result: SignalResult) -> u64 {
        metrics.signals.get_or_create(&result.into()).get()
    }

    #[test]
    fn the_queue_is_bounded_and_drops_late_signals() {
        let (metrics, now) = (Metrics::default(), Instant::now());
        let queue = SignalQueue::new(&metrics);
        (0..MAX_QUEUED + 3).for_each(|_| queue.push(signal(), now));
        assert_eq!(counted(&metrics, SignalResult::QueueFull), 3);
        assert_eq!(queue.take(now + MAX_AGE).len(), MAX_BATCH);
        queue.push(signal(), now + MAX_AGE);
        assert_eq!(queue.take(now + MAX_AGE + Duration::from_millis(1)).len(), 1);
        assert_eq!(counted(&metrics, SignalResult::Late), (MAX_QUEUED - MAX_BATCH) as u64);
    }
}
