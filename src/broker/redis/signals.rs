//! Publishes signals on the connection for commands, one batch at a time.
//!
//! Commands share that connection, so a batch is short, and the next one waits for its answers: a message waits for one
//! batch at most. Signals need no permit of publications. A signal that cannot be published soon is dropped.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::state::RedisState;
use crate::metrics::SignalResult;
use protocol::signal::Signal;
use protocol::signal_payload::SignalPayload;

/// Queues a signal, or drops it. Never blocks.
pub(super) fn publish(state: &RedisState, signal: Arc<Signal>) {
    // Every replica would drop it, and record it as the mistake of a backend.
    if state.dataset.payload_limits().check_text(signal.signal().get()).is_err() {
        return state.signals.count(SignalResult::TooDeep, 1);
    }
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
    let names = state.options.names();
    for signal in batch {
        let channel = names.channel(signal.channel().as_str());
        pipeline.cmd(names.publish_command()).arg(channel).arg(SignalPayload::encode(signal));
    }
    let answers = timeout(state.options.response_timeout, pipeline.query_async(&mut connection)).await;
    let answers: Vec<RedisResult<u64>> = answers.unwrap_or_else(|_| Ok(Vec::new())).unwrap_or_default();
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        state.is_not_run(error);
    }
    // After an error of the connection there are no answers.
    let published = answers.iter().filter(|answer| answer.is_ok()).count();
    state.signals.count(SignalResult::Published, published);
    state.signals.count(SignalResult::Failed, batch.len().saturating_sub(published));
}
