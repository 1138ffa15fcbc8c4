//! What the gateway counts, in Prometheus' text format.
//!
//! Names and labels are a contract with dashboards. No label ever holds a user, a channel, an address or any
//! other text from outside: each is one of a closed set.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use protocol::event::GapReason;

mod labels;
mod page;
mod per_thread;
mod process;

pub use self::labels::{
    AdminRequest, Code, DropReason, IdentifyResult, KeyRefusal, Label, LinkLoss, Reason, RecordResult,
    RecoveryResult, ResultLabel,
};
pub use self::per_thread::{Latency, PerThread, Traffic};

/// A handle on everything that is counted. Cloning shares, and costs one pointer: every socket has some.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<MetricsShared>);

#[derive(Debug)]
struct MetricsShared {
    counters: Counters,
    /// Encodes `counters`, whose cells it shares.
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        let (counters, registry) = page::register_all();
        Self(Arc::new(MetricsShared { counters, registry }))
    }
}

impl std::ops::Deref for Metrics {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0.counters
    }
}

/// Everything that is counted. One for each process.
#[derive(Debug)]
pub struct Counters {
    /// Open sockets, identified or not.
    pub connections: Gauge,
    /// Accepted connections that are not sockets yet.
    pub handshakes: Gauge,
    /// Open connections of the admin port.
    pub admin_connections: Gauge,
    /// Sockets that were opened.
    pub connections_opened: Counter,
    /// Upgrades that were refused, by reason.
    pub upgrades_refused: Family<Reason<&'static str>, Counter>,
    /// Sessions that have sent a good token and are not closed.
    pub sessions: Gauge,
    /// Users with at least one session here.
    pub users: Gauge,
    /// Channels with at least one session here.
    pub channels: Gauge,
    /// Subscriptions of all sessions, their own two channels included.
    pub subscriptions: Gauge,
    /// Identify attempts, by outcome.
    pub identifies: Family<ResultLabel<IdentifyResult>, Counter>,
    /// Text messages received from clients.
    pub client_messages: Counter,
    /// Closes sent, by code.
    pub websocket_closes: Family<Code, Counter>,
    /// Publications received from the broker.
    pub publications_received: Counter,
    /// Frames of publications handed to sockets.
    pub publications_delivered: Counter,
    /// Publications that reached nobody, and deliveries that did not reach their socket, by reason.
    pub publications_dropped: Family<Reason<DropReason>, Counter>,
    /// Publications that the link missed and read from a history.
    pub publications_repaired: Counter,
    /// Gaps announced for channels of this replica, by reason.
    pub gaps: Family<Reason<GapReason>, Counter>,
    /// Attempts of clients to continue from a position, by outcome.
    pub recoveries: Family<ResultLabel<RecoveryResult>, Counter>,
    /// Requests that the admin API refused before reading them.
    pub admin_refused: Family<Reason<KeyRefusal>, Counter>,
    /// Publications accepted from the admin API.
    pub publications_accepted: Counter,
    /// Time from the arrival of a publication at the link until a hub has handed it to its last socket.
    pub delivery_latency: PerThread<Latency>,
    /// What was read from sockets and written to them.
    pub traffic: PerThread<Traffic>,
    /// Requests to the admin port, by route and status.
    pub admin_requests: Family<AdminRequest, Counter>,
    /// 1 while the broker's link is subscribed and proven, else 0.
    pub redis_link_up: Gauge,
    /// 1 while durable publishing is possible, else 0.
    pub history_available: Gauge,
    /// Payloads from Redis that reach nobody: put on the stream for them, or only counted.
    pub rejected: Family<ResultLabel<RecordResult>, Counter>,
    /// Subscriptions that Redis has refused to the gateway's user, channel by channel.
    pub channels_refused: Counter,
    /// 1 while Redis may evict keys, else 0.
    pub redis_may_evict: Gauge,
    /// How many keys Redis has evicted, as Redis counts them.
    pub redis_evicted_keys: Gauge,
    /// How often the link to the broker was lost.
    pub redis_link_losses: Family<Reason<LinkLoss>, Counter>,
    /// Time from publishing a probe to receiving it back, in seconds.
    pub probe_latency: Histogram,
    /// The latest of these, in microseconds; 0 before the first. For the console, not for the page of metrics.
    latest_probe_us: AtomicU64,
    /// From the last proof that the link delivers to giving it up, in seconds.
    pub redis_link_detection: Histogram,
    /// Time from the end of the link until the next healthy one, everything that was missed repaired, in seconds.
    pub redis_link_repair: Histogram,
    /// Bytes of publications that wait for a hub.
    pub hub_inbox_bytes: Gauge,
    /// Bytes that wait for sockets to take them.
    pub outbound_queued_bytes: Gauge,
    /// Log lines dropped because the log was not read fast enough.
    pub log_lines_dropped: Counter,
    /// 1 while `/readyz` answers 200, else 0; brought up to date for each page.
    pub ready: Gauge,
    /// 1 from the signal that begins a drain, else 0; updated for each scrape.
    pub draining: Gauge,
    /// The most that some of the others may reach.
    pub limits: Limits,
}

/// The bounds that the process runs with, so that a rule can tell how near it is to them. 0: there is none.
#[derive(Debug)]
pub struct Limits {
    /// Of [`Counters::connections`].
    pub connections: Gauge,
    /// Of [`Counters::admin_connections`].
    pub admin_connections: Gauge,
    /// Of [`Counters::hub_inbox_bytes`].
    pub hub_inbox_bytes: Gauge,
    /// Of [`Counters::outbound_queued_bytes`].
    pub outbound_queued_bytes: Gauge,
}

impl Metrics {
    /// Counts one more of a labelled metric.
    pub fn count<S, L>(family: &Family<S, Counter>, value: L)
    where
        S: From<L> + Clone + Eq + Hash,
    {
        Self::count_many(family, value, 1);
    }

    /// Counts `many` more of a labelled metric.
    pub fn count_many<S, L>(family: &Family<S, Counter>, value: L, many: u64)
    where
        S: From<L> + Clone + Eq + Hash,
    {
        family.get_or_create(&S::from(value)).inc_by(many);
    }

    /// Notes how long a probe took.
    pub fn probed(&self, latency: Duration) {
        self.probe_latency.observe(latency.as_secs_f64());
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latest_probe_us.store(us.max(1), Ordering::Relaxed);
    }

    /// How long the latest probe took; `None` before the first.
    pub fn latest_probe(&self) -> Option<Duration> {
        let us = self.latest_probe_us.load(Ordering::Relaxed);
        (us > 0).then(|| Duration::from_micros(us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_one_pointer() {
        assert_eq!(size_of::<Metrics>(), size_of::<usize>());
    }

    #[test]
    fn the_page_has_every_metric_with_its_prefix() {
        let metrics = Metrics::default();
        metrics.connections.set(3);
        metrics.websocket_closes.get_or_create(&Code { code: 4001 }).inc();
        Metrics::count(&metrics.publications_dropped, DropReason::Duplicate);
        let page = metrics.render();
        for line in [
            "gateway_connections 3",
            "gateway_websocket_closes_total{code=\"4001\"} 1",
            "gateway_publications_dropped_total{reason=\"duplicate\"} 1",
            "gateway_probe_latency_seconds_count 0",
            "gateway_hub_inbox_bytes 0",
            "# EOF",
        ] {
            assert!(page.lines().any(|found| found == line), "no line {line:?} in:\n{page}");
        }
    }
}
