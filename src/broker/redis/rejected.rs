//! Records payloads that reach no subscriber on a stream, because their publisher is not notified.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex as SyncMutex;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Mutex, mpsc};

use super::link_error::describe;
use super::options::RedisOptions;
use crate::metrics::{Metrics, RecordResult};

/// The approximate number of payloads in the stream.
const MAX_STREAM_ENTRIES: usize = 1000;
/// How many bytes of a payload are recorded.
const MAX_BYTES: usize = 256;
/// How many payloads may wait to be recorded.
const MAX_WAITING: usize = 64;
/// How many payloads are recorded in a second: a broken publisher may be fast, and a few examples are enough.
const MAX_PER_SECOND: u32 = 10;

/// One payload, as it is recorded.
struct RejectedPayload {
    channel: String,
    reason: &'static str,
    bytes: usize,
    /// The first `MAX_BYTES` bytes.
    payload: Vec<u8>,
}

/// A queue between the receiver, which must not wait, and the stream.
pub(super) struct Rejected {
    sender: mpsc::Sender<RejectedPayload>,
    /// Locked by the current link.
    receiver: Mutex<mpsc::Receiver<RejectedPayload>>,
    /// When the current second began, and how many payloads were offered in it.
    second: SyncMutex<Option<(Instant, u32)>>,
    is_failure_logged: AtomicBool,
    metrics: Metrics,
}

impl Rejected {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        Self {
            sender,
            receiver: Mutex::new(receiver),
            second: SyncMutex::new(None),
            is_failure_logged: AtomicBool::new(false),
            metrics: metrics.clone(),
        }
    }

    /// Queues a payload, or counts it as not recorded if there are too many. Never waits.
    pub(super) fn offer(&self, channel: &str, reason: &'static str, payload: &[u8], now: Instant) {
        let record = || RejectedPayload {
            channel: channel.to_owned(),
            reason,
            bytes: payload.len(),
            payload: payload[..payload.len().min(MAX_BYTES)].to_vec(),
        };
        if !self.has_room(now) || self.sender.try_send(record()).is_err() {
            self.count(RecordResult::NotRecorded);
        }
    }

    fn has_room(&self, now: Instant) -> bool {
        let mut second = self.second.lock();
        let (began, count) = second
            .filter(|(began, _)| now.saturating_duration_since(*began) < Duration::from_secs(1))
            .unwrap_or((now, 0));
        *second = Some((began, count.saturating_add(1)));
        count < MAX_PER_SECOND
    }

    fn count(&self, result: RecordResult) {
        Metrics::count(&self.metrics.rejected, result);
    }

    /// Records the queued payloads, one after the other. `commands` returns the connection for it.
    pub(super) async fn run(
        &self,
        options: &RedisOptions,
        commands: impl Fn() -> Option<MultiplexedConnection>,
    ) -> Infallible {
        let mut receiver = self.receiver.lock().await;
        loop {
            // The sender is in `self`, so the channel stays open.
            let Some(record) = receiver.recv().await else { return std::future::pending().await };
            match write(options, commands(), &record).await {
                Ok(()) => self.count(RecordResult::Recorded),
                Err(reason) => {
                    self.count(RecordResult::NotRecorded);
                    if !self.is_failure_logged.swap(true, Ordering::Relaxed) {
                        log::warn!("redis: rejected payloads are not recorded: {reason}");
                    }
                }
            }
        }
    }
}

async fn write(
    options: &RedisOptions,
    commands: Option<MultiplexedConnection>,
    record: &RejectedPayload,
) -> Result<(), String> {
    let Some(mut commands) = commands else { return Err("the link is down".into()) };
    let mut add = redis::cmd("XADD");
    add.arg(options.names().rejected()).arg("MAXLEN").arg("~").arg(MAX_STREAM_ENTRIES).arg("*");
    add.arg("channel").arg(&record.channel).arg("reason").arg(record.reason);
    add.arg("bytes").arg(record.bytes).arg("payload").arg(&record.payload);
    let added: RedisResult<()> = add.exec_async(&mut commands).await;
    added.map_err(|error| describe(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_and_the_rate_of_records_are_bounded() {
        let metrics = Metrics::default();
        let rejected = Rejected::new(&metrics);
        let not_recorded = || metrics.rejected.get_or_create(&RecordResult::NotRecorded.into()).get();
        let start = Instant::now();
        for _ in 0..15 {
            rejected.offer("room:1", "not_json", &[b'x'; 1000], start);
        }
        assert_eq!(not_recorded(), 5);
        for second in 1..=6 {
            for _ in 0..10 {
                rejected.offer("room:1", "not_json", b"x", start + Duration::from_secs(second));
            }
        }
        assert_eq!(not_recorded(), 5 + 6, "64 of 70 fit into the queue");
        let first = rejected.receiver.try_lock().unwrap().try_recv().unwrap();
        assert_eq!((first.bytes, first.payload.len()), (1000, MAX_BYTES));
    }
}
