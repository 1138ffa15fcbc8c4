//! Per-thread counters, summed for each scrape.
//!
//! If several workers counted each message in one cell, they would contend for its cache line.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// The cells of all threads.
#[derive(Debug)]
pub struct PerThread<T>(Mutex<Vec<Arc<T>>>);

impl<T> Default for PerThread<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> PerThread<T> {
    /// The cells of one more thread.
    pub fn add_thread(&self) -> Arc<T> {
        let cells = Arc::new(T::default());
        self.lock().push(Arc::clone(&cells));
        cells
    }

    fn sum(&self, of: impl Fn(&T) -> &AtomicU64) -> u64 {
        self.lock().iter().map(|cells| of(cells).load(Ordering::Relaxed)).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<T>>> {
        // A list that only grows is consistent at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of one thread's WebSockets, frame headers included, handshakes not. Aligned to its own cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// Counts bytes that were read from a socket.
    pub fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes that were written to a socket.
    pub fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl PerThread<Traffic> {
    pub(super) fn received(&self) -> u64 {
        self.sum(|traffic| &traffic.received)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sum(|traffic| &traffic.sent)
    }
}

/// The upper bounds of the buckets, in microseconds. A healthy delivery to few sockets takes tens of microseconds.
const BOUNDS_US: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// A histogram of one hub's latencies.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Latency {
    /// The last one has no bound.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

impl Latency {
    /// Counts one latency.
    pub fn observe(&self, latency: Duration) {
        let us = latency.as_micros();
        let bucket = BOUNDS_US.iter().position(|bound| us < u128::from(*bound)).unwrap_or(BOUNDS_US.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

/// The sum of all hubs' histograms.
pub(super) struct LatencySum {
    sum_seconds: f64,
    buckets: Vec<(f64, u64)>,
}

impl PerThread<Latency> {
    pub(super) fn total(&self) -> LatencySum {
        let bounds = BOUNDS_US.iter().map(|us| Duration::from_micros(*us).as_secs_f64());
        let buckets = bounds.chain([f64::INFINITY]).enumerate();
        LatencySum {
            sum_seconds: Duration::from_nanos(self.sum(|latency| &latency.sum_ns)).as_secs_f64(),
            buckets: buckets
                .map(|(index, bound)| (bound, self.sum(|latency| &latency.buckets[index])))
                .collect(),
        }
    }
}

impl fmt::Debug for LatencySum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencySum").field("buckets", &self.buckets).finish_non_exhaustive()
    }
}

impl EncodeMetric for LatencySum {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let count = self.buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum_seconds, count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_sums_up_what_each_thread_has_counted() {
        let (traffic, latency) = (PerThread::<Traffic>::default(), PerThread::<Latency>::default());
        for bytes in [3, 4] {
            let own = traffic.add_thread();
            own.count_received(bytes);
            own.count_sent(10 * bytes);
        }
        assert_eq!((traffic.received(), traffic.sent()), (7, 70));
        for us in [49, 50, 2_000_000] {
            latency.add_thread().observe(Duration::from_micros(us));
        }
        let total = latency.total();
        let counts: Vec<_> = total.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!((counts[0], counts[1], counts[BOUNDS_US.len()]), (1, 1, 1));
        assert!((total.sum_seconds - 2.000_099).abs() < 1e-9, "{}", total.sum_seconds);
    }
}
