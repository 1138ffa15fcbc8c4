//! Publishes signals on the connection for commands, one batch at a time.
//!
//! Commands share that connection, so a batch is short, and the next one waits for its answers: a message waits for one
//! batch at most. Signals need no permit of publications. A signal that cannot be published soon is dropped.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::state::RedisState;
use crate::metrics::{Metrics, SignalResult};
use protocol::signal::Signal;
use protocol::signal_payload::SignalPayload;

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
    changed: Notify,
    metrics: Metrics,
}

impl SignalQueue {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self { queued: Mutex::default(), changed: Notify::new(), metrics: metrics.clone() }
    }

    fn push(&self, signal: Arc<Signal>, now: Instant) {
        let mut queued = self.queued.lock();
        if queued.len() >= MAX_QUEUED {
            return self.count(SignalResult::QueueFull, 1);
        }
        queued.push_back((now, signal));
        drop(queued);
        self.changed.notify_one();
    }

    /// Takes the next batch, without signals that are late.
    fn take(&self, now: Instant) -> Vec<Arc<Signal>> {
        let mut queued = self.queued.lock();
        let mut late = 0;
        while queued.pop_front_if(|(since, _)| now.saturating_duration_since(*since) > MAX_AGE).is_some() {
            late += 1;
        }
        self.count(SignalResult::Late, late);
        let count = queued.len().min(MAX_BATCH);
        queued.drain(..count).map(|(_, signal)| signal).collect()
    }

    fn count(&self, result: SignalResult, many: usize) {
        Metrics::count_many(&self.metrics.signals, result, many as u64);
    }
}

/// Queues a signal, or drops it. Never blocks.
pub(super) fn publish(state: &RedisState, signal: Arc<Signal>) {
    if state.commands().is_none() {
        return state.signals.count(SignalResult::LinkDown, 1);
    }
    state.signals.push(signal, Instant::now());
}

/// Publishes the queued signals.
pub(super) async fn run(state: &RedisState) -> Infallible {
    loop {
        let batch = state.signals.take(Instant::now());
        if batch.is_empty() {
            state.signals.changed.notified().await;
            continue;
        }
        let Some(connection) = state.commands() else {
            state.signals.count(SignalResult::LinkDown, batch.len());
            continue;
        };
        publish_batch(state, connection, &batch).await;
    }
}

async fn publish_batch(state: &RedisState, mut connection: MultiplexedConnection, batch: &[Arc<Signal>]) {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for signal in batch {
        let channel = state.options.redis_channel(signal.channel().as_str());
        pipeline.cmd("PUBLISH").arg(channel).arg(SignalPayload::encode(signal));
    }
    let answers = timeout(state.options.response_timeout, pipeline.query_async(&mut connection)).await;
    let answers: Vec<RedisResult<u64>> = answers.unwrap_or_else(|_| Ok(Vec::new())).unwrap_or_default();
    // After an error of the connection there are no answers.
    let published = answers.iter().filter(|answer| answer.is_ok()).count();
    state.signals.count(SignalResult::Published, published);
    state.signals.count(SignalResult::Failed, batch.len().saturating_sub(published));
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::channel::ChannelName;

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
