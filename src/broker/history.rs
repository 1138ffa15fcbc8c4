//! The limits of histories.

use std::sync::Arc;
use std::time::Duration;

use super::InboxOptions;
use crate::settings::Namespaces;

/// The limits of histories.
#[derive(Debug, Clone)]
pub struct HistoryOptions {
    /// Messages stored for each channel, where its namespace sets no size. Redis trims in blocks and may store a few
    /// more.
    pub size: usize,
    /// How long the history of a channel is stored after its last message, where its namespace sets no TTL.
    pub ttl: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency_window: Duration,
    /// The limit on all histories of the memory broker together, in bytes. Redis has a limit of its own (`maxmemory`).
    pub memory_bytes: usize,
    /// The limits of the inbox. It shares the idempotency window, and has as many bytes of the memory broker again.
    pub inbox: InboxOptions,
    /// The options of each namespace.
    pub namespaces: Arc<Namespaces>,
}

/// The limits of each history of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HistoryLimits {
    pub(crate) size: usize,
    pub(crate) ttl_ms: u64,
}

impl HistoryOptions {
    /// `size` messages for each channel, a TTL of one day, an idempotency window of ten minutes and 64 MiB of memory.
    pub fn of_size(size: usize) -> Self {
        Self {
            size,
            ttl: Duration::from_secs(24 * 60 * 60),
            idempotency_window: Duration::from_secs(10 * 60),
            memory_bytes: 64 * 1024 * 1024,
            inbox: InboxOptions { max_entries: 100_000, is_used: false },
            namespaces: Arc::default(),
        }
    }

    /// The limits of each history of a namespace.
    pub(crate) fn limits(&self, namespace: &str) -> HistoryLimits {
        let (size, ttl) = self.namespaces.history(namespace, self.size, self.ttl);
        HistoryLimits { size, ttl_ms: milliseconds(ttl) }
    }
}

/// The longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// Whole milliseconds; `u64::MAX` for a longer time.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
