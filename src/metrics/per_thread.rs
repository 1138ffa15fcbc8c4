//! Counters with cells for each thread, summed for each scrape.
//!
//! Workers that count in the same cell would contend for its cache line.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

/// The cells of all threads. Cloning shares them.
#[derive(Debug)]
pub struct PerThread<T>(Arc<Mutex<Vec<Arc<T>>>>);

impl<T> Default for PerThread<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for PerThread<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> PerThread<T> {
    /// Adds the cells of another thread.
    pub fn add_thread(&self) -> Arc<T> {
        let cells = Arc::new(T::default());
        self.0.lock().push(Arc::clone(&cells));
        cells
    }
}

impl<T> PerThread<T> {
    fn sum(&self, of: impl Fn(&T) -> &AtomicU64) -> u64 {
        self.0.lock().iter().map(|cells| of(cells).load(Ordering::Relaxed)).sum()
    }
}

/// The bytes of one thread's WebSockets, including frame headers. Of the handshake only its answer counts, because it is
/// written together with the first frame. Aligned to its own cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// Counts bytes read from a socket.
    pub fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes written to a socket.
    pub fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A counter of the metrics page: one of the cells, summed over all threads.
#[derive(Debug)]
pub(super) struct TrafficCounter {
    threads: PerThread<Traffic>,
    cell: fn(&Traffic) -> &AtomicU64,
}

impl PerThread<Traffic> {
    pub(super) fn received(&self) -> TrafficCounter {
        TrafficCounter { threads: self.clone(), cell: |traffic| &traffic.received }
    }

    pub(super) fn sent(&self) -> TrafficCounter {
        TrafficCounter { threads: self.clone(), cell: |traffic| &traffic.sent }
    }
}

impl EncodeMetric for TrafficCounter {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        ConstCounter::new(self.threads.sum(self.cell)).encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// The upper bounds of the buckets, in microseconds. A delivery to few sockets takes tens of microseconds.
const BOUNDS_US: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// A histogram of one hub's latencies.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Latency {
    /// The last bucket has no bound.
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
impl EncodeMetric for PerThread<Latency> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BOUNDS_US.iter().map(|us| Duration::from_micros(*us).as_secs_f64());
        let bounds = bounds.chain([f64::INFINITY]).enumerate();
        let buckets: Vec<_> =
            bounds.map(|(index, bound)| (bound, self.sum(|latency| &latency.buckets[index]))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let seconds = Duration::from_nanos(self.sum(|latency| &latency.sum_ns)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::metrics::Metrics;

    #[test]
    fn page_sums_up_the_counts_of_all_threads() {
        let metrics = Metrics::default();
        for bytes in [3, 4] {
            let traffic = metrics.traffic.add_thread();
            traffic.count_received(bytes);
            traffic.count_sent(10 * bytes);
        }
        for us in [49, 50, 2_000_000] {
            metrics.delivery_latency.add_thread().observe(Duration::from_micros(us));
        }
        let page = metrics.render();
        for line in [
            "gateway_received_bytes_total 7",
            "gateway_sent_bytes_total 70",
            "gateway_delivery_latency_seconds_sum 2.000099",
            "gateway_delivery_latency_seconds_count 3",
            "gateway_delivery_latency_seconds_bucket{le=\"0.00005\"} 1",
            "gateway_delivery_latency_seconds_bucket{le=\"0.0001\"} 2",
            "gateway_delivery_latency_seconds_bucket{le=\"1.0\"} 2",
            "gateway_delivery_latency_seconds_bucket{le=\"+Inf\"} 3",
        ] {
            assert!(page.lines().any(|found| found == line), "no line {line:?} in:\n{page}");
        }
    }
}
